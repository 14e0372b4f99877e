//! A shard whose store failed comes back by itself, and one whose disk is full is still read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libmanta::moray::{Buckets, Expect, MorayError, RecordKey, Write};
use moray::{CommitFaults, Config, Parts, Shard, Stats};

const PATIENCE: Duration = Duration::from_secs(30);

fn open(path: &Path, faults: &CommitFaults) -> Arc<Shard> {
    let parts = Parts {
        commit_faults: Some(faults.clone()),
        ..Parts::default()
    };
    Shard::open_with(Config::new("1", path), parts).unwrap()
}

fn record(n: usize) -> RecordKey {
    RecordKey {
        bucket: "b".to_owned(),
        route: "r".to_owned(),
        key: format!("{n:06}"),
    }
}

async fn write(shard: &Shard, n: usize, bytes: usize) -> Result<(), MorayError> {
    let write = Write {
        key: record(n),
        value: Some(vec![7; bytes]),
        expect: Expect::Anything,
    };
    match shard.batch(vec![write]).await {
        Ok(()) => Ok(()),
        Err(libmanta::moray::BatchError::Moray(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Repeats a read until the store answers.
async fn read(shard: &Shard, n: usize) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match shard.get(&record(n)).await {
            Ok(found) => return found.is_some(),
            Err(MorayError::Unavailable { reason, .. }) => {
                assert!(Instant::now() < deadline, "does not come back: {reason}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_did_not_open_again_comes_back_to_readers_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, away) = (directory.path().join("db"), directory.path().join("away"));
    let faults = CommitFaults::default();
    let shard = open(&path, &faults);
    write(&shard, 1, 10).await.unwrap();

    fs::rename(&path, &away).unwrap();
    faults.fail_next(1);
    write(&shard, 2, 10).await.unwrap_err();
    let deadline = Instant::now() + PATIENCE;
    while Stats::get(&shard.stats().down) == 0 {
        assert!(Instant::now() < deadline, "the store is not down");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    shard.get(&record(1)).await.unwrap_err();
    assert!(!path.exists(), "a file that disappeared is not made anew");

    fs::rename(&away, &path).unwrap();
    assert!(read(&shard, 1).await);
    assert!(!read(&shard, 2).await);
    assert_eq!(Stats::get(&shard.stats().reopened), 1);
    write(&shard, 3, 10).await.unwrap();
    shard.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_closes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let faults = CommitFaults::default();
    let shard = open(&path, &faults);
    write(&shard, 1, 10).await.unwrap();
    fs::rename(&path, directory.path().join("away")).unwrap();
    faults.fail_next(1);
    write(&shard, 2, 10).await.unwrap_err();
    tokio::time::timeout(PATIENCE, shard.close()).await.unwrap();
    shard.get(&record(1)).await.unwrap_err();
}

/// Runs `test` on a thread that has its mounts to itself; they are gone when it ends, whatever happens.
/// Fails, and says why, when this process may not mount.
fn with_own_mounts(test: impl FnOnce() + Send) {
    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    assert!(
        rustix::process::geteuid().is_root(),
        "a disk that is really full needs root, to mount one: run this test as root, or leave it out by name"
    );
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only this thread's view of the mounts and its working directory change. Threads that
            // it starts inherit them, and no other thread shares them.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}

/// Takes all room that is left.
fn fill(path: &Path) {
    use std::io::Write as _;

    let mut hog = fs::File::create(path).unwrap();
    while hog.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_is_read_and_takes_changes_when_there_is_room() {
    use rustix::mount::{MountFlags, mount};

    let dir = tempfile::tempdir().unwrap();
    with_own_mounts(|| {
        mount("none", dir.path(), "tmpfs", MountFlags::empty(), c"size=4m").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let shard = open(&dir.path().join("db"), &CommitFaults::default());
            let hog = dir.path().join("hog");
            let (mut written, mut attempted) = (Vec::new(), 0);
            for round in 0..3 {
                // The log outgrows the room that is left, and does not fit into the file either.
                let mut failures = 0;
                for n in attempted..attempted + 40 {
                    if n == attempted + 20 {
                        fill(&hog);
                    }
                    match write(&shard, n, 30_000).await {
                        Ok(()) => written.push(n),
                        Err(MorayError::Unavailable { .. }) => failures += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                attempted += 40;
                assert!(failures > 0, "round {round}: it is full");
                for n in &written {
                    assert!(read(&shard, *n).await, "round {round}: {n} is lost");
                }
                assert_eq!(Stats::get(&shard.stats().down), 0, "round {round}");
                write(&shard, attempted, 30_000).await.unwrap_err();

                fs::remove_file(&hog).unwrap();
                let deadline = Instant::now() + PATIENCE;
                while let Err(error) = write(&shard, attempted, 10).await {
                    assert!(Instant::now() < deadline, "round {round}: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                written.push(attempted);
                attempted += 1;
                // Room for the next round.
                for n in written.drain(..) {
                    write(&shard, n, 10).await.unwrap();
                }
            }
            shard.close().await;
        });
    });
}

//! The life of zones: made, used, thrown away, and nothing left.

mod common;

use common::*;
use libmanta::triton::Zones as _;

#[tokio::test]
async fn a_command_runs_and_its_end_is_told() {
    let site = Site::new(1).await;
    eprintln!("{}", site.host.describe());
    let mut zone = site.zone().await;
    says(&mut *zone, "id -u; pwd; hostname", "0\n/\nzone0").await;
    assert_eq!(sh(&mut *zone, "exit 7").await.code(), Some(7));
    drop(zone);
    site.all_ready().await;
    site.end().await;
}

/// Nothing may grow with the number of zones: not mounts, cgroups, loop devices, processes, descriptors or
/// files; and after shutdown nothing is left but the lock file.
#[tokio::test]
async fn a_thousand_resets_leak_nothing() {
    let resets: u64 =
        std::env::var("TRITON_RESETS").map_or(1000, |resets| resets.parse().expect("a number"));
    let machine_mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let site = Site::new(2).await;
    // The first zones fill caches: templates, buffers of the runtime.
    for _ in 0..4 {
        says(&mut *site.zone().await, "echo warm", "warm").await;
    }
    site.all_ready().await;
    settle(&site, 2).await;
    let before = Counts::take(site.directory.path());
    let (first, started) = (site.host.stats().resets, std::time::Instant::now());
    while site.host.stats().resets < first + resets {
        let mut zone = site.zone().await;
        let outcome = sh(&mut *zone, "echo dirt > /tmp/dirt; sleep 100 & true").await;
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    }
    site.all_ready().await;
    let elapsed = started.elapsed();
    eprintln!("{resets} resets in {elapsed:.1?}, {:.2?} each", elapsed / resets as u32);
    settle(&site, 2).await;
    assert_eq!(Counts::take(site.directory.path()), before);

    let Site { host, directory } = site;
    within(60, "shut down", host.shutdown()).await;
    drop(host);
    let after = Counts::take(directory.path());
    assert_eq!((after.cgroups, after.loops, after.descendants), (0, 0, 0), "{after:?}");
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), machine_mounts);
    let left: Vec<_> = after.files.iter().map(|file| file.file_name().unwrap()).collect();
    assert_eq!(left, ["state", "lock", "tools", "attack"], "{after:?}");
}

/// Waits until background work (unmounting, refilling) has come to rest: as many loop devices as slots and
/// scratches kept ready, twice in a row the same counts.
async fn settle(site: &Site, slots: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut last = Counts::take(site.directory.path());
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let now = Counts::take(site.directory.path());
        if now == last && now.loops == slots + 2 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{now:?}");
        last = now;
    }
}

/// Prints the figures of zones.md section 2; asserts only what must not be missed by far.
#[tokio::test]
async fn figures() {
    let site = Site::new(2).await;
    let mut zone = site.zone().await;
    let median = |mut all: Vec<std::time::Duration>| {
        all.sort();
        all[all.len() / 2]
    };
    let mut armed = Vec::new();
    for _ in 0..200 {
        let started = std::time::Instant::now();
        let command = libmanta::triton::Command {
            argv: vec!["/bin/true".to_owned()],
            env: environment(),
            stdin: null(),
            stdout: null(),
            stderr: null(),
        };
        zone.run(command).await.unwrap();
        armed.push(started.elapsed());
        // The next task is armed meanwhile, as it is while outputs are stored.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut bash = Vec::new();
    for _ in 0..100 {
        let started = std::time::Instant::now();
        let command = libmanta::triton::Command {
            argv: shell("true"),
            env: environment(),
            stdin: null(),
            stdout: null(),
            stderr: null(),
        };
        zone.run(command).await.unwrap();
        bash.push(started.elapsed());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    drop(zone);
    site.all_ready().await;
    let mut resets = Vec::new();
    for _ in 0..50 {
        let zone = site.zone().await;
        let started = std::time::Instant::now();
        drop(zone);
        site.all_ready().await;
        resets.push(started.elapsed());
    }
    let mut bare = Vec::new();
    for _ in 0..100 {
        let started = std::time::Instant::now();
        std::process::Command::new("/bin/true").status().unwrap();
        bare.push(started.elapsed());
    }
    eprintln!(
        "true on the host {:.2?}; true in a zone {:.2?}; bash in a zone {:.2?}; reset and provision {:.2?}",
        median(bare),
        median(armed),
        median(bash),
        median(resets),
    );
    site.end().await;
}

//! The store as a whole. Faults, crashes and damage have files of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libmanta::Timestamp;
use libmanta::mako::CopyReader;
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::mako::{conformance, content, get, put};

use super::fault::Step;
use super::*;

mod crash;
mod damage;
mod faults;
mod races;
mod readers;
mod segments;

/// A store in a directory of its own.
struct Fixture {
    dir: TempDir,
    store: Arc<Store>,
    shark: Arc<dyn Shark>,
}

fn config(dir: &Path) -> Config {
    Config {
        probe_interval: Duration::from_millis(1),
        ..Config::new(StorageId::new("1.stor.test"), "dc-a", dir.join("shark"))
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(Faults::default())
    }

    fn with(faults: Faults) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with(config(dir.path()), faults).unwrap();
        let shark = Arc::clone(&store) as Arc<dyn Shark>;
        Self { dir, store, shark }
    }

    /// A store on a file system without extended attributes, as far as it knows.
    fn without_attributes(faults: Faults) -> Self {
        let fixture = Self::with(faults);
        fixture.store.node.disk.set_attributes(false);
        fixture
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("shark")
    }

    fn copy(&self, creator: AccountId, object_id: ObjectId) -> PathBuf {
        self.store.node.disk.layout.copy(creator, object_id)
    }

    fn sidecar(&self, creator: AccountId, object_id: ObjectId) -> PathBuf {
        self.store.node.disk.layout.sidecar(creator, object_id)
    }

    async fn put(&self, bytes: &Bytes) -> (AccountId, ObjectId) {
        let (creator, object_id) = (AccountId::random(), ObjectId::random());
        put(&self.shark, creator, object_id, bytes, 100_000)
            .await
            .unwrap();
        (creator, object_id)
    }
}

/// Every file below `path`, except what makes it a node.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_name() != "format" && entry.file_name() != "lock" {
            found.push(entry.path());
        }
    }
    found
}

/// Waits until `condition` holds; it must within ten seconds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_a_shark() {
    let fixture = Fixture::new();
    assert!(
        fixture.store.node.disk.attributes(),
        "the directory for temporary files has no extended attributes; set TMPDIR to one that has"
    );
    conformance(Arc::clone(&fixture.shark)).await;
    fixture.store.close().await;
    assert_eq!(files(&fixture.root()), [] as [PathBuf; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_attributes_is_a_shark() {
    let fixture = Fixture::without_attributes(Faults::default());
    conformance(Arc::clone(&fixture.shark)).await;
    fixture.store.close().await;
    assert_eq!(files(&fixture.root()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn the_steps_of_a_copy_are_in_the_order_that_makes_it_durable() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    let fixture = Fixture::with(Faults::plan(move |step| {
        log.lock().unwrap().push(step);
        Ok(())
    }));
    let (creator, object_id) = fixture.put(&content(1, 10)).await;
    assert_eq!(*steps.lock().unwrap(), Step::WITH_ATTRIBUTE);

    // The directory is known to be durable now, and its parents are left alone.
    steps.lock().unwrap().clear();
    let bytes = content(2, 10);
    put(&fixture.shark, creator, object_id, &bytes, 10)
        .await
        .unwrap();
    assert_eq!(
        *steps.lock().unwrap(),
        [
            Step::CreateTemporary,
            Step::Write,
            Step::SetAttribute,
            Step::SyncFile,
            Step::Rename,
            Step::SyncDirectory,
            Step::Done,
        ]
    );

    steps.lock().unwrap().clear();
    fixture.store.node.disk.set_attributes(false);
    fixture.put(&content(3, 10)).await;
    assert_eq!(*steps.lock().unwrap(), Step::WITH_SIDECAR);
}

#[tokio::test]
async fn a_copy_is_a_file_that_anybody_may_read_in_a_directory_nobody_may_enter() {
    let fixture = Fixture::new();
    let bytes = content(1, 300_000);
    let (creator, object_id) = fixture.put(&bytes).await;
    let path = fixture.copy(creator, object_id);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o444);
    assert_eq!(mode(&fixture.root()), 0o700);
    assert_eq!(files(&fixture.root()), [path], "one file for each copy");
}

#[tokio::test]
async fn large_tables_go_to_a_file_beside_the_copy() {
    let fixture = Fixture::new();
    let (creator, object_id) = (AccountId::random(), ObjectId::random());
    // One block more than fits the attribute.
    let piece = content(1, 128 * 1024);
    let size = 901 * piece.len() as u64;
    let hint = SizeHint::Exactly(size);
    let mut writer = fixture
        .shark
        .create(creator, object_id, hint)
        .await
        .unwrap();
    for _ in 0..901 {
        writer.write(piece.clone()).await.unwrap();
    }
    writer.commit().await.unwrap();
    assert!(fixture.sidecar(creator, object_id).exists());
    let last = size - 5..size;
    let (read, whole) = get(&fixture.shark, creator, object_id, last).await.unwrap();
    assert_eq!((read.as_slice(), whole), (&piece[piece.len() - 5..], size));
    assert!(fixture.shark.delete(creator, object_id).await.unwrap());
    assert_eq!(files(&fixture.root()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn checksums_without_a_copy_are_listed_until_they_are_deleted() {
    let fixture = Fixture::without_attributes(Faults::default());
    let (creator, object_id) = fixture.put(&content(1, 10)).await;
    fs::remove_file(fixture.copy(creator, object_id)).unwrap();
    let page = fixture.shark.copies(None, 10).await.unwrap();
    assert_eq!((page[0].object_id, page[0].size_bytes), (object_id, 0));
    assert!(fixture.shark.delete(creator, object_id).await.unwrap());
    assert_eq!(fixture.shark.copies(None, 10).await.unwrap(), []);
    assert_eq!(files(&fixture.root()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_copy_is_as_old_as_its_name() {
    let fixture = Fixture::new();
    let before = Timestamp::from_system(std::time::SystemTime::now());
    let (_, object_id) = fixture.put(&content(1, 10)).await;
    let page = fixture.shark.copies(None, 10).await.unwrap();
    let after = Timestamp::from_system(std::time::SystemTime::now());
    assert_eq!(page[0].object_id, object_id);
    // File times are as coarse as the kernel's tick.
    assert!(page[0].stored >= before.minus(Duration::from_millis(20)));
    assert!(page[0].stored <= after);
}

#[tokio::test]
async fn names_that_are_not_ours_are_left_alone() {
    let fixture = Fixture::new();
    let (creator, object_id) = fixture.put(&content(1, 10)).await;
    let home = fixture.copy(creator, object_id);
    let home = home.parent().unwrap();
    for name in ["README", "x.crc", "07112233445566778899aabbccddeeff"] {
        fs::write(home.join(name), b"not ours").unwrap();
    }
    fs::create_dir(fixture.root().join("lost+found")).unwrap();
    let page = fixture.shark.copies(None, 10).await.unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].object_id, object_id);
}

#[tokio::test]
async fn a_commit_runs_to_its_end_when_nobody_waits_for_it() {
    let fixture = Fixture::new();
    for size in [10, 2_000_000] {
        let (creator, object_id) = (AccountId::random(), ObjectId::random());
        let bytes = content(1, size);
        let hint = SizeHint::Exactly(size as u64);
        let mut writer = fixture
            .shark
            .create(creator, object_id, hint)
            .await
            .unwrap();
        writer.write(bytes.clone()).await.unwrap();
        let mut commit = writer.commit();
        let polled = std::future::poll_fn(|ctx| {
            std::task::Poll::Ready(commit.as_mut().poll(ctx).is_ready())
        });
        assert!(!polled.await, "it cannot be done at once");
        drop(commit);
        let copy = fixture.copy(creator, object_id);
        eventually("the copy appears", || copy.exists()).await;
        let (read, _) = get(&fixture.shark, creator, object_id, 0..u64::MAX)
            .await
            .unwrap();
        assert!(read == bytes);
    }
}

#[tokio::test]
async fn a_directory_serves_one_process_and_one_name() {
    let fixture = Fixture::new();
    let (creator, object_id) = fixture.put(&content(1, 10)).await;
    let locked = Store::open(config(fixture.dir.path())).unwrap_err();
    assert!(matches!(locked, OpenError::Locked { .. }), "{locked:?}");

    let Fixture { dir, store, shark } = fixture;
    drop((store, shark));
    let mut other = config(dir.path());
    other.storage_id = StorageId::new("2.stor.test");
    let refused = Store::open(other).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("1.stor.test") && text.contains("2.stor.test"),
        "{text}"
    );

    let store: Arc<dyn Shark> = Store::open(config(dir.path())).unwrap();
    assert!(get(&store, creator, object_id, 0..1).await.is_ok());
}

#[test]
fn a_directory_that_is_not_a_node_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("shark");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("thesis.tex"), b"years of work").unwrap();
    let refused = Store::open(config(dir.path())).unwrap_err();
    assert!(refused.to_string().contains("thesis.tex"), "{refused}");
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1);

    fs::remove_file(home.join("thesis.tex")).unwrap();
    fs::write(home.join("format"), b"manta storage node\nformat 9\n").unwrap();
    let refused = Store::open(config(dir.path())).unwrap_err();
    assert!(refused.to_string().contains("format 9"), "{refused}");
}

#[test]
fn temporaries_of_an_earlier_process_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(config(dir.path())).unwrap());
    let temporaries = dir.path().join("shark/tmp");
    fs::create_dir_all(temporaries.join("7f")).unwrap();
    fs::write(temporaries.join("7f/1fff"), b"half a copy").unwrap();
    fs::write(temporaries.join("probe"), b"half a probe").unwrap();
    drop(Store::open(config(dir.path())).unwrap());
    assert_eq!(files(&temporaries), [] as [PathBuf; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_what_may_be_in_memory() {
    let fixture = Fixture::new();
    let mut writers = Vec::new();
    for _ in 0..3000 {
        let size = SizeHint::Exactly(64 * 1024);
        let (creator, object_id) = (AccountId::random(), ObjectId::random());
        writers.push(
            fixture
                .shark
                .create(creator, object_id, size)
                .await
                .unwrap(),
        );
    }
    // Alone, this would wait in memory for its commit.
    let mut last = writers.pop().unwrap();
    last.write(content(1, 20_000)).await.unwrap();
    let temporaries = fixture.root().join("tmp");
    eventually("bytes go to the disk early", || {
        files(&temporaries).len() == 1
    })
    .await;
    drop((last, writers));
    eventually("they are removed", || files(&temporaries).is_empty()).await;
    assert_eq!(fixture.store.node.writers.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let fixture = Fixture::new();
    let (creator, object_id) = fixture.put(&content(1, 1000)).await;
    let _ = get(&fixture.shark, creator, object_id, 10..20).await;
    let _ = get(&fixture.shark, creator, ObjectId::random(), 0..1).await;
    fixture.shark.delete(creator, object_id).await.unwrap();
    fixture.shark.delete(creator, object_id).await.unwrap();
    let stats = fixture.store.stats();
    assert_eq!(stats.copies_written.get(), 1);
    assert_eq!(stats.bytes_in.get(), 1000);
    assert_eq!(stats.bytes_out.get(), 10);
    assert_eq!(stats.missing.get(), 1);
    assert_eq!(stats.copies_deleted.get(), 1);
    // File, directory, and its two parents.
    assert_eq!(stats.fsyncs.get(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any range of any copy, read cold (by the ordinary way) and warm.
    #[test]
    fn ranges_are_slices(
        size in 1_usize..900_000,
        ends in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 6),
        piece in 1_usize..300_000,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let bytes = content(size as u64, size);
            let (creator, object_id) = (AccountId::random(), ObjectId::random());
            put(&fixture.shark, creator, object_id, &bytes, piece).await.unwrap();
            for (from, to) in ends {
                let (from, to) = (from.index(size + 1), to.index(size + 1));
                let range = from.min(to) as u64..from.max(to) as u64;
                let (read, whole) =
                    get(&fixture.shark, creator, object_id, range.clone()).await.unwrap();
                assert_eq!(whole, size as u64);
                assert!(read == bytes[from.min(to)..from.max(to)], "{range:?} of {size}");
            }
        });
    }
}

/// Whoever reads a stream to its end and then asks again gets the end again.
async fn read_all(reader: &mut Box<dyn CopyReader>) -> Result<Vec<u8>, SharkError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.read().await? {
        bytes.extend(chunk);
    }
    Ok(bytes)
}

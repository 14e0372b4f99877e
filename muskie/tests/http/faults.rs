//! Storage nodes that fail, at every moment at which they can.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use libmanta::mako::{
    Capacity, CopyReader, CopyWriter, LocalCopies, Segment, Shark, SharkError, SizeHint, StoredCopy,
};
use libmanta::{AccountId, ObjectId, StorageId};

use crate::client::{Connection, Request};
use crate::store::{Store, start, start_wrapped};

/// What the nodes of a store do wrong, all of them or only the first two.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    create: AtomicBool,
    write: AtomicBool,
    commit: AtomicBool,
    /// Commits wait as long as this is set.
    hold_commits: AtomicBool,
    commits_begun: AtomicU64,
    /// Reading stops with an error at this offset of the object; `u64::MAX` is never.
    read_at: AtomicU64,
    pub(crate) panic_on_open: AtomicBool,
    /// Opening waits as long as this is set.
    pub(crate) hold_opens: AtomicBool,
    pub(crate) opens_begun: AtomicU64,
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Shark>,
    faults: Arc<Faults>,
    reliable: bool,
}

impl Faulty {
    fn check(&self, fault: &AtomicBool) -> Result<(), SharkError> {
        if !self.reliable && fault.load(Ordering::SeqCst) {
            Err(self.error())
        } else {
            Ok(())
        }
    }

    fn error(&self) -> SharkError {
        let storage_id = self.inner.storage_id().clone();
        SharkError::Unavailable {
            storage_id,
            reason: "told to fail".into(),
        }
    }
}

struct FaultyWriter {
    inner: Box<dyn CopyWriter>,
    node: Arc<Faulty>,
}

struct FaultyReader {
    inner: Box<dyn CopyReader>,
    node: Arc<Faulty>,
    at: u64,
}

#[async_trait]
impl CopyWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), SharkError> {
        self.node.check(&self.node.faults.write)?;
        self.inner.write(bytes).await
    }

    async fn commit(self: Box<Self>) -> Result<(), SharkError> {
        self.node
            .faults
            .commits_begun
            .fetch_add(1, Ordering::SeqCst);
        while self.node.faults.hold_commits.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.node.check(&self.node.faults.commit)?;
        self.inner.commit().await
    }
}

#[async_trait]
impl CopyReader for FaultyReader {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    async fn read(&mut self) -> Result<Option<Bytes>, SharkError> {
        let stop = self.node.faults.read_at.load(Ordering::SeqCst);
        if !self.node.reliable && self.at >= stop {
            return Err(self.node.error());
        }
        let bytes = self.inner.read().await?;
        self.at += bytes.as_ref().map_or(0, Bytes::len) as u64;
        Ok(bytes)
    }
}

/// So that writers and readers can refer to their node.
#[derive(Debug)]
struct Node(Arc<Faulty>);

#[async_trait]
impl Shark for Node {
    fn storage_id(&self) -> &StorageId {
        self.0.inner.storage_id()
    }
    fn datacenter(&self) -> &str {
        self.0.inner.datacenter()
    }
    fn capacity(&self) -> Capacity {
        self.0.inner.capacity()
    }
    async fn create(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        size: SizeHint,
    ) -> Result<Box<dyn CopyWriter>, SharkError> {
        self.0.check(&self.0.faults.create)?;
        let inner = self.0.inner.create(creator, object_id, size).await?;
        Ok(Box::new(FaultyWriter {
            inner,
            node: self.0.clone(),
        }))
    }
    async fn assemble(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        segments: Vec<Segment>,
    ) -> Result<(), SharkError> {
        self.0.check(&self.0.faults.commit)?;
        self.0.inner.assemble(creator, object_id, segments).await
    }
    async fn open(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        range: Range<u64>,
    ) -> Result<Box<dyn CopyReader>, SharkError> {
        assert!(
            !self.0.faults.panic_on_open.load(Ordering::SeqCst),
            "told to panic"
        );
        self.0.faults.opens_begun.fetch_add(1, Ordering::SeqCst);
        while self.0.faults.hold_opens.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let at = range.start;
        let inner = self.0.inner.open(creator, object_id, range).await?;
        Ok(Box::new(FaultyReader {
            inner,
            node: self.0.clone(),
            at,
        }))
    }
    async fn delete(&self, creator: AccountId, object_id: ObjectId) -> Result<bool, SharkError> {
        self.0.inner.delete(creator, object_id).await
    }
    async fn copies(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<StoredCopy>, SharkError> {
        self.0.inner.copies(after, limit).await
    }
    fn local(&self) -> Option<Arc<dyn LocalCopies>> {
        None
    }
}

/// `reliable` names the nodes that never fail.
pub(crate) async fn with_faults(reliable: &'static [&'static str]) -> (Store, Arc<Faults>) {
    with_faults_and(reliable, |_| {}).await
}

pub(crate) async fn with_faults_and(
    reliable: &'static [&'static str],
    configure: impl FnOnce(&mut muskie::Config),
) -> (Store, Arc<Faults>) {
    let faults = Arc::new(Faults {
        read_at: AtomicU64::new(u64::MAX),
        ..Faults::default()
    });
    let for_nodes = faults.clone();
    let store = start_wrapped(configure, move |inner| {
        let reliable = reliable.contains(&inner.storage_id().as_str());
        let faults = for_nodes.clone();
        Arc::new(Node(Arc::new(Faulty {
            inner,
            faults,
            reliable,
        })))
    })
    .await;
    (store, faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_do_not_open_are_passed_over() {
    let (store, faults) = with_faults(&["1.stor.local", "2.stor.local"]).await;
    faults.create.store(true, Ordering::SeqCst);
    for n in 0..30 {
        store.put(&format!("/alice/stor/{n}"), "x").await.is(204);
    }
    let request = Request::new("PUT", "/alice/stor/three").header("durability-level", "3");
    let refused = store.send(request.body("x")).await;
    let message = "No storage nodes available for this request";
    refused
        .refused(503, "InternalError", message)
        .header("retry-after");
    store.get("/alice/stor/three").await.is(404);
    assert_eq!(store.copy_files().len(), 60);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_later_fails_the_upload_and_nothing_is_seen() {
    let (store, faults) = with_faults(&["1.stor.local"]).await;
    store.put("/alice/stor/o", "old").await.is(204);
    let before = store.copy_files().len();
    for fault in [&faults.write, &faults.commit] {
        fault.store(true, Ordering::SeqCst);
        for body in [vec![1; 10], vec![2; 3 << 20]] {
            let refused = store.put("/alice/stor/o", body).await;
            assert_eq!(refused.status, 503, "{}", refused.text());
        }
        fault.store(false, Ordering::SeqCst);
        assert_eq!(store.get("/alice/stor/o").await.text(), "old");
        assert_eq!(store.copy_files().len(), before);
    }
    store.put("/alice/stor/o", "new").await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_lost_or_damaged_is_not_missed() {
    let store = start().await;
    let body: Vec<u8> = (0..200_000u32).map(|n| (n % 253) as u8).collect();
    for size in [10, 100_000, 200_000] {
        for damage in [true, false] {
            store.put("/alice/stor/o", &body[..size]).await.is(204);
            let etag = store.head("/alice/stor/o").await.header("etag").to_owned();
            let mut copies = store.copy_files();
            copies.retain(|path| path.to_string_lossy().contains(&etag));
            assert_eq!(copies.len(), 2);
            if damage {
                let mut bytes = std::fs::read(&copies[0]).unwrap();
                bytes[size / 2] ^= 1;
                std::fs::write(&copies[0], bytes).unwrap();
            } else {
                std::fs::remove_file(&copies[0]).unwrap();
            }
            let failed = store.metric("muskie_copies_failed_on_read_total").await;
            for _ in 0..16 {
                assert!(store.get("/alice/stor/o").await.is(200).body == body[..size]);
            }
            let failed_now = store.metric("muskie_copies_failed_on_read_total").await;
            assert!(failed_now > failed, "{size} {damage}: nobody noticed");
        }
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_from_the_other_copy() {
    let (store, faults) = with_faults(&["1.stor.local"]).await;
    let body: Vec<u8> = (0..4_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut mixed = 0;
    for n in 0..20 {
        let path = format!("/alice/stor/{n}");
        store.put(&path, body.clone()).await.is(204);
        faults.read_at.store(1_000_000 + n, Ordering::SeqCst);
        let get = store.get(&path).await;
        faults.read_at.store(u64::MAX, Ordering::SeqCst);
        let on_reliable = store.copy_files().iter().any(|p| {
            p.to_string_lossy().contains(get.header("etag"))
                && p.to_string_lossy().contains("stor1")
        });
        if on_reliable {
            mixed += 1;
            assert!(!get.cut && get.body == body, "{n}");
        } else {
            // Both copies are on bad nodes: the connection is cut, never a wrong byte.
            assert!(get.cut && body.starts_with(&get.body), "{n}");
        }
    }
    assert!(mixed > 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_readable_copies_says_so() {
    let store = start().await;
    store.put("/alice/stor/o", "x").await.is(204);
    for copy in store.copy_files() {
        std::fs::remove_file(copy).unwrap();
    }
    let message = "No storage nodes available for this request";
    store
        .get("/alice/stor/o")
        .await
        .refused(503, "InternalError", message);
    store.head("/alice/stor/o").await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_of_one_request() {
    let (store, faults) = with_faults(&[]).await;
    store.put("/alice/stor/o", "x").await.is(204);
    faults.panic_on_open.store(true, Ordering::SeqCst);
    store.get("/alice/stor/o").await.is(500).complete();
    faults.panic_on_open.store(false, Ordering::SeqCst);
    assert_eq!(store.get("/alice/stor/o").await.text(), "x");
    assert_eq!(store.metric("muskie_panics_total").await, 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_at_once_wait_for_a_turn_or_are_refused() {
    let (store, faults) = with_faults_and(&[], |config| config.throttle.concurrency = 1).await;
    store.put("/alice/stor/o", "hello").await.is(204);
    faults.hold_opens.store(true, Ordering::SeqCst);
    let first = store.get("/alice/stor/o");
    let others = async {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while faults.opens_begun.load(Ordering::SeqCst) == 0 {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Nobody may wait.
        let message = "manta throttled this request";
        let refused = store.get("/alice/stor/o").await;
        refused.refused(503, "ThrottledError", message);
        // One may: whichever of two comes first.
        let mut throttle = store.handle.throttle();
        throttle.queue_max = 1;
        store.handle.set_throttle(throttle);
        let ask = async || {
            let answer = store.get("/alice/stor/o").await;
            faults.hold_opens.store(false, Ordering::SeqCst);
            answer.status
        };
        tokio::join!(ask(), ask())
    };
    let (first, (second, third)) = tokio::join!(first, others);
    assert_eq!(first.text(), "hello");
    assert_eq!((second.min(third), second.max(third)), (200, 503));
    store.stop().await;
}

/// A whole upload over a connection, up to the moment at which both copies wait to be committed.
async fn upload_until_held(store: &Store, faults: &Faults) -> Connection {
    faults.hold_commits.store(true, Ordering::SeqCst);
    let request = Request::new("PUT", "/alice/stor/o")
        .body("hello")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    connection.write(&request.body_bytes()).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while faults.commits_begun.load(Ordering::SeqCst) < 2 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_upload_is_kept_although_the_client_has_left() {
    let (store, faults) = with_faults(&[]).await;
    let connection = upload_until_held(&store, &faults).await;
    drop(connection);
    store.get("/alice/stor/o").await.is(404);
    faults.hold_commits.store(false, Ordering::SeqCst);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while store.get("/alice/stor/o").await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the upload is lost");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "hello");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_upload_is_kept_although_its_request_is_cut() {
    let grace = Duration::from_millis(100);
    let (store, faults) = with_faults_and(&[], |config| config.shutdown_grace = grace).await;
    let mut connection = upload_until_held(&store, &faults).await;
    let release = async {
        let (answer, _) = connection.read_to_end().await;
        assert!(answer.is_empty(), "nothing is certain yet");
        faults.hold_commits.store(false, Ordering::SeqCst);
    };
    // Ends only when the write has.
    tokio::join!(store.handle.shutdown(), release);
    assert_eq!(store.copy_files().len(), 2);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_of_metadata_is_never_a_success() {
    let store = start().await;
    store.mkdir("/alice/stor/d").await.is(204);
    store.put("/alice/stor/d/o", "old").await.is(204);
    let message = "manta is unable to serve this request";
    for path in ["/alice/stor/d/o", "/alice/stor/d/new"] {
        store.commits.fail_next(1);
        let refused = store.put(path, "new").await;
        let refused = refused.refused(503, "ServiceUnavailable", message);
        refused.header("retry-after");
        wait_until_written(&store, "/alice/stor/d/probe").await;
    }
    store.commits.fail_next(1);
    let refused = store.delete("/alice/stor/d/o").await;
    refused.refused(503, "ServiceUnavailable", message);
    wait_until_written(&store, "/alice/stor/d/probe").await;
    assert_eq!(store.get("/alice/stor/d/o").await.text(), "old");
    store.get("/alice/stor/d/new").await.is(404);
    store.put("/alice/stor/d/o", "new").await.is(204);
    store.stop().await;
}

/// A shard whose commit failed answers before it closes for a check of itself, so only a write that came
/// through shows that the check is over.
async fn wait_until_written(store: &Store, path: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while store.put(path, "probe").await.status == 503 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the shard does not come back"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

//! Ports that fail once, at a call that the test chooses: before it does anything, or after it did all of it.
//! To a request the second is what a crash of the other side is, and to the next request both are what a crash
//! of this one is.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use libmanta::mako::{
    Capacity, CopyReader, CopyWriter, LocalCopies, Segment, Shark, SharkError, SizeHint, StoredCopy,
};
use libmanta::moray::links::{AuditCursor, Link, Links, Rename, Transferred, Upkeep};
use libmanta::moray::{
    BatchError, Buckets, DeleteLog, Deleted, List, LogCursor, Lookup, MakeDirectory, Moray,
    MorayError, Namespace, NamespaceError, Page, PutObject, Record, RecordKey, Replaced, Update,
    Write,
};
use libmanta::{AccountId, Condition, Entry, Judged, ObjectId, ObjectKey, StorageId, Timestamp};

/// Where to stumble. Nowhere, until told.
#[derive(Debug, Default)]
pub(crate) struct Stumble {
    overtaker: Overtaker,
    armed: AtomicBool,
    calls_left: AtomicI64,
    afterwards: AtomicBool,
}

/// What others do just before the next change.
#[derive(Default)]
struct Overtaker(Mutex<Option<BoxFuture<'static, ()>>>);

impl fmt::Debug for Overtaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overtaker")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

impl Stumble {
    /// The next call but `calls` fails.
    pub(crate) fn at(&self, calls: i64, when: When) {
        self.calls_left.store(calls, Ordering::SeqCst);
        self.afterwards.store(when == When::After, Ordering::SeqCst);
        self.armed.store(true, Ordering::SeqCst);
    }

    /// The next change of a name comes after `with`.
    pub(crate) fn overtake(&self, with: impl Future<Output = ()> + Send + 'static) {
        *self.overtaker.0.lock().unwrap() = Some(with.boxed());
    }

    /// Whether that has happened.
    pub(crate) fn was_overtaken(&self) -> bool {
        self.overtaker.0.lock().unwrap().is_none()
    }

    async fn overtaken(&self) {
        let with = self.overtaker.0.lock().unwrap().take();
        if let Some(with) = with {
            with.await;
        }
    }

    /// Ends it; whether the call came.
    pub(crate) fn happened(&self) -> bool {
        !self.armed.swap(false, Ordering::SeqCst)
    }

    /// What to do at this call.
    fn call(&self) -> Option<When> {
        if !self.armed.load(Ordering::SeqCst) || self.calls_left.fetch_sub(1, Ordering::SeqCst) != 0
        {
            return None;
        }
        self.armed.store(false, Ordering::SeqCst);
        Some(match self.afterwards.load(Ordering::SeqCst) {
            true => When::After,
            false => When::Before,
        })
    }

    async fn around<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        error: impl Fn() -> E,
    ) -> Result<T, E> {
        match self.call() {
            None => call.await,
            Some(When::Before) => Err(error()),
            Some(When::After) => {
                // What it says is lost.
                let _ = call.await;
                Err(error())
            }
        }
    }
}

fn unavailable() -> MorayError {
    MorayError::Unavailable {
        shard: "1.moray.test".into(),
        reason: "told to fail".into(),
    }
}

#[derive(Debug)]
pub(crate) struct StumblingMoray {
    pub(crate) inner: Arc<dyn Moray>,
    pub(crate) stumble: Arc<Stumble>,
}

#[async_trait]
impl Namespace for StumblingMoray {
    fn new_object_id(&self, key: &ObjectKey) -> ObjectId {
        self.inner.new_object_id(key)
    }

    async fn lookup(&self, key: &ObjectKey) -> Result<Lookup, MorayError> {
        let call = self.inner.lookup(key);
        self.stumble.around(call, unavailable).await
    }
    async fn put_object(&self, put: PutObject) -> Result<Replaced, NamespaceError> {
        self.stumble.overtaken().await;
        let call = self.inner.put_object(put);
        self.stumble.around(call, || unavailable().into()).await
    }
    async fn make_directory(&self, make: MakeDirectory) -> Result<Replaced, NamespaceError> {
        self.stumble.overtaken().await;
        let call = self.inner.make_directory(make);
        self.stumble.around(call, || unavailable().into()).await
    }
    async fn update(&self, update: Update) -> Result<Replaced, NamespaceError> {
        self.stumble.overtaken().await;
        let call = self.inner.update(update);
        self.stumble.around(call, || unavailable().into()).await
    }
    async fn remove_object(
        &self,
        key: &ObjectKey,
        condition: &Condition,
    ) -> Result<Entry, NamespaceError> {
        self.stumble.overtaken().await;
        let call = self.inner.remove_object(key, condition);
        self.stumble.around(call, || unavailable().into()).await
    }
    async fn remove_directory(
        &self,
        key: &ObjectKey,
        judged: Option<&Judged>,
    ) -> Result<Entry, NamespaceError> {
        self.stumble.overtaken().await;
        let call = self.inner.remove_directory(key, judged);
        self.stumble.around(call, || unavailable().into()).await
    }
    async fn list(&self, list: &List) -> Result<Page, NamespaceError> {
        let call = self.inner.list(list);
        self.stumble.around(call, || unavailable().into()).await
    }
}

#[async_trait]
impl DeleteLog for StumblingMoray {
    async fn deleted(
        &self,
        before: Timestamp,
        after: &LogCursor,
        limit: usize,
    ) -> Result<Vec<Deleted>, MorayError> {
        self.inner.deleted(before, after, limit).await
    }
    async fn forget(&self, deleted: &[Deleted]) -> Result<(), MorayError> {
        self.inner.forget(deleted).await
    }
    async fn referenced(&self, objects: &[ObjectId]) -> Result<Vec<bool>, MorayError> {
        self.inner.referenced(objects).await
    }
}

#[async_trait]
impl Buckets for StumblingMoray {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, MorayError> {
        let call = self.inner.get(key);
        self.stumble.around(call, unavailable).await
    }
    async fn batch(&self, writes: Vec<Write>) -> Result<(), BatchError> {
        let call = self.inner.batch(writes);
        self.stumble.around(call, || unavailable().into()).await
    }
    async fn scan(
        &self,
        bucket: &str,
        route: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        let call = self.inner.scan(bucket, route, from, limit);
        self.stumble.around(call, unavailable).await
    }
    async fn scan_all(
        &self,
        bucket: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        let call = self.inner.scan_all(bucket, after, limit);
        self.stumble.around(call, unavailable).await
    }
}

#[async_trait]
impl Links for StumblingMoray {
    async fn link(&self, link: Link) -> Result<Transferred, NamespaceError> {
        self.stumble.overtaken().await;
        self.inner.link(link).await
    }
    async fn rename(&self, rename: Rename) -> Result<Transferred, NamespaceError> {
        self.stumble.overtaken().await;
        self.inner.rename(rename).await
    }
}

#[async_trait]
impl Upkeep for StumblingMoray {
    async fn run_errands(&self, before: Timestamp, limit: usize) -> Result<usize, MorayError> {
        self.inner.run_errands(before, limit).await
    }
    async fn audit(
        &self,
        after: &mut AuditCursor,
        stopped: Timestamp,
        limit: usize,
    ) -> Result<usize, MorayError> {
        self.inner.audit(after, stopped, limit).await
    }
}

/// Stumbles when copies are begun, put together, and read; what writers do belongs to other tests.
#[derive(Debug)]
pub(crate) struct StumblingShark {
    pub(crate) inner: Arc<dyn Shark>,
    pub(crate) stumble: Arc<Stumble>,
}

impl StumblingShark {
    fn error(&self) -> SharkError {
        SharkError::Unavailable {
            storage_id: self.inner.storage_id().clone(),
            reason: "told to fail".into(),
        }
    }
}

#[async_trait]
impl Shark for StumblingShark {
    fn storage_id(&self) -> &StorageId {
        self.inner.storage_id()
    }
    fn datacenter(&self) -> &str {
        self.inner.datacenter()
    }
    fn capacity(&self) -> Capacity {
        self.inner.capacity()
    }
    async fn create(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        size: SizeHint,
    ) -> Result<Box<dyn CopyWriter>, SharkError> {
        let call = self.inner.create(creator, object_id, size);
        self.stumble.around(call, || self.error()).await
    }
    async fn assemble(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        segments: Vec<Segment>,
    ) -> Result<(), SharkError> {
        let call = self.inner.assemble(creator, object_id, segments);
        self.stumble.around(call, || self.error()).await
    }
    async fn open(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        range: Range<u64>,
    ) -> Result<Box<dyn CopyReader>, SharkError> {
        self.inner.open(creator, object_id, range).await
    }
    async fn delete(&self, creator: AccountId, object_id: ObjectId) -> Result<bool, SharkError> {
        self.inner.delete(creator, object_id).await
    }
    async fn copies(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<StoredCopy>, SharkError> {
        self.inner.copies(after, limit).await
    }
    fn local(&self) -> Option<Arc<dyn LocalCopies>> {
        self.inner.local()
    }
}

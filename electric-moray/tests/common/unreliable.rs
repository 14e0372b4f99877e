//! A shard that becomes unreachable for good after so many calls.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use libmanta::link::{Over, Prepared};
use libmanta::moray::links::Logged;
use libmanta::moray::shard::links::{
    Claim, FoundChild, Held, Links, Pinned, Prepare, ReadReference, Written,
};
use libmanta::moray::shard::{Admit, Child, Inserted, Listed, Look, Shard};
use libmanta::moray::{
    BatchError, Buckets, DeleteLog, Deleted, List, LogCursor, MorayError, Record, RecordKey,
    Replaced, Update, Write,
};
use libmanta::namespace::{Close, Slot, Token, Unsettled};
use libmanta::{Condition, Entry, ObjectId, ObjectKey, StorageId, Timestamp};

/// A shard that becomes unreachable for good.
#[derive(Clone, Debug)]
pub struct Unreliable {
    pub inner: Arc<dyn Shard>,
    /// Steps that still work, shared by all shards of a router.
    pub left: Arc<AtomicI64>,
    /// Whether the first step that fails takes effect nevertheless.
    pub last_takes_effect: bool,
}

impl Unreliable {
    async fn pass<T, E: From<MorayError>>(
        &self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 {
            return step.await;
        }
        if left == 0 && self.last_takes_effect {
            drop(step.await);
        }
        Err(E::from(MorayError::Unavailable {
            shard: self.inner.name().to_owned(),
            reason: "unreachable".to_owned(),
        }))
    }
}

#[async_trait]
impl Shard for Unreliable {
    fn name(&self) -> &str {
        self.inner.name()
    }
    async fn look(&self, key: &ObjectKey) -> Result<Look, MorayError> {
        self.pass(self.inner.look(key)).await
    }
    async fn list(&self, list: &List) -> Result<Listed, MorayError> {
        self.pass(self.inner.list(list)).await
    }
    async fn insert(
        &self,
        child: Arc<Child>,
        admit: Admit,
        over: Over,
    ) -> Result<Inserted, MorayError> {
        self.pass(self.inner.insert(child, admit, over)).await
    }
    async fn drop_row(&self, directory: &ObjectKey, seen: Unsettled) -> Result<bool, MorayError> {
        self.pass(self.inner.drop_row(directory, seen)).await
    }
    async fn close(&self, directory: &ObjectKey, token: Token) -> Result<Close, MorayError> {
        self.pass(self.inner.close(directory, token)).await
    }
    async fn reopen(&self, directory: &ObjectKey, token: Token) -> Result<bool, MorayError> {
        self.pass(self.inner.reopen(directory, token)).await
    }
    async fn mark(&self, key: &ObjectKey, token: Token) -> Result<Result<(), Slot>, MorayError> {
        self.pass(self.inner.mark(key, token)).await
    }
    async fn unmark(&self, key: &ObjectKey, token: Token) -> Result<bool, MorayError> {
        self.pass(self.inner.unmark(key, token)).await
    }
    async fn remove_marked(
        &self,
        key: &ObjectKey,
        token: Token,
    ) -> Result<Option<Entry>, MorayError> {
        self.pass(self.inner.remove_marked(key, token)).await
    }
    async fn remove_object(
        &self,
        key: &ObjectKey,
        condition: &Condition,
        over: Over,
    ) -> Result<Written<Entry>, MorayError> {
        self.pass(self.inner.remove_object(key, condition, over))
            .await
    }
    async fn update(&self, update: Update, over: Over) -> Result<Written<Replaced>, MorayError> {
        self.pass(self.inner.update(update, over)).await
    }
}

#[async_trait]
impl Links for Unreliable {
    async fn pin(
        &self,
        key: &ObjectKey,
        claim: Claim,
        condition: &Condition,
    ) -> Result<Pinned, MorayError> {
        self.pass(self.inner.pin(key, claim, condition)).await
    }
    async fn leave(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        token: Token,
    ) -> Result<bool, MorayError> {
        self.pass(self.inner.leave(key, object, token)).await
    }
    async fn settle(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        token: Token,
    ) -> Result<bool, MorayError> {
        self.pass(self.inner.settle(key, object, token)).await
    }
    async fn erase(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        label: Token,
    ) -> Result<bool, MorayError> {
        self.pass(self.inner.erase(key, object, label)).await
    }
    async fn find_child(&self, directory: &ObjectKey) -> Result<FoundChild, MorayError> {
        self.pass(self.inner.find_child(directory)).await
    }
    async fn references(
        &self,
        references: &[(ObjectId, Token)],
    ) -> Result<Vec<ReadReference>, MorayError> {
        self.pass(self.inner.references(references)).await
    }
    async fn prepare(&self, prepare: Prepare) -> Result<Prepared, MorayError> {
        self.pass(self.inner.prepare(prepare)).await
    }
    async fn raise(
        &self,
        object: ObjectId,
        version: u64,
        copies: &[StorageId],
    ) -> Result<bool, MorayError> {
        self.pass(self.inner.raise(object, version, copies)).await
    }
    async fn commit(
        &self,
        object: ObjectId,
        token: Token,
        label: Token,
    ) -> Result<Option<Vec<Logged>>, MorayError> {
        self.pass(self.inner.commit(object, token, label)).await
    }
    async fn abort(&self, object: ObjectId, token: Token) -> Result<bool, MorayError> {
        self.pass(self.inner.abort(object, token)).await
    }
    async fn cut_off(&self, object: ObjectId, label: Token) -> Result<bool, MorayError> {
        self.pass(self.inner.cut_off(object, label)).await
    }
    async fn drop_reference(&self, object: ObjectId, label: Token) -> Result<(), MorayError> {
        self.pass(self.inner.drop_reference(object, label)).await
    }
    async fn forget_moved(&self, object: ObjectId, label: Token) -> Result<(), MorayError> {
        self.pass(self.inner.forget_moved(object, label)).await
    }
    async fn errands(
        &self,
        after: Option<u64>,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Logged>, MorayError> {
        self.pass(self.inner.errands(after, before, limit)).await
    }
    async fn forget_errands(&self, sequences: &[u64]) -> Result<(), MorayError> {
        self.pass(self.inner.forget_errands(sequences)).await
    }
    async fn references_after(
        &self,
        after: Option<(ObjectId, Token)>,
        limit: usize,
    ) -> Result<Vec<Held>, MorayError> {
        self.pass(self.inner.references_after(after, limit)).await
    }
}

#[async_trait]
impl DeleteLog for Unreliable {
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
impl Buckets for Unreliable {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, MorayError> {
        self.inner.get(key).await
    }
    async fn batch(&self, writes: Vec<Write>) -> Result<(), BatchError> {
        self.inner.batch(writes).await
    }
    async fn scan(
        &self,
        bucket: &str,
        route: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        self.inner.scan(bucket, route, from, limit).await
    }
    async fn scan_all(
        &self,
        bucket: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        self.inner.scan_all(bucket, after, limit).await
    }
}

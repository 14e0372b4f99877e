//! A shard that becomes unreachable for good after so many calls, and to which some messages come twice.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use libmanta::link::{Binding, Over, Prepared};
use libmanta::moray::links::Logged;
use libmanta::moray::shard::links::{
    Claim, FoundChild, Held, Links, Pinned, Prepare, ReadReference, Written,
};
use libmanta::moray::shard::{Admit, Child, Inserted, Listed, Look, NotMarked, Shard};
use libmanta::moray::{
    BatchError, Buckets, DeleteLog, Deleted, List, LogCursor, MorayError, Record, RecordKey,
    Replaced, Update, Write,
};
use libmanta::namespace::{Close, Token, Unsettled};
use libmanta::{Condition, Entry, Judged, ObjectId, ObjectKey, StorageId, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

/// A shard that becomes unreachable for good.
#[derive(Clone, Debug)]
pub struct Unreliable {
    pub inner: Arc<dyn Shard>,
    /// Steps that still work, shared by all shards of a router.
    pub left: Arc<AtomicI64>,
    /// Whether the first step that fails takes effect nevertheless.
    pub last_takes_effect: bool,
    /// Whether errands that have been run leave the log.
    pub forgets: bool,
    pub echo: Option<Arc<Echo>>,
    /// A name that cannot be read.
    pub damaged: Option<ObjectKey>,
    /// A child that somebody else has begun to enter whenever somebody looks.
    pub entering: Option<ObjectKey>,
}

/// Delivers a share of the steps that may be repeated a second time, later.
#[derive(Debug)]
pub struct Echo {
    share: f64,
    rng: Mutex<StdRng>,
    under_way: Mutex<JoinSet<()>>,
}

type Step<T> = Pin<Box<dyn Future<Output = Result<T, MorayError>> + Send>>;

impl Echo {
    pub fn new(share: f64, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            share,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            under_way: Mutex::new(JoinSet::new()),
        })
    }

    /// After how many turns of others, if at all.
    fn draw(&self) -> Option<u32> {
        let mut rng = self.rng.lock().unwrap();
        let again = rng.random_bool(self.share);
        again.then(|| rng.random_range(0..2_000))
    }

    /// Waits until all has arrived.
    pub async fn fade(&self) {
        let mut under_way = std::mem::take(&mut *self.under_way.lock().unwrap());
        while let Some(arrived) = under_way.join_next().await {
            arrived.unwrap();
        }
    }
}

impl Unreliable {
    /// One that never fails.
    pub fn lasting(inner: Arc<dyn Shard>) -> Self {
        Self {
            inner,
            left: Arc::new(AtomicI64::new(i64::MAX)),
            last_takes_effect: false,
            forgets: true,
            echo: None,
            damaged: None,
            entering: None,
        }
    }

    /// A step that may be repeated.
    async fn pass_twice<T: Send + 'static>(
        &self,
        step: impl Fn(Arc<dyn Shard>) -> Step<T>,
    ) -> Result<T, MorayError> {
        let reply = self.pass(step(Arc::clone(&self.inner))).await;
        if let Some(echo) = &self.echo
            && let Some(turns) = echo.draw()
        {
            let again = step(Arc::clone(&self.inner));
            echo.under_way.lock().unwrap().spawn(async move {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                again.await.map(drop).unwrap();
            });
        }
        reply
    }

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
        if self.damaged.as_ref() == Some(key) {
            return Err(MorayError::Corrupt {
                shard: self.inner.name().to_owned(),
                reason: "damaged".to_owned(),
            });
        }
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
        let directory = directory.clone();
        self.pass_twice(move |shard| {
            let directory = directory.clone();
            Box::pin(async move { shard.drop_row(&directory, seen).await })
        })
        .await
    }
    async fn close(&self, directory: &ObjectKey, token: Token) -> Result<Close, MorayError> {
        self.pass(self.inner.close(directory, token)).await
    }
    async fn reopen(&self, directory: &ObjectKey, token: Token) -> Result<bool, MorayError> {
        let directory = directory.clone();
        self.pass_twice(move |shard| {
            let directory = directory.clone();
            Box::pin(async move { shard.reopen(&directory, token).await })
        })
        .await
    }
    async fn mark(
        &self,
        key: &ObjectKey,
        token: Token,
        judged: Option<&Judged>,
    ) -> Result<Result<(), NotMarked>, MorayError> {
        self.pass(self.inner.mark(key, token, judged)).await
    }
    async fn unmark(&self, key: &ObjectKey, token: Token) -> Result<bool, MorayError> {
        let key = key.clone();
        self.pass_twice(move |shard| {
            let key = key.clone();
            Box::pin(async move { shard.unmark(&key, token).await })
        })
        .await
    }
    async fn remove_marked(
        &self,
        key: &ObjectKey,
        token: Token,
    ) -> Result<Option<Entry>, MorayError> {
        let key = key.clone();
        self.pass_twice(move |shard| {
            let key = key.clone();
            Box::pin(async move { shard.remove_marked(&key, token).await })
        })
        .await
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
        let key = key.clone();
        self.pass_twice(move |shard| {
            let key = key.clone();
            Box::pin(async move { shard.leave(&key, object, token).await })
        })
        .await
    }
    async fn settle(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        token: Token,
    ) -> Result<bool, MorayError> {
        let key = key.clone();
        self.pass_twice(move |shard| {
            let key = key.clone();
            Box::pin(async move { shard.settle(&key, object, token).await })
        })
        .await
    }
    async fn erase(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        label: Token,
    ) -> Result<bool, MorayError> {
        let key = key.clone();
        self.pass_twice(move |shard| {
            let key = key.clone();
            Box::pin(async move { shard.erase(&key, object, label).await })
        })
        .await
    }
    async fn find_child(&self, directory: &ObjectKey) -> Result<FoundChild, MorayError> {
        if let Some(child) = &self.entering {
            let binding = Binding::Entering {
                object: ObjectId::random(),
                token: Token::random(),
                before: None,
            };
            return Ok(FoundChild::Unresolved(child.clone(), binding));
        }
        self.pass(self.inner.find_child(directory)).await
    }
    async fn references(
        &self,
        references: &[(ObjectId, Token)],
    ) -> Result<Vec<ReadReference>, MorayError> {
        self.pass(self.inner.references(references)).await
    }
    async fn prepare(&self, prepare: Prepare) -> Result<(Prepared, Option<Pinned>), MorayError> {
        self.pass(self.inner.prepare(prepare)).await
    }
    async fn raise(
        &self,
        object: ObjectId,
        version: u64,
        copies: &[StorageId],
    ) -> Result<bool, MorayError> {
        let copies = copies.to_vec();
        self.pass_twice(move |shard| {
            let copies = copies.clone();
            Box::pin(async move { shard.raise(object, version, &copies).await })
        })
        .await
    }
    async fn commit(
        &self,
        object: ObjectId,
        token: Token,
        label: Token,
    ) -> Result<Option<Vec<Logged>>, MorayError> {
        self.pass_twice(move |shard| {
            Box::pin(async move { shard.commit(object, token, label).await })
        })
        .await
    }
    async fn abort(&self, object: ObjectId, token: Token) -> Result<bool, MorayError> {
        self.pass_twice(move |shard| Box::pin(async move { shard.abort(object, token).await }))
            .await
    }
    async fn cut_off(&self, object: ObjectId, label: Token) -> Result<bool, MorayError> {
        self.pass_twice(move |shard| Box::pin(async move { shard.cut_off(object, label).await }))
            .await
    }
    async fn drop_reference(&self, object: ObjectId, label: Token) -> Result<(), MorayError> {
        self.pass_twice(move |shard| {
            Box::pin(async move { shard.drop_reference(object, label).await })
        })
        .await
    }
    async fn forget_moved(&self, object: ObjectId, label: Token) -> Result<(), MorayError> {
        self.pass_twice(move |shard| {
            Box::pin(async move { shard.forget_moved(object, label).await })
        })
        .await
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
        if !self.forgets {
            return Ok(());
        }
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

//! The shard as its callers see it: the lower metadata port over one SQLite file.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use libmanta::link::{Over, Prepared};
use libmanta::moray::links::Logged;
use libmanta::moray::shard::links::{
    Claim, FoundChild, Held, Pinned, Prepare, ReadReference, Written,
};
use libmanta::moray::shard::{Admit, Child, Inserted, Listed, Look, NotMarked};
use libmanta::moray::{
    BatchError, Buckets, DeleteLog, Deleted, List, LogCursor, MorayError, Record, RecordKey,
    Replaced, Update, Write, shard,
};
use libmanta::namespace::{Close, Token, Unsettled};
use libmanta::{Clock, Condition, Entry, Judged, ObjectId, ObjectKey, StorageId, Timestamp};

use crate::backend::sqlite::readers::Readers;
use crate::backend::sqlite::writer::Writer;
use crate::backend::sqlite::{
    delete_log, errands, links, namespace, object_record, pages, records,
};
use crate::config::{Config, Parts};
use crate::error::OpenError;
use crate::stats::Stats;

/// What a step without payload weighs in the queue, in bytes.
const STEP_BYTES: usize = 512;

/// One metadata shard. Dropping the last reference finishes what is queued and closes the file; that blocks,
/// so a service calls [`Shard::close`] before.
pub struct Shard {
    name: String,
    clock: Arc<dyn Clock>,
    stats: Arc<Stats>,
    readers: Arc<Readers>,
    writer: Arc<Writer>,
}

impl Shard {
    /// Opens the shard, creating its file if there is none and it may. Recovers what a killed process left behind.
    pub fn open(config: Config) -> Result<Arc<Self>, OpenError> {
        Self::open_with(config, Parts::default())
    }

    /// The same, with parts of the caller's choice.
    pub fn open_with(config: Config, parts: Parts) -> Result<Arc<Self>, OpenError> {
        let stats = Arc::new(Stats::default());
        let readers = Arc::new(Readers::new(config.clone(), Arc::clone(&stats)));
        let name = config.name.clone();
        let writer = Writer::start(config, &parts, Arc::clone(&readers), Arc::clone(&stats))?;
        Ok(Arc::new(Self {
            name,
            clock: parts.clock,
            stats,
            readers,
            writer: Arc::new(writer),
        }))
    }

    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Finishes what is queued and closes the file. Later calls fail as unavailable.
    pub async fn close(&self) {
        let writer = Arc::clone(&self.writer);
        let stopped = tokio::task::spawn_blocking(move || writer.stop()).await;
        if let Err(error) = stopped {
            tracing::error!(shard = self.name, %error, "metadata shard did not close");
        }
    }

    async fn step<T: Send + 'static>(
        &self,
        change: impl FnOnce(&rusqlite::Connection) -> Result<T, crate::error::Fault> + Send + 'static,
    ) -> Result<T, MorayError> {
        self.writer.write(STEP_BYTES, change).await
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.writer.stop();
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl shard::Shard for Shard {
    fn name(&self) -> &str {
        &self.name
    }

    async fn look(&self, key: &ObjectKey) -> Result<Look, MorayError> {
        let key = key.clone();
        self.readers.point(move |db| pages::look(db, &key)).await
    }

    async fn list(&self, list: &List) -> Result<Listed, MorayError> {
        let list = list.clone();
        self.readers
            .blocking(move |db| pages::list(db, &list))
            .await
    }

    async fn insert(
        &self,
        child: Arc<Child>,
        admit: Admit,
        over: Over,
    ) -> Result<Inserted, MorayError> {
        let now = self.clock.now();
        let bytes = child_bytes(&child);
        self.writer
            .write(bytes, move |db| {
                namespace::insert(db, &child, admit, over, now)
            })
            .await
    }

    async fn drop_row(&self, directory: &ObjectKey, seen: Unsettled) -> Result<bool, MorayError> {
        let directory = directory.clone();
        self.step(move |db| namespace::drop_row(db, &directory, seen))
            .await
    }

    async fn close(&self, directory: &ObjectKey, token: Token) -> Result<Close, MorayError> {
        let directory = directory.clone();
        self.step(move |db| namespace::close(db, &directory, token))
            .await
    }

    async fn reopen(&self, directory: &ObjectKey, token: Token) -> Result<bool, MorayError> {
        let directory = directory.clone();
        self.step(move |db| namespace::reopen(db, &directory, token))
            .await
    }

    async fn mark(
        &self,
        key: &ObjectKey,
        token: Token,
        judged: Option<&Judged>,
    ) -> Result<Result<(), NotMarked>, MorayError> {
        let (key, judged) = (key.clone(), judged.cloned());
        self.step(move |db| namespace::mark(db, &key, token, judged.as_ref()))
            .await
    }

    async fn unmark(&self, key: &ObjectKey, token: Token) -> Result<bool, MorayError> {
        let key = key.clone();
        self.step(move |db| namespace::unmark(db, &key, token))
            .await
    }

    async fn remove_marked(
        &self,
        key: &ObjectKey,
        token: Token,
    ) -> Result<Option<Entry>, MorayError> {
        let key = key.clone();
        self.step(move |db| namespace::remove_marked(db, &key, token))
            .await
    }

    async fn remove_object(
        &self,
        key: &ObjectKey,
        condition: &Condition,
        over: Over,
    ) -> Result<Written<Entry>, MorayError> {
        let (key, condition, now) = (key.clone(), condition.clone(), self.clock.now());
        self.step(move |db| namespace::remove_object(db, &key, &condition, over, now))
            .await
    }

    async fn update(&self, update: Update, over: Over) -> Result<Written<Replaced>, MorayError> {
        let bytes = STEP_BYTES + headers_bytes(&update.headers);
        self.writer
            .write(bytes, move |db| namespace::update(db, update, over))
            .await
    }
}

#[async_trait]
impl shard::links::Links for Shard {
    async fn pin(
        &self,
        key: &ObjectKey,
        claim: Claim,
        condition: &Condition,
    ) -> Result<Pinned, MorayError> {
        let (key, condition) = (key.clone(), condition.clone());
        self.step(move |db| links::pin(db, &key, claim, &condition))
            .await
    }

    async fn leave(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        token: Token,
    ) -> Result<bool, MorayError> {
        let key = key.clone();
        self.step(move |db| links::leave(db, &key, object, token))
            .await
    }

    async fn settle(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        token: Token,
    ) -> Result<bool, MorayError> {
        let (key, now) = (key.clone(), self.clock.now());
        self.step(move |db| links::settle(db, &key, object, token, now))
            .await
    }

    async fn erase(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        label: Token,
    ) -> Result<bool, MorayError> {
        let key = key.clone();
        self.step(move |db| links::erase(db, &key, object, label))
            .await
    }

    async fn find_child(&self, directory: &ObjectKey) -> Result<FoundChild, MorayError> {
        let directory = directory.clone();
        self.readers
            .blocking(move |db| links::find_child(db, &directory))
            .await
    }

    async fn references(
        &self,
        references: &[(ObjectId, Token)],
    ) -> Result<Vec<ReadReference>, MorayError> {
        let references = references.to_vec();
        let is_point = references.len() == 1;
        let read = move |db: &rusqlite::Connection| object_record::read(db, &references);
        if is_point {
            self.readers.point(read).await
        } else {
            self.readers.blocking(read).await
        }
    }

    async fn prepare(&self, prepare: Prepare) -> Result<(Prepared, Option<Pinned>), MorayError> {
        let now = self.clock.now();
        self.step(move |db| object_record::prepare(db, &prepare, now))
            .await
    }

    async fn raise(
        &self,
        object: ObjectId,
        version: u64,
        copies: &[StorageId],
    ) -> Result<bool, MorayError> {
        let (copies, now) = (copies.to_vec(), self.clock.now());
        self.step(move |db| object_record::raise(db, object, version, copies, now))
            .await
    }

    async fn commit(
        &self,
        object: ObjectId,
        token: Token,
        label: Token,
    ) -> Result<Option<Vec<Logged>>, MorayError> {
        let now = self.clock.now();
        self.step(move |db| object_record::commit(db, object, token, label, now))
            .await
    }

    async fn abort(&self, object: ObjectId, token: Token) -> Result<bool, MorayError> {
        let now = self.clock.now();
        self.step(move |db| object_record::abort(db, object, token, now))
            .await
    }

    async fn cut_off(&self, object: ObjectId, label: Token) -> Result<bool, MorayError> {
        let now = self.clock.now();
        self.step(move |db| object_record::cut_off(db, object, label, now))
            .await
    }

    async fn drop_reference(&self, object: ObjectId, label: Token) -> Result<(), MorayError> {
        let now = self.clock.now();
        self.step(move |db| object_record::drop_reference(db, object, label, now))
            .await
    }

    async fn forget_moved(&self, object: ObjectId, label: Token) -> Result<(), MorayError> {
        let now = self.clock.now();
        self.step(move |db| object_record::forget_moved(db, object, label, now))
            .await
    }

    async fn errands(
        &self,
        after: Option<u64>,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Logged>, MorayError> {
        let now = self.clock.now();
        self.readers
            .blocking(move |db| errands::read(db, after, before, now, limit))
            .await
    }

    async fn forget_errands(&self, sequences: &[u64]) -> Result<(), MorayError> {
        if sequences.is_empty() {
            return Ok(());
        }
        let sequences = sequences.to_vec();
        let bytes = STEP_BYTES + sequences.len() * size_of::<u64>();
        self.writer
            .write(bytes, move |db| errands::forget(db, &sequences))
            .await
    }

    async fn references_after(
        &self,
        after: Option<(ObjectId, Token)>,
        limit: usize,
    ) -> Result<Vec<Held>, MorayError> {
        self.readers
            .blocking(move |db| object_record::after(db, after, limit))
            .await
    }
}

#[async_trait]
impl DeleteLog for Shard {
    async fn deleted(
        &self,
        before: Timestamp,
        after: &LogCursor,
        limit: usize,
    ) -> Result<Vec<Deleted>, MorayError> {
        let name = self.name.clone();
        let due = delete_log::Due {
            before,
            now: self.clock.now(),
            after: after.of(&name),
            limit,
        };
        self.readers
            .blocking(move |db| delete_log::read(db, &name, due))
            .await
    }

    async fn forget(&self, deleted: &[Deleted]) -> Result<(), MorayError> {
        let sequences: Vec<u64> = deleted
            .iter()
            .filter(|deleted| deleted.shard == self.name)
            .map(|deleted| deleted.sequence)
            .collect();
        if sequences.is_empty() {
            return Ok(());
        }
        let bytes = STEP_BYTES + sequences.len() * size_of::<u64>();
        self.writer
            .write(bytes, move |db| delete_log::forget(db, &sequences))
            .await
    }

    async fn referenced(&self, objects: &[ObjectId]) -> Result<Vec<bool>, MorayError> {
        let objects = objects.to_vec();
        self.readers
            .blocking(move |db| delete_log::referenced(db, &objects))
            .await
    }
}

#[async_trait]
impl Buckets for Shard {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, MorayError> {
        let key = key.clone();
        self.readers.point(move |db| records::get(db, &key)).await
    }

    async fn batch(&self, writes: Vec<Write>) -> Result<(), BatchError> {
        if writes
            .windows(2)
            .any(|pair| pair[0].key.route != pair[1].key.route)
        {
            return Err(BatchError::Routes);
        }
        if writes.is_empty() {
            return Ok(());
        }
        let bytes = writes
            .iter()
            .map(|write| STEP_BYTES + write.value.as_ref().map_or(0, Vec::len))
            .sum();
        self.writer
            .write(bytes, move |db| records::batch(db, &writes))
            .await?
            .map_err(BatchError::Conflict)
    }

    async fn scan(
        &self,
        bucket: &str,
        route: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        let (bucket, route, from) = (bucket.to_owned(), route.to_owned(), from.to_owned());
        self.readers
            .blocking(move |db| records::scan(db, &bucket, &route, &from, limit))
            .await
    }

    async fn scan_all(
        &self,
        bucket: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        let bucket = bucket.to_owned();
        let after = after.map(|(route, key)| (route.to_owned(), key.to_owned()));
        self.readers
            .blocking(move |db| {
                let after = after.as_ref().map(|(r, k)| (r.as_str(), k.as_str()));
                records::scan_all(db, &bucket, after, limit)
            })
            .await
    }
}

fn child_bytes(child: &Child) -> usize {
    let key = child.key().as_str().len();
    STEP_BYTES
        + key
        + match child {
            Child::Object(put) => {
                let also = put.also.as_ref().and_then(|write| write.value.as_ref());
                headers_bytes(&put.entry.headers) + also.map_or(0, Vec::len)
            }
            Child::Directory(make) => headers_bytes(&make.headers),
            Child::Enter(enter) => headers_bytes(&enter.entry.headers),
            Child::Transfer(transfer) => transfer.source.as_str().len(),
        }
}

fn headers_bytes(headers: &[(String, String)]) -> usize {
    headers.iter().map(|(n, v)| n.len() + v.len()).sum()
}

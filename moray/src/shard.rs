//! The shard as its callers see it: the lower metadata port over one SQLite file.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use libmanta::moray::shard::{Admit, Child, Inserted, Listed, Look};
use libmanta::moray::{
    BatchError, Buckets, DeleteLog, Deleted, List, LogCursor, MorayError, NamespaceError, Record,
    RecordKey, Replaced, Update, Write, shard,
};
use libmanta::namespace::{Close, Slot, Token, Unsettled};
use libmanta::{Clock, Condition, Entry, ObjectId, ObjectKey, Timestamp};

use crate::backend::sqlite::readers::Readers;
use crate::backend::sqlite::writer::Writer;
use crate::backend::sqlite::{delete_log, namespace, pages, records};
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

    async fn insert(&self, child: Arc<Child>, admit: Admit) -> Result<Inserted, MorayError> {
        let now = self.clock.now();
        let bytes = child_bytes(&child);
        self.writer
            .write(bytes, move |db| namespace::insert(db, &child, admit, now))
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

    async fn mark(&self, key: &ObjectKey, token: Token) -> Result<Result<(), Slot>, MorayError> {
        let key = key.clone();
        self.step(move |db| namespace::mark(db, &key, token)).await
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
    ) -> Result<Entry, NamespaceError> {
        let (key, condition, now) = (key.clone(), condition.clone(), self.clock.now());
        self.step(move |db| namespace::remove_object(db, &key, &condition, now))
            .await?
    }

    async fn update(&self, update: Update) -> Result<Replaced, NamespaceError> {
        let bytes = STEP_BYTES + headers_bytes(&update.headers);
        self.writer
            .write(bytes, move |db| namespace::update(db, update))
            .await?
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
        }
}

fn headers_bytes(headers: &[(String, String)]) -> usize {
    headers.iter().map(|(n, v)| n.len() + v.len()).sum()
}

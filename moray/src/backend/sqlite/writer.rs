//! The one writer of a shard: a thread that commits waiting changes together.
//!
//! # Theory of operation
//!
//! While one group is being made durable, the next changes gather in the queue; the writer takes all of them
//! (up to [`GROUP_MAX`]), runs each in a savepoint of one transaction, commits, and only then answers. So a
//! lone change waits for one fsync and nothing else, and many share one. A change that fails is rolled back
//! to its savepoint and hurts no other.
//!
//! When COMMIT fails, nobody knows what is on the disk: the whole group fails, every connection is closed,
//! and the store is opened again (which recovers the write-ahead log), checked, and checkpointed before it
//! takes more. Until that succeeds it is tried once a second, whether anybody asks or not, and changes and
//! reads are refused.
//!
//! A full disk fails a group like anything else, but what is there can still be read: the store opens
//! again with the log as it is. Trying means recovering, so changes are tried once a second until there is
//! room.
//!
//! What would surprise: SQLite rolls a whole transaction back by itself on some errors (disk full, I/O), so
//! after each failed change the writer looks whether its transaction is still there.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libmanta::moray::MorayError;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::readers::Readers;
use super::{CommitFaults, schema};
use crate::config::{Config, Parts};
use crate::error::{Fault, OpenError, unavailable};
use crate::stats::Stats;

/// Bounds how long the first of a group waits for the last: about 10 ms of work.
const GROUP_MAX: usize = 256;
/// A change touches about six pages, so the write-ahead log stays around 24 MiB.
const CHECKPOINT_OPERATIONS: u64 = 1_000;
/// Frames (of 4 KiB) above which readers are asked to let the log be truncated.
const WAL_FRAMES_MAX: i64 = 16_384;
/// How long a truncation may wait for them, holding up the queue.
const TRUNCATE_PATIENCE: Duration = Duration::from_millis(200);
/// Reads are short; one that takes longer than this hangs on the disk.
const READERS_PATIENCE: Duration = Duration::from_secs(10);
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);
/// Permits of the byte budget are KiB.
const PERMIT_BYTES: usize = 1024;

/// The sending side.
#[derive(Debug)]
pub(crate) struct Writer {
    name: String,
    stats: Arc<Stats>,
    queue: SyncSender<Message>,
    bytes: Arc<Semaphore>,
    bytes_permits: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Change(Change),
    Stop,
}

/// Runs a change inside the transaction and returns how to answer it once the transaction's fate is known.
type Run = Box<dyn FnOnce(&Connection) -> Ran + Send>;
type Answer = Box<dyn FnOnce(Result<(), MorayError>) + Send>;

struct Ran {
    answer: Answer,
    /// The disk was full.
    is_full: bool,
}

struct Change {
    run: Run,
    _bytes: OwnedSemaphorePermit,
}

impl Writer {
    /// Opens the store, recovers it if need be, opens `readers`, and starts the thread.
    pub(crate) fn start(
        mut config: Config,
        parts: &Parts,
        readers: Arc<Readers>,
        stats: Arc<Stats>,
    ) -> Result<Self, OpenError> {
        let db = schema::open_writer(&config, parts.commit_faults.as_ref())?;
        // From here on there is a file, and one that disappears must not be made anew.
        config.may_create = false;
        readers.open();
        let (queue, messages) = sync_channel(config.queue_requests_max);
        let bytes_permits = (config.queue_bytes_max / PERMIT_BYTES).max(1);
        let name = config.name.clone();
        let path = config.path.clone();
        let owner = Owner {
            db: Some(db),
            commit_faults: parts.commit_faults.clone(),
            reopen_after: Instant::now(),
            full_until: None,
            uncheckpointed: 0,
            carried: VecDeque::new(),
            messages,
            readers,
            stats: Arc::clone(&stats),
            config,
        };
        let thread = std::thread::Builder::new()
            .name(format!("moray {name}"))
            .spawn(move || owner.run())
            .map_err(|source| OpenError::Io { path, source })?;
        Ok(Self {
            name,
            stats,
            queue,
            bytes: Arc::new(Semaphore::new(bytes_permits)),
            bytes_permits,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `change` in a savepoint and returns when it is durable. A fault undoes it. Dropping the future
    /// does not take it back.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        change: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, MorayError> {
        let overloaded = || MorayError::Overloaded {
            shard: self.name.clone(),
        };
        let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, self.bytes_permits);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.bytes)
            .try_acquire_many_owned(permits)
            .map_err(|_| overloaded())?;
        let (sender, answer) = oneshot::channel();
        let name = self.name.clone();
        let run: Run = Box::new(move |db| {
            let result = in_savepoint(db, change);
            let is_full = matches!(&result, Err(Fault::Sqlite(error)) if is_disk_full(error));
            let result = result.map_err(|fault| fault.into_moray(&name));
            Ran {
                // The caller may have gone away; the change stays.
                answer: Box::new(move |commit| drop(sender.send(commit.and(result)))),
                is_full,
            }
        });
        Stats::add(&self.stats.queued, 1);
        let change = Change {
            run,
            _bytes: permit,
        };
        if let Err(error) = self.queue.try_send(Message::Change(change)) {
            Stats::sub(&self.stats.queued, 1);
            return Err(match error {
                TrySendError::Full(_) => overloaded(),
                TrySendError::Disconnected(_) => unavailable(&self.name, "the store is closed"),
            });
        }
        answer.await.map_err(|_| {
            unavailable(
                &self.name,
                "the store is down, full or closed, and the change was not taken",
            )
        })?
    }

    /// Finishes what is queued, checkpoints, and ends the thread. Repeating is harmless. Blocks.
    pub(crate) fn stop(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // An error means that the thread has ended already.
            drop(self.queue.send(Message::Stop));
            if thread.join().is_err() {
                tracing::error!(shard = self.name, "metadata writer panicked");
            }
        }
    }
}

/// The state of the thread.
struct Owner {
    config: Config,
    commit_faults: Option<CommitFaults>,
    stats: Arc<Stats>,
    readers: Arc<Readers>,
    messages: Receiver<Message>,
    /// Taken from the queue, but not run because their group broke down.
    carried: VecDeque<Change>,
    /// `None` while the store is down.
    db: Option<Connection>,
    reopen_after: Instant,
    /// Changes are refused until then, since a moment ago there was no room for any.
    full_until: Option<Instant>,
    uncheckpointed: u64,
}

/// The fate of a group.
enum Group {
    Committed,
    /// What is on the disk is unknown.
    Failed {
        error: MorayError,
        is_full: bool,
    },
}

impl Owner {
    fn run(mut self) {
        loop {
            let (group, is_last) = self.collect();
            if !group.is_empty() {
                self.process(group);
            }
            if is_last && self.carried.is_empty() {
                break;
            }
        }
        if !self.readers.close(READERS_PATIENCE) {
            tracing::warn!(shard = self.config.name, "readers did not end in time");
        }
        // The last connection to close folds the log into the file.
        self.db = None;
    }

    /// Waits for a change, then takes all that wait. True when no more will come. While the store is down it
    /// is opened again from here, since readers do not come by.
    fn collect(&mut self) -> (VecDeque<Change>, bool) {
        let mut group = std::mem::take(&mut self.carried);
        if group.is_empty() {
            let first = loop {
                if self.db.is_some() {
                    break self.messages.recv().ok();
                }
                let pause = self.reopen_after.saturating_duration_since(Instant::now());
                match self.messages.recv_timeout(pause) {
                    Ok(message) => break Some(message),
                    Err(RecvTimeoutError::Timeout) => self.reopen(),
                    Err(RecvTimeoutError::Disconnected) => break None,
                }
            };
            match first {
                Some(Message::Change(change)) => group.push_back(change),
                Some(Message::Stop) | None => return (group, true),
            }
        }
        while group.len() < GROUP_MAX {
            match self.messages.try_recv() {
                Ok(Message::Change(change)) => group.push_back(change),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return (group, true),
                Err(TryRecvError::Empty) => break,
            }
        }
        (group, false)
    }

    fn process(&mut self, mut group: VecDeque<Change>) {
        let taken = group.len() as u64;
        if self.db.is_none() {
            self.reopen();
        }
        let is_full = self.full_until.is_some_and(|until| Instant::now() < until);
        let Some(db) = self.db.as_ref().filter(|_| !is_full) else {
            // Without a transaction they cannot run; being dropped tells their callers.
            drop(group);
            Stats::sub(&self.stats.queued, taken);
            return;
        };
        let changes_before = db.total_changes();
        let mut answers = Vec::with_capacity(group.len());
        let fate = commit(db, &mut group, &mut answers, &self.config.name);
        let has_changed = db.total_changes() != changes_before;
        let operations = answers.len() as u64;
        Stats::sub(&self.stats.queued, taken - group.len() as u64);
        Stats::add(&self.stats.operations, operations);
        Stats::add(&self.stats.groups, 1);
        let largest = &self.stats.group_operations_max;
        largest.fetch_max(operations, std::sync::atomic::Ordering::Relaxed);
        self.carried = group;
        match fate {
            Group::Committed => {
                self.full_until = None;
                Stats::add(&self.stats.commits, u64::from(has_changed));
                for answer in answers {
                    answer(Ok(()));
                }
                self.uncheckpointed += if has_changed { operations } else { 0 };
                if self.uncheckpointed >= CHECKPOINT_OPERATIONS {
                    self.checkpoint();
                }
            }
            Group::Failed { error, is_full } => {
                tracing::error!(shard = self.config.name, %error, is_full, "metadata commit failed");
                Stats::add(&self.stats.commits_failed, 1);
                self.db = None;
                for answer in answers {
                    answer(Err(error.clone()));
                }
                self.reopen_after = Instant::now();
                self.reopen();
                self.full_until = is_full.then(|| Instant::now() + REOPEN_INTERVAL);
            }
        }
    }

    /// Opens and checks the store after a failed COMMIT. It stays closed if that fails.
    fn reopen(&mut self) {
        if Instant::now() < self.reopen_after {
            return;
        }
        Stats::set(&self.stats.down, 1);
        let opened = self.open_and_check();
        // Counted from the end: a check that takes long must not be all that this thread does.
        self.reopen_after = Instant::now() + REOPEN_INTERVAL;
        match opened {
            Ok(db) => {
                self.db = Some(db);
                self.uncheckpointed = 0;
                self.readers.open();
                Stats::set(&self.stats.down, 0);
                Stats::add(&self.stats.reopened, 1);
                tracing::warn!(
                    shard = self.config.name,
                    "metadata store opened again after a failed commit"
                );
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    shard = self.config.name,
                    error,
                    "metadata store does not open again"
                );
            }
        }
    }

    fn open_and_check(&self) -> Result<Connection, OpenError> {
        let path: PathBuf = self.config.path.clone();
        if !self.readers.close(READERS_PATIENCE) {
            let finding = "readers did not end in time".to_owned();
            return Err(OpenError::Damaged { path, finding });
        }
        let db = schema::open_writer(&self.config, self.commit_faults.as_ref())?;
        let sqlite = |source| OpenError::Sqlite {
            path: path.clone(),
            source,
        };
        if let Some(finding) = schema::damage(&db).map_err(sqlite)? {
            return Err(OpenError::Damaged { path, finding });
        }
        // Syncs everything that the recovered log holds; a disk that still fails shows here.
        match checkpoint(&db, "TRUNCATE") {
            Ok(_) => {}
            // The log was synced before its pages found no room in the file. It serves reads as it is.
            Err(error) if is_disk_full(&error) => {
                tracing::warn!(
                    shard = self.config.name,
                    "disk is full, metadata is only read"
                );
            }
            Err(error) => return Err(sqlite(error)),
        }
        Ok(db)
    }

    /// Passive: it takes from the log what no reader needs and waits for nobody.
    fn checkpoint(&mut self) {
        let Some(db) = &self.db else { return };
        self.uncheckpointed = 0;
        Stats::add(&self.stats.checkpoints, 1);
        let result = checkpoint(db, "PASSIVE").and_then(|frames| {
            if frames < WAL_FRAMES_MAX {
                return Ok(frames);
            }
            db.busy_timeout(TRUNCATE_PATIENCE)?;
            let frames = checkpoint(db, "TRUNCATE");
            db.busy_timeout(schema::BUSY_PATIENCE)?;
            frames
        });
        if let Err(error) = result {
            // The log keeps what was not copied; the next commit tells whether the disk is well.
            tracing::warn!(shard = self.config.name, %error, "metadata checkpoint failed");
        }
    }
}

fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Frames in the log.
fn checkpoint(db: &Connection, mode: &str) -> Result<i64, rusqlite::Error> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        row.get(1)
    })
}

/// Runs the group in one transaction. Leaves in `group` what was not run, fills `answers` with the rest.
fn commit(
    db: &Connection,
    group: &mut VecDeque<Change>,
    answers: &mut Vec<Answer>,
    shard: &str,
) -> Group {
    let execute = |sql: &str| {
        db.prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
    };
    if let Err(error) = execute("BEGIN IMMEDIATE") {
        // None has run, but the store cannot be trusted; they are answered when they are dropped.
        group.clear();
        return failed(shard, &error);
    }
    while let Some(change) = group.pop_front() {
        let ran = (change.run)(db);
        answers.push(ran.answer);
        if db.is_autocommit() {
            return Group::Failed {
                error: unavailable(shard, "the transaction was rolled back"),
                is_full: ran.is_full,
            };
        }
    }
    match execute("COMMIT") {
        Ok(_) => Group::Committed,
        // The connection is closed next, which rolls back whatever is left.
        Err(error) => failed(shard, &error),
    }
}

fn failed(shard: &str, error: &rusqlite::Error) -> Group {
    Group::Failed {
        error: unavailable(shard, error),
        is_full: is_disk_full(error),
    }
}

fn in_savepoint<T>(
    db: &Connection,
    change: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let execute = |sql: &str| {
        db.prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
    };
    execute("SAVEPOINT change")?;
    let result = change(db);
    if result.is_err() && execute("ROLLBACK TO change").is_err() {
        // The whole transaction is gone, which the caller of `run` sees. What ended it tells more.
        return result;
    }
    execute("RELEASE change")?;
    result
}

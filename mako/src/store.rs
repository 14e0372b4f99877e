//! The store: one directory as a [`Shark`].
//!
//! Everything that touches the disk runs on the runtime's blocking threads, one trip for a small copy and
//! one for each chunk of a large one; the exception is a small copy that the kernel has in memory,
//! which is read on the spot.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use libmanta::mako::{
    Capacity, CopyReader, CopyWriter, LocalCopies, Segment, Shark, SharkError, SizeHint, StoredCopy,
};
use libmanta::{AccountId, ObjectId, StorageId};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::error::{DiskError, OpenError, ReadError};
use crate::manifest::Manifest;
use crate::metrics::Stats;

mod capacity;
mod claim;
mod disk;
mod durable_write;
mod fault;
mod layout;
mod listing;
mod local;
mod open_copy;
mod probe;
mod read;
mod reader;
mod readers;
mod recent;
mod segments;
mod temporaries;
mod turns;
mod writer;

#[cfg(test)]
mod tests;

use capacity::{Refusal, Space};
use claim::{Claim, Owner};
use disk::Disk;
use fault::Faults;
use layout::Layout;
use listing::Listing;
use local::Verified;
use reader::Reader;
use segments::{AssembleError, Linked};
use writer::Writer;

/// A copy up to this size is written anew when it is put together of others: a directory of its own would
/// cost as much, at once and for as long as the copy lives.
const CONCATENATED_BYTES_MAX: u64 = 4 << 20;
/// Room that must be left for a copy in segments, whatever its size: directory blocks and a manifest.
const SEGMENTS_BYTES: u64 = 1 << 20;

/// A storage node on this machine.
#[derive(Debug)]
pub struct Store {
    node: Arc<Node>,
}

impl Store {
    /// Takes possession of the directory: locks it, checks that it is this node's (or makes it so when it
    /// is empty), and removes what an earlier process left unfinished. Blocks.
    ///
    /// A directory on a read-only file system is opened too and serves reads. One that is gone is opened
    /// when [`Config::may_create`] is off, and the node is down until it is there.
    pub fn open(config: Config) -> Result<Arc<Self>, OpenError> {
        Self::open_with(config, Faults::default())
    }

    fn open_with(config: Config, faults: Faults) -> Result<Arc<Self>, OpenError> {
        let layout = Layout::new(config.directory);
        let owner = Owner {
            storage_id: config.storage_id,
            store_id: config.store_id,
        };
        let claim = if config.may_create || layout.format().exists() {
            Some(Claim::take(&layout, &owner)?)
        } else {
            None
        };
        let stats = Arc::new(Stats::default());
        let tracker = TaskTracker::new();
        let space = Space::new(config.utilisation_max_percent, config.probe_interval);
        let node = Node {
            owner,
            datacenter: config.datacenter,
            disk: Arc::new(Disk::new(layout, stats, faults, tracker.clone())),
            space: Arc::new(space),
            claim: Mutex::new(claim),
            purged: AtomicBool::new(false),
            writers: AtomicUsize::new(0),
            listing: Listing::default(),
            verified: Verified::default(),
            read_ahead: Arc::new(Semaphore::new(reader::READ_AHEAD_BYTES)),
            tracker,
        };
        node.probe();
        Ok(Arc::new(Self {
            node: Arc::new(node),
        }))
    }

    /// Counters since the store was opened.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.node.disk.stats
    }

    /// Why the node takes no copies although it may have space; `None` when it works.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.node.space.fault()
    }

    /// Waits until everything that was begun has ended, commits whose future was dropped included.
    pub async fn close(&self) {
        self.node.tracker.close();
        self.node.tracker.wait().await;
    }
}

#[async_trait]
impl Shark for Store {
    fn storage_id(&self) -> &StorageId {
        &self.node.owner.storage_id
    }

    fn datacenter(&self) -> &str {
        &self.node.datacenter
    }

    fn capacity(&self) -> Capacity {
        // Whoever picks nodes asks here and nowhere else, so this is also where a failed one is noticed
        // to have come back.
        self.node.probe_if_due();
        self.node.space.capacity()
    }

    async fn create(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        size: SizeHint,
    ) -> Result<Box<dyn CopyWriter>, SharkError> {
        self.node.probe_if_due();
        match self.node.space.reserve(size) {
            Ok(reservation) => {
                let node = Arc::clone(&self.node);
                let writer = Writer::new(node, creator, object_id, size, reservation);
                Ok(Box::new(writer))
            }
            Err(refusal) => Err(self.node.refused(refusal)),
        }
    }

    async fn assemble(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        segments: Vec<Segment>,
    ) -> Result<(), SharkError> {
        self.node.probe_if_due();
        let assembled = self
            .node
            .blocking(move |node| node.assemble(creator, object_id, segments));
        joined(assembled)
            .await
            .map_err(|Stopped| self.node.stopped())?
    }

    async fn open(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        range: Range<u64>,
    ) -> Result<Box<dyn CopyReader>, SharkError> {
        let reader = Reader::open(&self.node, creator, object_id, range).await?;
        Ok(Box::new(reader))
    }

    async fn delete(&self, creator: AccountId, object_id: ObjectId) -> Result<bool, SharkError> {
        let removed = self.node.blocking(move |node| {
            let removed = node.disk.remove(creator, object_id);
            removed.map_err(DiskError::during("unlink copy"))
        });
        match joined(removed)
            .await
            .map_err(|Stopped| self.node.stopped())?
        {
            Ok(removed) => {
                self.node.disk.stats.copies_deleted.add(u64::from(removed));
                Ok(removed)
            }
            Err(error) => Err(self.node.failed(error)),
        }
    }

    async fn copies(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<StoredCopy>, SharkError> {
        let page = self.node.blocking(move |node| {
            let page = node.listing.page(&node.disk, after, limit);
            page.map_err(DiskError::during("list copies"))
        });
        match joined(page).await.map_err(|Stopped| self.node.stopped())? {
            Ok(page) => Ok(page),
            Err(error) => Err(self.node.failed(error)),
        }
    }

    fn local(&self) -> Option<Arc<dyn LocalCopies>> {
        Some(Arc::clone(&self.node) as Arc<dyn LocalCopies>)
    }
}

/// What the store, its writers and its readers share.
pub(crate) struct Node {
    owner: Owner,
    datacenter: String,
    disk: Arc<Disk>,
    space: Arc<Space>,
    /// `None` until a directory that was gone at the start is there.
    claim: Mutex<Option<Claim>>,
    /// Whether temporaries of an earlier process are gone. Only a disk that was read-only at the start
    /// leaves that for later.
    purged: AtomicBool,
    /// Copies being written now.
    writers: AtomicUsize,
    listing: Listing,
    verified: Verified,
    /// Bytes that readers may still read before anybody asks for them.
    read_ahead: Arc<Semaphore>,
    /// Owns every task and blocking call that is begun here.
    tracker: TaskTracker,
}

/// The runtime is going down, and the work was not done.
#[derive(Debug)]
pub(crate) struct Stopped;

/// The result of a task, whose panic goes on here.
pub(crate) async fn joined<T>(task: JoinHandle<T>) -> Result<T, Stopped> {
    match task.await {
        Ok(result) => Ok(result),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Stopped),
    }
}

impl Node {
    /// Runs `work` where it may block. It runs to its end even if nobody waits for it.
    fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let node = Arc::clone(self);
        self.tracker.spawn_blocking(move || work(&node))
    }

    /// Blocks.
    fn assemble(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        segments: Vec<Segment>,
    ) -> Result<(), SharkError> {
        let Some(manifest) = Manifest::new(object_id, segments) else {
            return Err(self.misused("assemble", "the sizes of the segments are impossible"));
        };
        let reserve = |bytes| {
            let reserved = self.space.reserve(SizeHint::Exactly(bytes));
            let mut reserved = reserved.map_err(|refusal| self.refused(refusal))?;
            reserved
                .take(bytes)
                .map_err(|refusal| self.refused(refusal))
        };
        let size_bytes = manifest.size_bytes();
        let assembled = if size_bytes <= CONCATENATED_BYTES_MAX {
            reserve(size_bytes)?;
            segments::concatenate(&self.disk, creator, &manifest)
        } else {
            reserve(SEGMENTS_BYTES)?;
            match segments::link(&self.disk, creator, &manifest) {
                Ok(Linked::NotHere) => {
                    reserve(size_bytes)?;
                    segments::concatenate(&self.disk, creator, &manifest)
                }
                linked => linked.map(drop),
            }
        };
        assembled.map_err(|error| match error {
            AssembleError::Segment(segment, ReadError::Disk(error)) => {
                tracing::warn!(object_id = %segment, "a segment cannot be read");
                self.failed(error)
            }
            AssembleError::Segment(segment, error) => self.unreadable(segment, error),
            AssembleError::Disk(error) => self.failed(error),
        })
    }

    /// The error for a caller, after the node drew its own conclusions.
    fn failed(&self, error: DiskError) -> SharkError {
        if error.is_full() {
            self.space.filled();
            self.disk.stats.refused_full.add(1);
            return SharkError::NotEnoughSpace {
                storage_id: self.owner.storage_id.clone(),
            };
        }
        if error.condemns_node() {
            self.disk.stats.disk_errors.add(1);
            let reason = format!("{}: {}", error.during, error.source);
            if self.space.failed(reason) {
                tracing::warn!(
                    storage_id = %self.owner.storage_id,
                    during = error.during,
                    error = %error.source,
                    "storage node takes no copies until a probe succeeds"
                );
            }
        }
        self.io_error(error)
    }

    /// The error for a reader. One file that cannot be read says little about writing others.
    fn unreadable(&self, object_id: ObjectId, error: ReadError) -> SharkError {
        let storage_id = self.owner.storage_id.clone();
        match error {
            ReadError::Missing => {
                self.disk.stats.missing.add(1);
                SharkError::NoSuchCopy {
                    storage_id,
                    object_id,
                }
            }
            ReadError::Damaged(reason) => {
                self.disk.stats.damaged.add(1);
                SharkError::Damaged {
                    storage_id,
                    object_id,
                    reason,
                }
            }
            // A copy in segments could not become one file.
            ReadError::Disk(error) if error.is_full() => self.failed(error),
            ReadError::Disk(error) => {
                self.disk.stats.disk_errors.add(1);
                self.io_error(error)
            }
        }
    }

    fn refused(&self, refusal: Refusal) -> SharkError {
        let storage_id = self.owner.storage_id.clone();
        match refusal {
            Refusal::Full => {
                self.disk.stats.refused_full.add(1);
                SharkError::NotEnoughSpace { storage_id }
            }
            Refusal::Failed(reason) => SharkError::Unavailable { storage_id, reason },
        }
    }

    fn misused(&self, during: &'static str, reason: &'static str) -> SharkError {
        let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
        self.io_error(DiskError { during, source })
    }

    fn stopped(&self) -> SharkError {
        SharkError::Unavailable {
            storage_id: self.owner.storage_id.clone(),
            reason: String::from("it is shutting down"),
        }
    }

    fn io_error(&self, error: DiskError) -> SharkError {
        SharkError::Io {
            storage_id: self.owner.storage_id.clone(),
            during: error.during,
            source: error.source,
        }
    }
}

#[async_trait]
impl LocalCopies for Node {
    async fn open_file(&self, creator: AccountId, object_id: ObjectId) -> Result<File, SharkError> {
        // The blocking thread stops reading a large copy when nobody waits for it any more.
        let abandoned = CancellationToken::new();
        let _guard = abandoned.clone().drop_guard();
        let (disk, space) = (Arc::clone(&self.disk), Arc::clone(&self.space));
        let verified = self.verified.clone();
        let opened = self.tracker.spawn_blocking(move || {
            verified.open(&disk, &space, creator, object_id, || {
                abandoned.is_cancelled()
            })
        });
        match joined(opened).await.map_err(|Stopped| self.stopped())? {
            Ok(file) => Ok(file),
            Err(error) => Err(self.unreadable(object_id, error)),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("storage_id", &self.owner.storage_id)
            .field("root", &self.disk.layout.root())
            .finish_non_exhaustive()
    }
}

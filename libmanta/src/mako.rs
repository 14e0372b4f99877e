//! The storage port: the bytes of one copy on one storage node.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::{AccountId, ObjectId, StorageId, Timestamp};

/// One storage node. Copies are named by the account that wrote them and the object id; they never change
/// once they are there.
#[async_trait]
pub trait Shark: Send + Sync + fmt::Debug {
    fn storage_id(&self) -> &StorageId;

    /// The availability zone it stands in; copies of one object go to different ones.
    fn datacenter(&self) -> &str;

    /// What the node last said of itself. Never blocks.
    fn capacity(&self) -> Capacity;

    /// Begins a copy. `size_bytes` is exact when known, otherwise the most that may come.
    async fn create(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        size_bytes: SizeHint,
    ) -> Result<Box<dyn CopyWriter>, SharkError>;

    /// Makes a copy of `object_id` out of copies that `creator` has here already, put one after the other:
    /// durable, like a copy that was written, when this returns. The segments stay copies of their own, and
    /// deleting them afterwards takes nothing from what was made of them. `object_id` is a new one. Takes no time or space in proportion to the bytes, where the node can avoid it. Once called it runs
    /// to its end even if the future is dropped.
    ///
    /// Errors: `NoSuchCopy` and `Damaged` name the segment, which has another size than announced, or is not
    /// there; `NotEnoughSpace`. Nothing is left then.
    async fn assemble(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        segments: Vec<Segment>,
    ) -> Result<(), SharkError>;

    /// Opens a copy and reads its first bytes from `range.start` on, so that a damaged or missing copy is
    /// found here and another one can be asked. `range` is clamped to the copy.
    async fn open(
        &self,
        creator: AccountId,
        object_id: ObjectId,
        range: Range<u64>,
    ) -> Result<Box<dyn CopyReader>, SharkError>;

    /// Unlinks a copy. `false` when there was none.
    async fn delete(&self, creator: AccountId, object_id: ObjectId) -> Result<bool, SharkError>;

    /// Copies on this node in byte order of object id, strictly after `after`, at most `limit`.
    async fn copies(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<StoredCopy>, SharkError>;

    /// The files themselves, for compute on this very machine; `None` when the node is remote.
    fn local(&self) -> Option<Arc<dyn LocalCopies>>;
}

/// Direct access to the files of a storage node on this machine.
#[async_trait]
pub trait LocalCopies: Send + Sync + fmt::Debug {
    /// The copy's file, opened read-only after its checksums were verified.
    async fn open_file(&self, creator: AccountId, object_id: ObjectId) -> Result<File, SharkError>;
}

/// A copy of which [`Shark::assemble`] makes a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub object_id: ObjectId,
    /// Size of the copy, all of which is used.
    pub size_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeHint {
    Exactly(u64),
    AtMost(u64),
}

/// A copy being written. Dropping it removes what was written; only [`commit`](Self::commit) makes a copy.
#[async_trait]
pub trait CopyWriter: Send {
    /// Appends. Waits while the disk is behind, so memory stays bounded. Dropping the future leaves a
    /// writer that can only be dropped.
    async fn write(&mut self, bytes: Bytes) -> Result<(), SharkError>;

    /// Makes the copy durable under its name: bytes, checksums, then the directory. Once called it runs to
    /// its end even if the future is dropped.
    async fn commit(self: Box<Self>) -> Result<(), SharkError>;
}

/// A copy being read, verified block by block.
#[async_trait]
pub trait CopyReader: Send {
    /// Size of the whole copy, whatever the range.
    fn size_bytes(&self) -> u64;

    /// The next bytes of the range; `None` at its end. After an error nothing more comes.
    async fn read(&mut self) -> Result<Option<Bytes>, SharkError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub total_bytes: u64,
    pub available_bytes: u64,
    /// Whether it takes new copies: mounted, writable, below its limit.
    pub writable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredCopy {
    pub creator: AccountId,
    pub object_id: ObjectId,
    pub size_bytes: u64,
    /// When the copy became complete.
    pub stored: Timestamp,
}

/// What went wrong on a storage node. All but `NotEnoughSpace` mean: ask another node.
#[derive(Debug, Error)]
pub enum SharkError {
    #[error("storage node {storage_id} has no copy of {object_id}")]
    NoSuchCopy {
        storage_id: StorageId,
        object_id: ObjectId,
    },
    #[error("storage node {storage_id} has a damaged copy of {object_id}: {reason}")]
    Damaged {
        storage_id: StorageId,
        object_id: ObjectId,
        reason: String,
    },
    #[error("storage node {storage_id} has not enough space")]
    NotEnoughSpace { storage_id: StorageId },
    #[error("storage node {storage_id} failed: {during}")]
    Io {
        storage_id: StorageId,
        during: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("storage node {storage_id} takes no requests: {reason}")]
    Unavailable {
        storage_id: StorageId,
        reason: String,
    },
}

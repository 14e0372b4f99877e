//! The metadata port: the directory tree, and small records of the services themselves.
//!
//! Behind it stands either one shard (`moray`) or the router over all of them (`electric-moray`); a caller
//! cannot tell which. Each call below is linearizable. A call whose future is dropped may still take effect.

pub mod links;
pub mod shard;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    AccountId, Condition, Entry, Judged, ObjectId, ObjectKey, PreconditionFailed, StorageId,
    Timestamp,
};

/// Most entries in one directory. Source: rest-api.md section 2.5.
pub const DIRECTORY_ENTRIES_MAX: u64 = 1_000_000;

/// The tree of directories and objects.
#[async_trait]
pub trait Namespace: Send + Sync + fmt::Debug {
    /// What to call a new object that will be put under `key`. Any fresh id would do; this one makes links to it
    /// cheap where that is possible.
    fn new_object_id(&self, key: &ObjectKey) -> ObjectId;

    /// The entry under `key` and whether its parent can hold it; one moment for the entry, maybe another
    /// for the parent.
    async fn lookup(&self, key: &ObjectKey) -> Result<Lookup, MorayError>;

    /// Creates or overwrites an object. An entry that was replaced goes to the delete log in the same
    /// transaction. The parent must exist, the entry must not be a directory, the condition must hold, and
    /// so must what [`PutObject::also`] expects.
    async fn put_object(&self, put: PutObject) -> Result<Replaced, NamespaceError>;

    /// Creates a directory. An existing one gets the headers and roles if they differ, and is otherwise
    /// not written; an object of that name is replaced and goes to the delete log. Areas may be recorded.
    async fn make_directory(&self, make: MakeDirectory) -> Result<Replaced, NamespaceError>;

    /// Replaces headers, roles, and content type and disposition of an existing entry, whatever it is.
    /// Areas may be recorded by it.
    async fn update(&self, update: Update) -> Result<Replaced, NamespaceError>;

    /// Removes an object and puts it into the delete log. Returns what was removed.
    async fn remove_object(
        &self,
        key: &ObjectKey,
        condition: &Condition,
    ) -> Result<Entry, NamespaceError>;

    /// Removes an empty directory, if it is still what was `judged`, as in a [`Condition`]. Returns what was
    /// removed.
    async fn remove_directory(
        &self,
        key: &ObjectKey,
        judged: Option<&Judged>,
    ) -> Result<Entry, NamespaceError>;

    /// A page of a directory.
    async fn list(&self, list: &List) -> Result<Page, NamespaceError>;
}

/// What [`Namespace::lookup`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub entry: Option<Entry>,
    pub parent: Parent,
}

/// What is at the parent of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// A directory, or the key is an area and needs none.
    Directory,
    Object,
    Missing,
}

#[derive(Clone, Debug)]
pub struct PutObject {
    /// Its kind must be an object.
    pub entry: Entry,
    pub condition: Condition,
    /// Refuse, overwrites as well, when the directory holds more entries than this already.
    pub directory_entries_max: u64,
    /// A record written in the same transaction as the entry, or neither is. Its route must be the entry's
    /// [`ObjectKey::entry_route`], so that both lie in one shard.
    pub also: Option<Write>,
}

#[derive(Clone, Debug)]
pub struct MakeDirectory {
    pub key: ObjectKey,
    pub mtime: Timestamp,
    pub headers: Vec<(String, String)>,
    pub roles: Vec<Uuid>,
    /// As in a [`Condition`].
    pub judged: Option<Judged>,
}

#[derive(Clone, Debug)]
pub struct Update {
    pub key: ObjectKey,
    pub mtime: Timestamp,
    pub headers: Vec<(String, String)>,
    pub roles: Vec<Uuid>,
    /// Kept when `None`; ignored for directories.
    pub content_type: Option<String>,
    /// Replaced, also by `None`; ignored for directories.
    pub content_disposition: Option<String>,
    pub condition: Condition,
}

/// The entry as it was before a write, and as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub before: Option<Entry>,
    pub after: Entry,
}

/// Which part of a directory to list.
#[derive(Clone, Debug)]
pub struct List {
    pub directory: ObjectKey,
    pub order: Order,
    /// 1 or more. One page is read in one go, so the caller keeps this small.
    pub limit: usize,
    pub only: Option<Only>,
}

/// Order of a listing, and where it starts (inclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Byte order of names.
    Name { from: Option<String>, reverse: bool },
    /// Newest first; `reverse` is oldest first. Ties are in no particular order, but a stable one.
    Mtime {
        from: Option<Timestamp>,
        reverse: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    Directories,
    Objects,
}

#[derive(Clone, Debug)]
pub struct Page {
    /// The directory's own entry; `None` for an area that was never written to.
    pub directory: Option<Entry>,
    /// Entries in the whole directory, exact.
    pub entries_total: u64,
    pub entries: Vec<Entry>,
}

/// Why the tree could not be changed or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NamespaceError {
    #[error("no such entry")]
    NotFound,
    #[error("the parent directory does not exist")]
    ParentNotFound,
    #[error("the parent is not a directory")]
    ParentNotDirectory,
    #[error("the entry is a directory")]
    IsDirectory,
    #[error("the entry is not a directory")]
    NotDirectory,
    /// What is to be linked or renamed.
    #[error("the source does not exist")]
    SourceNotFound,
    #[error("the source is a directory")]
    SourceIsDirectory,
    #[error("the directory is not empty")]
    NotEmpty,
    #[error("the directory is full")]
    DirectoryFull,
    #[error("directories that always exist cannot be removed")]
    IsRoot,
    /// [`PutObject::also`] is not as it expects, or would lie in another shard than the entry.
    #[error("the record written with the entry is not as the write expects it")]
    AlsoConflict,
    #[error(transparent)]
    Precondition(#[from] PreconditionFailed),
    #[error(transparent)]
    Moray(#[from] MorayError),
}

/// The metadata tier could not do its work; nothing is known to have changed unless said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MorayError {
    /// Too much waits already, or too many others touched the same names. Worth a retry later.
    #[error("metadata shard {shard} is overloaded")]
    Overloaded { shard: String },
    /// The commit failed, or the shard is down. Whether the change took effect is unknown.
    #[error("metadata shard {shard} is unavailable: {reason}")]
    Unavailable { shard: String, reason: String },
    /// What is stored cannot be understood.
    #[error("metadata shard {shard} holds a record that does not decode: {reason}")]
    Corrupt { shard: String, reason: String },
}

/// Entries whose bytes nobody needs any more, kept from the transaction that removed them until every copy
/// is unlinked.
#[async_trait]
pub trait DeleteLog: Send + Sync + fmt::Debug {
    /// The oldest entries behind `after` that were logged before `before`, at most `limit` for each shard;
    /// none when that was all. Entries dated more than an hour ahead of the present, by a clock that was
    /// wrong, count as old and come last.
    async fn deleted(
        &self,
        before: Timestamp,
        after: &LogCursor,
        limit: usize,
    ) -> Result<Vec<Deleted>, MorayError>;

    /// Forgets entries whose copies are all gone. Repeating is harmless.
    async fn forget(&self, deleted: &[Deleted]) -> Result<(), MorayError>;

    /// Which of `objects` an entry, a record or the delete log refers to, in the same order. Asks all shards. Not what
    /// a link that was called off has left half entered under a name.
    async fn referenced(&self, objects: &[ObjectId]) -> Result<Vec<bool>, MorayError>;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Where the record lies; opaque to the caller.
    pub shard: String,
    /// Position in that shard's log; opaque to the caller.
    pub sequence: u64,
    /// By the clock of the shard.
    pub logged: Timestamp,
    pub object_id: ObjectId,
    pub creator: AccountId,
    pub copies: Vec<StorageId>,
}

/// How far a pass over the delete log has come, in each shard. The default is the beginning.
#[derive(Clone, Debug, Default)]
pub struct LogCursor(BTreeMap<String, (Timestamp, u64)>);

impl LogCursor {
    /// Moves behind `entry`, whatever becomes of it. Never moves back.
    pub fn pass(&mut self, entry: &Deleted) {
        let place = (entry.logged, entry.sequence);
        match self.0.get_mut(&entry.shard) {
            Some(furthest) => *furthest = place.max(*furthest),
            None => drop(self.0.insert(entry.shard.clone(), place)),
        }
    }

    /// Time and sequence of the last entry passed in `shard`; its log is read in that order.
    #[must_use]
    pub fn of(&self, shard: &str) -> Option<(Timestamp, u64)> {
        self.0.get(shard).copied()
    }
}

/// Small records of the services: accounts, jobs. Generic key-value with etags, as Moray's buckets were.
#[async_trait]
pub trait Buckets: Send + Sync + fmt::Debug {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, MorayError>;

    /// All or nothing; every write must have the same `route`. At most a few thousand writes.
    async fn batch(&self, writes: Vec<Write>) -> Result<(), BatchError>;

    /// Records of `bucket` below `route` with `from <= key`, in byte order of their keys.
    async fn scan(
        &self,
        bucket: &str,
        route: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError>;

    /// Records of `bucket` with any route, in order of (route, key), strictly after `after`. Merged from
    /// all shards; meant for start-up and housekeeping.
    async fn scan_all(
        &self,
        bucket: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError>;
}

/// Everything behind the metadata port.
pub trait Moray: Namespace + links::Links + links::Upkeep + DeleteLog + Buckets {}
impl<T: Namespace + links::Links + links::Upkeep + DeleteLog + Buckets> Moray for T {}

/// Name of a record. Records with the same `route` lie in one shard and can be written together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    pub bucket: String,
    pub route: String,
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub key: RecordKey,
    pub value: Vec<u8>,
    /// Changes with every write of this record.
    pub etag: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    pub key: RecordKey,
    /// `None` deletes; deleting what is not there is no error.
    pub value: Option<Vec<u8>>,
    pub expect: Expect,
}

/// What a write demands of the record it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    Anything,
    Absent,
    Etag(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    #[error("record {0:?} is not as the write expects it")]
    Conflict(RecordKey),
    #[error("the writes of a batch have different routes")]
    Routes,
    #[error(transparent)]
    Moray(#[from] MorayError),
}

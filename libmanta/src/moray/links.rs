//! Links and renames, and what they leave to be done. See [`crate::link`] for how they work.

use async_trait::async_trait;
use uuid::Uuid;

use super::{MorayError, NamespaceError};
use crate::link::Errand;
use crate::namespace::Token;
use crate::{Condition, Entry, ObjectId, ObjectKey, Timestamp};

/// Giving an object another name.
#[async_trait]
pub trait Links: Send + Sync {
    /// Gives the object under `source` the name `target` as well: same bytes, etag and headers. An object that
    /// had the name loses it. A link to itself changes nothing.
    async fn link(&self, link: Link) -> Result<Transferred, NamespaceError>;

    /// Gives the object under `source` the name `target` instead: before one instant only the one is there,
    /// afterwards only the other. An object that had the name loses it. A rename to itself changes nothing.
    async fn rename(&self, rename: Rename) -> Result<Transferred, NamespaceError>;
}

#[derive(Clone, Debug)]
pub struct Link {
    pub source: ObjectKey,
    pub target: ObjectKey,
    /// Of the new name; headers are those of the source.
    pub mtime: Timestamp,
    /// Role tags of the new name.
    pub roles: Vec<Uuid>,
    /// Of the entry under `source`.
    pub source_condition: Condition,
    /// Of the entry under `target`, which may be none.
    pub target_condition: Condition,
    /// As in [`PutObject`](super::PutObject), for the directory of `target`.
    pub directory_entries_max: u64,
}

#[derive(Clone, Debug)]
pub struct Rename {
    pub source: ObjectKey,
    pub target: ObjectKey,
    /// Kept when `None`, as headers always are.
    pub mtime: Option<Timestamp>,
    /// Kept when `None`.
    pub roles: Option<Vec<Uuid>>,
    /// Of the entry under `source`.
    pub source_condition: Condition,
    /// Of the entry under `target`, which may be none.
    pub target_condition: Condition,
    /// As in [`PutObject`](super::PutObject), for the directory of `target`.
    pub directory_entries_max: u64,
}

/// A link or rename that took place, all at the same instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transferred {
    pub source: Entry,
    /// The object that had the name before.
    pub before: Option<Entry>,
    pub after: Entry,
}

/// What links and renames leave to be done. Correctness does not depend on when it is done; the space of dead
/// objects does.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Runs the errands that were logged before `before`, or by a clock that was far ahead, `limit` at a time.
    /// Returns how many. An error means that some could not be run, and stay in the log; the others were.
    async fn run_errands(&self, before: Timestamp, limit: usize) -> Result<usize, MorayError>;

    /// Looks after at most `limit` references behind `after`, and moves it; back to the beginning when that
    /// was all. Operations that began before `stopped`, or by a clock that was far ahead, count as stopped.
    /// Returns how many references were removed. An error means that some could not be looked after; `after`
    /// has moved past them, and the others were.
    async fn audit(
        &self,
        after: &mut AuditCursor,
        stopped: Timestamp,
        limit: usize,
    ) -> Result<usize, MorayError>;
}

/// How far an audit has come. The default is the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditCursor {
    /// The last shard, in the order of the ring, that was looked at, and the last reference there.
    pub shard: usize,
    pub reference: Option<(ObjectId, Token)>,
}

/// An errand in the log of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Position in that shard's log; never used again.
    pub sequence: u64,
    pub logged: Timestamp,
    pub errand: Errand<ObjectKey>,
}

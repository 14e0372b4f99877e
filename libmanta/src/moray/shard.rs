//! The lower metadata port: what one shard does, one atomic transaction a call. The router puts the calls
//! together with [`crate::namespace::Coordinator`]; nobody else should need them.
//!
//! A shard does not know the ring: it stores whatever it is told to. A key is given to two shards in two
//! roles: *entry* calls ([`Shard::mark`] …) go where [`ObjectKey::entry_route`] lies, *row* calls
//! ([`Shard::close`] …) where [`ObjectKey::row_route`] lies.

pub mod links;

use std::sync::Arc;

use async_trait::async_trait;

use self::links::{Enter, TransferHere, Written};
use super::links::{Logged, Transferred};
use super::{
    Buckets, DeleteLog, List, MakeDirectory, MorayError, NamespaceError, PutObject, Replaced,
    Update,
};
use crate::link::{Binding, Bound, Over};
use crate::namespace::{Close, Mark, Presence, Row, Slot, Token, Unsettled};
use crate::{Condition, Entry, Judged, ObjectKey};

/// One metadata shard. Every call is one transaction, durable before it returns. A call that fails with
/// [`MorayError::Unavailable`], or whose future is dropped, may or may not have taken effect, now or later.
#[async_trait]
pub trait Shard: DeleteLog + Buckets + links::Links {
    /// The name by which the ring knows it.
    fn name(&self) -> &str;

    /// The entry under `key`, and the row of the directory that holds it.
    async fn look(&self, key: &ObjectKey) -> Result<Look, MorayError>;

    /// The row of a directory and, if it is open, the page that is asked for.
    async fn list(&self, list: &List) -> Result<Listed, MorayError>;

    /// [`Step::Insert`](crate::namespace::Step::Insert) or
    /// [`Step::Settle`](crate::namespace::Step::Settle), and the child if it is admitted. The transaction
    /// that writes the child also checks its condition, counts, and fills the delete log.
    /// [`Binding::overwrite`] decides with `over` whether the name may be written.
    async fn insert(
        &self,
        child: Arc<Child>,
        admit: Admit,
        over: Over,
    ) -> Result<Inserted, MorayError>;

    /// [`Row::drop_if`] on the row of `directory`.
    async fn drop_row(&self, directory: &ObjectKey, seen: Unsettled) -> Result<bool, MorayError>;

    /// [`Row::close`] on the row of `directory`.
    async fn close(&self, directory: &ObjectKey, token: Token) -> Result<Close, MorayError>;

    /// [`Row::reopen`] on the row of `directory`.
    async fn reopen(&self, directory: &ObjectKey, token: Token) -> Result<bool, MorayError>;

    /// [`Slot::mark`] on the entry `key`, if it is still what was `judged`. Whatever changes that later takes the
    /// mark away again.
    async fn mark(
        &self,
        key: &ObjectKey,
        token: Token,
        judged: Option<&Judged>,
    ) -> Result<Result<(), NotMarked>, MorayError>;

    /// [`Slot::unmark`] on the entry `key`.
    async fn unmark(&self, key: &ObjectKey, token: Token) -> Result<bool, MorayError>;

    /// [`Slot::remove_marked`] on the entry `key`, which is then counted down. Returns what was removed.
    async fn remove_marked(
        &self,
        key: &ObjectKey,
        token: Token,
    ) -> Result<Option<Entry>, MorayError>;

    /// Removes an object, if [`Binding::overwrite`] admits it, and puts it into the delete log.
    async fn remove_object(
        &self,
        key: &ObjectKey,
        condition: &Condition,
        over: Over,
    ) -> Result<Written<Entry>, MorayError>;

    /// Changes what is said about an existing entry, if [`Binding::overwrite`] admits it.
    /// [`NamespaceError::NotFound`] if there is none.
    async fn update(&self, update: Update, over: Over) -> Result<Written<Replaced>, MorayError>;
}

/// Why [`Shard::mark`] changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMarked {
    /// What is there is no directory.
    Is(Slot),
    /// It is something else than what was judged.
    Judged,
}

/// What [`Shard::look`] found, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What is there, or what enters.
    pub entry: Option<Entry>,
    /// What is there until somebody has entered.
    pub before: Option<Entry>,
    pub binding: Binding,
    /// [`Mark::Normal`] unless the entry is a directory that somebody is removing.
    pub mark: Mark,
    /// The row of the directory that would hold the entry.
    pub row: Row,
}

impl Look {
    /// The entry as the protocol sees it. An object may be one that nobody sees: see [`crate::link`].
    #[must_use]
    pub fn slot(&self) -> Slot {
        match &self.entry {
            None => Slot::Absent,
            Some(entry) if entry.is_directory() => Slot::Directory(self.mark),
            Some(_) => Slot::Object,
        }
    }
}

/// What [`Shard::list`] found, at one moment. No entries unless the row is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub row: Row,
    /// The page, without names that are being entered.
    pub entries: Vec<Entry>,
    /// For those of `entries` that are not sole, by position: how they are bound.
    pub linked: Vec<(usize, Bound)>,
    /// All names that are being entered, of the whole directory: whether and where they belong into the page
    /// depends on what they turn out to be bound to. A few: as many as operations are under way, or were when
    /// a crash stopped them.
    pub entering: Vec<Entering>,
    /// All names that a RENAME may have taken the object from, of the whole directory, on the page or not: some
    /// may be bound to nothing. As few.
    pub moving: Vec<Bound>,
}

/// A name that is being entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entering {
    pub binding: Binding,
    /// What enters.
    pub entry: Entry,
    pub before: Option<Entry>,
}

/// A child to be written.
#[derive(Clone, Debug)]
pub enum Child {
    Object(PutObject),
    Directory(MakeDirectory),
    Enter(Enter),
    Transfer(TransferHere),
}

impl Child {
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Object(put) => &put.entry.key,
            Self::Directory(make) => &make.key,
            Self::Enter(enter) => &enter.entry.key,
            Self::Transfer(transfer) => &transfer.target,
        }
    }
}

/// On which state of the row a child is admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit {
    /// [`Row::begin_insert`].
    Begin { nonce: Token, presence: Presence },
    /// [`Row::settle_insert`].
    Settle { seen: Unsettled },
}

/// What an insert came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    Written(Replaced),
    /// Admitted, but not written: the condition, the kind of what is there, or the size of the directory
    /// forbids it.
    Refused(NamespaceError),
    /// Admitted, but not written: others are in the way; see [`crate::link::Overwrite`].
    Busy(Binding),
    /// [`Child::Enter`]: done, and so is [`Enter::commit`] if it was asked for: its errands, or `None` if it
    /// did not commit.
    Entered {
        replaced: Replaced,
        committed: Option<Option<Vec<Logged>>>,
    },
    /// [`Child::Transfer`]: done.
    Transferred(Box<Transferred>),
    /// [`Child::Transfer`]: it takes the steps one by one.
    Apart,
    Unsettled(Unsettled),
    /// The row is not the one that was to be settled.
    Changed,
}

//! The lower metadata port: what one shard does, one atomic transaction a call. The router puts the calls
//! together with [`crate::namespace::Coordinator`]; nobody else should need them.
//!
//! A shard does not know the ring: it stores whatever it is told to. A key is given to two shards in two
//! roles: *entry* calls ([`Shard::mark`] …) go where [`ObjectKey::entry_route`] lies, *row* calls
//! ([`Shard::close`] …) where [`ObjectKey::row_route`] lies.

pub mod links;

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Buckets, DeleteLog, List, MakeDirectory, MorayError, NamespaceError, PutObject, Replaced,
    Update,
};
use crate::namespace::{Close, Mark, Presence, Row, Slot, Token, Unsettled};
use crate::{Condition, Entry, ObjectKey};

/// One metadata shard. Every call is one transaction, durable before it returns. A call that fails with
/// [`MorayError::Unavailable`], or whose future is dropped, may or may not have taken effect, now or later.
#[async_trait]
pub trait Shard: DeleteLog + Buckets {
    /// The name by which the ring knows it.
    fn name(&self) -> &str;

    /// The entry under `key`, and the row of the directory that holds it.
    async fn look(&self, key: &ObjectKey) -> Result<Look, MorayError>;

    /// The row of a directory and, if it is open, the page that is asked for.
    async fn list(&self, list: &List) -> Result<Listed, MorayError>;

    /// [`Step::Insert`](crate::namespace::Step::Insert) or
    /// [`Step::Settle`](crate::namespace::Step::Settle), and the child if it is admitted. The transaction
    /// that writes the child also checks its condition, counts, and fills the delete log.
    async fn insert(&self, child: Arc<Child>, admit: Admit) -> Result<Inserted, MorayError>;

    /// [`Row::drop_if`] on the row of `directory`.
    async fn drop_row(&self, directory: &ObjectKey, seen: Unsettled) -> Result<bool, MorayError>;

    /// [`Row::close`] on the row of `directory`.
    async fn close(&self, directory: &ObjectKey, token: Token) -> Result<Close, MorayError>;

    /// [`Row::reopen`] on the row of `directory`.
    async fn reopen(&self, directory: &ObjectKey, token: Token) -> Result<bool, MorayError>;

    /// [`Slot::mark`] on the entry `key`. Returns what is there when it is no directory.
    async fn mark(&self, key: &ObjectKey, token: Token) -> Result<Result<(), Slot>, MorayError>;

    /// [`Slot::unmark`] on the entry `key`.
    async fn unmark(&self, key: &ObjectKey, token: Token) -> Result<bool, MorayError>;

    /// [`Slot::remove_marked`] on the entry `key`, which is then counted down. Returns what was removed.
    async fn remove_marked(
        &self,
        key: &ObjectKey,
        token: Token,
    ) -> Result<Option<Entry>, MorayError>;

    /// Removes an object and puts it into the delete log.
    async fn remove_object(
        &self,
        key: &ObjectKey,
        condition: &Condition,
    ) -> Result<Entry, NamespaceError>;

    /// Changes what is said about an existing entry. [`NamespaceError::NotFound`] if there is none.
    async fn update(&self, update: Update) -> Result<Replaced, NamespaceError>;
}

/// What [`Shard::look`] found, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub entry: Option<Entry>,
    /// [`Mark::Normal`] unless the entry is a directory that somebody is removing.
    pub mark: Mark,
    /// The row of the directory that would hold the entry.
    pub row: Row,
}

impl Look {
    /// The entry as the protocol sees it.
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
    pub entries: Vec<Entry>,
}

/// A child to be written.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lies behind an Arc, one for each request; most are objects"
)]
pub enum Child {
    Object(PutObject),
    Directory(MakeDirectory),
}

impl Child {
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Object(put) => &put.entry.key,
            Self::Directory(make) => &make.key,
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
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call; the large variant is the usual one"
)]
pub enum Inserted {
    Written(Replaced),
    /// Admitted, but not written: the condition, the kind of what is there, or the size of the directory
    /// forbids it.
    Refused(NamespaceError),
    Unsettled(Unsettled),
    /// The row is not the one that was to be settled.
    Changed,
}

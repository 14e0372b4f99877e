//! The part of the lower port that [`crate::link`] needs. *Name* calls go where
//! [`ObjectKey::entry_route`] lies, *record* calls where [`ObjectId::record_route`] lies.
//!
//! A shard keeps for each entry its [`Binding`], and for one that is being entered both what entered it and
//! what was there before. An entry that says nothing of its binding is sole, with the
//! [first label](crate::link::Bound::first_label) and version 0. Copies in an entry count only while it is
//! sole; the record has them otherwise.

use async_trait::async_trait;
use uuid::Uuid;

use super::super::links::Logged;
use super::super::{MorayError, NamespaceError};
use crate::link::{Binding, Bound, Kind, Prepared, Reference, Standing};
use crate::namespace::Token;
use crate::{
    AccountId, Condition, Entry, ObjectId, ObjectKey, PreconditionFailed, StorageId, Timestamp,
};

/// The steps of [`crate::link`], one transaction each, durable before they return.
#[async_trait]
pub trait Links {
    // At a name.

    /// [`Binding::pin`], if the entry meets `condition`. The entry is not written otherwise.
    async fn pin(
        &self,
        key: &ObjectKey,
        claim: Claim,
        condition: &Condition,
    ) -> Result<Pinned, MorayError>;

    /// [`Binding::leave`]. A name that is missing then is removed from its directory, and counted down.
    async fn leave(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        token: Token,
    ) -> Result<bool, MorayError>;

    /// [`Binding::settle`]; disposes of what was there before, in the same transaction.
    async fn settle(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        token: Token,
    ) -> Result<bool, MorayError>;

    /// [`Binding::erase`]. A name that is missing then is removed from its directory, and counted down.
    async fn erase(
        &self,
        key: &ObjectKey,
        object: ObjectId,
        label: Token,
    ) -> Result<bool, MorayError>;

    /// What keeps a directory from being removed: a child that is [resolved](Binding::is_unresolved), or else
    /// the first of all by name.
    async fn find_child(&self, directory: &ObjectKey) -> Result<FoundChild, MorayError>;

    // At a record.

    /// How references stand, and their objects' copies, in the same order; one moment for all.
    async fn references(
        &self,
        references: &[(ObjectId, Token)],
    ) -> Result<Vec<ReadReference>, MorayError>;

    /// [`Record::prepare`](crate::link::Record::prepare). The copies of `seen` replace those in the record if
    /// they are newer. With [`Prepare::pin`] the next step is done in the same transaction, if there is one.
    async fn prepare(&self, prepare: Prepare) -> Result<(Prepared, Option<Pinned>), MorayError>;

    /// [`Record::raise`](crate::link::Record::raise).
    async fn raise(
        &self,
        object: ObjectId,
        version: u64,
        copies: &[StorageId],
    ) -> Result<bool, MorayError>;

    /// [`Record::commit`](crate::link::Record::commit); logs its errands. `None` if it did not commit.
    async fn commit(
        &self,
        object: ObjectId,
        token: Token,
        label: Token,
    ) -> Result<Option<Vec<Logged>>, MorayError>;

    /// [`Record::abort`](crate::link::Record::abort).
    async fn abort(&self, object: ObjectId, token: Token) -> Result<bool, MorayError>;

    /// [`Record::cut_off`](crate::link::Record::cut_off).
    async fn cut_off(&self, object: ObjectId, label: Token) -> Result<bool, MorayError>;

    /// [`Record::drop`](crate::link::Record::drop); logs the copies of a dead object.
    async fn drop_reference(&self, object: ObjectId, label: Token) -> Result<(), MorayError>;

    /// [`Record::forget_moved`](crate::link::Record::forget_moved).
    async fn forget_moved(&self, object: ObjectId, label: Token) -> Result<(), MorayError>;

    // Housekeeping.

    /// Errands in the log that were logged before `before`, or [too far ahead](Timestamp::too_far_ahead) of now,
    /// behind `after`, in the order of their sequence.
    async fn errands(
        &self,
        after: Option<u64>,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Logged>, MorayError>;

    /// Forgets errands by their sequence. Repeating is harmless.
    async fn forget_errands(&self, sequences: &[u64]) -> Result<(), MorayError>;

    /// References in order of (object, label), strictly after `after`.
    async fn references_after(
        &self,
        after: Option<(ObjectId, Token)>,
        limit: usize,
    ) -> Result<Vec<Held>, MorayError>;
}

/// What is to be pinned, and by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    pub object: ObjectId,
    pub label: Token,
    pub version: u64,
    pub token: Token,
    pub kind: Kind,
}

/// What [`Links::pin`] came to; see [`crate::link::Pin`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pinned {
    /// With the entry as it was at that moment, whose headers the new name gets.
    Pinned(Entry),
    Refused(PreconditionFailed),
    OtherVersion {
        version: u64,
        copies: Vec<StorageId>,
    },
    Entering {
        object: ObjectId,
        token: Token,
    },
    Gone,
}

/// What [`Links::find_child`] found, at one moment; see [`crate::link::Child`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoundChild {
    None,
    There,
    Unresolved(ObjectKey, Binding),
}

/// What [`Links::references`] read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadReference {
    pub standing: Option<Standing>,
    /// Empty if there is no record.
    pub copies: Vec<StorageId>,
}

/// Step (a).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepare {
    pub source: ObjectKey,
    pub target: ObjectKey,
    /// What was read under `source`.
    pub seen: Bound,
    /// And its copies, if it is sole.
    pub copies: Vec<StorageId>,
    /// Below whose account they lie.
    pub creator: AccountId,
    pub token: Token,
    pub kind: Kind,
    /// The condition of step (b), if the source lies in the same shard.
    pub pin: Option<Condition>,
}

/// Step (c), as a child of the target's directory: [`Binding::enter`] if the entry meets the condition.
/// A directory under the name refuses it with [`NamespaceError::IsDirectory`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enter {
    /// What enters, with the key of the target.
    pub entry: Entry,
    pub token: Token,
    pub condition: Condition,
    /// As in [`PutObject`](super::super::PutObject).
    pub directory_entries_max: u64,
    /// The label of the source, if the record lies in the same shard: once it is entered, step (d) is done in
    /// the same transaction.
    pub commit: Option<Token>,
}

/// A LINK or RENAME in one transaction, as a child of the target's directory, by a shard that holds both
/// names: for RENAME, [`rename_alone`](crate::link::rename_alone) if that does it; otherwise
/// [`transfer_here`](crate::link::transfer_here), if the shard would hold the record of the source's object.
/// Refuses what the steps would refuse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferHere {
    pub kind: Kind,
    pub source: ObjectKey,
    pub target: ObjectKey,
    /// The object whose record would lie in this shard.
    pub record: Option<ObjectId>,
    /// Fresh.
    pub token: Token,
    /// Kept when `None`.
    pub mtime: Option<Timestamp>,
    /// Kept when `None`.
    pub roles: Option<Vec<Uuid>>,
    pub source_condition: Condition,
    pub target_condition: Condition,
    pub directory_entries_max: u64,
}

impl TransferHere {
    /// What the target gets from the source.
    #[must_use]
    pub fn entry_from(&self, source: &Entry) -> Entry {
        Entry {
            key: self.target.clone(),
            mtime: self.mtime.unwrap_or(source.mtime),
            roles: self.roles.clone().unwrap_or_else(|| source.roles.clone()),
            ..source.clone()
        }
    }
}

/// What a write of one name came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written<T> {
    /// Admitted by [`Binding::overwrite`]; it was written, or refused for a reason of its own.
    Done(Result<T, NamespaceError>),
    /// Others are in the way; see [`crate::link::Overwrite`].
    Busy(Binding),
}

/// A reference as the audit reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub object: ObjectId,
    pub reference: Reference<ObjectKey>,
    /// When it was written.
    pub since: Timestamp,
}

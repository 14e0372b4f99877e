//! The words between the coordinators and whoever executes their steps.

use thiserror::Error;

use super::binding::{Binding, Bound, Kind, Over, Pin};
use super::emptying::Child;
use super::record::{Prepared, Standing};
use crate::ObjectId;
use crate::namespace::Token;

/// Which name a step is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Side {
    Source,
    /// Also the name of an operation that has only one.
    Target,
}

/// One atomic transaction in one shard. The payload (entries, copies, names) is known to whoever executes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Step {
    // At a name.
    /// Read the entry.
    ReadName { side: Side },
    /// [`Binding::pin`] at the source, if its conditions hold: (b).
    Pin {
        object: ObjectId,
        label: Token,
        version: u64,
        token: Token,
        kind: Kind,
    },
    /// [`Binding::enter`] at the target, if its conditions hold: (c). A target that is missing is inserted
    /// into its directory as [`namespace`](crate::namespace) demands.
    Enter {
        over: Over,
        object: ObjectId,
        token: Token,
    },
    /// [`Binding::leave`].
    Leave {
        side: Side,
        object: ObjectId,
        token: Token,
    },
    /// [`Binding::settle`].
    Settle {
        side: Side,
        object: ObjectId,
        token: Token,
    },
    /// [`Binding::erase`].
    EraseName { object: ObjectId, label: Token },
    /// [`Binding::overwrite`] and the write itself, if its conditions hold.
    Write { over: Over },
    /// Look for a child of the directory that is there, or that may be.
    FindChild,

    // At a record.
    /// Read how a reference stands. The copies that are read with it are those of the object.
    ReadRecord { object: ObjectId, label: Token },
    /// [`Record::prepare`](super::Record::prepare): (a).
    Prepare {
        seen: Bound,
        token: Token,
        kind: Kind,
    },
    /// [`Record::raise`](super::Record::raise), with the copies that came with [`Pin::OtherVersion`].
    Raise { object: ObjectId, version: u64 },
    /// [`Record::commit`](super::Record::commit): (d).
    Commit {
        object: ObjectId,
        token: Token,
        label: Token,
    },
    /// [`Record::abort`](super::Record::abort).
    Abort { object: ObjectId, token: Token },
    /// [`Record::cut_off`](super::Record::cut_off).
    CutOff { object: ObjectId, label: Token },
    /// [`Record::drop`](super::Record::drop).
    Drop { object: ObjectId, label: Token },
    /// [`Record::forget_moved`](super::Record::forget_moved).
    ForgetMoved { object: ObjectId, label: Token },
}

/// The reply to a [`Step`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    /// `ReadName`.
    Name(Binding),
    /// `Pin`, when its conditions hold or were not asked.
    Pin(Pin),
    /// `Enter`, `Write`: done. A write has come to an answer of its own.
    Done,
    /// `Pin`, `Enter`: a condition forbids it, or the directory does. The executor keeps the reason.
    Refused,
    /// `Enter`, `Write`: the name has this binding, over which it was not possible.
    Busy(Binding),
    /// `FindChild`.
    Child(Child),
    /// `ReadRecord`.
    Standing(Option<Standing>),
    /// `Prepare`.
    Prepared(Prepared),
    /// `Leave`, `Settle`, `EraseName`, `Raise`, `Commit`, `Drop`, `ForgetMoved`: whether it did anything.
    /// `Abort`, `CutOff`: whether the reference is live.
    Held(bool),
}

/// What to do after a reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next<C, A> {
    Send(C, Step),
    /// Others were faster: back off, then start again, with a fresh token.
    Again,
    Answer(A),
}

/// A reply that does not belong to the step that was sent: a fault of the shard.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0}")]
pub struct IllegalReply(String);

impl IllegalReply {
    pub(super) fn new(coordinator: &impl std::fmt::Debug, reply: Reply) -> Self {
        Self(format!("{reply:?} does not answer {coordinator:?}"))
    }
}

impl Step {
    /// Whether the step may be delivered more than once. A second `Prepare` would bring back a reference that
    /// was called off. A second `Pin` would replace a later pin, and hide that operation from whoever is
    /// overwriting the source. A second `Enter` would find a name missing again, and bind it to a reference
    /// that is live until its errand is run.
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        !matches!(
            self,
            Self::Prepare { .. } | Self::Pin { .. } | Self::Enter { .. } | Self::Write { .. }
        )
    }
}

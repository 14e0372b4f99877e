//! Which step of the protocol comes next. A [`Coordinator`] holds everything an operation remembers between
//! two steps; losing it (crash, client gone) at any point is safe.

use thiserror::Error;

use super::row::{Close, Presence, Token, Unsettled};
use super::slot::{Mark, Slot};

/// What is to be done with a directory D.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Write a child of D: an object, or a directory of its own.
    Insert(Presence),
    /// Remove D.
    Remove(Presence),
    /// Read the children of D.
    List(Presence),
    /// Find out whether D exists, for one of its children.
    Lookup(Presence),
}

/// One atomic transaction in one shard. The payload (child, page) is known to whoever executes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// [`Row::begin_insert`](super::Row::begin_insert), and the child if admitted.
    Insert { nonce: Token },
    /// [`Row::settle_insert`](super::Row::settle_insert), and the child if admitted.
    Settle { seen: Unsettled },
    /// [`Row::drop_if`](super::Row::drop_if).
    DropRow { seen: Unsettled },
    /// [`Row::close`](super::Row::close): (b).
    Close { token: Token },
    /// [`Row::reopen`](super::Row::reopen).
    Reopen { token: Token },
    /// Read D's row and with it the children that are asked for.
    ReadRow,
    /// Read D's entry.
    ReadEntry,
    /// [`Slot::mark`]: (a).
    Mark { token: Token },
    /// [`Slot::unmark`].
    Unmark { token: Token },
    /// [`Slot::remove_marked`]: (c).
    RemoveEntry { token: Token },
}

/// The reply to a [`Step`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    /// `Insert`, `Settle`: the child was admitted. It was written, or refused for a reason of its own.
    Written,
    /// `Insert`: the row is not settled.
    Unsettled(Unsettled),
    /// `Settle`, `DropRow`, `Reopen`, `Unmark`, `RemoveEntry`: whether the condition held. Only `Settle` never
    /// says true this way.
    Held(bool),
    /// `Close`.
    Close(Close),
    /// `ReadRow`: whether it proves that D exists: it is open, or the child asked for is there.
    Row { open: bool },
    /// `ReadEntry`; and `Mark` when there was no directory.
    Entry(Slot),
    /// `Mark`: done.
    Marked,
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// Written, removed, listed, found.
    Done,
    /// D does not exist.
    NotFound,
    /// An object has the name of D.
    NotDirectory,
    /// D has children, so it stays.
    NotEmpty,
}

/// What to do after a reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    Send(Coordinator, Step),
    /// Others were faster: back off, then [`Coordinator::start`] again.
    Again,
    Answer(Answer),
}

/// A reply that does not belong to the step that was sent: a fault of the shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{reply:?} does not answer {coordinator:?}")]
pub struct IllegalReply {
    pub coordinator: Coordinator,
    pub reply: Reply,
}

/// An operation that waits for the reply to its last step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Coordinator {
    pub(super) presence: Presence,
    pub(super) waits_for: Waiting,
}

/// The step that was sent, and what the operation must remember until its reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Waiting {
    // Insert
    Insert,
    ProbeEntry { nonce: Token },
    ResolveEntry { closing: Token },
    Abort { closing: Token },
    Settle,
    GiveUp(Answer),
    // Remove
    Mark { token: Token },
    Close { token: Token },
    OtherEntry { token: Token, other: Token },
    OtherReopen { token: Token },
    OtherDrop,
    Undo,
    RemoveEntry { token: Token },
    Finish { removed: bool },
    // List and Lookup
    Row { proves: bool },
    Entry,
}

impl Step {
    /// Whether the step may be delivered more than once. The others carry a token that must be sent only once.
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        !matches!(
            self,
            Self::Insert { .. } | Self::Mark { .. } | Self::Close { .. }
        )
    }
}

impl Coordinator {
    /// The first step. `fresh` is a token never used before; each start needs its own.
    #[must_use]
    pub fn start(operation: Operation, fresh: Token) -> (Self, Step) {
        match operation {
            Operation::Insert(presence) => {
                Self::waits(presence, Waiting::Insert, Step::Insert { nonce: fresh })
            }
            Operation::Remove(presence) => Self::waits(
                presence,
                Waiting::Mark { token: fresh },
                Step::Mark { token: fresh },
            ),
            // A page is only good together with an entry read after it: without the entry there is no
            // directory to show.
            Operation::List(presence) => {
                Self::waits(presence, Waiting::Row { proves: false }, Step::ReadRow)
            }
            Operation::Lookup(presence) => {
                Self::waits(presence, Waiting::Row { proves: true }, Step::ReadRow)
            }
        }
    }

    /// What follows from the reply to the last step.
    pub fn on(self, reply: Reply) -> Result<Next, IllegalReply> {
        let send = |waits_for, step| {
            let (coordinator, step) = Self::waits(self.presence, waits_for, step);
            Ok(Next::Send(coordinator, step))
        };
        let answer = |answer| Ok(Next::Answer(answer));
        let settle = |seen| send(Waiting::Settle, Step::Settle { seen });
        let give_up = |why, seen| send(Waiting::GiveUp(why), Step::DropRow { seen });

        match (self.waits_for, reply) {
            (Waiting::Insert | Waiting::Settle, Reply::Written) => answer(Answer::Done),
            (Waiting::Insert, Reply::Unsettled(Unsettled::Probing(nonce))) => {
                send(Waiting::ProbeEntry { nonce }, Step::ReadEntry)
            }
            (Waiting::Insert, Reply::Unsettled(Unsettled::Closing(closing))) => {
                send(Waiting::ResolveEntry { closing }, Step::ReadEntry)
            }
            (Waiting::ProbeEntry { nonce }, Reply::Entry(slot)) => {
                let seen = Unsettled::Probing(nonce);
                match slot.as_seen(self.presence) {
                    Slot::Absent => give_up(Answer::NotFound, seen),
                    Slot::Object => give_up(Answer::NotDirectory, seen),
                    Slot::Directory(_) => settle(seen),
                }
            }
            (Waiting::ResolveEntry { closing }, Reply::Entry(slot)) => {
                let seen = Unsettled::Closing(closing);
                match slot.as_seen(self.presence) {
                    Slot::Absent => give_up(Answer::NotFound, seen),
                    Slot::Object => give_up(Answer::NotDirectory, seen),
                    // The removal has not happened yet, and now it will not: abort it first, or its (c)
                    // would delete the entry above our child.
                    Slot::Directory(Mark::Deleting(token)) if token == closing => {
                        send(Waiting::Abort { closing }, Step::Unmark { token })
                    }
                    Slot::Directory(_) => settle(seen),
                }
            }
            (Waiting::Abort { closing }, Reply::Held(true)) => settle(Unsettled::Closing(closing)),
            (Waiting::GiveUp(why), Reply::Held(_)) => answer(why),

            (Waiting::Mark { .. }, Reply::Entry(Slot::Absent)) => answer(Answer::NotFound),
            (Waiting::Mark { .. }, Reply::Entry(Slot::Object)) => answer(Answer::NotDirectory),
            (Waiting::Mark { token }, Reply::Marked) => {
                send(Waiting::Close { token }, Step::Close { token })
            }
            (Waiting::Close { token }, Reply::Close(Close::Closed)) => {
                send(Waiting::RemoveEntry { token }, Step::RemoveEntry { token })
            }
            (Waiting::Close { token }, Reply::Close(Close::NotEmpty)) => {
                send(Waiting::Undo, Step::Unmark { token })
            }
            (Waiting::Close { token }, Reply::Close(Close::Closing(other))) => {
                send(Waiting::OtherEntry { token, other }, Step::ReadEntry)
            }
            // A root has children without being recorded: look again whether there is anything to remove.
            (Waiting::Undo, Reply::Held(false)) if self.presence == Presence::Always => {
                Ok(Next::Again)
            }
            (Waiting::Undo, Reply::Held(_)) => answer(Answer::NotEmpty),
            (Waiting::OtherEntry { token, other }, Reply::Entry(slot)) => {
                match slot.as_seen(self.presence) {
                    Slot::Absent | Slot::Object => {
                        let seen = Unsettled::Closing(other);
                        send(Waiting::OtherDrop, Step::DropRow { seen })
                    }
                    // Our own mark was replaced; a fresh one replaces theirs in turn.
                    Slot::Directory(Mark::Deleting(mark)) if mark == other => Ok(Next::Again),
                    Slot::Directory(_) => send(
                        Waiting::OtherReopen { token },
                        Step::Reopen { token: other },
                    ),
                }
            }
            // The first (b) is known to have changed nothing, so its token is still unused.
            (Waiting::OtherReopen { token }, Reply::Held(true)) => {
                send(Waiting::Close { token }, Step::Close { token })
            }
            (Waiting::RemoveEntry { token }, Reply::Held(removed)) => send(
                Waiting::Finish { removed },
                Step::DropRow {
                    seen: Unsettled::Closing(token),
                },
            ),
            (Waiting::Finish { removed: true }, Reply::Held(_)) => answer(Answer::Done),

            (Waiting::Row { proves: true }, Reply::Row { open: true }) => answer(Answer::Done),
            (Waiting::Row { .. }, Reply::Row { .. }) => send(Waiting::Entry, Step::ReadEntry),
            (Waiting::Entry, Reply::Entry(slot)) => match slot.as_seen(self.presence) {
                Slot::Absent => answer(Answer::NotFound),
                Slot::Object => answer(Answer::NotDirectory),
                Slot::Directory(_) => answer(Answer::Done),
            },

            (
                Waiting::Settle
                | Waiting::Abort { .. }
                | Waiting::OtherReopen { .. }
                | Waiting::Finish { removed: false },
                Reply::Held(false),
            )
            | (Waiting::OtherDrop | Waiting::Finish { removed: false }, Reply::Held(_)) => {
                Ok(Next::Again)
            }
            _ => Err(IllegalReply {
                coordinator: self,
                reply,
            }),
        }
    }

    fn waits(presence: Presence, waits_for: Waiting, step: Step) -> (Self, Step) {
        (
            Self {
                presence,
                waits_for,
            },
            step,
        )
    }
}

//! Whether a directory with entries has children. An entry is counted as long as its row exists, although a
//! name that is being entered, or was renamed away, may be bound to nothing.

use super::binding::{Binding, Bound};
use super::record::Standing;
use super::resolve::{Resolve, Resolving};
use super::step::{IllegalReply, Next, Reply, Side, Step};
use crate::ObjectId;
use crate::namespace::Token;

/// What a look into the directory found, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Child {
    /// No entries.
    None,
    /// A child that is really there.
    There,
    /// All entries are [unresolved](Binding::is_unresolved); this is one. It is the target of the next steps.
    Unresolved(Binding),
}

/// How the removal of a directory goes on that was refused because it is not empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Emptied {
    /// Start the removal again.
    Yes,
    /// There was a child, at one moment.
    No,
}

/// Waits for the reply to its last step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Emptying(pub(super) Waiting);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Waiting {
    Child,
    Resolve(Resolve),
    /// How a name stands that a RENAME started from.
    Moving {
        object: ObjectId,
        label: Token,
    },
    Erase,
}

impl Emptying {
    #[must_use]
    pub fn start() -> (Self, Step) {
        (Self(Waiting::Child), Step::FindChild)
    }

    /// What follows from the reply to the last step.
    pub fn on(self, reply: Reply) -> Result<Next<Self, Emptied>, IllegalReply> {
        let send = |waits_for, step| Ok(Next::Send(Self(waits_for), step));
        let look_again = || send(Waiting::Child, Step::FindChild);
        match (self.0, reply) {
            (Waiting::Child, Reply::Child(Child::None)) => Ok(Next::Answer(Emptied::Yes)),
            (Waiting::Child, Reply::Child(Child::There)) => Ok(Next::Answer(Emptied::No)),
            (
                Waiting::Child,
                Reply::Child(Child::Unresolved(Binding::Entering { object, token, .. })),
            ) => {
                let (resolve, step) = Resolve::start(Side::Target, object, token);
                send(Waiting::Resolve(resolve), step)
            }
            (
                Waiting::Child,
                Reply::Child(Child::Unresolved(Binding::Bound(Bound::Linked {
                    object,
                    label,
                    ..
                }))),
            ) => send(
                Waiting::Moving { object, label },
                Step::ReadRecord { object, label },
            ),
            // What it was bound to before may be dead as well, so only a look can tell.
            (Waiting::Resolve(resolve), reply) => match resolve.on(reply) {
                Resolving::Send(resolve, step) => send(Waiting::Resolve(resolve), step),
                Resolving::Done => look_again(),
                Resolving::Illegal => Err(IllegalReply::new(&self, reply)),
            },
            (Waiting::Moving { object, label }, Reply::Standing(standing)) => match standing {
                Some(Standing::Live) => Ok(Next::Answer(Emptied::No)),
                // The errand that forgets the reference comes later; it erases once more.
                Some(Standing::Moved) => send(Waiting::Erase, Step::EraseName { object, label }),
                Some(Standing::Pending { .. }) | None => look_again(),
            },
            (Waiting::Erase, Reply::Held(_)) => look_again(),
            _ => Err(IllegalReply::new(&self, reply)),
        }
    }
}

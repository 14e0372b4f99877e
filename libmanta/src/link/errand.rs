//! What a transaction leaves to be done elsewhere. Errands are logged by the transaction that decides them, in
//! its shard; anyone may run them, more than once, and forgets them afterwards.

use super::step::{IllegalReply, Next, Reply, Side, Step};
use crate::ObjectId;
use crate::namespace::Token;

/// `N` names an entry.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Errand<N> {
    /// A name that carried `label` does not any more.
    Drop { object: ObjectId, label: Token },
    /// A LINK or RENAME to `name` has committed.
    Settle {
        name: N,
        object: ObjectId,
        token: Token,
    },
    /// A RENAME from `name` has committed.
    Erase {
        name: N,
        object: ObjectId,
        label: Token,
    },
}

/// An errand that waits for the reply to its last step. The name it is about is the target of its steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Running {
    EraseName {
        object: ObjectId,
        label: Token,
    },
    /// Its last step.
    Last,
}

impl<N> Errand<N> {
    #[must_use]
    pub fn name(&self) -> Option<&N> {
        match self {
            Self::Drop { .. } => None,
            Self::Settle { name, .. } | Self::Erase { name, .. } => Some(name),
        }
    }

    #[must_use]
    pub fn object(&self) -> ObjectId {
        match self {
            Self::Drop { object, .. }
            | Self::Settle { object, .. }
            | Self::Erase { object, .. } => *object,
        }
    }

    /// The first step of running it.
    #[must_use]
    pub fn start(&self) -> (Running, Step) {
        match *self {
            Self::Drop { object, label } => (Running::Last, Step::Drop { object, label }),
            Self::Settle { object, token, .. } => {
                let side = Side::Target;
                (
                    Running::Last,
                    Step::Settle {
                        side,
                        object,
                        token,
                    },
                )
            }
            Self::Erase { object, label, .. } => (
                Running::EraseName { object, label },
                Step::EraseName { object, label },
            ),
        }
    }
}

impl Running {
    /// What follows from the reply to the last step. The answer means that the errand can be forgotten.
    pub fn on(self, reply: Reply) -> Result<Next<Self, ()>, IllegalReply> {
        match (self, reply) {
            // Only now, or a slow linker would bring the name back to life.
            (Self::EraseName { object, label }, Reply::Held(_)) => {
                Ok(Next::Send(Self::Last, Step::ForgetMoved { object, label }))
            }
            (Self::Last, Reply::Held(_)) => Ok(Next::Answer(())),
            _ => Err(IllegalReply::new(&self, reply)),
        }
    }
}

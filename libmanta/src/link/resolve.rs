//! Getting an operation out of the way that has entered a name: it is called off, unless it has committed.

use super::step::{Reply, Side, Step};
use crate::ObjectId;
use crate::namespace::Token;

/// Waits for the reply to its last step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Resolve {
    side: Side,
    pub(super) object: ObjectId,
    pub(super) token: Token,
    pub(super) waits_for: Waiting,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Waiting {
    Abort,
    Name,
}

/// What follows from a reply.
#[expect(clippy::large_enum_variant, reason = "lives for one call")]
pub(super) enum Resolving {
    Send(Resolve, Step),
    /// The name is not being entered by it any more.
    Done,
    Illegal,
}

impl Resolve {
    pub(super) fn start(side: Side, object: ObjectId, token: Token) -> (Self, Step) {
        let resolve = Self {
            side,
            object,
            token,
            waits_for: Waiting::Abort,
        };
        (resolve, Step::Abort { object, token })
    }

    pub(super) fn on(self, reply: Reply) -> Resolving {
        let Self {
            side,
            object,
            token,
            waits_for,
        } = self;
        match (waits_for, reply) {
            (Waiting::Abort, Reply::Held(committed)) => {
                let step = if committed {
                    Step::Settle {
                        side,
                        object,
                        token,
                    }
                } else {
                    Step::Leave {
                        side,
                        object,
                        token,
                    }
                };
                let next = Self {
                    waits_for: Waiting::Name,
                    ..self
                };
                Resolving::Send(next, step)
            }
            (Waiting::Name, Reply::Held(_)) => Resolving::Done,
            _ => Resolving::Illegal,
        }
    }
}

//! Looking after references that a crash has left behind: for each reference of each record, at any time,
//! beside everything else. No search over names is needed, since a reference names its name.

use super::record::{Reference, Standing};
use super::step::{IllegalReply, Next, Reply, Side, Step};
use crate::ObjectId;
use crate::namespace::Token;

/// What became of a reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Finding {
    /// Its name carries it, or its time has not come.
    Kept,
    Removed,
}

/// The look at one reference, waiting for the reply to its last step. The name is the target of its steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Audit {
    Name { object: ObjectId, label: Token },
    Abort { object: ObjectId, token: Token },
    Remove,
}

impl Audit {
    /// `is_old` says that an operation of its age has surely stopped; being wrong only disturbs it.
    #[must_use]
    pub fn start<N>(
        object: ObjectId,
        reference: &Reference<N>,
        is_old: bool,
    ) -> Next<Self, Finding> {
        let label = reference.label;
        match reference.standing {
            Standing::Live => {
                let side = Side::Target;
                Next::Send(Self::Name { object, label }, Step::ReadName { side })
            }
            Standing::Pending { .. } if is_old => {
                let token = label;
                Next::Send(Self::Abort { object, token }, Step::Abort { object, token })
            }
            // Its errand is logged.
            Standing::Pending { .. } | Standing::Moved => Next::Answer(Finding::Kept),
        }
    }

    /// What follows from the reply to the last step.
    pub fn on(self, reply: Reply) -> Result<Next<Self, Finding>, IllegalReply> {
        match (self, reply) {
            // A name that once ceased to carry a label never carries it again.
            (Self::Name { object, label }, Reply::Name(binding)) => {
                if binding.carries(object, label) {
                    Ok(Next::Answer(Finding::Kept))
                } else {
                    Ok(Next::Send(Self::Remove, Step::Drop { object, label }))
                }
            }
            // It has committed meanwhile.
            (Self::Abort { .. }, Reply::Held(true)) => Ok(Next::Answer(Finding::Kept)),
            // Its name, if it has come as far as that, has no use for what will never enter it.
            (Self::Abort { object, token }, Reply::Held(false)) => {
                let side = Side::Target;
                Ok(Next::Send(
                    Self::Remove,
                    Step::Leave {
                        side,
                        object,
                        token,
                    },
                ))
            }
            (Self::Remove, Reply::Held(_)) => Ok(Next::Answer(Finding::Removed)),
            _ => Err(IllegalReply::new(&self, reply)),
        }
    }
}

//! PUT, DELETE, a metadata update, or a directory made at a name that other operations may concern themselves
//! with.

use super::binding::{Binding, Over};
use super::resolve::{Resolve, Resolving};
use super::step::{IllegalReply, Next, Reply, Side, Step};

/// A write of one name that waits for the reply to its last step. Losing it at any point is safe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Overwrite(pub(super) Waiting);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Waiting {
    Write(Over),
    CutOff(Binding),
    Resolve(Resolve),
}

impl Overwrite {
    /// The first step; nearly always the only one.
    #[must_use]
    pub fn start() -> (Self, Step) {
        let over = Over::Free;
        (Self(Waiting::Write(over)), Step::Write { over })
    }

    /// What follows from the reply to the last step. The answer is that of the write.
    pub fn on(self, reply: Reply) -> Result<Next<Self, ()>, IllegalReply> {
        let write = |over| Ok(Next::Send(Self(Waiting::Write(over)), Step::Write { over }));
        match (self.0, reply) {
            (Waiting::Write(_), Reply::Done) => Ok(Next::Answer(())),
            (Waiting::Write(Over::Free), Reply::Busy(Binding::Entering { object, token, .. })) => {
                let (resolve, step) = Resolve::start(Side::Target, object, token);
                Ok(Next::Send(Self(Waiting::Resolve(resolve)), step))
            }
            (Waiting::Write(Over::Free), Reply::Busy(binding @ Binding::Bound(bound)))
                if bound.is_pinned() =>
            {
                let step = Step::CutOff {
                    object: bound.object(),
                    label: bound.label(),
                };
                Ok(Next::Send(Self(Waiting::CutOff(binding)), step))
            }
            (Waiting::CutOff(binding), Reply::Held(live)) => write(Over::Exactly { binding, live }),
            (Waiting::Write(Over::Exactly { .. }), Reply::Busy(_)) => Ok(Next::Again),
            (Waiting::Resolve(resolve), reply) => match resolve.on(reply) {
                Resolving::Send(resolve, step) => {
                    Ok(Next::Send(Self(Waiting::Resolve(resolve)), step))
                }
                Resolving::Done => write(Over::Free),
                Resolving::Illegal => Err(IllegalReply::new(&self, reply)),
            },
            _ => Err(IllegalReply::new(&self, reply)),
        }
    }
}

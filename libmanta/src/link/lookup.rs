//! Finding out what a name is bound to. Readers write nothing.

use super::binding::{Binding, Bound};
use super::record::Standing;
use super::step::{IllegalReply, Next, Reply, Side, Step};
use crate::ObjectId;
use crate::namespace::Token;

/// What a name turned out to be bound to, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Seen {
    Missing,
    Directory,
    /// The entry as it was before anybody entered it; the copies are its own.
    Sole(ObjectId),
    /// The same, with the copies that were read with the record of the object.
    Linked(ObjectId),
    /// What has entered it, with the copies that were read with the record of the object.
    Entered(ObjectId),
}

/// A GET that waits for the reply to its last step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Lookup(pub(super) Waiting);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Waiting {
    Name,
    /// How the label of a linked name stands.
    Label(ObjectId),
    /// How the token of somebody entering stands.
    Token(Entering),
    /// There is no such token. It has been aborted, or it was live and is gone again: the entry knows.
    NameAgain(Entering),
}

/// A binding of that kind, as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Entering {
    pub(super) object: ObjectId,
    pub(super) token: Token,
    pub(super) before: Option<Bound>,
}

impl Lookup {
    #[must_use]
    pub fn start() -> (Self, Step) {
        let side = Side::Target;
        (Self(Waiting::Name), Step::ReadName { side })
    }

    /// Begins with a binding that was read already, such as one of a page.
    #[must_use]
    pub fn from_binding(binding: Binding) -> Next<Self, Seen> {
        match binding {
            Binding::Missing => Next::Answer(Seen::Missing),
            Binding::Directory => Next::Answer(Seen::Directory),
            Binding::Bound(bound) => from_bound(bound),
            Binding::Entering {
                object,
                token,
                before,
            } => {
                let entering = Entering {
                    object,
                    token,
                    before,
                };
                ask(Waiting::Token(entering), object, token)
            }
        }
    }

    /// What follows from the reply to the last step.
    pub fn on(self, reply: Reply) -> Result<Next<Self, Seen>, IllegalReply> {
        Ok(match (self.0, reply) {
            (Waiting::Name, Reply::Name(binding)) => Self::from_binding(binding),
            (Waiting::Label(object), Reply::Standing(standing)) => match standing {
                Some(Standing::Live) => Next::Answer(Seen::Linked(object)),
                Some(Standing::Moved) => Next::Answer(Seen::Missing),
                // The name was overwritten since.
                Some(Standing::Pending { .. }) | None => Next::Again,
            },
            (Waiting::Token(entering), Reply::Standing(standing)) => match standing {
                Some(Standing::Live) => Next::Answer(Seen::Entered(entering.object)),
                Some(Standing::Pending { .. }) => from_before(entering.before),
                Some(Standing::Moved) | None => {
                    let side = Side::Target;
                    Next::Send(Self(Waiting::NameAgain(entering)), Step::ReadName { side })
                }
            },
            (Waiting::NameAgain(entering), Reply::Name(binding)) => {
                let Entering {
                    object,
                    token,
                    before,
                } = entering;
                let same = Binding::Entering {
                    object,
                    token,
                    before,
                };
                if binding == same {
                    from_before(before)
                } else {
                    Self::from_binding(binding)
                }
            }
            _ => return Err(IllegalReply::new(&self, reply)),
        })
    }
}

fn from_before(before: Option<Bound>) -> Next<Lookup, Seen> {
    before.map_or(Next::Answer(Seen::Missing), from_bound)
}

fn from_bound(bound: Bound) -> Next<Lookup, Seen> {
    match bound {
        Bound::Sole { object, .. } => Next::Answer(Seen::Sole(object)),
        Bound::Linked { object, label, .. } => ask(Waiting::Label(object), object, label),
    }
}

fn ask(waits_for: Waiting, object: ObjectId, label: Token) -> Next<Lookup, Seen> {
    Next::Send(Lookup(waits_for), Step::ReadRecord { object, label })
}

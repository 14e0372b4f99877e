//! LINK and RENAME from one name to another.

use super::binding::{Binding, Bound, Kind, Over, Pin};
use super::record::Prepared;
use super::resolve::{Resolve, Resolving};
use super::step::{IllegalReply, Next, Reply, Side, Step};
use crate::ObjectId;
use crate::namespace::Token;

/// How a transfer ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Transferred {
    /// It has committed. Its errands are logged, and best run at once.
    Done,
    SourceMissing,
    SourceIsDirectory,
    TargetIsDirectory,
    /// A condition, or the target's directory, forbids it; the executor knows the reason.
    Refused,
}

/// A LINK or RENAME that waits for the reply to its last step. Losing it (crash, client gone) at any point is
/// safe. The names differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Transfer {
    kind: Kind,
    /// Fresh with each start.
    pub(super) token: Token,
    pub(super) waits_for: Waiting,
}

/// What is being transferred.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Claim {
    pub(super) object: ObjectId,
    /// Of the source.
    pub(super) label: Token,
    /// Of the copies in the record, as far as known.
    pub(super) version: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Waiting {
    Source,
    ResolveSource(Resolve),
    Prepare(Bound),
    Pin(Claim),
    Raise(Claim),
    /// Somebody has entered the source since it was read.
    ResolvePinned(Claim, Resolve),
    Target(Claim),
    ResolveTarget(Claim, Resolve),
    CutOff(Claim, Binding),
    Enter(Claim),
    Commit(Claim),
    Undo(Claim),
    /// Removing the pending reference; then the answer, or another attempt.
    GiveUp(Option<Transferred>),
    /// The same, but the source's label goes as well.
    GiveUpSource(Claim),
    DropSource,
}

impl Transfer {
    /// The first step. `fresh` is a token never used before; each start needs its own.
    #[must_use]
    pub fn start(kind: Kind, fresh: Token) -> (Self, Step) {
        let transfer = Self {
            kind,
            token: fresh,
            waits_for: Waiting::Source,
        };
        let side = Side::Source;
        (transfer, Step::ReadName { side })
    }

    /// What follows from the reply to the last step.
    pub fn on(self, reply: Reply) -> Result<Next<Self, Transferred>, IllegalReply> {
        let Self { kind, token, .. } = self;
        let answer = |answer| Ok(Next::Answer(answer));
        match (self.waits_for, reply) {
            (Waiting::Source, Reply::Name(Binding::Missing)) => answer(Transferred::SourceMissing),
            (Waiting::Source, Reply::Name(Binding::Directory)) => {
                answer(Transferred::SourceIsDirectory)
            }
            (Waiting::Source, Reply::Name(Binding::Entering { object, token, .. })) => {
                let (resolve, step) = Resolve::start(Side::Source, object, token);
                self.send(Waiting::ResolveSource(resolve), step)
            }
            (Waiting::Source, Reply::Name(Binding::Bound(seen))) => {
                self.send(Waiting::Prepare(seen), Step::Prepare { seen, token, kind })
            }
            (Waiting::ResolveSource(resolve), reply) => match resolve.on(reply) {
                Resolving::Send(resolve, step) => self.send(Waiting::ResolveSource(resolve), step),
                Resolving::Done => self.send(Waiting::Source, read(Side::Source)),
                Resolving::Illegal => self.illegal(reply),
            },
            (Waiting::Prepare(seen), Reply::Prepared(Prepared::Ready { version })) => {
                self.pin(Claim {
                    object: seen.object(),
                    label: seen.label(),
                    version,
                })
            }
            (Waiting::Prepare(_), Reply::Prepared(Prepared::Moved)) => {
                answer(Transferred::SourceMissing)
            }
            (Waiting::Prepare(_), Reply::Prepared(Prepared::Changed)) => Ok(Next::Again),

            (Waiting::Pin(claim), Reply::Pin(Pin::Pinned)) => {
                self.send(Waiting::Target(claim), read(Side::Target))
            }
            (Waiting::Pin(claim), Reply::Refused) => {
                self.give_up(claim, Some(Transferred::Refused))
            }
            (Waiting::Pin(claim), Reply::Pin(Pin::OtherVersion(version))) => {
                let object = claim.object;
                let claim = Claim { version, ..claim };
                self.send(Waiting::Raise(claim), Step::Raise { object, version })
            }
            (Waiting::Raise(claim), Reply::Held(_)) => self.pin(claim),
            (Waiting::Pin(claim), Reply::Pin(Pin::Entering { object, token })) => {
                let (resolve, step) = Resolve::start(Side::Source, object, token);
                self.send(Waiting::ResolvePinned(claim, resolve), step)
            }
            (Waiting::ResolvePinned(claim, resolve), reply) => match resolve.on(reply) {
                Resolving::Send(resolve, step) => {
                    self.send(Waiting::ResolvePinned(claim, resolve), step)
                }
                Resolving::Done => self.pin(claim),
                Resolving::Illegal => self.illegal(reply),
            },
            // (a) may have given the source a reference that it does not carry any more.
            (Waiting::Pin(claim), Reply::Pin(Pin::Gone)) => {
                let object = claim.object;
                self.send(Waiting::GiveUpSource(claim), Step::Abort { object, token })
            }
            (Waiting::GiveUpSource(Claim { object, label, .. }), Reply::Held(_)) => {
                self.send(Waiting::DropSource, Step::Drop { object, label })
            }
            (Waiting::DropSource, Reply::Held(_)) => Ok(Next::Again),

            (Waiting::Target(claim), Reply::Name(binding))
            | (Waiting::Enter(claim), Reply::Busy(binding)) => self.meet(claim, binding),
            (Waiting::ResolveTarget(claim, resolve), reply) => match resolve.on(reply) {
                Resolving::Send(resolve, step) => {
                    self.send(Waiting::ResolveTarget(claim, resolve), step)
                }
                Resolving::Done => self.send(Waiting::Target(claim), read(Side::Target)),
                Resolving::Illegal => self.illegal(reply),
            },
            (Waiting::CutOff(claim, binding), Reply::Held(live)) => {
                self.enter(claim, Over::Exactly { binding, live })
            }
            (Waiting::Enter(claim), Reply::Refused) => {
                self.give_up(claim, Some(Transferred::Refused))
            }
            (Waiting::Enter(claim), Reply::Done) => {
                let Claim { object, label, .. } = claim;
                let step = Step::Commit {
                    object,
                    token,
                    label,
                };
                self.send(Waiting::Commit(claim), step)
            }
            (Waiting::Commit(_), Reply::Held(true)) => answer(Transferred::Done),
            (Waiting::Commit(claim), Reply::Held(false)) => {
                let step = Step::Leave {
                    side: Side::Target,
                    object: claim.object,
                    token,
                };
                self.send(Waiting::Undo(claim), step)
            }
            (Waiting::Undo(claim), Reply::Held(_)) => self.give_up(claim, None),
            (Waiting::GiveUp(Some(why)), Reply::Held(_)) => answer(why),
            (Waiting::GiveUp(None), Reply::Held(_)) => Ok(Next::Again),
            _ => self.illegal(reply),
        }
    }

    /// The target, as it is now, has to become one that can be entered.
    fn meet(self, claim: Claim, binding: Binding) -> Result<Next<Self, Transferred>, IllegalReply> {
        match binding {
            Binding::Directory => self.give_up(claim, Some(Transferred::TargetIsDirectory)),
            Binding::Entering { object, token, .. } => {
                let (resolve, step) = Resolve::start(Side::Target, object, token);
                self.send(Waiting::ResolveTarget(claim, resolve), step)
            }
            Binding::Bound(bound) if bound.is_pinned() => {
                let step = Step::CutOff {
                    object: bound.object(),
                    label: bound.label(),
                };
                self.send(Waiting::CutOff(claim, binding), step)
            }
            Binding::Missing | Binding::Bound(_) => self.enter(claim, Over::Free),
        }
    }

    fn pin(self, claim: Claim) -> Result<Next<Self, Transferred>, IllegalReply> {
        let step = Step::Pin {
            object: claim.object,
            label: claim.label,
            version: claim.version,
            token: self.token,
            kind: self.kind,
        };
        self.send(Waiting::Pin(claim), step)
    }

    fn enter(self, claim: Claim, over: Over) -> Result<Next<Self, Transferred>, IllegalReply> {
        let step = Step::Enter {
            over,
            object: claim.object,
            token: self.token,
        };
        self.send(Waiting::Enter(claim), step)
    }

    fn give_up(
        self,
        claim: Claim,
        why: Option<Transferred>,
    ) -> Result<Next<Self, Transferred>, IllegalReply> {
        let step = Step::Abort {
            object: claim.object,
            token: self.token,
        };
        self.send(Waiting::GiveUp(why), step)
    }

    fn send(self, waits_for: Waiting, step: Step) -> Result<Next<Self, Transferred>, IllegalReply> {
        let next = Self { waits_for, ..self };
        Ok(Next::Send(next, step))
    }

    fn illegal<T>(self, reply: Reply) -> Result<T, IllegalReply> {
        Err(IllegalReply::new(&self, reply))
    }
}

const fn read(side: Side) -> Step {
    Step::ReadName { side }
}

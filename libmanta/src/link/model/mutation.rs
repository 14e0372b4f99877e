//! Plausible simplifications of the protocol, each of which the check must catch. They live here, beside the
//! model, and not as switches in the production functions.

use super::Role;
use crate::ObjectId;
use crate::link::lookup::Waiting;
use crate::link::{
    Binding, Committed, Errand, IllegalReply, Lookup, Next, Over, Overwritten, Record, Reply, Seen,
    Standing, Step,
};
use crate::namespace::Token;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mutation {
    /// 1. PUT and DELETE take no notice of a pin.
    OverwritePinned,
    /// 2. A commit of RENAME removes the source's reference at once.
    ForgetMovedAtOnce,
    /// 3. A record counts as promoted from the first attempt on.
    ConfirmAtOnce,
    /// 4. A cut-off does not say that the object is promoted.
    CutOffUnconfirmed,
    /// 5. Pinning does not compare versions.
    IgnoreVersion,
    /// 6. A commit does not ask for the source.
    CommitWithoutSource,
    /// 7. A reader takes "no such token" for "aborted".
    AbsentIsAborted,
    /// 8. A metadata update takes no notice of a pin.
    UpdatePinned,
    /// 9. (c) is sent again when its outcome is unknown.
    ResendEnter,
    /// 10. (a) is sent again when its outcome is unknown.
    ResendPrepare,
    /// 11. (b) is sent again when its outcome is unknown.
    ResendPin,
    /// 12. A directory with entries counts as not empty.
    BelieveTheCount,
}

impl Mutation {
    pub(super) fn overwrite(self, role: Role, binding: Binding, over: Over) -> Overwritten {
        let ignores = match role {
            Role::Update(..) => self == Self::UpdatePinned,
            _ => self == Self::OverwritePinned,
        };
        match (binding, over) {
            (Binding::Bound(bound), Over::Free) if ignores => {
                Overwritten::Yes { bound: Some(bound) }
            }
            _ => binding.overwrite(over),
        }
    }

    pub(super) fn commit(
        self,
        record: &mut Record<u8>,
        object: ObjectId,
        token: Token,
        label: Token,
    ) -> Option<Committed<u8>> {
        if self == Self::CommitWithoutSource
            && record.standing(label) != Some(Standing::Live)
            && let Some(target) = record.references.iter_mut().find(|r| r.label == token)
            && let Standing::Pending { .. } = target.standing
        {
            target.standing = Standing::Live;
            record.live += 1;
            return Some(Committed {
                settle: Errand::Settle {
                    name: target.name,
                    object,
                    token,
                },
                erase: None,
            });
        }
        let committed = record.commit(object, token, label)?;
        if self == Self::ForgetMovedAtOnce && committed.erase.is_some() {
            record.references.retain(|r| r.label != label);
            record.moved -= 1;
        }
        Some(committed)
    }

    pub(super) fn look(
        self,
        lookup: Lookup,
        reply: Reply,
    ) -> Result<Next<Lookup, Seen>, IllegalReply> {
        match (self, lookup.0, reply) {
            (Self::AbsentIsAborted, Waiting::Token(entering), Reply::Standing(None)) => {
                let pending = Standing::Pending {
                    from: entering.token,
                    kind: crate::link::Kind::Link,
                };
                lookup.on(Reply::Standing(Some(pending)))
            }
            _ => lookup.on(reply),
        }
    }

    pub(super) fn resends(self, step: Step) -> bool {
        match step {
            Step::Enter { .. } => self == Self::ResendEnter,
            Step::Pin { .. } => self == Self::ResendPin,
            Step::Prepare { .. } => self == Self::ResendPrepare,
            _ => false,
        }
    }
}

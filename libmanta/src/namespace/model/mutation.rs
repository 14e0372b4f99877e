//! Eight plausible simplifications of the protocol, each of which the check must catch. They live here, beside
//! the model, and not as switches in the production functions.

use super::{Answer, Mark, Next, Reply, Role, Row, Running, Slot, State, Step, Unsettled};
use crate::namespace::coordinator::{IllegalReply, Waiting};
use crate::namespace::{Close, Coordinator};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mutation {
    /// 1. (b) overwrites somebody else's `closing`.
    OverwriteClosing,
    /// 2. A remover adopts the mark that it meets.
    AdoptMark,
    /// 3. Success is answered although (c) did not match.
    IgnoreMissedRemoval,
    /// 4. An inserter finishes the removal that it meets, and says "does not exist" whether or not that worked.
    HelpBlindly,
    /// 5. An object at the directory's name counts as present.
    ObjectIsPresent,
    /// 6. A probe is removed whatever the row has become.
    DropProbeAlways,
    /// 7. Steps with a one-time token are sent again when their outcome is unknown.
    ResendAnything,
    /// 8. Whoever meets a half-done removal finishes it, and its owner counts that as its own success.
    FinishOthers,
}

/// Where a mutated process is when it follows no production path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Detour {
    None,
    /// Finishing somebody else's removal.
    Helping,
    /// Looking whether somebody finished its own.
    Missed,
}

impl Mutation {
    /// Before the step is executed.
    pub(super) fn before(self, state: &State, running: &mut Running) {
        if self == Self::AdoptMark
            && let Step::Mark { .. } = running.pending
            && let Slot::Directory(Mark::Deleting(theirs)) = state.slot
        {
            running.pending = Step::Mark { token: theirs };
            running.coordinator.waits_for = Waiting::Mark { token: theirs };
        }
    }

    /// Instead of the shard's transaction.
    pub(super) fn execute(self, state: &mut State, step: Step) -> Option<Reply> {
        match (self, step, state.row, state.slot) {
            (Self::OverwriteClosing, Step::Close { token }, Row::Closing(_), _) => {
                state.row = Row::Closing(token);
                Some(Reply::Close(Close::Closed))
            }
            (Self::ObjectIsPresent, Step::ReadEntry, _, Slot::Object) => {
                Some(Reply::Entry(Slot::Directory(Mark::Normal)))
            }
            (
                Self::DropProbeAlways,
                Step::DropRow {
                    seen: Unsettled::Probing(_),
                },
                ..,
            ) => {
                state.row = Row::Missing;
                Some(Reply::Held(true))
            }
            _ => None,
        }
    }

    /// Instead of [`Coordinator::on`].
    pub(super) fn on(
        self,
        running: &mut Running,
        role: Role,
        reply: Reply,
    ) -> Result<Next, IllegalReply> {
        let helps = matches!(self, Self::HelpBlindly | Self::FinishOthers);
        let coordinator = running.coordinator;
        match (coordinator.waits_for, reply) {
            (Waiting::RemoveEntry { .. }, Reply::Held(false))
                if self == Self::IgnoreMissedRemoval
                    || (self == Self::HelpBlindly && running.detour == Detour::Helping) =>
            {
                coordinator.on(Reply::Held(true))
            }
            (
                Waiting::ResolveEntry { closing },
                Reply::Entry(Slot::Directory(Mark::Deleting(token))),
            ) if helps && token == closing => Ok(help(running, token)),
            (
                Waiting::OtherEntry { other, .. },
                Reply::Entry(Slot::Directory(Mark::Deleting(token))),
            ) if self == Self::FinishOthers && token == other => Ok(help(running, token)),
            (Waiting::Finish { removed: true }, Reply::Held(_))
                if running.detour == Detour::Helping =>
            {
                Ok(match role {
                    Role::Remove => Next::Again,
                    _ => Next::Answer(Answer::NotFound),
                })
            }
            (Waiting::Finish { removed: false }, Reply::Held(_))
                if self == Self::FinishOthers && running.detour == Detour::None =>
            {
                running.detour = Detour::Missed;
                Ok(Next::Send(coordinator, Step::ReadEntry))
            }
            (Waiting::Finish { .. }, Reply::Entry(slot)) if running.detour == Detour::Missed => {
                Ok(match slot {
                    Slot::Absent => Next::Answer(Answer::Done),
                    _ => Next::Again,
                })
            }
            _ => coordinator.on(reply),
        }
    }
}

fn help(running: &mut Running, token: super::Token) -> Next {
    running.detour = Detour::Helping;
    let coordinator = Coordinator {
        waits_for: Waiting::RemoveEntry { token },
        ..running.coordinator
    };
    Next::Send(coordinator, Step::RemoveEntry { token })
}

//! The shards of the model: one transaction for each step, as a real shard makes it.

use super::work::{Memo, Running, child};
use super::world::Outcome;
use super::{Directory, Mutation, Name, Names, Role, Row, State, Transfer, bit, number, object_id};
use crate::ObjectId;
use crate::link::{
    self, Binding, Bound, Committed, Dropped, Here, Kind, Moved, Next, Over, Overwritten, Pin,
    Record, Reference, Reply, Side, Step,
};
use crate::namespace::{self, Admission, Presence};

/// Repairs make no more versions than these.
const VERSIONS_MAX: u64 = 3;

impl Names {
    pub(super) fn execute(
        &self,
        state: &mut State,
        role: Role,
        memo: &mut Memo,
        step: Step,
    ) -> Reply {
        let name = |side| memo.name.unwrap_or_else(|| role.name(side));
        match step {
            Step::ReadName { side } => {
                let Name {
                    binding,
                    before,
                    entering,
                } = state.names[usize::from(name(side))];
                memo.read = (before, entering);
                Reply::Name(binding)
            }
            Step::FindChild => Reply::Child(child(state.names[1].binding)),
            Step::Write { over } => self.write(state, role, memo, over),
            Step::Pin {
                object,
                label,
                version,
                token,
                kind,
            } => {
                let name = name(Side::Source);
                let binding = state.names[usize::from(name)].binding;
                let version = match (self.mutation, binding) {
                    (
                        Some(Mutation::IgnoreVersion),
                        Binding::Bound(Bound::Sole { version, .. }),
                    ) => version,
                    _ => version,
                };
                let (after, pin) = binding.pin(object, label, version, token, kind);
                if pin == Pin::Pinned {
                    if !source_if(role, number(object)) {
                        memo.outcome = Outcome::Refused;
                        return Reply::Refused;
                    }
                    memo.meta = state.names[usize::from(name)].before;
                }
                state.set(name, after);
                Reply::Pin(pin)
            }
            Step::Enter {
                over,
                object,
                token,
            } => state.enter(role, memo, over, object, token),
            Step::Leave {
                side,
                object,
                token,
            } => {
                let name = name(side);
                let (after, held) = state.names[usize::from(name)].binding.leave(object, token);
                state.set(name, after);
                Reply::Held(held)
            }
            Step::Settle {
                side,
                object,
                token,
            } => {
                let name = name(side);
                let (after, held, disposal) =
                    state.names[usize::from(name)].binding.settle(object, token);
                if held {
                    let entry = &mut state.names[usize::from(name)];
                    entry.before = entry.entering;
                }
                state.set(name, after);
                if let Some(disposal) = disposal {
                    state.dispose(disposal);
                }
                Reply::Held(held)
            }
            Step::EraseName { object, label } => {
                let name = name(Side::Target);
                let (after, held) = state.names[usize::from(name)].binding.erase(object, label);
                state.set(name, after);
                Reply::Held(held)
            }
            Step::ReadRecord { object, label } => {
                Reply::Standing(state.record(object).and_then(|r| r.standing(label)))
            }
            Step::Prepare { seen, token, kind } => {
                let (source, target) = (role.name(Side::Source), role.name(Side::Target));
                let record = &mut state.records[usize::from(number(seen.object()))];
                let prepared;
                (*record, prepared) =
                    Record::prepare(record.take(), seen, &source, &target, token, kind);
                if let (Some(Mutation::ConfirmAtOnce), Some(record)) = (self.mutation, record) {
                    record.confirmed = true;
                }
                Reply::Prepared(prepared)
            }
            Step::Raise { object, version } => {
                let held = state.on_record(object, |record| record.raise(version));
                Reply::Held(held.unwrap_or(false))
            }
            Step::Commit {
                object,
                token,
                label,
            } => {
                let mutation = self.mutation;
                let committed = state
                    .on_record(object, |record| match mutation {
                        Some(mutation) => mutation.commit(record, object, token, label),
                        None => record.commit(object, token, label),
                    })
                    .flatten();
                let held = committed.is_some();
                if let Some(Committed { settle, erase }) = committed {
                    state.log_errand(settle);
                    if let Some(erase) = erase {
                        state.log_errand(erase);
                    }
                }
                Reply::Held(held)
            }
            Step::Abort { object, token } => {
                let live = state.on_record(object, |record| record.abort(token));
                Reply::Held(live.unwrap_or(false))
            }
            Step::CutOff { object, label } => {
                let mutation = self.mutation;
                let live = state.on_record(object, |record| {
                    let confirmed = record.confirmed;
                    let live = record.cut_off(label);
                    if mutation == Some(Mutation::CutOffUnconfirmed) {
                        record.confirmed = confirmed;
                    }
                    live
                });
                Reply::Held(live.unwrap_or(false))
            }
            Step::Drop { object, label } => {
                state.take_reference(object, |record| record.drop(label));
                Reply::Held(true)
            }
            Step::ForgetMoved { object, label } => {
                state.take_reference(object, |record| record.forget_moved(label));
                Reply::Held(true)
            }
        }
    }

    /// PUT, DELETE or a metadata update.
    fn write(&self, state: &mut State, role: Role, memo: &mut Memo, over: Over) -> Reply {
        let name = role.name(Side::Target);
        let binding = state.names[usize::from(name)].binding;
        let overwritten = match self.mutation {
            Some(mutation) => mutation.overwrite(role, binding, over),
            None => binding.overwrite(over),
        };
        let Overwritten::Yes { bound } = overwritten else {
            return Reply::Busy(binding);
        };
        let object = bound.map(|bound| number(bound.object()));
        memo.outcome = match (role, bound) {
            (Role::Put(_, _, condition) | Role::Delete(_, condition), _)
                if !condition.holds(object) && (object.is_some() || is_put(role)) =>
            {
                Outcome::Refused
            }
            (Role::Put(_, new, _), _) => {
                state.made[usize::from(new)] |= bit(0);
                let placed = Bound::Sole {
                    object: object_id(new),
                    label: state.fresh_token(),
                    version: 0,
                };
                state.names[usize::from(name)].before = 0;
                state.set(name, Binding::Bound(placed));
                Outcome::Done(object)
            }
            (_, None) => Outcome::NotFound,
            (Role::Update(_, meta), Some(bound)) => {
                state.names[usize::from(name)].before = meta;
                state.set(name, Binding::updated(bound));
                memo.outcome = Outcome::Done(object);
                return Reply::Done;
            }
            (_, Some(_)) => {
                state.set(name, Binding::Missing);
                Outcome::Done(object)
            }
        };
        if let (Outcome::Done(_), Some(bound)) = (memo.outcome, bound) {
            state.dispose(bound.disposal());
        }
        Reply::Done
    }

    /// One shard's transaction of the directory protocol, at the directory of name 1.
    pub(super) fn execute_inner(
        &self,
        state: &mut State,
        role: Role,
        running: &mut Running,
        step: namespace::Step,
    ) -> namespace::Reply {
        use namespace::{Reply as R, Step as S};
        let mut directory = state.directory.expect("only asked for with a directory");
        let mut admit = |state: &mut State, directory: Directory, admission| {
            state.directory = Some(directory);
            match admission {
                Admission::Unsettled(seen) => R::Unsettled(seen),
                Admission::Changed => R::Held(false),
                Admission::Admitted => {
                    let step = running.pending().expect("an insert is part of a step");
                    let reply = self.execute(state, role, &mut running.memo, step);
                    running.memo.reply = Some(reply);
                    R::Written
                }
            }
        };
        let held;
        let reply = match step {
            S::Insert { nonce } => {
                let admission;
                (directory.row, admission) = directory.row.begin_insert(nonce, Presence::Recorded);
                return admit(state, directory, admission);
            }
            S::Settle { seen } => {
                let admission;
                (directory.row, admission) = directory.row.settle_insert(seen);
                return admit(state, directory, admission);
            }
            S::DropRow { seen } => {
                (directory.row, held) = directory.row.drop_if(seen);
                R::Held(held)
            }
            S::Close { token } => {
                let close;
                (directory.row, close) = directory.row.close(token);
                R::Close(close)
            }
            S::Reopen { token } => {
                (directory.row, held) = directory.row.reopen(token);
                R::Held(held)
            }
            S::ReadRow => R::Row {
                open: matches!(directory.row, namespace::Row::Open { .. }),
            },
            S::ReadEntry => R::Entry(directory.slot),
            S::Mark { token } => {
                let marked;
                (directory.slot, marked) = directory.slot.mark(token);
                if marked {
                    R::Marked
                } else {
                    R::Entry(directory.slot)
                }
            }
            S::Unmark { token } => {
                (directory.slot, held) = directory.slot.unmark(token);
                R::Held(held)
            }
            S::RemoveEntry { token } => {
                (directory.slot, held) = directory.slot.remove_marked(token);
                R::Held(held)
            }
        };
        state.directory = Some(directory);
        reply
    }

    /// One step of a row of the log.
    pub(super) fn run_row(&self, state: &mut State, index: usize, forget: bool) {
        let row = state.log.remove(index);
        match row {
            Row::Bytes { object, version } => {
                state.gone[usize::from(object)] |= bit(version.into());
            }
            Row::Errand { errand, running } => {
                let (coordinator, step) = running.unwrap_or_else(|| errand.start());
                let mut memo = Memo {
                    name: errand.name().copied(),
                    ..Memo::NEW
                };
                // So that its tokens are not taken for fresh.
                let before = Row::Errand {
                    errand: errand.clone(),
                    running,
                };
                state.log.push(before.clone());
                let reply = self.execute(state, Role::List, &mut memo, step);
                let place = state.log.iter().position(|row| *row == before);
                state
                    .log
                    .swap_remove(place.expect("nobody else removes rows"));
                let next = coordinator
                    .on(reply)
                    .expect("the model sends only replies that belong to the step");
                let running = match next {
                    Next::Send(coordinator, step) => Some((coordinator, step)),
                    _ if forget => return,
                    _ => None,
                };
                state.log.push(Row::Errand { errand, running });
            }
        }
    }
}

fn is_put(role: Role) -> bool {
    matches!(role, Role::Put(..))
}

fn source_if(role: Role, object: u8) -> bool {
    match role {
        Role::Link(transfer) | Role::Rename(transfer) => transfer.source_if.holds(Some(object)),
        _ => true,
    }
}

impl State {
    /// Stores a binding; the directory of name 1 counts rows.
    fn set(&mut self, name: u8, binding: Binding) {
        let entry = &mut self.names[usize::from(name)];
        let was_there = entry.binding != Binding::Missing;
        let is_there = binding != Binding::Missing;
        entry.binding = binding;
        if !matches!(binding, Binding::Entering { .. }) {
            entry.entering = 0;
        }
        if !is_there || matches!(binding, Binding::Entering { before: None, .. }) {
            entry.before = 0;
        }
        if name == 1
            && let Some(directory) = &mut self.directory
        {
            directory.row = match (was_there, is_there) {
                (false, true) => directory.row.with_child_added(),
                (true, false) => directory.row.with_child_removed(),
                _ => directory.row,
            };
        }
    }

    fn enter(
        &mut self,
        role: Role,
        memo: &mut Memo,
        over: Over,
        object: ObjectId,
        token: namespace::Token,
    ) -> Reply {
        let (Role::Link(transfer) | Role::Rename(transfer)) = role else {
            unreachable!("{role:?} enters");
        };
        let name = transfer.target;
        let binding = self.names[usize::from(name)].binding;
        let (Some(after), Overwritten::Yes { bound }) =
            (binding.enter(over, object, token), binding.overwrite(over))
        else {
            return Reply::Busy(binding);
        };
        let before = bound.map(|bound| number(bound.object()));
        if !transfer.target_if.holds(before) {
            memo.outcome = Outcome::Refused;
            return Reply::Refused;
        }
        memo.before = before;
        self.set(name, after);
        self.names[usize::from(name)].entering = memo.meta;
        Reply::Done
    }

    fn on_record<T>(
        &mut self,
        object: ObjectId,
        step: impl FnOnce(&mut Record<u8>) -> T,
    ) -> Option<T> {
        self.records[usize::from(number(object))].as_mut().map(step)
    }

    fn take_reference(&mut self, object: ObjectId, step: impl FnOnce(&mut Record<u8>) -> Dropped) {
        let Some(version) = self.record(object).map(|record| record.version) else {
            return;
        };
        let dropped = self.on_record(object, step).unwrap_or(Dropped::Kept);
        if let Dropped::Dead { .. } = dropped {
            self.log_bytes(object, version);
        }
        if matches!(dropped, Dropped::Removed | Dropped::Dead { removed: true }) {
            self.records[usize::from(number(object))] = None;
        }
    }

    /// What a condition says of a transfer in one step, and what the target was bound to.
    fn check_here(&self, transfer: Transfer) -> Result<Option<u8>, Outcome> {
        let object = |name: u8| {
            let binding = self.names[usize::from(name)].binding;
            match binding.overwrite(Over::Free) {
                Overwritten::Yes { bound } => bound.map(|bound| number(bound.object())),
                Overwritten::Busy => None,
            }
        };
        // A source that is pinned can be transferred here all the same.
        let source = match self.names[usize::from(transfer.source)].binding {
            Binding::Bound(bound) => Some(number(bound.object())),
            _ => None,
        };
        let target = object(transfer.target);
        if transfer.source_if.holds(source) && transfer.target_if.holds(target) {
            Ok(target)
        } else {
            Err(Outcome::Refused)
        }
    }

    /// Whether the target can be written without a look at its directory.
    fn may_enter_here(&self, transfer: Transfer) -> bool {
        transfer.target != 1
            || self
                .directory
                .is_none_or(|d| matches!(d.row, namespace::Row::Open { .. }))
    }

    pub(super) fn rename_alone(&mut self, role: Role, transfer: Transfer) -> Option<Outcome> {
        let Role::Rename(_) = role else {
            return None;
        };
        let source = self.names[usize::from(transfer.source)].binding;
        let target = self.names[usize::from(transfer.target)].binding;
        let here: Here<u8> = link::rename_alone(source, target, self.fresh_token())
            .filter(|_| self.may_enter_here(transfer))?;
        Some(self.store_here(transfer, here))
    }

    pub(super) fn transfer_here(&mut self, role: Role, transfer: Transfer) -> Option<Outcome> {
        if let Some(outcome) = self.rename_alone(role, transfer) {
            return Some(outcome);
        }
        let kind = match role {
            Role::Link(_) => Kind::Link,
            _ => Kind::Rename,
        };
        let source = self.names[usize::from(transfer.source)].binding;
        let target = self.names[usize::from(transfer.target)].binding;
        let Binding::Bound(bound) = source else {
            return None;
        };
        let record = self.record(bound.object()).cloned();
        let here = link::transfer_here(
            (source, &transfer.source),
            (target, &transfer.target),
            record,
            self.fresh_token(),
            kind,
        )
        .filter(|_| self.may_enter_here(transfer))?;
        Some(self.store_here(transfer, here))
    }

    fn store_here(&mut self, transfer: Transfer, here: Here<u8>) -> Outcome {
        let before = match self.check_here(transfer) {
            Ok(before) => before,
            Err(refused) => return refused,
        };
        if let (Moved::Promoted { record, .. }, Some(object)) = (&here.moved, here.object()) {
            self.records[usize::from(number(object))] = Some(record.clone());
        }
        if let Some(disposal) = here.disposal {
            self.dispose(disposal);
        }
        let meta = self.names[usize::from(transfer.source)].before;
        self.set(transfer.target, here.target);
        self.names[usize::from(transfer.target)].before = meta;
        self.set(transfer.source, here.source);
        Outcome::Done(before)
    }

    /// What repair works on, and the version of the copies it reads.
    pub(super) fn read_for_repair(&self, name: u8) -> Option<(Bound, u64)> {
        let Binding::Bound(bound) = self.names[usize::from(name)].binding else {
            return None;
        };
        let from = match bound {
            Bound::Sole { version, .. } => version,
            Bound::Linked { object, .. } => self.record(object)?.version,
        };
        (from + 1 < VERSIONS_MAX).then_some((bound, from))
    }

    pub(super) fn repair(&mut self, name: u8, bound: Bound, from: u64) {
        let (object, label) = (bound.object(), bound.label());
        let repaired = match bound {
            Bound::Sole { .. } => {
                let (after, repaired) = self.names[usize::from(name)]
                    .binding
                    .repair(object, label, from);
                self.set(name, after);
                repaired
            }
            Bound::Linked { .. } => self
                .on_record(object, |record| record.repair(from))
                .unwrap_or(false),
        };
        if repaired {
            self.made[usize::from(number(object))] |= bit(from + 1);
            self.log_bytes(object, from);
        }
    }

    /// The n-th reference of all.
    pub(super) fn reference(&self, n: usize) -> Option<(ObjectId, Reference<u8>)> {
        let mut all = (0_u8..)
            .zip(&self.records)
            .filter_map(|(object, record)| Some((object, record.as_ref()?)))
            .flat_map(|(object, record)| record.references.iter().map(move |r| (object, r)));
        all.nth(n)
            .map(|(object, reference)| (object_id(object), reference.clone()))
    }
}

//! What must hold in every state.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::world::{History, NAMES_MAX};
use super::{Directory, If, Names, Place, Process, Role, State, Transfer, bit};
use crate::link::model::work::Memo;
use crate::link::{Audit, Binding, Bound, Next, Standing, Step};
use crate::namespace::{Row, Slot};

impl State {
    /// S1, as far as readers see it; that nothing is left of the rest is S3.
    pub(super) fn bytes_are_there(&self) -> bool {
        (0..NAMES_MAX).all(|name| match self.value(name) {
            None => true,
            Some(((object, _), version)) => self.gone[usize::from(object)] & bit(version) == 0,
        })
    }

    /// S2: what is not moving is live, whatever a listing believes, and the numbers beside the references are
    /// theirs.
    pub(super) fn references_are_live(&self) -> bool {
        let is_live = |bound: Bound| match bound {
            Bound::Linked {
                object,
                label,
                moving: false,
                ..
            } => self
                .record(object)
                .is_some_and(|record| record.standing(label) == Some(Standing::Live)),
            Bound::Linked { moving: true, .. } | Bound::Sole { .. } => true,
        };
        let names = self.names.iter().all(|name| match name.binding {
            Binding::Missing | Binding::Directory => true,
            Binding::Bound(bound) => is_live(bound),
            Binding::Entering { before, .. } => before.is_none_or(is_live),
        });
        names
            && self.records.iter().flatten().all(|record| {
                let count = |standing: Standing| {
                    let same = record.references.iter().filter(|r| r.standing == standing);
                    same.count() as u64
                };
                record.live == count(Standing::Live) && record.moved == count(Standing::Moved)
            })
    }

    /// I1 to I3 of the directory protocol, for the one child of that directory.
    pub(super) fn directory_is_whole(&self) -> bool {
        let Some(Directory { row, slot }) = self.directory else {
            return true;
        };
        let is_present = matches!(slot, Slot::Directory(_));
        let children = u64::from(self.names[1].binding != Binding::Missing);
        match row {
            Row::Open { count } => is_present && count == children,
            _ => children == 0,
        }
    }

    fn hash_of(&self, salt: u8) -> u64 {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        (&self.names, &self.records, &self.directory).hash(&mut hasher);
        if salt == 0 {
            (&self.log, &self.made, &self.gone).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Names {
    fn has_passed(&self, hash: u64) -> bool {
        self.passed
            .lock()
            .is_ok_and(|passed| passed.contains(&hash))
    }

    fn pass(&self, hash: u64) {
        if let Ok(mut passed) = self.passed.lock() {
            passed.insert(hash);
        }
    }

    /// S3. With everybody stopped for ever, the log and the audit leave exactly what is referred to; with
    /// everybody done and nobody stopped, the log alone does.
    pub(super) fn nothing_is_left(&self, state: &State) -> bool {
        let hash = state.hash_of(0);
        if !self.has_passed(hash) {
            let mut end = state.clone();
            end.processes.clear();
            end.strays.clear();
            loop {
                self.run_log(&mut end);
                if !self.audit(&mut end) && end.log.is_empty() {
                    break;
                }
            }
            if end.world() != state.world() || !end.is_exact() {
                return false;
            }
            self.pass(hash);
        }
        let is_over = state.is_idle() && state.processes.iter().all(|p| *p == Process::Done);
        if self.crashes || !is_over {
            return true;
        }
        let mut end = state.clone();
        self.run_log(&mut end);
        end.world() == state.world() && end.is_exact()
    }

    fn run_log(&self, state: &mut State) {
        while !state.log.is_empty() {
            self.run_row(state, 0, true);
        }
    }

    /// Looks after every reference there is. Whether it removed any.
    fn audit(&self, state: &mut State) -> bool {
        let before = state.records.clone();
        let mut n = 0;
        while let Some((object, reference)) = state.reference(n) {
            let mut memo = Memo {
                name: Some(reference.name),
                ..Memo::NEW
            };
            let mut next = Audit::start(object, &reference, true);
            while let Next::Send(coordinator, step) = next {
                let reply = self.execute(state, Role::Audit(0), &mut memo, step);
                next = coordinator
                    .on(reply)
                    .expect("the model sends only replies that belong to the step");
            }
            if state.reference(n) == Some((object, reference)) {
                n += 1;
            }
        }
        state.records != before
    }

    /// S6: from here, with everybody else stopped for ever, a fresh operation gives an answer that the names
    /// as they stand allow.
    pub(super) fn fresh_operations_end_well(&self, state: &State) -> bool {
        let hash = state.hash_of(1);
        if self.has_passed(hash) {
            return true;
        }
        let names: Vec<u8> = (0..self.names_used()).collect();
        let mut roles = vec![Role::List];
        for &name in &names {
            roles.extend([
                Role::Get(name),
                Role::Put(name, 3, If::Any),
                Role::Delete(name, If::Any),
                Role::Update(name, 7),
            ]);
            for &target in names.iter().filter(|&&target| target != name) {
                let transfer = Transfer {
                    source: name,
                    target,
                    source_if: If::Any,
                    target_if: If::Any,
                    place: Place::Apart,
                };
                roles.extend([Role::Link(transfer), Role::Rename(transfer)]);
            }
        }
        if self.directory.is_some() {
            roles.push(Role::RemoveDirectory);
        }
        let well = roles
            .iter()
            .all(|&role| self.run_alone(state, role).is_some());
        if well {
            self.pass(hash);
        }
        well
    }

    /// S7.
    pub(super) fn one_look_at_rest(&self, state: &State) -> bool {
        let is_at_rest = state.log.is_empty() && state.is_idle();
        !is_at_rest
            || (0..self.names_used()).all(|name| {
                self.run_alone(state, Role::Get(name))
                    .is_some_and(|looks| looks <= 1)
            })
    }

    /// How often it looked at a record; `None` if it did not end well.
    fn run_alone(&self, state: &State, role: Role) -> Option<u8> {
        const STEPS_MAX: usize = 40;
        let alone = Self {
            roles: vec![role],
            ..self.clone()
        };
        let world = state.world();
        let mut state = State {
            processes: vec![Process::Idle],
            strays: Vec::new(),
            history: History::new(world),
            ..state.clone()
        };
        let mut looks = 0;
        for _ in 0..STEPS_MAX {
            if let Process::Running(running) = &state.processes[0]
                && let Some(Step::ReadRecord { .. }) = running.pending()
            {
                looks += 1;
            }
            // Tokens of the stopped ones may be drawn again: they can take no further step.
            alone.step(&mut state, 0);
            if state.processes[0] == Process::Done {
                let now = state.world();
                let is_possible = world.apply(role).iter().any(|(after, _)| *after == now);
                let well = is_possible && state.history.is_linearizable();
                return well.then_some(looks);
            }
        }
        None
    }

    fn names_used(&self) -> u8 {
        let used = self.roles.iter().flat_map(|role| match *role {
            Role::Link(t) | Role::Rename(t) => vec![t.source, t.target],
            Role::Put(name, ..)
            | Role::Delete(name, _)
            | Role::Update(name, _)
            | Role::Get(name)
            | Role::Repair(name) => vec![name],
            Role::List | Role::RemoveDirectory | Role::MakeDirectory | Role::Audit(_) => vec![],
        });
        used.max().map_or(0, |highest| highest + 1)
    }
}

impl State {
    /// Nothing is there but what a name is bound to, and that is counted exactly.
    fn is_exact(&self) -> bool {
        (0_u8..).zip(&self.records).all(|(object, record)| {
            let index = usize::from(object);
            let values = (0..NAMES_MAX).filter_map(|name| self.value(name));
            let versions: Vec<u64> = values
                .filter(|((o, _), _)| *o == object)
                .map(|(_, version)| version)
                .collect();
            match versions.first() {
                None => record.is_none() && self.gone[index] == self.made[index],
                Some(&version) => {
                    let only_this = self.gone[index] == self.made[index] & !bit(version);
                    // One that was never promoted may stay for a slow linker.
                    let is_counted = record
                        .as_ref()
                        .is_none_or(|r| !r.confirmed || r.live == versions.len() as u64);
                    only_this && is_counted
                }
            }
        })
    }
}

//! The exhaustive check of the protocol: every interleaving of the steps of some processes at a few names, each
//! of which may stop for ever between any two steps (a process that is never scheduled again *is* a crashed
//! one, and a message that arrives late *is* a slow process), beside a log that anyone may run at any time.
//!
//! The steps and their order are the production functions, those of the directory protocol included; this file
//! only schedules them. What would surprise: retries have no bound here, so tokens are renamed after every
//! step, in order of appearance, and the state space stays finite; the linearizability monitor is part of the
//! state; and copies are as good as their version, so that the bytes of a version are either there or gone.

mod checks;
mod execute;
mod mutation;
mod tests;
mod tokens;
mod work;
mod world;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use stateright::{Model, Property};
use uuid::Uuid;

use self::mutation::Mutation;
use self::work::Running;
use self::world::{Content, History, If, NAMES_MAX, PROCESSES_MAX, World};
use super::{Binding, Bound, Disposal, Errand, Record, Running as Runner, Standing, Step};
use crate::ObjectId;
use crate::namespace::{self, Mark, Slot, Token};

const OBJECTS: usize = 4;

/// What a process does, once. Names and objects are numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Role {
    /// Name and new object.
    Put(u8, u8, If),
    Delete(u8, If),
    /// Name and what to say about its object.
    Update(u8, u8),
    Get(u8),
    List,
    Link(Transfer),
    Rename(Transfer),
    /// The directory of name 1.
    RemoveDirectory,
    MakeDirectory,
    /// Replaces the copies of the object under a name.
    Repair(u8),
    /// Looks after one reference, the n-th of those that there are when it begins.
    Audit(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Transfer {
    source: u8,
    target: u8,
    source_if: If,
    target_if: If,
    place: Place,
}

/// Which names and records share a shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    /// None.
    Apart,
    /// Both names.
    Together,
    /// Both names and the record.
    Here,
}

/// One exhaustive run.
#[derive(Clone, Debug)]
struct Names {
    /// What each name is bound to in the beginning.
    begin: [Option<u8>; NAMES_MAX],
    /// Whether name 1 has a directory that may be removed, and whether it is there in the beginning.
    directory: Option<bool>,
    roles: Vec<Role>,
    /// How many steps may be delivered a second time, at any later moment.
    repeats: u8,
    /// Without it, what is left when all is done must go by the log alone.
    crashes: bool,
    mutation: Option<Mutation>,
    /// States that have passed the checks that do not depend on who is running.
    passed: Arc<Mutex<HashSet<u64>>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    names: Vec<Name>,
    records: [Option<Record<u8>>; OBJECTS],
    /// For each object, which versions were made, and of which the bytes are gone. Bit sets.
    made: [u8; OBJECTS],
    gone: [u8; OBJECTS],
    /// In no particular order.
    log: Vec<Row>,
    directory: Option<Directory>,
    processes: Vec<Process>,
    /// Second deliveries still to come: role and step.
    strays: Vec<(Role, Step)>,
    repeats_left: u8,
    history: History,
}

/// An entry, and what is said about the object under it and about the one that enters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Name {
    binding: Binding,
    before: u8,
    entering: u8,
}

/// A row of some log.
#[expect(clippy::large_enum_variant, reason = "most are errands")]
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Row {
    Bytes {
        object: u8,
        version: u8,
    },
    Errand {
        errand: Errand<u8>,
        running: Option<(Runner, Step)>,
    },
}

/// The two records of the directory of name 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Directory {
    row: namespace::Row,
    slot: Slot,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Process {
    Idle,
    Running(Box<Running>),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Step(usize),
    /// The step takes effect now and once more later.
    StepTwice(usize),
    Stray(usize),
    /// One step of a row of the log; the row is removed after the last one.
    Run(usize),
    /// The same, but it stays.
    RunAndStop(usize),
}

fn object_id(object: u8) -> ObjectId {
    ObjectId::from_uuid(Uuid::from_u128(u128::from(object)))
}

fn number(object: ObjectId) -> u8 {
    u8::try_from(object.as_uuid().as_u128()).expect("the model numbers its objects")
}

fn bit(version: u64) -> u8 {
    1 << version
}

impl Model for Names {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        assert!(self.roles.len() <= PROCESSES_MAX);
        let mut made = [0; OBJECTS];
        let mut names = Vec::new();
        for (index, object) in self.begin.iter().enumerate() {
            let binding = Binding::from_bound(object.map(|object| {
                made[usize::from(object)] = bit(0);
                Bound::Sole {
                    object: object_id(object),
                    label: Token::from_bits(index as u128),
                    version: 0,
                }
            }));
            names.push(Name {
                binding,
                before: 0,
                entering: 0,
            });
        }
        let directory = self.directory.map(|present| Directory {
            row: match self.begin[1] {
                Some(_) => namespace::Row::Open { count: 1 },
                None => namespace::Row::Missing,
            },
            slot: if present {
                Slot::Directory(Mark::Normal)
            } else {
                Slot::Absent
            },
        });
        let world = World {
            values: self.begin.map(|object| object.map(|object| (object, 0))),
            directory: self.directory.unwrap_or(true),
        };
        vec![State {
            names,
            records: [const { None }; OBJECTS],
            made,
            gone: [0; OBJECTS],
            log: Vec::new(),
            directory,
            processes: vec![Process::Idle; self.roles.len()],
            strays: Vec::new(),
            repeats_left: self.repeats,
            history: History::new(world),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, process) in state.processes.iter().enumerate() {
            if *process == Process::Done {
                continue;
            }
            actions.push(Action::Step(index));
            if state.repeats_left > 0 && self.repeatable(process).is_some() {
                actions.push(Action::StepTwice(index));
            }
        }
        actions.extend((0..state.strays.len()).map(Action::Stray));
        for (index, row) in state.log.iter().enumerate() {
            actions.push(Action::Run(index));
            // Other rows are repeated to no other effect than running them now and again later.
            if self.repeats > 0 && matches!(row, Row::Errand { .. }) {
                actions.push(Action::RunAndStop(index));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(index) => self.step(&mut state, index),
            Action::StepTwice(index) => {
                let step = self.repeatable(&state.processes[index])?;
                self.step(&mut state, index);
                state.strays.push((self.roles[index], step));
                state.repeats_left -= 1;
            }
            Action::Stray(index) => {
                let (role, step) = state.strays.remove(index);
                self.deliver_again(&mut state, role, step);
            }
            Action::Run(index) => self.run_row(&mut state, index, true),
            Action::RunAndStop(index) => self.run_row(&mut state, index, false),
        }
        state.normalize();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("S1 bytes that are referred to", |_, s: &State| {
                s.bytes_are_there()
            }),
            Property::always("S2 references are live and counted", |_, s: &State| {
                s.references_are_live()
            }),
            Property::always("S3 nothing is left", Self::nothing_is_left),
            Property::always("S5 linearizable", |_, s: &State| {
                s.history.is_linearizable()
            }),
            Property::always("S6 nothing wedges", Self::fresh_operations_end_well),
            Property::always("S7 one look at rest", Self::one_look_at_rest),
            Property::always("I the directory is whole", |_, s: &State| {
                s.directory_is_whole()
            }),
        ]
    }
}

impl State {
    /// What a name is bound to, and of which version the copies are that a reader gets: the specification.
    fn value(&self, name: usize) -> Option<(Content, u64)> {
        let Name {
            binding,
            before: meta,
            entering: entering_meta,
        } = self.names[name];
        let of_bound = |bound: Bound| match bound {
            Bound::Sole {
                object, version, ..
            } => Some(((number(object), meta), version)),
            Bound::Linked { object, label, .. } => {
                let record = self.record(object)?;
                (record.standing(label) == Some(Standing::Live))
                    .then_some(((number(object), meta), record.version))
            }
        };
        match binding {
            Binding::Missing | Binding::Directory => None,
            Binding::Bound(bound) => of_bound(bound),
            Binding::Entering {
                object,
                token,
                before,
            } => match self.record(object) {
                Some(record) if record.standing(token) == Some(Standing::Live) => {
                    Some(((number(object), entering_meta), record.version))
                }
                _ => before.and_then(of_bound),
            },
        }
    }

    fn world(&self) -> World {
        let mut values = [None; NAMES_MAX];
        for (name, value) in values.iter_mut().enumerate() {
            *value = self.value(name).map(|(content, _)| content);
        }
        World {
            values,
            directory: self
                .directory
                .is_none_or(|d| matches!(d.slot, Slot::Directory(_))),
        }
    }

    fn record(&self, object: ObjectId) -> Option<&Record<u8>> {
        self.records[usize::from(number(object))].as_ref()
    }

    fn is_idle(&self) -> bool {
        self.strays.is_empty()
            && self
                .processes
                .iter()
                .all(|process| !matches!(process, Process::Running(_)))
    }

    fn dispose(&mut self, disposal: Disposal) {
        match disposal {
            Disposal::Bytes { object, version } => self.log_bytes(object, version),
            Disposal::Drop { object, label } => self.log_errand(Errand::Drop { object, label }),
        }
    }

    fn log_bytes(&mut self, object: ObjectId, version: u64) {
        self.log.push(Row::Bytes {
            object: number(object),
            version: u8::try_from(version).expect("few versions"),
        });
    }

    fn log_errand(&mut self, errand: Errand<u8>) {
        self.log.push(Row::Errand {
            errand,
            running: None,
        });
    }
}

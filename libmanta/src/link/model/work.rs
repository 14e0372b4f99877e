//! One process between two steps, and what it makes of a reply.

use super::world::{Content, NAMES_MAX, Outcome};
use super::{Name, Names, Place, Process, Role, State, number};
use crate::ObjectId;
use crate::link::{
    Audit, Binding, Bound, Child, Emptied, Emptying, Kind, Lookup, Next, Overwrite, Reply, Seen,
    Side, Snapshot, Step, Transfer, Transferred, Value,
};
use crate::namespace::{self, Operation, Presence, Token};

/// A process between two steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Running {
    pub(super) work: Work,
    /// An insert or a removal at the directory of name 1 that the step needs, or is.
    pub(super) inner: Option<(namespace::Coordinator, namespace::Step)>,
    pub(super) memo: Memo,
}

/// What the executor of the steps keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Memo {
    /// What is said about the source, as it was pinned.
    pub(super) meta: u8,
    /// What the target was bound to, as it was entered.
    pub(super) before: Option<u8>,
    /// What a write came to, or why it was refused.
    pub(super) outcome: Outcome,
    /// What was read of the name: what is said before and entering, and the reply of an insert.
    pub(super) read: (u8, u8),
    /// What the innermost transaction replied.
    pub(super) reply: Option<Reply>,
    /// The name that an audit or an errand is about.
    pub(super) name: Option<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Work {
    Transfer(Transfer, Step),
    Overwrite(Overwrite, Step),
    Lookup(Lookup, Step),
    Emptying(Emptying, Step),
    Audit(Audit, Step),
    Remove(namespace::Coordinator, namespace::Step),
    /// New copies have been made of what was read.
    Repair {
        bound: Bound,
        from: u64,
    },
    /// A page was read; some of its references were not.
    Page {
        page: Vec<Name>,
        snapshot: Snapshot,
        unread: Vec<(ObjectId, Token)>,
    },
    /// All in one step.
    Atomic,
}

/// What a step came to.
pub(super) enum Stepped {
    On(Box<Running>),
    /// Start again.
    Again,
    Answer(Outcome),
}

impl Memo {
    pub(super) const NEW: Self = Self {
        meta: 0,
        before: None,
        outcome: Outcome::Pending,
        read: (0, 0),
        reply: None,
        name: None,
    };
}

impl Running {
    pub(super) fn new(work: Work) -> Self {
        Self {
            work,
            inner: None,
            memo: Memo::NEW,
        }
    }

    /// The step that comes next, unless it is one of another kind.
    pub(super) fn pending(&self) -> Option<Step> {
        match &self.work {
            Work::Transfer(_, step)
            | Work::Overwrite(_, step)
            | Work::Lookup(_, step)
            | Work::Emptying(_, step)
            | Work::Audit(_, step) => Some(*step),
            Work::Remove(..) | Work::Repair { .. } | Work::Page { .. } | Work::Atomic => None,
        }
    }
}

impl Role {
    /// The name that a step is about.
    pub(super) fn name(self, side: Side) -> u8 {
        match self {
            Self::Link(transfer) | Self::Rename(transfer) => match side {
                Side::Source => transfer.source,
                Side::Target => transfer.target,
            },
            Self::Put(name, ..)
            | Self::Delete(name, _)
            | Self::Update(name, _)
            | Self::Get(name)
            | Self::Repair(name) => name,
            // The only name in a directory of its own.
            Self::RemoveDirectory => 1,
            Self::MakeDirectory | Self::List | Self::Audit(_) => 0,
        }
    }

    /// Whether its writes insert into a directory that others may remove.
    pub(super) fn inserts(self, step: Step) -> bool {
        match (self, step) {
            (Self::Put(name, ..), Step::Write { .. }) => name == 1,
            (Self::Link(transfer) | Self::Rename(transfer), Step::Enter { .. }) => {
                transfer.target == 1
            }
            _ => false,
        }
    }
}

impl Names {
    pub(super) fn start(&self, state: &State, role: Role) -> Running {
        let fresh = state.fresh_token();
        let work = match role {
            Role::Put(..) | Role::Delete(..) | Role::Update(..) => {
                let (coordinator, step) = Overwrite::start();
                Work::Overwrite(coordinator, step)
            }
            Role::Get(_) => {
                let (coordinator, step) = Lookup::start();
                Work::Lookup(coordinator, step)
            }
            Role::List => Work::Page {
                page: Vec::new(),
                snapshot: Snapshot::default(),
                unread: Vec::new(),
            },
            Role::Link(_) | Role::Rename(_) => {
                let kind = match role {
                    Role::Link(_) => Kind::Link,
                    _ => Kind::Rename,
                };
                let (coordinator, step) = Transfer::start(kind, fresh);
                Work::Transfer(coordinator, step)
            }
            Role::RemoveDirectory => {
                let operation = Operation::Remove(Presence::Recorded);
                let (coordinator, step) = namespace::Coordinator::start(operation, fresh);
                Work::Remove(coordinator, step)
            }
            Role::MakeDirectory | Role::Repair(_) | Role::Audit(_) => Work::Atomic,
        };
        Running::new(work)
    }

    /// Invokes the operation if it is idle, then takes one atomic step; the answer is part of the last step,
    /// so that operations overlap as little as possible and the monitor sees every real-time order.
    pub(super) fn step(&self, state: &mut State, index: usize) {
        let role = self.roles[index];
        let running = match &state.processes[index] {
            Process::Running(running) => (**running).clone(),
            _ => self.start(state, role),
        };
        // In the state while it runs, so that tokens it holds are not taken for fresh.
        state.processes[index] = Process::Running(Box::new(running.clone()));
        match self.take(state, role, running) {
            Stepped::On(running) => state.processes[index] = Process::Running(running),
            Stepped::Again => {
                state.processes[index] = Process::Done;
                state.processes[index] = Process::Running(Box::new(self.start(state, role)));
            }
            Stepped::Answer(outcome) => {
                let running: Vec<(usize, Role)> = (0..self.roles.len())
                    .filter(|&i| matches!(state.processes[i], Process::Running(_)))
                    .map(|i| (i, self.roles[i]))
                    .collect();
                state.history.answer(&running, index, outcome);
                state.processes[index] = Process::Done;
            }
        }
    }

    fn take(&self, state: &mut State, role: Role, mut running: Running) -> Stepped {
        if let Some((coordinator, step)) = running.inner.take() {
            return self.take_inner(state, role, running, coordinator, step);
        }
        let step = match running.work.clone() {
            Work::Atomic => return self.atomic(state, role, running),
            Work::Repair { bound, from } => {
                state.repair(role.name(Side::Target), bound, from);
                return Stepped::Answer(Outcome::Done(None));
            }
            Work::Page {
                page,
                snapshot,
                unread,
            } => return list(state, page, snapshot, unread),
            Work::Remove(coordinator, step) => {
                return self.take_inner(state, role, running, coordinator, step);
            }
            Work::Transfer(_, step)
            | Work::Overwrite(_, step)
            | Work::Lookup(_, step)
            | Work::Emptying(_, step)
            | Work::Audit(_, step) => step,
        };
        if let (Work::Transfer(..), Step::ReadName { side: Side::Source }) = (&running.work, step)
            && let Some(outcome) = self.shortcut(state, role)
        {
            return Stepped::Answer(outcome);
        }
        if self.directory.is_some() && role.inserts(step) {
            let fresh = state.fresh_token();
            let operation = Operation::Insert(Presence::Recorded);
            let (coordinator, step) = namespace::Coordinator::start(operation, fresh);
            return self.take_inner(state, role, running, coordinator, step);
        }
        let reply = self.execute(state, role, &mut running.memo, step);
        self.reply(state, role, running, reply)
    }

    /// One step of the directory protocol.
    fn take_inner(
        &self,
        state: &mut State,
        role: Role,
        mut running: Running,
        coordinator: namespace::Coordinator,
        step: namespace::Step,
    ) -> Stepped {
        // In the state as well.
        let reply = self.execute_inner(state, role, &mut running, step);
        let next = coordinator
            .on(reply)
            .expect("the model sends only replies that belong to the step");
        match (next, &mut running.work) {
            (namespace::Next::Send(next, step), Work::Remove(coordinator, pending)) => {
                (*coordinator, *pending) = (next, step);
                Stepped::On(Box::new(running))
            }
            (namespace::Next::Send(coordinator, step), _) => {
                running.inner = Some((coordinator, step));
                Stepped::On(Box::new(running))
            }
            (namespace::Next::Again, Work::Remove(..)) => Stepped::Again,
            // The step begins once more, with a fresh token of the directory protocol.
            (namespace::Next::Again, _) => Stepped::On(Box::new(running)),
            (namespace::Next::Answer(answer), Work::Remove(..)) => match answer {
                namespace::Answer::Done => Stepped::Answer(Outcome::Done(None)),
                namespace::Answer::NotFound | namespace::Answer::NotDirectory => {
                    Stepped::Answer(Outcome::NotFound)
                }
                namespace::Answer::NotEmpty => {
                    if self.mutation == Some(super::Mutation::BelieveTheCount) {
                        return Stepped::Answer(Outcome::NotEmpty);
                    }
                    let (coordinator, step) = Emptying::start();
                    running.work = Work::Emptying(coordinator, step);
                    Stepped::On(Box::new(running))
                }
            },
            (namespace::Next::Answer(namespace::Answer::Done), _) => {
                let reply = running.memo.reply.take();
                let reply = reply.expect("an insert that is done has replied");
                self.reply(state, role, running, reply)
            }
            (namespace::Next::Answer(_), work) => {
                running.memo.outcome = Outcome::NotFound;
                let reply = match work {
                    Work::Transfer(..) => Reply::Refused,
                    _ => Reply::Done,
                };
                self.reply(state, role, running, reply)
            }
        }
    }

    /// What follows from the reply to the step that was pending.
    fn reply(&self, state: &State, role: Role, mut running: Running, reply: Reply) -> Stepped {
        const LEGAL: &str = "the model sends only replies that belong to the step";
        match &mut running.work {
            Work::Transfer(coordinator, step) => match coordinator.on(reply).expect(LEGAL) {
                Next::Send(next, pending) => (*coordinator, *step) = (next, pending),
                Next::Again => return Stepped::Again,
                Next::Answer(Transferred::Done) => {
                    return Stepped::Answer(Outcome::Done(running.memo.before));
                }
                Next::Answer(Transferred::SourceMissing) => {
                    return Stepped::Answer(Outcome::SourceMissing);
                }
                Next::Answer(_) => return Stepped::Answer(running.memo.outcome),
            },
            Work::Overwrite(coordinator, step) => match coordinator.on(reply).expect(LEGAL) {
                Next::Send(next, pending) => (*coordinator, *step) = (next, pending),
                Next::Again => return Stepped::Again,
                Next::Answer(()) => return Stepped::Answer(running.memo.outcome),
            },
            Work::Lookup(coordinator, step) => {
                let next = match self.mutation {
                    Some(mutation) => mutation.look(*coordinator, reply),
                    None => coordinator.on(reply),
                };
                match next.expect(LEGAL) {
                    Next::Send(next, pending) => (*coordinator, *step) = (next, pending),
                    Next::Again => return Stepped::Again,
                    Next::Answer(seen) => {
                        let (before, entering) = running.memo.read;
                        let found = match seen {
                            Seen::Missing | Seen::Directory => None,
                            Seen::Sole(object) | Seen::Linked(object) => {
                                Some((number(object), before))
                            }
                            Seen::Entered(object) => Some((number(object), entering)),
                        };
                        return Stepped::Answer(Outcome::Found(found));
                    }
                }
            }
            Work::Emptying(coordinator, step) => match coordinator.on(reply).expect(LEGAL) {
                Next::Send(next, pending) => (*coordinator, *step) = (next, pending),
                Next::Again | Next::Answer(Emptied::Yes) => return Stepped::Again,
                Next::Answer(Emptied::No) => return Stepped::Answer(Outcome::NotEmpty),
            },
            Work::Audit(coordinator, step) => match coordinator.on(reply).expect(LEGAL) {
                Next::Send(next, pending) => (*coordinator, *step) = (next, pending),
                Next::Again => return Stepped::Again,
                Next::Answer(_) => return Stepped::Answer(Outcome::Done(None)),
            },
            Work::Remove(..) | Work::Repair { .. } | Work::Page { .. } | Work::Atomic => {
                unreachable!("{role:?} has no such step in {state:?}")
            }
        }
        Stepped::On(Box::new(running))
    }

    /// Steps that begin with a choice, or are everything.
    fn atomic(&self, state: &mut State, role: Role, mut running: Running) -> Stepped {
        match role {
            Role::MakeDirectory => {
                if let Some(directory) = &mut state.directory {
                    directory.slot = directory.slot.make_directory();
                }
                Stepped::Answer(Outcome::Done(None))
            }
            Role::Repair(name) => match state.read_for_repair(name) {
                Some((bound, from)) => {
                    running.work = Work::Repair { bound, from };
                    Stepped::On(Box::new(running))
                }
                None => Stepped::Answer(Outcome::Done(None)),
            },
            Role::Audit(which) => match state.reference(usize::from(which)) {
                Some((object, reference)) => match Audit::start(object, &reference, true) {
                    Next::Send(coordinator, step) => {
                        running.work = Work::Audit(coordinator, step);
                        running.memo.name = Some(reference.name);
                        Stepped::On(Box::new(running))
                    }
                    _ => Stepped::Answer(Outcome::Done(None)),
                },
                None => Stepped::Answer(Outcome::Done(None)),
            },
            role => unreachable!("{role:?} takes more than a step"),
        }
    }

    /// A transfer in one transaction, if the shards allow it.
    fn shortcut(&self, state: &mut State, role: Role) -> Option<Outcome> {
        let (Role::Link(transfer) | Role::Rename(transfer)) = role else {
            return None;
        };
        match transfer.place {
            Place::Apart => None,
            Place::Together => state.rename_alone(role, transfer),
            Place::Here => state.transfer_here(role, transfer),
        }
    }

    /// The step that a process could send twice now.
    pub(super) fn repeatable(&self, process: &Process) -> Option<Step> {
        let Process::Running(running) = process else {
            return None;
        };
        let step = running.pending()?;
        let resends = self.mutation.is_some_and(|m| m.resends(step));
        let reads = matches!(
            step,
            Step::ReadName { .. } | Step::ReadRecord { .. } | Step::FindChild
        );
        (!reads && (step.may_repeat() || resends)).then_some(step)
    }

    pub(super) fn deliver_again(&self, state: &mut State, role: Role, step: Step) {
        self.execute(state, role, &mut Memo::NEW.clone(), step);
    }
}

/// One step of a listing: reads the page, or the references of one record.
fn list(
    state: &State,
    mut page: Vec<Name>,
    mut snapshot: Snapshot,
    mut unread: Vec<(ObjectId, Token)>,
) -> Stepped {
    if let Some(&(object, _)) = unread.first() {
        let mut stands = true;
        for name in &page {
            for &(_, label) in unread.iter().filter(|(o, _)| *o == object) {
                if Snapshot::default().unknown([name.binding]) == [(object, label)] {
                    let standing = state.record(object).and_then(|r| r.standing(label));
                    stands &= snapshot.learn(name.binding, standing);
                }
            }
        }
        unread.retain(|(o, _)| *o != object);
        if !stands {
            // What is unread is read with the next page.
            page.clear();
            unread.clear();
        } else if unread.is_empty() {
            return Stepped::Answer(found(&page, &snapshot));
        }
    } else {
        page.clone_from(&state.names);
        unread = snapshot.unknown(page.iter().map(|name| name.binding));
        if unread.is_empty() {
            return Stepped::Answer(found(&page, &snapshot));
        }
    }
    Stepped::On(Box::new(Running::new(Work::Page {
        page,
        snapshot,
        unread,
    })))
}

fn found(page: &[Name], snapshot: &Snapshot) -> Outcome {
    let mut values: [Option<Content>; NAMES_MAX] = [None; NAMES_MAX];
    for (value, name) in values.iter_mut().zip(page) {
        *value = match (snapshot.value(name.binding), name.binding) {
            (Value::Before, Binding::Bound(bound))
            | (
                Value::Before,
                Binding::Entering {
                    before: Some(bound),
                    ..
                },
            ) => Some((number(bound.object()), name.before)),
            (Value::Entered, Binding::Entering { object, .. }) => {
                Some((number(object), name.entering))
            }
            _ => None,
        };
    }
    Outcome::Page(values)
}

/// The word for what stands in the way of a removal.
pub(super) fn child(binding: Binding) -> Child {
    match binding {
        Binding::Missing => Child::None,
        binding if binding.is_unresolved() => Child::Unresolved(binding),
        _ => Child::There,
    }
}

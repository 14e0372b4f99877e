//! The exhaustive check of the protocol: every interleaving of the steps of some processes at one directory,
//! each of which may stop for ever between any two steps (a process that is never scheduled again *is* a
//! crashed one, and a message that arrives late *is* a slow process).
//!
//! The steps and their order are the production functions; this file only schedules them. What would
//! surprise: retries have no bound here, so tokens are renamed after every step, in order of appearance, and
//! the state space stays finite; and the linearizability monitor is part of the state.

mod history;
mod mutation;
mod tests;

use stateright::{Model, Property};

use self::history::{History, Outcome, PROCESSES_MAX, World};
use self::mutation::Mutation;
use super::coordinator::Waiting;
use super::{
    Admission, Answer, Coordinator, Mark, Next, Operation, Presence, Reply, Row, Slot, Step, Token,
    Unsettled,
};

/// What a process does, once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Role {
    /// Writes child `1 << n`.
    Insert(u8),
    /// Gets as far as writing a child, which its condition then forbids.
    Refused,
    Remove,
    List,
    /// At the name of the directory itself.
    MakeDirectory,
    PutObject,
    RemoveObject,
    /// Removes child `1 << n`.
    RemoveChild(u8),
}

/// One exhaustive run.
#[derive(Clone, Debug)]
struct Directory {
    presence: Presence,
    slot: Slot,
    roles: Vec<Role>,
    /// How many steps may be delivered a second time, at any later moment.
    repeats: u8,
    mutation: Option<Mutation>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    row: Row,
    slot: Slot,
    /// Bit set.
    children: u8,
    processes: Vec<Process>,
    /// Second deliveries still to come: role and step.
    strays: Vec<(Role, Step)>,
    repeats_left: u8,
    removals_acknowledged: u8,
    history: History,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Process {
    Idle,
    Running(Running),
    Done,
}

/// A process between two steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Running {
    coordinator: Coordinator,
    pending: Step,
    /// The children as a listing read them.
    page: u8,
    /// Where a mutation has led it.
    detour: mutation::Detour,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Step(usize),
    /// The step takes effect now and once more later.
    StepTwice(usize),
    Stray(usize),
}

impl Role {
    /// `None` when a single transaction at the entry does it all.
    fn operation(self, presence: Presence) -> Option<Operation> {
        match self {
            Self::Insert(_) | Self::Refused => Some(Operation::Insert(presence)),
            Self::Remove => Some(Operation::Remove(presence)),
            Self::List => Some(Operation::List(presence)),
            Self::MakeDirectory | Self::PutObject | Self::RemoveObject | Self::RemoveChild(_) => {
                None
            }
        }
    }
}

impl Model for Directory {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        assert!(self.roles.len() <= PROCESSES_MAX);
        vec![State {
            row: Row::Missing,
            slot: self.slot,
            children: 0,
            processes: vec![Process::Idle; self.roles.len()],
            strays: Vec::new(),
            repeats_left: self.repeats,
            removals_acknowledged: 0,
            history: History::new(World {
                slot: self.slot,
                children: 0,
            }),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, process) in state.processes.iter().enumerate() {
            if *process == Process::Done {
                continue;
            }
            actions.push(Action::Step(index));
            if state.repeats_left > 0 && self.may_repeat(index, process) {
                actions.push(Action::StepTwice(index));
            }
        }
        actions.extend((0..state.strays.len()).map(Action::Stray));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(index) => self.step(&mut state, index),
            Action::StepTwice(index) => {
                let role = self.roles[index];
                let step = match state.processes[index] {
                    Process::Running(running) => running.pending,
                    _ => {
                        let operation = role.operation(self.presence)?;
                        Coordinator::start(operation, state.fresh_token()).1
                    }
                };
                self.step(&mut state, index);
                state.strays.push((role, step));
                state.repeats_left -= 1;
            }
            Action::Stray(index) => {
                let (role, step) = state.strays.remove(index);
                self.execute(&mut state, role, step);
            }
        }
        state.rename_tokens();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 no orphan", |m: &Self, s: &State| {
                s.children == 0 || m.is_present(s)
            }),
            Property::always("I2 open means present", |m: &Self, s: &State| {
                !matches!(s.row, Row::Open { .. }) || m.is_present(s)
            }),
            Property::always("I3 and I6 the count is exact", |_, s: &State| match s.row {
                Row::Open { count } => count == u64::from(s.children.count_ones()),
                _ => s.children == 0,
            }),
            Property::always("I4 nothing wedges", Self::fresh_operations_end_well),
            Property::always("I5 linearizable", |_, s: &State| {
                s.history.is_linearizable()
            }),
            Property::always("I7 nothing is left", |m: &Self, s: &State| {
                let is_idle = s.strays.is_empty()
                    && s.processes
                        .iter()
                        .all(|p| !matches!(p, Process::Running(_)));
                !is_idle || m.is_present(s) || s.row == Row::Missing
            }),
        ]
    }
}

impl Directory {
    fn is_present(&self, state: &State) -> bool {
        self.presence == Presence::Always || matches!(state.slot, Slot::Directory(_))
    }

    fn may_repeat(&self, index: usize, process: &Process) -> bool {
        let resends_all = self.mutation == Some(Mutation::ResendAnything);
        match process {
            Process::Running(running) => running.pending.may_repeat() || resends_all,
            _ => resends_all && self.roles[index].operation(self.presence).is_some(),
        }
    }

    /// Invokes the operation if it is idle, then takes one atomic step; the answer is part of the last step,
    /// so that operations overlap as little as possible and the monitor sees every real-time order.
    fn step(&self, state: &mut State, index: usize) {
        let role = self.roles[index];
        let Some(operation) = role.operation(self.presence) else {
            let outcome = state.single_step(role);
            self.answer(state, index, outcome);
            return;
        };
        let mut running = match state.processes[index] {
            Process::Running(running) => running,
            _ => Running::start(operation, state.fresh_token()),
        };
        if let Some(mutation) = self.mutation {
            mutation.before(state, &mut running);
        }
        // In the state while it runs, so that tokens it holds are not taken for fresh.
        state.processes[index] = Process::Running(running);
        if running.pending == Step::ReadRow {
            running.page = state.children;
        }
        let reply = self.execute(state, role, running.pending);
        let next = match self.mutation {
            Some(mutation) => mutation.on(&mut running, role, reply),
            None => running.coordinator.on(reply),
        };
        match next.expect("the model sends only replies that belong to the step") {
            Next::Send(coordinator, pending) => {
                running.coordinator = coordinator;
                running.pending = pending;
                state.processes[index] = Process::Running(running);
            }
            Next::Again => {
                let fresh = state.fresh_token();
                state.processes[index] = Process::Running(Running::start(operation, fresh));
            }
            Next::Answer(answer) => {
                let outcome = match (role, answer) {
                    (Role::List, Answer::Done) => Outcome::Page(running.page),
                    (_, answer) => Outcome::Answer(answer),
                };
                self.answer(state, index, outcome);
            }
        }
    }

    fn answer(&self, state: &mut State, index: usize, outcome: Outcome) {
        // The answering process is in the list even when it did everything in one step.
        let running: Vec<(usize, Role)> = (0..self.roles.len())
            .filter(|&i| i == index || matches!(state.processes[i], Process::Running(_)))
            .map(|i| (i, self.roles[i]))
            .collect();
        state
            .history
            .answer(&running, index, outcome, self.presence);
        state.processes[index] = Process::Done;
        if self.roles[index] == Role::Remove && outcome == Outcome::Answer(Answer::Done) {
            state.removals_acknowledged += 1;
        }
    }

    /// One shard's transaction.
    fn execute(&self, state: &mut State, role: Role, step: Step) -> Reply {
        if let Some(reply) = self
            .mutation
            .and_then(|mutation| mutation.execute(state, step))
        {
            return reply;
        }
        match step {
            Step::Insert { nonce } => {
                let (row, admission) = state.row.begin_insert(nonce, self.presence);
                state.admit(role, row, admission)
            }
            Step::Settle { seen } => {
                let (row, admission) = state.row.settle_insert(seen);
                state.admit(role, row, admission)
            }
            Step::DropRow { seen } => {
                let held;
                (state.row, held) = state.row.drop_if(seen);
                Reply::Held(held)
            }
            Step::Close { token } => {
                let close;
                (state.row, close) = state.row.close(token);
                Reply::Close(close)
            }
            Step::Reopen { token } => {
                let held;
                (state.row, held) = state.row.reopen(token);
                Reply::Held(held)
            }
            Step::ReadRow => Reply::Row {
                open: matches!(state.row, Row::Open { .. }),
            },
            Step::ReadEntry => Reply::Entry(state.slot),
            Step::Mark { token } => {
                let marked;
                (state.slot, marked) = state.slot.mark(token);
                if marked {
                    Reply::Marked
                } else {
                    Reply::Entry(state.slot)
                }
            }
            Step::Unmark { token } => {
                let held;
                (state.slot, held) = state.slot.unmark(token);
                Reply::Held(held)
            }
            Step::RemoveEntry { token } => {
                let held;
                (state.slot, held) = state.slot.remove_marked(token);
                Reply::Held(held)
            }
        }
    }

    /// I4: from here, with everybody else stopped for ever, a fresh operation gives the answer that the tree
    /// as it stands demands.
    fn fresh_operations_end_well(&self, state: &State) -> bool {
        const STEPS_MAX: usize = 24;
        [
            Role::Insert(7),
            Role::Remove,
            Role::List,
            Role::MakeDirectory,
        ]
        .into_iter()
        .all(|role| {
            let alone = Self {
                roles: vec![role],
                ..self.clone()
            };
            let mut world = state.world();
            let expected = world.apply(role, self.presence);
            let mut state = State {
                processes: vec![Process::Idle],
                history: History::new(state.world()),
                ..state.clone()
            };
            // Tokens of the stopped ones may be drawn again: they can take no further step.
            for _ in 0..STEPS_MAX {
                alone.step(&mut state, 0);
                if state.processes[0] == Process::Done {
                    return state.history.is_linearizable()
                        && state.world() == world
                        && (expected != Outcome::Pending);
                }
            }
            false
        })
    }
}

impl Running {
    fn start(operation: Operation, fresh: Token) -> Self {
        let (coordinator, pending) = Coordinator::start(operation, fresh);
        Self {
            coordinator,
            pending,
            page: 0,
            detour: mutation::Detour::None,
        }
    }
}

impl State {
    /// The tree as a client could see it.
    fn world(&self) -> World {
        let slot = match self.slot {
            Slot::Directory(_) => Slot::Directory(Mark::Normal),
            other => other,
        };
        World {
            slot,
            children: self.children,
        }
    }

    fn admit(&mut self, role: Role, row: Row, admission: Admission) -> Reply {
        self.row = row;
        match admission {
            Admission::Unsettled(seen) => Reply::Unsettled(seen),
            Admission::Changed => Reply::Held(false),
            Admission::Admitted => {
                if let Role::Insert(n) = role
                    && self.children & (1 << n) == 0
                {
                    self.children |= 1 << n;
                    self.row = self.row.with_child_added();
                }
                Reply::Written
            }
        }
    }

    /// Operations of one transaction: at the entry, or below an open row.
    fn single_step(&mut self, role: Role) -> Outcome {
        let done = Outcome::Answer(Answer::Done);
        match (role, self.slot) {
            (Role::MakeDirectory, slot) => {
                self.slot = slot.make_directory();
                done
            }
            (Role::PutObject, slot) => match slot.put_object() {
                Some(slot) => {
                    self.slot = slot;
                    done
                }
                None => Outcome::IsDirectory,
            },
            (Role::RemoveObject, Slot::Object) => {
                self.slot = Slot::Absent;
                done
            }
            (Role::RemoveObject, Slot::Directory(_)) => Outcome::IsDirectory,
            (Role::RemoveChild(n), _) if self.children & (1 << n) != 0 => {
                self.children &= !(1 << n);
                self.row = self.row.with_child_removed();
                done
            }
            _ => Outcome::Answer(Answer::NotFound),
        }
    }

    /// A token that nobody holds is as good as one never used: only equality matters.
    fn fresh_token(&self) -> Token {
        let mut state = self.clone();
        let mut used = 0_u64;
        state.map_tokens(&mut |token| {
            used |= 1 << token.to_bits();
            token
        });
        Token::from_bits(u128::from(used.trailing_ones()))
    }

    /// Numbers tokens in order of appearance, so that states that differ only by them are one.
    fn rename_tokens(&mut self) {
        let mut seen: Vec<Token> = Vec::new();
        self.map_tokens(&mut |token| {
            let index = seen.iter().position(|t| *t == token).unwrap_or_else(|| {
                seen.push(token);
                seen.len() - 1
            });
            Token::from_bits(index as u128)
        });
    }

    fn map_tokens(&mut self, map: &mut impl FnMut(Token) -> Token) {
        match &mut self.row {
            Row::Probing(token) | Row::Closing(token) => *token = map(*token),
            Row::Missing | Row::Open { .. } => {}
        }
        if let Slot::Directory(Mark::Deleting(token)) = &mut self.slot {
            *token = map(*token);
        }
        for process in &mut self.processes {
            if let Process::Running(running) = process {
                running.coordinator.waits_for.map_tokens(map);
                running.pending.map_tokens(map);
            }
        }
        for (_, step) in &mut self.strays {
            step.map_tokens(map);
        }
    }
}

impl Coordinator {
    pub(crate) fn map_tokens(&mut self, map: &mut impl FnMut(Token) -> Token) {
        self.waits_for.map_tokens(map);
    }
}

impl Step {
    pub(crate) fn map_tokens(&mut self, map: &mut impl FnMut(Token) -> Token) {
        match self {
            Self::Insert { nonce: token }
            | Self::Settle {
                seen: Unsettled::Probing(token) | Unsettled::Closing(token),
            }
            | Self::DropRow {
                seen: Unsettled::Probing(token) | Unsettled::Closing(token),
            }
            | Self::Close { token }
            | Self::Reopen { token }
            | Self::Mark { token }
            | Self::Unmark { token }
            | Self::RemoveEntry { token } => *token = map(*token),
            Self::ReadRow | Self::ReadEntry => {}
        }
    }
}

impl Waiting {
    fn map_tokens(&mut self, map: &mut impl FnMut(Token) -> Token) {
        match self {
            Self::ProbeEntry { nonce: token }
            | Self::ResolveEntry { closing: token }
            | Self::Abort { closing: token }
            | Self::Mark { token }
            | Self::Close { token }
            | Self::OtherReopen { token }
            | Self::RemoveEntry { token } => *token = map(*token),
            Self::OtherEntry { token, other } => {
                *token = map(*token);
                *other = map(*other);
            }
            Self::Insert
            | Self::Settle
            | Self::GiveUp(_)
            | Self::OtherDrop
            | Self::Undo
            | Self::Finish { .. }
            | Self::Row { .. }
            | Self::Entry => {}
        }
    }
}

//! The supervisor of one job: what to do next, decided without doing it.
//!
//! # Theory of operation
//!
//! Select, then apply: the job's owner task ([`owner`]) awaits the next event and hands it to
//! [`Supervisor::on`], which changes state and returns effects; no lock, no await, one thing at a time. A
//! change that must survive is first *queued* as a log entry, written together with whatever else was
//! queued in the meantime ([`log_queue`]), and only then applied to the [`Ledger`]. So nothing a user can
//! see, no deletion and no input of a later phase ever rests on something that a crash could take back.
//!
//! The happy path of a map job: inputs are queued and written; each becomes an item; items are resolved
//! (account, entry, permission) a few at a time; a resolved item becomes a task of the agent; its result is
//! queued as a commit; a written commit consumes the item and makes the items of the next phase. When no
//! item is open and no more can come, the job is done.
//!
//! Failures: a zone that vanishes loses the attempt, and the item is resolved and tried again, three times
//! in all; a crash loses what was not written, and the replayed ledger still holds those items as open.

pub(crate) mod archive;
pub(crate) mod event;
mod log_queue;
mod log_writer;
mod open_tasks;
pub(crate) mod owner;
pub(crate) mod resolve;
pub(crate) mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use libmanta::JobId;

use crate::job::{Job, JobEvent};
use crate::ledger::{Consequence, Item, Ledger, Place};
use crate::record::{Commit, Entry, ErrorCode, Failure, Segment, TaskError, Work};
use crate::run::Run;
use crate::supervisor::event::{Effect, Event, Outcome, Ticket};
use crate::supervisor::log_queue::{LogQueue, Next};
use crate::supervisor::log_writer::encoded_bytes;
use crate::supervisor::open_tasks::OpenTasks;
use crate::supervisor::resolve::Located;
use crate::supervisor::view::View;
use crate::task::{Task, TaskEvent};
use crate::task_id::task_id;

/// Look-ups of one job at a time: enough to hide their latency, too few to crowd out other jobs.
const RESOLVING_MAX: usize = 32;
/// Map tasks of one job that wait for a zone or run. More than any machine runs at once, few enough that
/// a job of a million inputs does not hold a million look-ups that grow stale.
const TASKS_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Supervisor {
    id: JobId,
    ledger: Ledger,
    phases: Vec<Phase>,
    /// Work that is not committed and is, or is about to be, with the agent.
    tasks: OpenTasks,
    /// Map tasks that wait for a zone or run.
    tasks_running: usize,
    /// Look-ups under way, and of which phase the items are or were.
    resolving: HashMap<u64, usize>,
    deleting: usize,
    /// Deletions that a replayed log asks for again.
    redo: Vec<Arc<str>>,
    /// The state when everything queued will have been applied.
    intent: Job,
    log: LogQueue,
    done: bool,
}

#[derive(Debug, Default)]
struct Phase {
    waiting: VecDeque<u64>,
    resolving: usize,
    /// Its group or its feeds know that nothing more comes.
    closed: bool,
    /// For each reducer, whether the agent has it.
    started: Vec<bool>,
}

impl Supervisor {
    /// `redo` are the deletions that folding the log asked for: whether they were made is not recorded.
    pub(crate) fn new(id: JobId, phases: usize, ledger: Ledger, redo: Vec<Arc<str>>) -> Self {
        let mut tasks = OpenTasks::default();
        let mut runs = Vec::with_capacity(phases);
        for phase in 0..phases {
            let reducers = ledger.reducers(phase);
            for index in 0..reducers {
                if !ledger.state().is_done() && !ledger.is_committed(phase, index) {
                    let index = u8::try_from(index).unwrap_or(u8::MAX);
                    tasks.get_or_new(Work::Reducer { phase, index });
                }
            }
            runs.push(Phase {
                started: vec![false; reducers],
                ..Phase::default()
            });
        }
        Self {
            id,
            intent: ledger.state(),
            ledger,
            phases: runs,
            tasks,
            tasks_running: 0,
            resolving: HashMap::new(),
            deleting: 0,
            redo,
            log: LogQueue::default(),
            done: false,
        }
    }

    pub(crate) fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Begin => self.begin(&mut effects),
            Event::AddInputs {
                ticket,
                names,
                last,
            } => {
                if let Some(ticket) = self.intend(JobEvent::InputsAdded, ticket, &mut effects) {
                    if last {
                        self.intent = Job::Ended;
                        self.log.push(Entry::Inputs { names }, None);
                        self.log.push(Entry::InputEnded, Some(ticket));
                    } else {
                        self.log.push(Entry::Inputs { names }, Some(ticket));
                    }
                }
            }
            Event::EndInput { ticket } => {
                if let Some(ticket) = self.intend(JobEvent::InputEnded, ticket, &mut effects) {
                    if self.ledger.state() == Job::Ended {
                        let result = Ok(());
                        effects.push(Effect::Reply { ticket, result });
                    } else {
                        self.log.push(Entry::InputEnded, Some(ticket));
                    }
                }
            }
            Event::Cancel { ticket } => {
                if let Some(ticket) = self.intend(JobEvent::Cancelled, ticket, &mut effects) {
                    // No result counts from here on, so nothing needs to run while this is written.
                    effects.push(Effect::Abort);
                    let entry = self.cancellation();
                    self.log.push(entry, Some(ticket));
                }
            }
            Event::InputIdle => {
                if self.intent == Job::Open {
                    self.intent = Job::Ended;
                    self.log.push(Entry::InputEnded, None);
                }
            }
            Event::Resolved { item, result } => self.resolved(item, result, &mut effects),
            Event::Started { work, attempt } => {
                self.step(work, attempt, TaskEvent::Started);
            }
            Event::Finished {
                work,
                attempt,
                outcome,
                run,
            } => self.finished(work, attempt, (outcome, run), &mut effects),
            Event::Gathered => self.log.gathered(),
            Event::Written(segments) => self.written(&segments, &mut effects),
            Event::Unwritable(entries) => self.unwritable(entries, &mut effects),
            Event::Deleted => self.deleting -= 1,
        }
        self.advance(&mut effects);
        effects
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the job's owner may see: only what is durable, plus the tasks that were begun.
    pub(crate) fn view(&self) -> View {
        let mut stats = self.ledger.stats();
        self.tasks.add_to(&mut stats);
        View::new(self.ledger.state(), stats, self.ledger.times())
    }

    fn begin(&mut self, effects: &mut Vec<Effect>) {
        for name in std::mem::take(&mut self.redo) {
            self.deleting += 1;
            effects.push(Effect::Delete(name));
        }
        for id in self.ledger.open_items() {
            self.enqueue(id);
        }
    }

    /// The ticket back if the job takes the request; otherwise the refusal is on its way.
    fn intend(
        &mut self,
        event: JobEvent,
        ticket: Ticket,
        effects: &mut Vec<Effect>,
    ) -> Option<Ticket> {
        match self.intent.on(event) {
            Ok(intent) => {
                self.intent = intent;
                Some(ticket)
            }
            Err(refused) => {
                let result = Err(refused.state.refusal_word());
                effects.push(Effect::Reply { ticket, result });
                None
            }
        }
    }

    fn enqueue(&mut self, id: u64) {
        if let Some(item) = self.ledger.item(id)
            && let Some(phase) = self.phases.get_mut(item.phase)
        {
            phase.waiting.push_back(id);
        }
    }

    /// Every task that was dispatched and has not finished fails; inputs that never became a task do not.
    fn cancellation(&self) -> Entry {
        let error = TaskError::new(ErrorCode::JobCancelled, "job was cancelled");
        let mut cut: Vec<(Work, Task)> = self
            .tasks
            .iter()
            .filter(|(_, task)| !matches!(task, Task::Finished { .. }))
            .collect();
        cut.sort_by_key(|(work, _)| match *work {
            Work::Item(id) => (0, id),
            Work::Reducer { phase, index } => (1 + phase, u64::from(index)),
        });
        let tasks = cut.iter().map(|(_, t)| u64::from(t.attempts())).sum();
        let errors = cut
            .into_iter()
            .map(|(work, task)| self.failure(work, task.attempts(), error.clone()))
            .collect();
        Entry::Cancelled { errors, tasks }
    }

    fn failure(&self, work: Work, attempt: u8, error: TaskError) -> Failure {
        let item = match work {
            Work::Item(id) => self.ledger.item(id),
            Work::Reducer { .. } => None,
        };
        let text = |text: &Arc<str>| text.to_string();
        Failure {
            phase: self.phase_of(work),
            error,
            input: item.map(|item| text(&item.name)),
            origin: item.and_then(|item| item.origin.as_ref().map(text)),
            task: (attempt > 0).then(|| task_id(self.id, work, attempt)),
        }
    }

    fn phase_of(&self, work: Work) -> usize {
        match work {
            Work::Item(id) => self.ledger.item(id).map_or(0, |item| item.phase),
            Work::Reducer { phase, .. } => phase,
        }
    }

    /// Moves a task on, if it is still the attempt that is meant. A report about an attempt that was given
    /// up comes too late and says nothing.
    fn step(&mut self, work: Work, attempt: u8, event: TaskEvent) -> Option<Task> {
        if self.intent.is_done() {
            return None;
        }
        self.tasks.step(work, attempt, event)
    }

    fn resolved(&mut self, id: u64, result: Result<Located, TaskError>, effects: &mut Vec<Effect>) {
        let phase = self.resolving.remove(&id);
        if let Some(phase) = phase.and_then(|phase| self.phases.get_mut(phase)) {
            phase.resolving -= 1;
        }
        // Its reducer may have failed meanwhile, though that may not be recorded yet.
        let Some(item) = self.ledger.item(id).cloned() else {
            return;
        };
        if let Place::Reducer(index) = item.place {
            let phase = item.phase;
            let reducer = self.tasks.get(Work::Reducer { phase, index });
            if matches!(reducer, Some(Task::Finished { .. })) {
                return;
            }
        }
        if self.intent.is_done() {
            return;
        }
        match result {
            Err(error) => self.refuse(id, error),
            Ok(located) => match item.place {
                Place::Map => {
                    let task = self.tasks.get_or_new(Work::Item(id));
                    self.tasks_running += 1;
                    effects.push(Effect::StartMap {
                        phase: item.phase,
                        item: id,
                        attempt: task.attempts(),
                        located,
                        origin: item.origin,
                    });
                }
                Place::Reducer(index) => {
                    let phase = item.phase;
                    effects.push(Effect::Feed {
                        phase,
                        index,
                        input: located,
                    });
                    self.start_reducer(phase, index, effects);
                }
                Place::Nowhere { .. } => {}
            },
        }
    }

    /// Ends an item that cannot become a task (again).
    fn refuse(&mut self, id: u64, error: TaskError) {
        let work = Work::Item(id);
        // The attempt that cannot begin does not count.
        let attempts = self.tasks.remove(work).map_or(0, |t| t.attempts() - 1);
        let failure = self.failure(work, attempts, error);
        self.log.push(
            Entry::Commit(Commit {
                work,
                phase: failure.phase,
                attempts,
                outputs: Vec::new(),
                failure: Some(failure),
                run: None,
            }),
            None,
        );
    }

    fn start_reducer(&mut self, phase: usize, index: u8, effects: &mut Vec<Effect>) {
        let Some(run) = self.phases.get_mut(phase) else {
            return;
        };
        let open = !run.closed;
        let Some(started) = run.started.get_mut(usize::from(index)) else {
            return;
        };
        let Some(task) = self.tasks.get(Work::Reducer { phase, index }) else {
            return;
        };
        if !std::mem::replace(started, true) {
            effects.push(Effect::StartReduce {
                phase,
                index,
                attempt: task.attempts(),
                open,
            });
        }
    }

    fn finished(
        &mut self,
        work: Work,
        attempt: u8,
        (outcome, mut run): (Outcome, Option<Box<Run>>),
        effects: &mut Vec<Effect>,
    ) {
        let event = match outcome {
            Outcome::Lost | Outcome::Killed => TaskEvent::Lost,
            Outcome::Done(_) | Outcome::Failed(_) => TaskEvent::Finished,
        };
        let Some(task) = self.step(work, attempt, event) else {
            return;
        };
        if matches!(work, Work::Item(_)) {
            self.tasks_running -= 1;
        }
        let (outputs, error) = match (outcome, task) {
            (lost @ (Outcome::Lost | Outcome::Killed), Task::Queued { .. }) => {
                if lost == Outcome::Lost {
                    tracing::warn!(job_id = %self.id, ?work, attempt, "task lost with its zone, trying again");
                }
                match work {
                    Work::Item(id) => self.enqueue(id),
                    Work::Reducer { phase, index } => {
                        if let Some(run) = self.phases.get_mut(phase)
                            && let Some(started) = run.started.get_mut(usize::from(index))
                        {
                            *started = false;
                        }
                        self.start_reducer(phase, index, effects);
                    }
                }
                return;
            }
            (Outcome::Lost, _) => (Vec::new(), Some(TaskError::internal())),
            (Outcome::Killed, _) => (Vec::new(), Some(TaskError::killed())),
            (Outcome::Done(outputs), _) => (outputs, None),
            (Outcome::Failed(error), _) => (Vec::new(), Some(error)),
        };
        let failure = error.map(|error| self.failure(work, attempt, error));
        if failure.is_none()
            && let Some(run) = &mut run
            && let Work::Item(id) = work
            && let Some(item) = self.ledger.item(id)
        {
            run.input = Some(item.name.to_string());
            let origin = item.origin.as_ref().filter(|origin| **origin != item.name);
            run.origin = origin.map(|origin| origin.to_string());
        }
        self.log.push(
            Entry::Commit(Commit {
                work,
                phase: self.phase_of(work),
                attempts: attempt,
                outputs,
                failure,
                run,
            }),
            None,
        );
    }

    fn written(&mut self, segments: &[Segment], effects: &mut Vec<Effect>) {
        let was_done = self.ledger.state().is_done();
        for segment in segments {
            match self.ledger.apply(segment) {
                Ok(consequences) => {
                    for consequence in consequences {
                        self.follow(consequence, effects);
                    }
                }
                // Every entry was checked against `intent` when it was queued.
                Err(error) => {
                    tracing::error!(job_id = %self.id, %error, "log refused its own entry");
                }
            }
            for entry in &segment.entries {
                if let Entry::Commit(commit) = entry {
                    self.tasks.remove(commit.work);
                }
            }
        }
        if !was_done && self.ledger.state().is_cancelled() {
            self.tasks.clear();
            self.phases.iter_mut().for_each(|p| p.waiting.clear());
        }
        for ticket in self.log.written() {
            let result = Ok(());
            effects.push(Effect::Reply { ticket, result });
        }
    }

    /// Entries that no repetition will make durable: the longest result among them gives way to an error,
    /// so that one task cannot stop its job. Nothing was written, and nothing was applied.
    fn unwritable(&mut self, mut entries: Vec<Entry>, effects: &mut Vec<Effect>) {
        let longest = entries
            .iter_mut()
            .filter_map(|entry| match entry {
                Entry::Commit(commit) if !is_minimal(commit) => Some(commit),
                _ => None,
            })
            .max_by_key(|commit| encoded_bytes(*commit));
        if let Some(commit) = longest {
            tracing::error!(job_id = %self.id, work = ?commit.work, "result of a task cannot be recorded");
            let error = TaskError::internal();
            commit.outputs.clear();
            commit.run = None;
            commit.failure = Some(self.failure(commit.work, commit.attempts, error));
        }
        effects.push(Effect::Write(entries));
    }

    fn follow(&mut self, consequence: Consequence, effects: &mut Vec<Effect>) {
        match consequence {
            Consequence::NewItem(id) => self.enqueue(id),
            Consequence::Delete(name) => {
                self.deleting += 1;
                effects.push(Effect::Delete(name));
            }
        }
    }

    /// Everything that has become possible.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        if !self.intent.is_done() {
            self.dispatch(effects);
            self.close_phases(effects);
        }
        let idle = self.log.is_idle() && self.deleting == 0;
        if idle && self.ledger.state() == Job::Ended && self.ledger.is_quiet() {
            self.intent = Job::Done { cancelled: false };
            self.log.push(Entry::Finished, None);
        }
        if self.ledger.state().is_done() {
            self.refuse_queued(effects);
            if !self.done && self.log.is_idle() && self.deleting == 0 {
                self.done = true;
                effects.push(Effect::Done);
            }
        }
        match self.log.next(self.tasks_running > 0) {
            Next::Nothing => {}
            Next::Write(entries) => effects.push(Effect::Write(entries)),
            Next::Gather => effects.push(Effect::Gather),
        }
    }

    /// A job that its last commit finished takes nothing that was queued behind that commit.
    fn refuse_queued(&mut self, effects: &mut Vec<Effect>) {
        self.intent = self.ledger.state();
        for ticket in self.log.refuse() {
            let result = Err(self.intent.refusal_word());
            effects.push(Effect::Reply { ticket, result });
        }
    }

    /// Later phases first: what is begun is finished before more is begun, which bounds the intermediate
    /// objects that exist at a time.
    fn dispatch(&mut self, effects: &mut Vec<Effect>) {
        for phase in (0..self.phases.len()).rev() {
            let is_reduce = self.ledger.reducers(phase) > 0;
            while self.resolving.len() < RESOLVING_MAX
                && (is_reduce || self.tasks_running + self.resolving.len() < TASKS_MAX)
            {
                let Some(id) = self
                    .phases
                    .get_mut(phase)
                    .and_then(|p| p.waiting.pop_front())
                else {
                    break;
                };
                let Some(Item { name, place, .. }) = self.ledger.item(id) else {
                    continue;
                };
                if let Place::Nowhere { index, reducers } = *place {
                    let message = format!(
                        "reducer \"{index}\" specified, but only {reducers} reducers exist"
                    );
                    self.refuse(id, TaskError::new(ErrorCode::InvalidArgument, message));
                    continue;
                }
                let name = Arc::clone(name);
                self.resolving.insert(id, phase);
                if let Some(phase) = self.phases.get_mut(phase) {
                    phase.resolving += 1;
                }
                effects.push(Effect::Resolve { item: id, name });
            }
        }
    }

    fn close_phases(&mut self, effects: &mut Vec<Effect>) {
        for phase in 0..self.phases.len() {
            if !self.ledger.is_fed(phase) {
                return;
            }
            let Some(run) = self.phases.get_mut(phase) else {
                return;
            };
            if run.closed || !run.waiting.is_empty() || run.resolving > 0 {
                continue;
            }
            run.closed = true;
            let reducers = self.ledger.reducers(phase);
            if reducers == 0 {
                effects.push(Effect::CloseGroup { phase });
            }
            for index in 0..reducers {
                let index = u8::try_from(index).unwrap_or(u8::MAX);
                if self.tasks.get(Work::Reducer { phase, index }).is_some() {
                    effects.push(Effect::CloseFeed { phase, index });
                    self.start_reducer(phase, index, effects);
                }
            }
        }
    }
}

/// Whether a commit is as short as one can be.
fn is_minimal(commit: &Commit) -> bool {
    let failure = commit.failure.as_ref();
    commit.outputs.is_empty() && failure.is_some_and(|f| f.error.code == ErrorCode::Internal)
}

#[cfg(test)]
#[path = "supervisor/tests.rs"]
mod tests;

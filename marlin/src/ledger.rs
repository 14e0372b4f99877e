//! What is durably true of a job: the fold of its log.
//!
//! The same function is applied to an entry right after it became durable and when a job is replayed, so
//! recovery is the ordinary path. Nothing here is a guess about the present: which tasks run, how often
//! they were tried and which deletions are under way is the supervisor's, and dies with the process.

use std::collections::HashMap;
use std::sync::Arc;

use libmanta::marlin::{JobDefinition, JobStats, PhaseKind};
use libmanta::{JobId, Timestamp};

use crate::job::{IllegalTransition, Job, JobEvent};
use crate::names;
use crate::record::{Commit, Entry, Segment, Work};
use crate::task_id::pick_reducer;

#[derive(Debug)]
pub(crate) struct Ledger {
    id: JobId,
    keep_intermediate: bool,
    state: Job,
    phases: Vec<PhaseLedger>,
    /// Items nobody has consumed yet.
    items: HashMap<u64, Item>,
    items_made: u64,
    stats: JobStats,
    /// How often a name in the job's output area is still wanted: by an item that nobody consumed, or for
    /// ever because it is a result. An object is deleted when nobody wants it any more.
    wanted: HashMap<Arc<str>, u32>,
    deletes: bool,
    times: Times,
}

/// When things happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) done: Option<Timestamp>,
    pub(crate) archive_started: Option<Timestamp>,
    pub(crate) archive_done: Option<Timestamp>,
}

#[derive(Debug)]
struct PhaseLedger {
    /// Empty for a map phase.
    reducers: Vec<Reducer>,
    items_open: usize,
}

#[derive(Debug, Default)]
struct Reducer {
    /// Its inputs in order; some may have been refused since.
    inputs: Vec<u64>,
    committed: bool,
}

/// An input of a phase.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) phase: usize,
    pub(crate) name: Arc<str>,
    /// The job's input it stems from, if that is known.
    pub(crate) origin: Option<Arc<str>>,
    pub(crate) place: Place,
}

/// Where in its phase an item is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Map,
    Reducer(u8),
    /// Addressed to a reducer that does not exist.
    Nowhere {
        index: u8,
        reducers: usize,
    },
}

/// What follows from an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    NewItem(u64),
    /// An intermediate object nobody wants any more.
    Delete(Arc<str>),
}

impl Ledger {
    pub(crate) fn new(id: JobId, definition: &JobDefinition) -> Self {
        let phases = definition
            .phases
            .iter()
            .map(|phase| PhaseLedger {
                reducers: match phase.kind {
                    PhaseKind::Map => Vec::new(),
                    PhaseKind::Reduce => (0..phase.count.unwrap_or(1).max(1))
                        .map(|_| Reducer::default())
                        .collect(),
                },
                items_open: 0,
            })
            .collect();
        let option = |name: &str| {
            definition
                .options
                .as_ref()
                .and_then(|o| o.get(name)?.as_bool())
        };
        Self {
            id,
            keep_intermediate: option("keepIntermediate").unwrap_or(false),
            state: Job::Open,
            phases,
            items: HashMap::new(),
            items_made: 0,
            stats: JobStats::default(),
            wanted: HashMap::new(),
            deletes: false,
            times: Times::default(),
        }
    }

    /// Applies what one write made durable. `Err` only when the log was not written by this program.
    pub(crate) fn apply(
        &mut self,
        segment: &Segment,
    ) -> Result<Vec<Consequence>, IllegalTransition> {
        let mut consequences = Vec::new();
        for entry in &segment.entries {
            self.apply_entry(entry, segment.time, &mut consequences)?;
        }
        // A job that never deletes is finished by its last commit. Any other says so in an entry, because
        // the end of its deletions is not in the log.
        if self.is_quiet() && self.state == Job::Ended && !self.deletes {
            self.finish(JobEvent::Finished, segment.time)?;
        }
        Ok(consequences)
    }

    pub(crate) fn state(&self) -> Job {
        self.state
    }

    /// Counters of what is committed.
    pub(crate) fn stats(&self) -> JobStats {
        self.stats
    }

    pub(crate) fn times(&self) -> Times {
        self.times
    }

    pub(crate) fn item(&self, id: u64) -> Option<&Item> {
        self.items.get(&id)
    }

    /// Items nobody has consumed, in the order in which they came to be.
    pub(crate) fn open_items(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.items.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Number of reducers of a phase; 0 for a map phase.
    pub(crate) fn reducers(&self, phase: usize) -> usize {
        self.phases.get(phase).map_or(0, |p| p.reducers.len())
    }

    pub(crate) fn is_committed(&self, phase: usize, reducer: usize) -> bool {
        self.phases
            .get(phase)
            .and_then(|p| p.reducers.get(reducer))
            .is_none_or(|r| r.committed)
    }

    /// Whether `phase` has got all the items it will ever get.
    pub(crate) fn is_fed(&self, phase: usize) -> bool {
        self.state != Job::Open && self.phases.iter().take(phase).all(PhaseLedger::is_quiet)
    }

    /// Whether all work is committed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.phases.iter().all(PhaseLedger::is_quiet)
    }

    fn apply_entry(
        &mut self,
        entry: &Entry,
        time: Timestamp,
        consequences: &mut Vec<Consequence>,
    ) -> Result<(), IllegalTransition> {
        match entry {
            Entry::Inputs { names } => {
                self.state = self.state.on(JobEvent::InputsAdded)?;
                for name in names {
                    let name: Arc<str> = names::normalize(name).into();
                    let id = self.add_item(0, Arc::clone(&name), Some(name), None);
                    match self.is_late(id) {
                        true => self.consume(id, false, consequences),
                        false => consequences.push(Consequence::NewItem(id)),
                    }
                }
            }
            Entry::InputEnded => self.state = self.state.on(JobEvent::InputEnded)?,
            Entry::Commit(commit) => {
                self.state = self.state.on(JobEvent::Worked)?;
                self.commit(commit, consequences);
            }
            Entry::Cancelled { errors, tasks } => {
                self.finish(JobEvent::Cancelled, time)?;
                self.stats.errors += errors.len() as u64;
                self.stats.tasks += tasks;
                self.items.clear();
                self.wanted.clear();
            }
            Entry::Finished => self.finish(JobEvent::Finished, time)?,
            Entry::ArchiveStarted => {
                self.state = self.state.on(JobEvent::ArchiveStarted)?;
                self.times.archive_started = Some(time);
            }
            Entry::ArchiveDone => {
                self.state = self.state.on(JobEvent::ArchiveDone)?;
                self.times.archive_done = Some(time);
            }
        }
        Ok(())
    }

    fn finish(&mut self, event: JobEvent, time: Timestamp) -> Result<(), IllegalTransition> {
        self.state = self.state.on(event)?;
        self.times.done = Some(time);
        Ok(())
    }

    /// Records what a piece of work produced, then consumes what it worked on, in this order: a name that
    /// is both input and result must not be deleted in between.
    fn commit(&mut self, commit: &Commit, consequences: &mut Vec<Consequence>) {
        let Some((phase, origin)) = self.source_of(commit.work) else {
            // Already consumed: the log repeats a commit only if a writer broke its own rules.
            tracing::error!(job_id = %self.id, work = ?commit.work, "commit of consumed work ignored");
            return;
        };
        let attempts = u64::from(commit.attempts);
        self.stats.tasks += attempts;
        self.stats.retries += attempts.saturating_sub(1);
        if attempts > 0 {
            self.stats.tasks_done += attempts;
        }
        if commit.failure.is_some() {
            self.stats.errors += 1;
        }
        let last = phase + 1 == self.phases.len();
        let mut late = Vec::new();
        for output in &commit.outputs {
            let name: Arc<str> = output.name.as_str().into();
            if last {
                self.stats.outputs += 1;
                if output.reference || self.wanted.contains_key(&name) {
                    self.want(&name);
                }
            } else {
                let name: Arc<str> = names::normalize(&name).into();
                let id = self.add_item(phase + 1, name, origin.clone(), output.reducer);
                match self.is_late(id) {
                    true => late.push(id),
                    false => consequences.push(Consequence::NewItem(id)),
                }
            }
        }
        let consumed = match commit.work {
            Work::Item(id) => vec![id],
            Work::Reducer { phase, index } => self
                .phases
                .get_mut(phase)
                .and_then(|p| p.reducers.get_mut(usize::from(index)))
                .map(|reducer| {
                    reducer.committed = true;
                    std::mem::take(&mut reducer.inputs)
                })
                .unwrap_or_default(),
        };
        for id in consumed {
            // An input that was refused stays where it is. Source: marlin.md section 4, rule 7.
            self.consume(id, commit.attempts > 0, consequences);
        }
        for id in late {
            self.consume(id, true, consequences);
        }
    }

    /// Whether the item is for a reducer that has failed already, so that nobody will ever want it.
    fn is_late(&self, id: u64) -> bool {
        let item = self.items.get(&id);
        item.is_some_and(|item| match item.place {
            Place::Reducer(index) => self.is_committed(item.phase, usize::from(index)),
            Place::Map | Place::Nowhere { .. } => false,
        })
    }

    fn consume(&mut self, id: u64, delete: bool, consequences: &mut Vec<Consequence>) {
        let Some(item) = self.items.remove(&id) else {
            return;
        };
        if let Some(phase) = self.phases.get_mut(item.phase) {
            phase.items_open -= 1;
        }
        if delete && item.phase > 0 && self.unwant(&item.name) {
            self.deletes = true;
            consequences.push(Consequence::Delete(item.name));
        }
    }

    /// Phase and ancestor of a piece of work that is still open.
    fn source_of(&self, work: Work) -> Option<(usize, Option<Arc<str>>)> {
        match work {
            Work::Item(id) => {
                let item = self.items.get(&id)?;
                Some((item.phase, item.origin.clone()))
            }
            Work::Reducer { phase, index } => {
                let reducer = self.phases.get(phase)?.reducers.get(usize::from(index))?;
                (!reducer.committed).then_some((phase, None))
            }
        }
    }

    fn add_item(
        &mut self,
        phase: usize,
        name: Arc<str>,
        origin: Option<Arc<str>>,
        address: Option<u8>,
    ) -> u64 {
        let id = self.items_made;
        self.items_made += 1;
        if phase > 0 {
            self.want(&name);
        }
        let mut place = Place::Map;
        if let Some(phase) = self.phases.get_mut(phase) {
            phase.items_open += 1;
            let reducers = phase.reducers.len();
            if reducers > 0 {
                let index = address.unwrap_or_else(|| pick_reducer(id, reducers));
                match phase.reducers.get_mut(usize::from(index)) {
                    Some(reducer) => {
                        reducer.inputs.push(id);
                        place = Place::Reducer(index);
                    }
                    None => place = Place::Nowhere { index, reducers },
                }
            }
        }
        let item = Item {
            phase,
            name,
            origin,
            place,
        };
        self.items.insert(id, item);
        id
    }

    fn want(&mut self, name: &Arc<str>) {
        if names::is_in_output_area(name, self.id) {
            *self.wanted.entry(Arc::clone(name)).or_default() += 1;
        }
    }

    /// Whether the name was wanted for the last time and is to be deleted.
    fn unwant(&mut self, name: &Arc<str>) -> bool {
        let Some(count) = self.wanted.get_mut(name) else {
            return false;
        };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.wanted.remove(name);
        !self.keep_intermediate
    }
}

impl PhaseLedger {
    fn is_quiet(&self) -> bool {
        self.items_open == 0 && self.reducers.iter().all(|reducer| reducer.committed)
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;

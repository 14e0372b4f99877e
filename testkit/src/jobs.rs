//! Jobs that only exist in memory and do nothing by themselves: a stand-in for the compute port where only
//! its front is tested. A test moves a job along with [`MemJobs::emit`] and [`MemJobs::finish`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use libmanta::marlin::{JobError, JobFilter, JobList, JobState, JobStats, JobStatus, Jobs, NewJob};
use libmanta::{AccountId, Clock, JobId};
use tokio::sync::watch;

/// The compute port over a table.
pub struct MemJobs {
    clock: Arc<dyn Clock>,
    jobs: Mutex<BTreeMap<JobId, MemJob>>,
    /// Told of every change; counts those who listen.
    changes: watch::Sender<()>,
}

/// Only what is there: a refusal must leave it as it was.
impl fmt::Debug for MemJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemJobs")
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// A job and what it was given.
#[derive(Clone, Debug)]
pub struct MemJob {
    pub new: NewJob,
    pub status: JobStatus,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub failures: Vec<String>,
    pub errors: Vec<String>,
    pub tasks: Vec<String>,
    /// Sizes of the batches in which inputs came.
    pub batches: Vec<usize>,
}

impl MemJobs {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            jobs: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// What is known of a job; `None` if there is none of that id.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<MemJob> {
        self.lock().get(&id).cloned()
    }

    /// Adds lines to one of a job's lists. Does nothing if there is no such job.
    pub fn emit(&self, id: JobId, what: JobList, lines: impl IntoIterator<Item = String>) {
        if let Some(job) = self.lock().get_mut(&id) {
            job.list_mut(what).extend(lines);
        }
    }

    /// Ends a job. Does nothing if there is no such job.
    pub fn finish(&self, id: JobId) {
        let now = self.clock.now();
        if let Some(job) = self.lock().get_mut(&id) {
            job.status.state = JobState::Done;
            job.status.time_done = Some(now);
        }
        self.changes.send_replace(());
    }

    /// Requests that wait for a change now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.changes.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, MemJob>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        owner: AccountId,
        id: JobId,
        use_it: impl FnOnce(&mut MemJob) -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        let mut jobs = self.lock();
        let job = jobs.get_mut(&id).filter(|job| job.new.owner == owner);
        let result = use_it(job.ok_or(JobError::NotFound)?);
        self.changes.send_replace(());
        result
    }
}

impl MemJob {
    fn list_mut(&mut self, what: JobList) -> &mut Vec<String> {
        match what {
            JobList::Inputs => &mut self.inputs,
            JobList::Outputs => &mut self.outputs,
            JobList::Failures => &mut self.failures,
            JobList::Errors => &mut self.errors,
            JobList::Tasks => &mut self.tasks,
        }
    }

    fn check_open(&self) -> Result<(), JobError> {
        let id = self.status.id;
        let refuse = |state| Err(JobError::InvalidState { id, state });
        match self.status.state {
            JobState::Done => refuse("done"),
            _ if self.status.cancelled => refuse("cancelled"),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Jobs for MemJobs {
    async fn images(&self) -> Vec<String> {
        Vec::new()
    }

    async fn create(&self, new: NewJob) -> Result<JobId, JobError> {
        let id = JobId::random();
        let status = JobStatus {
            id,
            definition: new.definition.clone(),
            state: JobState::Running,
            cancelled: false,
            input_done: false,
            stats: JobStats::default(),
            time_created: self.clock.now(),
            time_done: None,
            time_archive_started: None,
            time_archive_done: None,
        };
        let job = MemJob {
            new,
            status,
            inputs: Vec::new(),
            outputs: Vec::new(),
            failures: Vec::new(),
            errors: Vec::new(),
            tasks: Vec::new(),
            batches: Vec::new(),
        };
        self.lock().insert(id, job);
        Ok(id)
    }

    async fn status(&self, owner: AccountId, id: JobId) -> Result<JobStatus, JobError> {
        self.with(owner, id, |job| Ok(job.status.clone()))
    }

    async fn wait(
        &self,
        owner: AccountId,
        id: JobId,
        at_most: Duration,
    ) -> Result<JobStatus, JobError> {
        let mut changes = self.changes.subscribe();
        let look = || {
            let jobs = self.lock();
            let job = jobs.get(&id).filter(|job| job.new.owner == owner);
            Ok(job.ok_or(JobError::NotFound)?.status.clone())
        };
        let state = |status: &JobStatus| (status.state, status.cancelled, status.input_done);
        let first = look()?;
        let news = async {
            while first.state != JobState::Done
                && look().is_ok_and(|now| state(&now) == state(&first))
                && changes.changed().await.is_ok()
            {}
        };
        let _ = tokio::time::timeout(at_most, news).await;
        look()
    }

    async fn live(&self, owner: AccountId, filter: &JobFilter) -> Result<Vec<JobStatus>, JobError> {
        let jobs = self.lock();
        let wanted = |job: &&MemJob| {
            job.new.owner == owner
                && job.status.state != JobState::Done
                && filter.state.is_none_or(|state| state == job.status.state)
                && filter
                    .name
                    .as_ref()
                    .is_none_or(|name| *name == job.status.definition.name)
        };
        let mut found: Vec<_> = jobs
            .values()
            .filter(wanted)
            .map(|job| job.status.clone())
            .collect();
        found.sort_by_key(|status| std::cmp::Reverse(status.time_created));
        found.truncate(filter.limit);
        Ok(found)
    }

    async fn add_inputs(
        &self,
        owner: AccountId,
        id: JobId,
        names: Vec<String>,
        last: bool,
    ) -> Result<(), JobError> {
        self.with(owner, id, |job| {
            job.check_open()?;
            if job.status.input_done {
                return Err(JobError::InvalidState {
                    id,
                    state: "inputDone",
                });
            }
            job.batches.push(names.len());
            job.inputs.extend(names);
            job.status.input_done |= last;
            Ok(())
        })
    }

    async fn end_input(&self, owner: AccountId, id: JobId) -> Result<(), JobError> {
        self.with(owner, id, |job| {
            job.check_open()?;
            job.status.input_done = true;
            Ok(())
        })
    }

    async fn cancel(&self, owner: AccountId, id: JobId) -> Result<(), JobError> {
        self.with(owner, id, |job| {
            job.check_open()?;
            job.status.cancelled = true;
            job.status.input_done = true;
            Ok(())
        })
    }

    async fn list(
        &self,
        owner: AccountId,
        id: JobId,
        what: JobList,
    ) -> Result<BoxStream<'static, Result<String, JobError>>, JobError> {
        let lines = self.with(owner, id, |job| Ok(job.list_mut(what).clone()))?;
        Ok(futures_util::stream::iter(lines.into_iter().map(Ok)).boxed())
    }
}

//! What the owner of a job may see of it at any moment.

use libmanta::marlin::{JobState, JobStats, JobStatus};
use tokio::sync::watch;

use crate::job::Job;
use crate::ledger::Times;
use crate::record::{JobRecord, Summary};

/// A job as its owner may see it, without what never changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) job: Job,
    pub(crate) stats: JobStats,
    pub(crate) times: Times,
}

impl View {
    pub(crate) fn new(job: Job, stats: JobStats, times: Times) -> Self {
        Self { job, stats, times }
    }

    pub(crate) fn archived(summary: Summary) -> Self {
        let cancelled = summary.cancelled;
        Self {
            job: Job::Archived { cancelled },
            stats: summary.stats,
            times: Times {
                done: Some(summary.done),
                archive_started: Some(summary.archive_started),
                archive_done: Some(summary.archive_done),
            },
        }
    }

    /// Lets everybody see it. Only a change of the job's state wakes those who wait: counters move with every
    /// task.
    pub(crate) fn publish(self, to: &watch::Sender<Self>) {
        to.send_if_modified(|seen| {
            let news = seen.job != self.job;
            *seen = self;
            news
        });
    }

    /// Together with what was recorded when the job was created.
    pub(crate) fn status(self, record: &JobRecord) -> JobStatus {
        JobStatus {
            id: record.id,
            definition: record.definition.clone(),
            state: self.state(),
            cancelled: self.job.is_cancelled(),
            input_done: self.job != Job::Open,
            stats: self.stats,
            time_created: record.created,
            time_done: self.times.done,
            time_archive_started: self.times.archive_started,
            time_archive_done: self.times.archive_done,
        }
    }

    pub(crate) fn state(&self) -> JobState {
        if self.job.is_done() {
            JobState::Done
        } else {
            JobState::Running
        }
    }
}

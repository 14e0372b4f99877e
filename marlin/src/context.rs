//! What everything that works for a job shares.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use libmanta::JobId;
use libmanta::marlin::Phase;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::names;
use crate::record::{JobRecord, Work};
use crate::run::Run;
use crate::supervisor::event::Outcome;

/// Known directories of one job; a job that writes into more asks the front door again.
const DIRECTORIES_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct JobContext {
    pub(crate) record: JobRecord,
    /// `/LOGIN/jobs/ID/stor`
    pub(crate) area: String,
    /// Ends everything that runs for the job.
    pub(crate) cancel: CancellationToken,
    /// Where results of tasks go: to the job's owner task.
    pub(crate) reports: mpsc::Sender<Report>,
    directories: Mutex<HashSet<String>>,
}

/// What the agent tells the supervisor about an attempt.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) work: Work,
    pub(crate) attempt: u8,
    /// `None` when it has just been given a zone.
    pub(crate) outcome: Option<Outcome>,
    /// Only with the outcome of an attempt that got a zone.
    pub(crate) run: Option<Box<Run>>,
}

impl JobContext {
    pub(crate) fn new(
        record: JobRecord,
        cancel: CancellationToken,
        reports: mpsc::Sender<Report>,
    ) -> Arc<Self> {
        let area = names::output_area(&record.principal.login, record.id);
        Arc::new(Self {
            record,
            area,
            cancel,
            reports,
            directories: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> JobId {
        self.record.id
    }

    pub(crate) fn phase(&self, phase: usize) -> Option<&Phase> {
        self.record.definition.phases.get(phase)
    }

    pub(crate) fn token(&self) -> &str {
        &self.record.token
    }

    pub(crate) fn login(&self) -> &str {
        self.record.principal.login.as_str()
    }

    /// Whether the directory is known to have existed.
    pub(crate) fn knows_directory(&self, name: &str) -> bool {
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
    }

    pub(crate) fn remember_directory(&self, name: &str) {
        let mut known = self
            .directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DIRECTORIES_MAX {
            known.clear();
        }
        known.insert(name.to_owned());
    }

    /// Forgets what was known, because the user may have removed it.
    pub(crate) fn forget_directories(&self) {
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Tells the supervisor. A job that ended does not listen any more, which is fine.
    pub(crate) async fn report(&self, report: Report) {
        let _ = self.reports.send(report).await;
    }
}

#[cfg(test)]
#[path = "context/tests.rs"]
mod tests;

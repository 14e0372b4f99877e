//! Why marlin does not start, and how errors are logged.

use libmanta::JobId;
use thiserror::Error;

/// The records of jobs cannot be read or understood; jobs that were acknowledged would be lost.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("jobs cannot be read from moray")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("log of job {id} makes no sense")]
    Log {
        id: JobId,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StartError {
    pub(crate) fn journal(error: crate::journal::JournalError) -> Self {
        Self::Journal(error.into())
    }

    pub(crate) fn log(id: JobId, error: crate::job::IllegalTransition) -> Self {
        let source = error.into();
        Self::Log { id, source }
    }
}

/// An error and its causes, for the one place that logs it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

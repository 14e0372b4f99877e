//! What the errors of the ports mean to the client. What it is not told is logged here.

use libmanta::PreconditionFailed;
use libmanta::mahi::IdentityError;
use libmanta::marlin::JobError;
use libmanta::moray::{MorayError, NamespaceError};

use super::Error;
use crate::path::RequestPath;

impl Error {
    /// What the tree said about the entry at `path`. `method` is for messages.
    pub(crate) fn from_namespace(error: NamespaceError, method: &str, path: &RequestPath) -> Self {
        let text = || path.as_str().to_owned();
        let parent = || path.parent().to_owned();
        match error {
            NamespaceError::NotFound => Self::NotFound { path: text() },
            NamespaceError::ParentNotFound => Self::DirectoryDoesNotExist { parent: parent() },
            NamespaceError::ParentNotDirectory => Self::ParentNotDirectory { parent: parent() },
            NamespaceError::IsDirectory => Self::IsDirectory {
                method: method.to_owned(),
                path: text(),
            },
            // Only a listing or a removal of a directory can say so, and both are chosen by what was
            // looked up a moment before: the directory made way for an object in between.
            NamespaceError::NotDirectory => Self::NotFound { path: text() },
            // Only links and renames say so, of another path, which only their handlers can name.
            NamespaceError::SourceNotFound => Self::NotFound { path: text() },
            NamespaceError::SourceIsDirectory => Self::IsDirectory {
                method: method.to_owned(),
                path: text(),
            },
            NamespaceError::NotEmpty => Self::DirectoryNotEmpty { path: text() },
            NamespaceError::DirectoryFull => Self::DirectoryLimitExceeded {
                directory: parent(),
            },
            NamespaceError::IsRoot => Self::RootDirectory {
                method: method.to_owned(),
                path: text(),
            },
            NamespaceError::Precondition(PreconditionFailed::Judged) => Self::RightsOutdated,
            NamespaceError::Precondition(why) => Self::Precondition(why),
            // Whoever writes a record with an entry settles this first; what is left is a lost race.
            NamespaceError::AlsoConflict => Self::ServiceUnavailable,
            NamespaceError::Moray(why) => why.into(),
        }
    }

    /// What the jobs said about the job addressed by `path`.
    pub(crate) fn from_job(error: JobError, path: &RequestPath) -> Self {
        match error {
            JobError::NotFound => Self::NotFound {
                path: path.as_str().to_owned(),
            },
            JobError::InvalidState { id, state } => Self::InvalidJobState { id, state },
            JobError::Unavailable { reason } => {
                tracing::warn!(reason, "jobs are unavailable");
                Self::ServiceUnavailable
            }
        }
    }
}

impl From<MorayError> for Error {
    fn from(error: MorayError) -> Self {
        match error {
            MorayError::Overloaded { shard } => {
                tracing::warn!(shard, "metadata shard is overloaded");
                Self::ServiceUnavailable
            }
            MorayError::Unavailable { shard, reason } => {
                tracing::error!(shard, reason, "metadata shard is unavailable");
                Self::ServiceUnavailable
            }
            MorayError::Corrupt { shard, reason } => {
                tracing::error!(shard, reason, "metadata record does not decode");
                Self::Internal
            }
        }
    }
}

impl From<IdentityError> for Error {
    fn from(error: IdentityError) -> Self {
        tracing::error!(reason = error.reason, "accounts cannot be looked up");
        Self::ServiceUnavailable
    }
}

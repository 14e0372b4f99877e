//! Why a shard does not open, and how a fault inside one becomes a [`MorayError`].

use std::path::PathBuf;

use libmanta::moray::MorayError;
use thiserror::Error;
use uuid::Uuid;

/// Why a shard could not be opened. None of them is worth a retry without an operator.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(
        "metadata file {path} has format {found}, and this program knows formats up to {known}"
    )]
    TooNew {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("{path} is not a metadata file of manta")]
    NotOurs { path: PathBuf },
    /// Only without `Config::may_create`.
    #[error("metadata file {path} is missing or empty; restore it, a new one would lose its names")]
    Missing { path: PathBuf },
    #[error("metadata file {path} is that of shard {found}, not of {expected}")]
    OtherShard {
        path: PathBuf,
        found: String,
        expected: String,
    },
    #[error("metadata file {path} belongs to store {found}, not to {expected}")]
    OtherStore {
        path: PathBuf,
        found: Uuid,
        expected: Uuid,
    },
    #[error("metadata file {path} is damaged: {finding}")]
    Damaged { path: PathBuf, finding: String },
    #[error("open metadata file {path}")]
    Sqlite {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("access {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// What can go wrong inside a transaction, apart from what the caller asked for.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Corrupt(String),
}

impl Fault {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    pub(crate) fn into_moray(self, shard: &str) -> MorayError {
        match self {
            Self::Sqlite(error) => unavailable(shard, error),
            Self::Corrupt(reason) => MorayError::Corrupt {
                shard: shard.to_owned(),
                reason,
            },
        }
    }
}

pub(crate) fn unavailable(shard: &str, reason: impl ToString) -> MorayError {
    MorayError::Unavailable {
        shard: shard.to_owned(),
        reason: reason.to_string(),
    }
}

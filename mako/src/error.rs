//! Why a storage node cannot be opened, and what its file operations report inside the crate.

use std::io;
use std::path::PathBuf;

use libmanta::StorageId;
use thiserror::Error;
use uuid::Uuid;

/// Why a directory cannot serve as a storage node.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{} is in use by another process", path.display())]
    Locked { path: PathBuf },
    #[error("{} belongs to storage node {found}, not to {wanted}", path.display())]
    OtherNode {
        path: PathBuf,
        found: StorageId,
        wanted: StorageId,
    },
    #[error("{} belongs to another store, {found}, not to store {wanted}", path.display())]
    OtherStore {
        path: PathBuf,
        found: Uuid,
        wanted: Uuid,
    },
    /// Made without a store id. Only a person can tell whose it is.
    #[error(
        "{} does not say which store it belongs to, so store {wanted} does not take it; if it is this \
         store's, add the line \"store {wanted}\" to the end of its format file",
        path.display()
    )]
    NoStore { path: PathBuf, wanted: Uuid },
    #[error("{} holds \"{found}\", so it is not empty and not a storage node", path.display())]
    NotANode { path: PathBuf, found: String },
    #[error("{} does not say which storage node it is: {reason}", path.display())]
    Format { path: PathBuf, reason: String },
    #[error("storage id \"{0}\" is not one line of text")]
    StorageId(StorageId),
    #[error("{during} in {}", path.display())]
    Io {
        path: PathBuf,
        during: &'static str,
        #[source]
        source: io::Error,
    },
}

/// A file operation that failed, and which one it was.
#[derive(Debug, Error)]
#[error("{during}")]
pub(crate) struct DiskError {
    pub(crate) during: &'static str,
    #[source]
    pub(crate) source: io::Error,
}

impl DiskError {
    pub(crate) fn during(during: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self { during, source }
    }

    /// The file system, or somebody's share of it, is full.
    pub(crate) fn is_full(&self) -> bool {
        is_full(&self.source)
    }

    /// Whether the disk is to blame. Running out of descriptors or memory says nothing about it, and
    /// neither does a caller that announced another size.
    pub(crate) fn condemns_node(&self) -> bool {
        let errno = self.source.raw_os_error();
        errno.is_some()
            && ![libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR]
                .into_iter()
                .any(|harmless| errno == Some(harmless))
            && !self.is_full()
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Why a copy cannot be read.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    #[error("no such copy")]
    Missing,
    #[error("damaged: {0}")]
    Damaged(String),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

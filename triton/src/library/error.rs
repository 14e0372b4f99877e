//! Why an image is not taken, found or removed, in words for the operator.

use std::io;

use thiserror::Error;

use super::ImageId;

#[derive(Debug, Error)]
pub enum LibraryError {
    #[error("{0:?} is no name for an image: a letter or digit, then letters, digits, - _ and dots")]
    Name(String),
    #[error("image {0} is there already")]
    Exists(ImageId),
    #[error("the version is that of image {0}, and jobs ask for nothing but versions")]
    VersionTaken(ImageId),
    #[error("there is no image {0}")]
    Missing(ImageId),
    #[error(
        "image {id} is there, but a power failure may take it away; remove it and import it again"
    )]
    Unsynced {
        id: ImageId,
        #[source]
        source: io::Error,
    },
    #[error("image {0} is in use; a store lets go of it a while after the last task")]
    InUse(ImageId),
    #[error("{member}: {fault}")]
    Member { member: String, fault: Fault },
    #[error("the image is larger than {bytes} bytes; allow more if it should be")]
    TooLarge { bytes: u64 },
    #[error("the image has more than {entries} files and directories; allow more if it should")]
    TooMany { entries: u64 },
    #[error("it is compressed with {0}, which is not known here; use gzip, zstd, or nothing")]
    Compression(&'static str),
    #[error("the archive is cut off: nothing marks its end")]
    Cut,
    #[error("it is neither a directory nor a file")]
    Source,
    /// Of an OCI image layout.
    #[error("image layout: {0}")]
    Layout(String),
    #[error("/{path} must be a directory of the image: zones show something else there")]
    MountPoint { path: String },
    #[error("it has no /bin/bash, which runs the commands of jobs")]
    NoShell,
    #[error("its environment is not usable: {0}")]
    Environment(String),
    #[error("{} is damaged: {what}", path.display())]
    Manifest {
        path: std::path::PathBuf,
        what: String,
    },
    #[error("{during}")]
    Io {
        during: &'static str,
        #[source]
        source: io::Error,
    },
}

/// What is wrong with one member of an archive, or one file of a directory.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("its name begins at the root")]
    Absolute,
    #[error("its name leads upwards")]
    Upwards,
    #[error("its name is not one that a file can have")]
    Unnameable,
    #[error("it links to {0}, outside of the image")]
    Outside(String),
    #[error("it links to {0}, which was not there before it")]
    Dangling(String),
    #[error("it is a device")]
    Device,
    #[error("it is neither a file, a directory nor a link")]
    Special,
    #[error("it is a sparse file; pack it without holes")]
    Sparse,
    #[error("what it is in is not a directory of the image")]
    NotInDirectory,
    #[error("it says two different things about its size")]
    Size,
    #[error("it ends too early")]
    Truncated,
    #[error("what describes it is too long")]
    Description,
    #[error("it marks nothing as removed")]
    Whiteout,
    #[error("another file system is mounted there")]
    OtherFileSystem,
    #[error("it lies deeper than {0} directories")]
    Deep(usize),
    #[error("its owner changed it meanwhile")]
    Changed,
}

/// Names the step an error happened in.
pub(super) trait During<T> {
    fn during(self, step: &'static str) -> Result<T, LibraryError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: &'static str) -> Result<T, LibraryError> {
        self.map_err(|error| {
            let source = error.into();
            match source.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(TooLarge { bytes }) => LibraryError::TooLarge { bytes: *bytes },
                None => LibraryError::Io {
                    during: step,
                    source,
                },
            }
        })
    }
}

/// Travels through readers as an [`io::Error`].
#[derive(Debug, Error)]
#[error("more than {bytes} bytes")]
pub(super) struct TooLarge {
    pub(super) bytes: u64,
}

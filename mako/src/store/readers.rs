//! Who reads copies in segments, so that deleting one takes nothing away from under its reader. The kernel
//! does that for a file; for a directory of files we do.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

/// Device and inode of a directory. The inode cannot be another's while somebody reads it.
type Directory = (u64, u64);

#[derive(Debug)]
pub(crate) struct Readers {
    /// Only directories that are being read.
    read: Mutex<HashMap<Directory, Read>>,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct Read {
    readers: usize,
    /// Where it waits for its last reader since it was deleted.
    deleted: Option<PathBuf>,
}

/// One reader; dropping it ends the reading.
#[derive(Debug)]
pub(crate) struct Reading {
    readers: Arc<Readers>,
    directory: Directory,
}

impl Readers {
    pub(crate) fn new(tracker: TaskTracker) -> Self {
        Self {
            read: Mutex::default(),
            tracker,
        }
    }

    /// Keeps the files of a directory that was opened at `path`. `None` when that is not its name any more:
    /// then it was deleted, and who removes its files may have looked for readers before we were one.
    pub(crate) fn enter(
        self: &Arc<Self>,
        directory: &File,
        path: &Path,
    ) -> io::Result<Option<Reading>> {
        let directory = identity(&directory.metadata()?);
        let reading = self.add(directory);
        // Not before we are a reader: whoever takes the name away from now on looks for readers after that.
        match fs::metadata(path) {
            Ok(found) if identity(&found) == directory => Ok(Some(reading)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn add(self: &Arc<Self>, directory: Directory) -> Reading {
        let mut read = self.lock();
        let read = read.entry(directory).or_insert(Read {
            readers: 0,
            deleted: None,
        });
        read.readers += 1;
        Reading {
            readers: Arc::clone(self),
            directory,
        }
    }

    /// Removes a directory that nobody finds any more: now, or when its last reader is through. Blocks. A
    /// crash leaves it among the temporaries, which the next start removes.
    pub(crate) fn remove(&self, path: PathBuf) -> io::Result<()> {
        let directory = identity(&fs::metadata(&path)?);
        if let Some(read) = self.lock().get_mut(&directory) {
            read.deleted = Some(path);
            return Ok(());
        }
        fs::remove_dir_all(path)
    }

    fn leave(&self, directory: Directory) -> Option<PathBuf> {
        let mut all = self.lock();
        let read = all.get_mut(&directory)?;
        read.readers -= 1;
        if read.readers > 0 {
            return None;
        }
        all.remove(&directory)?.deleted
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Directory, Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(found: &fs::Metadata) -> Directory {
    (found.dev(), found.ino())
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Some(path) = self.readers.leave(self.directory) else {
            return;
        };
        let remove = move || {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::debug!(path = %path.display(), %error, "deleted segments stay until the next start");
            }
        };
        // Thousands of files are not removed on a thread that serves others.
        if tokio::runtime::Handle::try_current().is_ok() {
            drop(self.readers.tracker.spawn_blocking(remove));
        } else {
            remove();
        }
    }
}

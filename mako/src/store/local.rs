//! Files for compute on this machine, verified before they are handed out.
//!
//! A job may open the same object many times. What was verified a short while ago, and was not touched
//! since, is not read again. A copy in segments becomes one file when it is opened for the first time.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libmanta::mako::SizeHint;
use libmanta::{AccountId, ObjectId};

use super::capacity::Space;
use super::disk::Disk;
use super::open_copy::OpenCopy;
use super::read::OpenFile;
use super::segments;
use super::turns::Turns;
use crate::error::{DiskError, ReadError};

/// How long a verification is trusted. A disk that rots does not change the times of a file.
const TRUSTED: Duration = Duration::from_secs(600);
/// About 100 bytes each.
const REMEMBERED_MAX: usize = 4096;

/// Copies that were verified lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified {
    lately: Arc<Mutex<HashMap<ObjectId, (Stamp, Instant)>>>,
    turns: Turns,
}

/// What changes when somebody touches a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Verified {
    /// Opens and verifies. Blocks, for a large copy for seconds. When `give_up` says that nobody waits any
    /// more, it fails, or the file is returned unverified, for nobody.
    pub(crate) fn open(
        &self,
        disk: &Arc<Disk>,
        space: &Arc<Space>,
        creator: AccountId,
        object_id: ObjectId,
        give_up: impl Fn() -> bool,
    ) -> Result<File, ReadError> {
        let consolidated = segments::are_there(disk, creator, object_id)
            && self.consolidate(disk, space, creator, object_id, &give_up)?;
        let file = OpenFile::open(disk, creator, object_id)?;
        // Taken before reading, so that a change meanwhile does not count as verified.
        let stamp = Stamp::of(file.file())?;
        if consolidated {
            // Every byte was verified on its way there.
            self.remember(object_id, stamp);
        } else if !self.knows(object_id, stamp) {
            let copy = OpenCopy::Whole(file);
            let verified = copy.read_all(disk, give_up, |_| Ok::<_, ReadError>(()))?;
            if verified.is_some() {
                self.remember(object_id, stamp);
            }
            // The same file, unless it was replaced meanwhile, and then by the same bytes.
            return Ok(match copy {
                OpenCopy::Whole(file) => file.into_file(),
                OpenCopy::Segmented(_) => OpenFile::open(disk, creator, object_id)?.into_file(),
            });
        }
        Ok(file.into_file())
    }

    /// Makes one file of segments. False when somebody else had done it.
    fn consolidate(
        &self,
        disk: &Arc<Disk>,
        space: &Arc<Space>,
        creator: AccountId,
        object_id: ObjectId,
        give_up: &impl Fn() -> bool,
    ) -> Result<bool, ReadError> {
        // Tasks of one job open one object at the same time.
        let Some(_turn) = self.turns.take(object_id, give_up) else {
            return Err(abandoned());
        };
        if !segments::are_there(disk, creator, object_id) {
            return Ok(false);
        }
        let size_bytes = segments::size_bytes(disk, creator, object_id);
        let reserved = space.reserve(SizeHint::Exactly(size_bytes));
        let taken = reserved.and_then(|mut reserved| reserved.take(size_bytes));
        taken.map_err(|_| {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            DiskError::during("make one file of segments")(full)
        })?;
        match segments::consolidate(disk, creator, object_id, give_up)? {
            Some(()) => Ok(true),
            None => Err(abandoned()),
        }
    }

    fn knows(&self, object_id: ObjectId, stamp: Stamp) -> bool {
        let verified = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        verified
            .get(&object_id)
            .is_some_and(|(known, when)| *known == stamp && when.elapsed() < TRUSTED)
    }

    fn remember(&self, object_id: ObjectId, stamp: Stamp) {
        let mut verified = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= REMEMBERED_MAX {
            // Half of them at once, so that this walk is rare.
            let mut times: Vec<Instant> = verified.values().map(|(_, when)| *when).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            verified.retain(|_, (_, when)| *when > median);
        }
        verified.insert(object_id, (stamp, Instant::now()));
    }
}

/// For a caller that is gone.
fn abandoned() -> ReadError {
    let source = std::io::Error::from(std::io::ErrorKind::Interrupted);
    DiskError::during("make one file of segments")(source).into()
}

impl Stamp {
    fn of(file: &File) -> Result<Self, DiskError> {
        let found = file.metadata().map_err(DiskError::during("look at copy"))?;
        Ok(Self {
            file: (found.dev(), found.ino()),
            size_bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

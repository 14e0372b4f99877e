//! Files for compute on this machine, verified before they are handed out.
//!
//! A job may open the same object many times. What was verified a short while ago, and was not touched
//! since, is not read again.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libmanta::{AccountId, ObjectId};

use super::disk::Disk;
use super::read::OpenCopy;
use crate::error::{DiskError, ReadError};

/// How long a verification is trusted. A disk that rots does not change the times of a file.
const TRUSTED: Duration = Duration::from_secs(600);
/// About 100 bytes each.
const REMEMBERED_MAX: usize = 4096;

/// Copies that were verified lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified(Arc<Mutex<HashMap<ObjectId, (Stamp, Instant)>>>);

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
    /// more, the file is returned unverified, for nobody.
    pub(crate) fn open(
        &self,
        disk: &Disk,
        creator: AccountId,
        object_id: ObjectId,
        give_up: impl Fn() -> bool,
    ) -> Result<File, ReadError> {
        let copy = OpenCopy::open(disk, creator, object_id)?;
        // Taken before reading, so that a change meanwhile does not count as verified.
        let stamp = Stamp::of(copy.file())?;
        if !self.knows(object_id, stamp) && copy.verify_all(disk, give_up)?.is_some() {
            self.remember(object_id, stamp);
        }
        Ok(copy.into_file())
    }

    fn knows(&self, object_id: ObjectId, stamp: Stamp) -> bool {
        let verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        verified
            .get(&object_id)
            .is_some_and(|(known, when)| *known == stamp && when.elapsed() < TRUSTED)
    }

    fn remember(&self, object_id: ObjectId, stamp: Stamp) {
        let mut verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

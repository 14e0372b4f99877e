//! One directory, as the operations on copies see it. Everything here blocks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libmanta::{AccountId, ObjectId};
use tokio_util::task::TaskTracker;

use super::fault::{Faults, Step};
use super::layout::{Layout, first_byte};
use super::readers::Readers;
use super::recent::Recent;
use super::temporaries::{Temporaries, make_home};
use crate::metrics::Stats;

/// Accounts whose directories are remembered as durable. 48 bytes each; forgetting costs two fsyncs.
const DURABLE_ACCOUNTS_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) layout: Layout,
    pub(crate) temporaries: Temporaries,
    pub(crate) recent: Recent,
    pub(crate) stats: Arc<Stats>,
    pub(crate) faults: Faults,
    /// Who reads copies in segments.
    pub(crate) readers: Arc<Readers>,
    /// Whether the file system has extended attributes.
    attributes: AtomicBool,
    durable: Mutex<DurableDirectories>,
}

/// Fan-out directories known to be on disk with all their parents: a bit for each of the 256. That one
/// *exists* says nothing: another writer may have made it a moment ago.
type DurableDirectories = HashMap<AccountId, [u64; 4]>;

impl Disk {
    pub(crate) fn new(
        layout: Layout,
        stats: Arc<Stats>,
        faults: Faults,
        tracker: TaskTracker,
    ) -> Self {
        Self {
            layout,
            readers: Arc::new(Readers::new(tracker)),
            temporaries: Temporaries::default(),
            recent: Recent::default(),
            stats,
            faults,
            attributes: AtomicBool::new(false),
            durable: Mutex::default(),
        }
    }

    pub(crate) fn attributes(&self) -> bool {
        self.attributes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_attributes(&self, supported: bool) {
        self.attributes.store(supported, Ordering::Relaxed);
    }

    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.stats.fsyncs.add(1);
        file.sync_all()
    }

    /// Makes the directories a copy needs. The root is never made: a root that is gone is a failed node,
    /// and making it again would put copies on whatever disk is below.
    pub(crate) fn make_directories(&self, creator: AccountId, first: u8) -> io::Result<()> {
        for path in [
            self.layout.creator(creator),
            self.layout.fan_out(creator, first),
        ] {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes the name of a copy durable: its directory, and the parents when they may be new.
    ///
    /// Concurrent calls for one directory are not merged: two rarely meet in one of 256, and a file
    /// system with a journal serves all waiting fsyncs with one commit anyway. Measured: no difference.
    pub(crate) fn sync_name(&self, creator: AccountId, object_id: ObjectId) -> io::Result<()> {
        let first = first_byte(object_id);
        self.faults.at(Step::SyncDirectory)?;
        self.sync(&File::open(self.layout.fan_out(creator, first))?)?;
        if !self.is_durable(creator, first) {
            self.faults.at(Step::SyncParents)?;
            self.sync(&File::open(self.layout.creator(creator))?)?;
            self.sync(&File::open(self.layout.root())?)?;
            self.set_durable(creator, first);
        }
        Ok(())
    }

    /// Takes away a copy, whatever form it has. `false` when there was none.
    ///
    /// Segments go before the file, because [`consolidate`](super::segments::consolidate) makes the file
    /// before it takes the segments away. Whichever of the two takes them, the file is gone in the end: if
    /// they were taken here, then a file made later is unlinked by its maker, who finds no segments to take;
    /// if they were taken there, the file was made before and is found here. The other way round a file made
    /// between the two steps would stay. A crash between them leaves the file, and one that stops a maker
    /// leaves what it made: the delete log has the former still, and the sweep finds either.
    pub(crate) fn remove(&self, creator: AccountId, object_id: ObjectId) -> io::Result<bool> {
        self.faults.at(Step::DeleteSegments)?;
        let segments = self.remove_segments(creator, object_id)?;
        self.faults.at(Step::DeleteFile)?;
        let file = self.remove_file(creator, object_id)?;
        if !file && !segments {
            // Nothing is there when the whole node is gone, either, and that is another answer.
            self.check_present()?;
        }
        Ok(file || segments)
    }

    /// Unlinks the file of a copy and its checksums. `false` when neither was there.
    ///
    /// The bytes go first: a crash in between then leaves checksums without a copy, which the sweep
    /// finds, instead of a copy without checksums. The unlink is not synced: a copy that comes back after
    /// a crash is one without metadata, and swept.
    pub(crate) fn remove_file(&self, creator: AccountId, object_id: ObjectId) -> io::Result<bool> {
        let mut found = false;
        for path in [
            self.layout.copy(creator, object_id),
            self.layout.sidecar(creator, object_id),
        ] {
            match fs::remove_file(path) {
                Ok(()) => found = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Takes away a copy in segments. `false` when there was none. It is out of sight at once and a reader
    /// that has it open may finish: it may have many thousand files, and none of them may be missing.
    pub(crate) fn remove_segments(
        &self,
        creator: AccountId,
        object_id: ObjectId,
    ) -> io::Result<bool> {
        let segments = self.layout.segments(creator, object_id);
        if !segments.try_exists()? {
            return Ok(false);
        }
        let away = self.temporaries.next(&self.layout);
        make_home(&away)?;
        match fs::rename(segments, &away) {
            Ok(()) => self.readers.remove(away).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fails when the node's directory is gone, or is an empty mount point.
    pub(crate) fn check_present(&self) -> io::Result<()> {
        fs::metadata(self.layout.format()).map(drop)
    }

    fn is_durable(&self, creator: AccountId, first: u8) -> bool {
        let durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let (word, bit) = (usize::from(first / 64), first % 64);
        durable
            .get(&creator)
            .is_some_and(|bits| bits[word] & (1 << bit) != 0)
    }

    fn set_durable(&self, creator: AccountId, first: u8) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= DURABLE_ACCOUNTS_MAX && !durable.contains_key(&creator) {
            durable.clear();
        }
        let (word, bit) = (usize::from(first / 64), first % 64);
        durable.entry(creator).or_default()[word] |= 1 << bit;
    }

    /// What is known of directories no longer holds: the node was gone and came back.
    pub(crate) fn forget_durable(&self) {
        self.durable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

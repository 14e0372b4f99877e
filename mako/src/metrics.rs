//! What one storage node counts. Counters only grow; the binary exports them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one storage node since it was opened.
#[derive(Debug, Default)]
pub struct Stats {
    pub copies_written: Counter,
    pub copies_deleted: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Copies whose bytes or checksums were found wrong.
    pub damaged: Counter,
    /// Copies that were asked for and are not there.
    pub missing: Counter,
    /// Calls of fsync, of files and of directories.
    pub fsyncs: Counter,
    /// Operations of the file system that failed, a full disk not counted.
    pub disk_errors: Counter,
    /// Writes refused or broken off for want of space.
    pub refused_full: Counter,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

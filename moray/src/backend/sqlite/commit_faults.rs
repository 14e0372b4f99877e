//! Makes COMMIT fail on demand: SQLite itself refuses it, through its commit hook, so the whole path behind a
//! failed COMMIT is the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared between a test and a shard.
#[derive(Clone, Debug, Default)]
pub struct CommitFaults(Arc<AtomicU64>);

impl CommitFaults {
    /// The next `n` COMMITs that would write something fail.
    pub fn fail_next(&self, n: u64) {
        self.0.store(n, Ordering::SeqCst);
    }

    pub(super) fn take(&self) -> bool {
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
    }
}

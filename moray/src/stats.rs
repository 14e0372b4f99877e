//! Counters of one shard, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// All but the gauges only grow. Read with [`Stats::get`].
#[derive(Debug, Default)]
pub struct Stats {
    /// Changes executed, whether they changed anything or not.
    pub operations: AtomicU64,
    /// Transactions that were made durable. Never more than `operations`.
    pub commits: AtomicU64,
    /// Groups of changes, including those that turned out to change nothing.
    pub groups: AtomicU64,
    /// Largest group so far.
    pub group_operations_max: AtomicU64,
    /// COMMITs that failed.
    pub commits_failed: AtomicU64,
    /// Times the store was closed, checked and opened again after a failed COMMIT.
    pub reopened: AtomicU64,
    pub checkpoints: AtomicU64,
    /// Reads executed on the calling thread.
    pub reads_inline: AtomicU64,
    /// Reads executed on a thread that may block.
    pub reads_blocking: AtomicU64,
    /// Gauge: changes that wait for the writer.
    pub queued: AtomicU64,
    /// Gauge: 1 while changes are refused because the store could not be opened again.
    pub down: AtomicU64,
}

impl Stats {
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicU64, value: u64) {
        gauge.store(value, Ordering::Relaxed);
    }

    pub(crate) fn sub(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Ordering::Relaxed);
    }
}

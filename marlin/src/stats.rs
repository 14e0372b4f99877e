//! Counters for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What marlin has done since it started.
#[derive(Debug, Default)]
pub struct Stats {
    pub jobs_created: Counter,
    pub jobs_done: Counter,
    pub jobs_archived: Counter,
    /// Attempts that were given a zone.
    pub tasks_started: Counter,
    /// Attempts that were ended because they held a zone for too long while others had none.
    pub tasks_killed: Counter,
    /// Transactions that made entries of jobs' logs durable, creations included. Divided by
    /// `jobs_created`, the commits a job costs.
    pub log_commits: Counter,
    /// Transactions of that kind that failed and were tried again.
    pub log_retries: Counter,
}

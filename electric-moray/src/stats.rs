//! Counters of one router, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

use libmanta::Timestamp;

/// All but the gauge only grow. Read with [`Stats::get`].
#[derive(Debug, Default)]
pub struct Stats {
    /// Links and renames that promoted their object. Of several at the same moment all may count, or none.
    pub objects_promoted: AtomicU64,
    /// Errands that were run, and forgotten.
    pub errands_run: AtomicU64,
    /// References that the audit looked after, each once in every round.
    pub references_audited: AtomicU64,
    /// Those of them that a crash had left behind, and that were removed.
    pub references_removed: AtomicU64,
    /// Gauge, in milliseconds; zero when there is none.
    oldest_errand_ms: AtomicU64,
}

impl Stats {
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// When the errand that waits longest was logged, as of the last look into the logs by an
    /// [`Upkeeper`](crate::Upkeeper). `None` when no errand waited.
    #[must_use]
    pub fn oldest_errand(&self) -> Option<Timestamp> {
        match Self::get(&self.oldest_errand_ms) {
            0 => None,
            logged => Some(Timestamp::from_millis(logged)),
        }
    }

    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set_oldest_errand(&self, logged: Option<Timestamp>) {
        let logged = logged.map_or(0, Timestamp::as_millis);
        self.oldest_errand_ms.store(logged, Ordering::Relaxed);
    }
}

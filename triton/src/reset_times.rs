//! How long it takes until a zone that was given back can be lent again, for operators: a histogram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds. Every millisecond as far as resets should go, coarser beyond.
const BOUNDS_MS: [u64; 16] = [
    1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 50, 100, 200, 1000, 10_000,
];

/// From the return of a zone to a fresh one in its place.
#[derive(Debug, Default)]
pub struct ResetTimes {
    /// Each time in one of them; the last is for what is longer than every bound.
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
}

impl ResetTimes {
    pub(crate) fn record(&self, took: Duration) {
        let at = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Bounds in ascending order, and how many times were not longer; the last has no bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS_MS.iter().copied().map(Duration::from_millis);
        let bounds = bounds.map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count.load(Ordering::Relaxed);
            Some((bound, *sum))
        })
    }

    /// Sum of all times.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.total_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_below_every_bound_that_it_keeps() {
        let times = ResetTimes::default();
        for us in [500, 4000, 4001, 20_000_000] {
            times.record(Duration::from_micros(us));
        }
        let all: Vec<_> = times.cumulative().collect();
        let upto = |ms| {
            let bound = Some(Duration::from_millis(ms));
            all.iter().find(|(other, _)| *other == bound).unwrap().1
        };
        assert_eq!([1, 3, 4, 5, 10_000].map(upto), [1, 1, 2, 3, 3]);
        assert_eq!(all.last(), Some(&(None, 4)));
        assert_eq!(times.total(), Duration::from_micros(20_008_501));
    }
}

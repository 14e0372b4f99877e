//! Latencies, counted in buckets of microseconds.
//!
//! Surprise: a quantile is the upper end of its bucket, so it is never better than what was measured. It is
//! exact below 256 µs and at most 0.8 % too high above, because buckets double in width with the value.

use std::time::Duration;

/// Buckets for each doubling of the value. 128 keep the error below 1 %.
const PER_DOUBLING: u64 = 128;
/// Below this each microsecond has a bucket of its own.
const EXACT_MAX_US: u64 = 2 * PER_DOUBLING;
/// About 19 hours; slower answers count as this.
const DOUBLINGS: u64 = 28;

/// Counts by latency.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (EXACT_MAX_US + DOUBLINGS * PER_DOUBLING) as usize;
        Self {
            counts: vec![0; buckets].into(),
            total: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let last = self.counts.len() - 1;
        self.counts[bucket(us).min(last)] += 1;
        self.total += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The latency that the fraction `quantile` (0 to 1) of all records does not exceed; zero without records.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((self.total as f64 * quantile).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_end(index as u64));
            }
        }
        Duration::ZERO
    }
}

fn bucket(us: u64) -> usize {
    if us < EXACT_MAX_US {
        return us as usize;
    }
    // The eight highest bits of the value, and how many follow them.
    let shift = u64::from(us.ilog2() - PER_DOUBLING.ilog2());
    (EXACT_MAX_US + (shift - 1) * PER_DOUBLING + (us >> shift) - PER_DOUBLING) as usize
}

/// The largest value that falls into a bucket.
fn upper_end(bucket: u64) -> u64 {
    if bucket < EXACT_MAX_US {
        return bucket;
    }
    let above = bucket - EXACT_MAX_US;
    let shift = above / PER_DOUBLING + 1;
    ((above % PER_DOUBLING + PER_DOUBLING + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values_us: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for us in values_us {
            histogram.record(Duration::from_micros(us));
        }
        histogram
    }

    #[test]
    fn small_values_are_exact() {
        let histogram = of(1..=200);
        assert_eq!(histogram.quantile(0.5), Duration::from_micros(100));
        assert_eq!(histogram.quantile(0.99), Duration::from_micros(198));
        assert_eq!(histogram.quantile(1.0), Duration::from_micros(200));
        assert_eq!(histogram.quantile(0.0), Duration::from_micros(1));
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for index in 0..(EXACT_MAX_US + DOUBLINGS * PER_DOUBLING) {
            let end = upper_end(index);
            assert_eq!(bucket(end), index as usize, "upper end {end}");
            assert_eq!(bucket(end + 1), index as usize + 1, "after {end}");
        }
    }

    #[test]
    fn a_quantile_is_never_better_than_the_truth_and_at_most_one_percent_worse() {
        for us in [255, 256, 257, 1000, 12_345, 250_000, 987_654_321] {
            let quantile = of([us]).quantile(0.99).as_micros() as f64;
            assert!(quantile >= us as f64, "{quantile} for {us}");
            assert!(quantile <= us as f64 * 1.01, "{quantile} for {us}");
        }
    }

    #[test]
    fn merging_adds_counts_and_extremes_stay_in_range() {
        let mut first = of([10, 20]);
        first.merge(&of([30, u64::MAX]));
        assert_eq!(first.total(), 4);
        assert_eq!(first.quantile(0.5), Duration::from_micros(20));
        assert!(first.quantile(1.0) > Duration::from_secs(3600));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}

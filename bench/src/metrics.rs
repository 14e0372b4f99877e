//! Reads counters from the Prometheus text of `/metrics`.

use anyhow::{Context, Result, bail, ensure};

/// The sum over all series of a counter, whatever their labels; an error when there is none.
pub(crate) fn sum(text: &str, name: &str) -> Result<f64> {
    let values = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (series, value) = line.trim().rsplit_once(' ')?;
            let found = series.split('{').next()?;
            (found == name).then(|| value.parse::<f64>().ok())?
        });
    values
        .reduce(|sum, value| sum + value)
        .with_context(|| format!("the store has no metric {name}"))
}

/// The value of one series, named with its labels; an error when there is none.
pub(crate) fn series(text: &str, name: &str) -> Result<f64> {
    let value = text.lines().find_map(|line| {
        let (series, value) = line.trim().rsplit_once(' ')?;
        (series == name).then(|| value.parse().ok())?
    });
    value.with_context(|| format!("the store has no series {name}"))
}

/// The middle of what a histogram took in between two texts, in its own unit: within a bucket values are taken
/// to lie evenly. An error when there was nothing.
pub(crate) fn median(before: &str, after: &str, name: &str) -> Result<f64> {
    let (before, after) = (buckets(before, name), buckets(after, name));
    let earlier = |bound: f64| {
        let same = before.iter().find(|(other, _)| *other == bound);
        same.map_or(0.0, |(_, count)| *count)
    };
    // Counts of a Prometheus histogram are those of all values up to the bound.
    let news: Vec<(f64, f64)> = after
        .iter()
        .map(|(bound, count)| (*bound, count - earlier(*bound)))
        .collect();
    let half = news.last().map_or(0.0, |(_, count)| count / 2.0);
    ensure!(half > 0.0, "the histogram {name} took nothing in");
    let mut lower = (0.0, 0.0);
    for (bound, count) in news {
        if count >= half {
            ensure!(bound.is_finite(), "the histogram {name} does not go so far");
            return Ok(lower.0 + (bound - lower.0) * (half - lower.1) / (count - lower.1));
        }
        lower = (bound, count);
    }
    bail!("the histogram {name} does not grow with its bounds")
}

/// Bounds and counts, in ascending order.
fn buckets(text: &str, name: &str) -> Vec<(f64, f64)> {
    let prefix = format!("{name}_bucket{{le=\"");
    let buckets = text.lines().filter_map(|line| {
        let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
        Some((bound.parse().ok()?, count.trim().parse().ok()?))
    });
    let mut buckets: Vec<(f64, f64)> = buckets.collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_added_up_and_a_missing_counter_is_no_zero() {
        let text = "# TYPE commits_total counter\ncommits_total{shard=\"1\"} 2\n\
                    commits_total{shard=\"2\"} 3\ncommits_total_max 100\nother 1\n";
        assert_eq!(sum(text, "commits_total").unwrap(), 5.0);
        assert_eq!(sum(text, "other").unwrap(), 1.0);
        assert!(sum(text, "commits").is_err());
    }

    #[test]
    fn a_series_is_told_from_its_neighbours() {
        let text = "zones{state=\"ready\"} 5\nzones{state=\"busy\"} 3\n";
        assert_eq!(series(text, "zones{state=\"busy\"}").unwrap(), 3.0);
        assert!(series(text, "zones").is_err());
    }

    #[test]
    fn the_median_is_that_of_the_news() {
        let text = |counts: [u64; 3]| {
            let [one, two, all] = counts;
            format!(
                "t_bucket{{le=\"0.001\"}} {one}\nt_bucket{{le=\"0.002\"}} {two}\n\
                 t_bucket{{le=\"+Inf\"}} {all}\nt_sum 7\nt_count {all}\n"
            )
        };
        let before = text([100, 100, 100]);
        let of = |after| median(&before, &text(after), "t");
        assert!((of([102, 106, 106]).unwrap() - 0.00125).abs() < 1e-9);
        assert!((of([110, 112, 114]).unwrap() - 0.0007).abs() < 1e-9);
        assert!(of([100, 101, 109]).is_err(), "beyond the last bound");
        assert!(of([100, 100, 100]).is_err(), "nothing new");
    }
}

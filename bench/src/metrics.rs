//! Reads counters from the Prometheus text of `/metrics`.

use anyhow::{Context, Result};

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
}

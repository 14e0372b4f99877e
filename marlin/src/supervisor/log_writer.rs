//! Making entries of a job's log durable.

use std::time::Duration;

use libmanta::Timestamp;

use crate::context::JobContext;
use crate::error::chain;
use crate::journal::{JournalError, Position};
use crate::record::{Entry, Segment};
use crate::supervisor::owner::Parts;

/// Names in one record of the log, about a mebibyte of them.
const NAMES_PER_SEGMENT: usize = 10_000;

/// Cuts entries so that no record of the log grows beyond measure.
pub(crate) fn split(entries: Vec<Entry>, time: Timestamp) -> Vec<Segment> {
    let mut segments = vec![Vec::new()];
    let mut names_in_last = 0;
    for entry in entries {
        let mut parts = Vec::new();
        match entry {
            Entry::Inputs { mut names } => {
                while names.len() > NAMES_PER_SEGMENT {
                    let rest = names.split_off(NAMES_PER_SEGMENT);
                    let names = std::mem::replace(&mut names, rest);
                    parts.push((names.len(), Entry::Inputs { names }));
                }
                parts.push((names.len(), Entry::Inputs { names }));
            }
            other => parts.push((1, other)),
        }
        for (size, entry) in parts {
            if names_in_last > 0 && names_in_last + size > NAMES_PER_SEGMENT {
                segments.push(Vec::new());
                names_in_last = 0;
            }
            names_in_last += size;
            if let Some(last) = segments.last_mut() {
                last.push(entry);
            }
        }
    }
    segments
        .into_iter()
        .map(|entries| Segment::new(time, entries))
        .collect()
}

/// Makes segments durable, however long it takes: the log has no gaps, so nothing else can go on.
pub(crate) async fn write(parts: &Parts, job: &JobContext, from: Position, segments: &[Segment]) {
    retry(parts, job, || {
        parts.journal.append(job.id(), from, segments)
    })
    .await;
}

/// Tries a change of the log until it succeeds. Repeating one is harmless by construction.
pub(crate) async fn retry<F>(parts: &Parts, job: &JobContext, mut attempt: impl FnMut() -> F)
where
    F: Future<Output = Result<(), JournalError>>,
{
    let mut pause = Duration::from_millis(20);
    while let Err(error) = attempt().await {
        parts.stats.log_retries.inc();
        let error = chain(&error);
        tracing::warn!(job_id = %job.id(), error, "log of a job not written, trying again");
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    parts.stats.log_commits.inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(segments: &[Segment]) -> Vec<Vec<usize>> {
        let size = |entry: &Entry| match entry {
            Entry::Inputs { names } => names.len(),
            _ => 0,
        };
        let sizes = |segment: &Segment| segment.entries.iter().map(size).collect();
        segments.iter().map(sizes).collect()
    }

    #[test]
    fn long_inputs_are_cut_and_nothing_is_lost_or_reordered() {
        let names = |n: usize| Entry::Inputs {
            names: (0..n).map(|i| i.to_string()).collect(),
        };
        let now = Timestamp::from_millis(1);
        let small = split(vec![names(3), Entry::InputEnded], now);
        assert_eq!(sizes(&small), [[3, 0]]);
        let big = split(vec![names(3), names(25_000), Entry::InputEnded], now);
        assert_eq!(
            sizes(&big),
            [vec![3], vec![10_000], vec![10_000], vec![5_000, 0]]
        );
        let all = big
            .iter()
            .flat_map(|s| &s.entries)
            .skip(1)
            .filter_map(|e| match e {
                Entry::Inputs { names } => Some(names.clone()),
                _ => None,
            });
        let all: Vec<String> = all.flatten().collect();
        assert_eq!(all, (0..25_000).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}

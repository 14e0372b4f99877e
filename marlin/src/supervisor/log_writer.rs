//! Making entries of a job's log durable.

use std::time::Duration;

use libmanta::Timestamp;

use crate::context::JobContext;
use crate::error::chain;
use crate::journal::{JournalError, Position};
use crate::record::{Entry, Segment};
use crate::supervisor::owner::Parts;

/// Entries in one record of the log. Only a single entry that is longer makes a longer record: a commit can
/// be, with what the desk of its zone admits ([`OUTPUTS_MAX`](crate::agent::desk::OUTPUTS_MAX) outputs,
/// 4 MiB of names: at most 16 MiB encoded), and the errors of a cancellation.
const SEGMENT_BYTES_MAX: usize = 1 << 20;

/// Bytes of a value's encoding.
pub(crate) fn encoded_bytes(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value)
        .expect("records have string keys and no failing serializers");
    count.0
}

/// Cuts entries so that no record of the log grows beyond measure.
pub(crate) fn split(entries: Vec<Entry>, time: Timestamp) -> Vec<Segment> {
    let mut segments = vec![Vec::new()];
    let mut bytes_in_last = 0;
    for entry in entries {
        for entry in cut(entry) {
            let bytes = encoded_bytes(&entry) + 1;
            if bytes_in_last > 0 && bytes_in_last + bytes > SEGMENT_BYTES_MAX {
                segments.push(Vec::new());
                bytes_in_last = 0;
            }
            bytes_in_last += bytes;
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

/// The same in pieces that fit into a record; only inputs can be cut.
fn cut(entry: Entry) -> Vec<Entry> {
    /// What an entry of inputs has besides the names.
    const FRAME_BYTES: usize = 64;
    let Entry::Inputs { names } = entry else {
        return vec![entry];
    };
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), FRAME_BYTES);
    for name in names {
        let more = encoded_bytes(&name) + 1;
        if !part.is_empty() && bytes + more > SEGMENT_BYTES_MAX {
            let names = std::mem::take(&mut part);
            parts.push(Entry::Inputs { names });
            bytes = FRAME_BYTES;
        }
        bytes += more;
        part.push(name);
    }
    parts.push(Entry::Inputs { names: part });
    parts
}

/// Makes segments durable, however long it takes: the log has no gaps, so nothing else can go on. An error
/// is one that no repetition would mend; nothing was written then.
pub(crate) async fn write(
    parts: &Parts,
    job: &JobContext,
    from: Position,
    segments: &[Segment],
) -> Result<(), JournalError> {
    retry(parts, job, || {
        parts.journal.append(job.id(), from, segments)
    })
    .await
}

/// Tries a change of the log until it succeeds, or fails for good. Repeating one is harmless by
/// construction.
pub(crate) async fn retry<F>(
    parts: &Parts,
    job: &JobContext,
    mut attempt: impl FnMut() -> F,
) -> Result<(), JournalError>
where
    F: Future<Output = Result<(), JournalError>>,
{
    let mut pause = Duration::from_millis(20);
    while let Err(error) = attempt().await {
        if error.is_permanent() {
            return Err(error);
        }
        parts.stats.log_retries.inc();
        let error = chain(&error);
        tracing::warn!(job_id = %job.id(), error, "log of a job not written, trying again");
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    parts.stats.log_commits.inc();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::desk::{NAME_BYTES_MAX, OUTPUTS_MAX};
    use crate::record::{Commit, Output, Work};

    fn commit(outputs: usize, name: &str) -> Entry {
        let output = Output {
            name: name.to_owned(),
            reducer: Some(127),
            reference: true,
        };
        Entry::Commit(Commit {
            work: Work::Item(u64::MAX),
            phase: 99,
            attempts: 3,
            outputs: vec![output; outputs],
            failure: None,
            run: None,
        })
    }

    #[test]
    fn long_inputs_are_cut_and_nothing_is_lost_or_reordered() {
        // Quotes double when they are encoded.
        let names = |n: usize, length: usize| Entry::Inputs {
            names: (0..n)
                .map(|i| format!("{i}{}", "\"".repeat(length)))
                .collect(),
        };
        let now = Timestamp::from_millis(1);
        assert_eq!(split(vec![names(3, 1), Entry::InputEnded], now).len(), 1);
        let all = vec![
            names(3, 1),
            names(1000, 4096),
            commit(10, "/u/x"),
            names(5, 9),
        ];
        let segments = split(all.clone(), now);
        assert!(segments.len() >= 8, "{}", segments.len());
        for segment in &segments {
            let bytes = segment.encode().len();
            assert!(bytes <= SEGMENT_BYTES_MAX + 1024, "{bytes}");
        }
        let names_of = |entries: Vec<Entry>| -> Vec<String> {
            let names = entries.into_iter().flat_map(|entry| match entry {
                Entry::Inputs { names } => names,
                _ => Vec::new(),
            });
            names.collect()
        };
        let entries = segments.into_iter().flat_map(|s| s.entries).collect();
        assert_eq!(names_of(entries), names_of(all));
    }

    #[test]
    fn commits_share_records_by_their_bytes_and_the_longest_stands_alone() {
        let now = Timestamp::from_millis(1);
        let many = vec![commit(100, &"x".repeat(4096)); 10];
        for segment in split(many, now) {
            assert!(segment.encode().len() <= SEGMENT_BYTES_MAX + 1024);
        }
        let name = "\"".repeat(NAME_BYTES_MAX / OUTPUTS_MAX);
        let longest = vec![
            Entry::InputEnded,
            commit(OUTPUTS_MAX, &name),
            Entry::InputEnded,
        ];
        let segments = split(longest, now);
        assert_eq!(segments.len(), 3);
        assert!(segments[1].encode().len() <= 16 << 20);
        let few = commit(1000, &"\"".repeat(NAME_BYTES_MAX / 1000));
        assert!(split(vec![few], now)[0].encode().len() <= 16 << 20);
    }
}

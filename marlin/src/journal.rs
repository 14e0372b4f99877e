//! The records of jobs in moray: creation, the append log, what is left after the archive.
//!
//! Bucket `marlin` holds, below the route of a job's id, its record (`job`) and its log (`log/` and a
//! twelve-digit sequence number). Bucket `marlin_live` holds one empty record for each job that is not
//! archived yet, and `marlin_archived` one for each that is, so that neither a start nor housekeeping walks
//! through logs. All records of a job share a route, so each change is one transaction in one shard.

use std::sync::Arc;

use libmanta::moray::{BatchError, Buckets, Expect, MorayError, RecordKey, Write};
use libmanta::{JobId, Timestamp};
use thiserror::Error;

use crate::record::{JobRecord, RecordError, Segment};

const BUCKET: &str = "marlin";
const LIVE: &str = "marlin_live";
const ARCHIVED: &str = "marlin_archived";
const JOB_KEY: &str = "job";
/// Longest record that is tried. Segments are a good deal shorter, and the database takes a good deal more.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// Segments read at a time.
const PAGE: usize = 16;
/// Records deleted at a time. Source: marlin.md section 14 (5).
const PURGE_PAGE: usize = 500;

#[derive(Debug, Error)]
pub(crate) enum JournalError {
    #[error(transparent)]
    Moray(#[from] MorayError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("a record of {0} bytes is too long")]
    TooLong(usize),
    #[error("record {key} of job {id}")]
    Record {
        id: JobId,
        key: String,
        #[source]
        source: RecordError,
    },
}

impl JournalError {
    /// Whether it will be the same however often it is tried. What a database refuses for reasons of its own
    /// is not: an operator can mend it.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::TooLong(_)
            | Self::Record { .. }
            | Self::Batch(BatchError::Conflict(_) | BatchError::Routes) => true,
            Self::Moray(_) | Self::Batch(BatchError::Moray(_)) => false,
        }
    }
}

/// Access to the records of all jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    buckets: Arc<dyn Buckets>,
}

/// Where a log is read from: the number of the next segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position(pub(crate) u64);

impl Journal {
    pub(crate) fn new(buckets: Arc<dyn Buckets>) -> Self {
        Self { buckets }
    }

    /// Records a new job.
    pub(crate) async fn create(&self, job: &JobRecord) -> Result<(), JournalError> {
        let writes = vec![
            put(key(BUCKET, job.id, JOB_KEY), job.encode()),
            put(key(LIVE, job.id, JOB_KEY), Vec::new()),
        ];
        Ok(self.buckets.batch(writes).await?)
    }

    /// Appends segments from `from` on, all or none. Repeating it with the same content is harmless.
    pub(crate) async fn append(
        &self,
        id: JobId,
        from: Position,
        segments: &[Segment],
    ) -> Result<(), JournalError> {
        let mut writes = Vec::with_capacity(segments.len());
        for (number, segment) in (from.0..).zip(segments) {
            let record = segment.encode();
            if record.len() > RECORD_BYTES_MAX {
                return Err(JournalError::TooLong(record.len()));
            }
            writes.push(put(key(BUCKET, id, &segment_key(Position(number))), record));
        }
        Ok(self.buckets.batch(writes).await?)
    }

    /// Appends the last segment together with the record that makes the log needless for a status.
    pub(crate) async fn finish(
        &self,
        at: Position,
        segment: &Segment,
        job: &JobRecord,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let writes = vec![
            put(key(BUCKET, job.id, &segment_key(at)), segment.encode()),
            put(key(BUCKET, job.id, JOB_KEY), job.encode()),
            delete(key(LIVE, job.id, JOB_KEY)),
            put(
                key(ARCHIVED, job.id, JOB_KEY),
                now.as_millis().to_string().into_bytes(),
            ),
        ];
        Ok(self.buckets.batch(writes).await?)
    }

    pub(crate) async fn job(&self, id: JobId) -> Result<Option<JobRecord>, JournalError> {
        let found = self.buckets.get(&key(BUCKET, id, JOB_KEY)).await?;
        found
            .map(|record| {
                JobRecord::decode(&record.value).map_err(|source| JournalError::Record {
                    id,
                    key: JOB_KEY.to_owned(),
                    source,
                })
            })
            .transpose()
    }

    /// Jobs that are not archived, in no useful order.
    pub(crate) async fn live(&self) -> Result<Vec<JobId>, JournalError> {
        let mut ids = Vec::new();
        self.each(LIVE, |id, _| ids.push(id)).await?;
        Ok(ids)
    }

    /// Jobs that were archived before `before`.
    pub(crate) async fn archived(&self, before: Timestamp) -> Result<Vec<JobId>, JournalError> {
        let mut ids = Vec::new();
        self.each(ARCHIVED, |id, value| {
            let time = std::str::from_utf8(value).ok().and_then(|t| t.parse().ok());
            if time.is_none_or(|time: u64| time < before.as_millis()) {
                ids.push(id);
            }
        })
        .await?;
        Ok(ids)
    }

    /// The next segments from `from` on, and where to go on; nothing when the log ends.
    pub(crate) async fn read(
        &self,
        id: JobId,
        from: Position,
    ) -> Result<(Vec<Segment>, Position), JournalError> {
        let records = self
            .buckets
            .scan(BUCKET, &id.to_string(), &segment_key(from), PAGE)
            .await?;
        let mut next = from;
        let mut segments = Vec::with_capacity(records.len());
        for record in records {
            let name = record.key.key;
            let Some(number) = name.strip_prefix("log/").and_then(|n| n.parse().ok()) else {
                break;
            };
            let segment =
                Segment::decode(&record.value).map_err(|source| JournalError::Record {
                    id,
                    key: name,
                    source,
                })?;
            segments.push(segment);
            next = Position(number).next();
        }
        Ok((segments, next))
    }

    /// Forgets a job: its log first, so that an interrupted purge is found again.
    pub(crate) async fn purge(&self, id: JobId) -> Result<(), JournalError> {
        let route = id.to_string();
        loop {
            let records = self
                .buckets
                .scan(BUCKET, &route, "log/", PURGE_PAGE)
                .await?;
            if records.is_empty() {
                break;
            }
            let writes = records.into_iter().map(|record| delete(record.key));
            self.buckets.batch(writes.collect()).await?;
        }
        let writes = vec![
            delete(key(BUCKET, id, JOB_KEY)),
            delete(key(ARCHIVED, id, JOB_KEY)),
        ];
        Ok(self.buckets.batch(writes).await?)
    }

    async fn each(
        &self,
        bucket: &str,
        mut visit: impl FnMut(JobId, &[u8]),
    ) -> Result<(), JournalError> {
        let mut after: Option<(String, String)> = None;
        loop {
            let from = after.as_ref().map(|(r, k)| (r.as_str(), k.as_str()));
            let records = self.buckets.scan_all(bucket, from, PURGE_PAGE).await?;
            let Some(last) = records.last() else {
                return Ok(());
            };
            after = Some((last.key.route.clone(), last.key.key.clone()));
            for record in &records {
                if let Ok(id) = record.key.route.parse() {
                    visit(id, &record.value);
                }
            }
        }
    }
}

impl Position {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Keys sort as bytes, so numbers are padded; `log/` sorts after `job`.
fn segment_key(at: Position) -> String {
    format!("log/{:012}", at.0)
}

fn key(bucket: &str, id: JobId, key: &str) -> RecordKey {
    RecordKey {
        bucket: bucket.to_owned(),
        route: id.to_string(),
        key: key.to_owned(),
    }
}

fn put(key: RecordKey, value: Vec<u8>) -> Write {
    Write {
        key,
        value: Some(value),
        expect: Expect::Anything,
    }
}

fn delete(key: RecordKey) -> Write {
    Write {
        key,
        value: None,
        expect: Expect::Anything,
    }
}

//! From a finished job to the objects that its owner keeps. Source: marlin.md section 14.
//!
//! Everything is read from the log, so an archiver that was cut off begins again and ends the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use libmanta::marlin::JobList;
use tokio::sync::watch;

use crate::context::JobContext;
use crate::error::chain;
use crate::front_door::{FrontDoorError, full};
use crate::job::JobEvent;
use crate::journal::{Journal, JournalError, Position};
use crate::lists::{Form, lines};
use crate::record::{Entry, JobRecord, Segment, Summary};
use crate::supervisor::log_writer::retry;
use crate::supervisor::owner::Parts;
use crate::supervisor::view::View;

/// Longest pause between attempts, for a job whose archive is refused again and again.
const PAUSE_MAX: Duration = Duration::from_secs(600);

const LISTS: [(&str, JobList); 4] = [
    ("in.txt", JobList::Inputs),
    ("out.txt", JobList::Outputs),
    ("fail.txt", JobList::Failures),
    ("err.txt", JobList::Errors),
];

pub(crate) struct Archive {
    pub(crate) parts: Parts,
    pub(crate) job: Arc<JobContext>,
    pub(crate) view: Arc<watch::Sender<View>>,
    pub(crate) position: Position,
}

impl Archive {
    /// Stores the job's lists as objects, as long as it takes. Cancel-safe: whoever begins again ends the same.
    pub(crate) async fn store(&self) {
        // Not worth an entry of its own: an archiver that is cut off begins again.
        let started = self.parts.deps.clock.now();
        self.update(
            |view| view.times.archive_started = Some(started),
            JobEvent::ArchiveStarted,
        );
        let mut pause = Duration::from_secs(1);
        while let Err(error) = self.upload().await {
            let text = chain(&error);
            if !error.is_retryable() && self.is_late() {
                tracing::warn!(job_id = %self.job.id(), error = text, "job not archived, for good");
                break;
            }
            tracing::warn!(job_id = %self.job.id(), error = text, "job not archived, trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether the job has waited for its archive for as long as its records are kept beside one. Then an owner
    /// who may not write, or no longer exists, does without.
    fn is_late(&self) -> bool {
        let done = self.view().times.done.map_or(0, |done| done.as_millis());
        let waited = self.parts.deps.clock.now().as_millis().saturating_sub(done);
        u128::from(waited) >= self.parts.config.linger.as_millis()
    }

    async fn upload(&self) -> Result<(), FrontDoorError> {
        // The one that the job's tasks have may have expired.
        let identity = &self.parts.deps.identity;
        let token: &str = &identity.mint_token(&self.job.record.principal, None);
        let directory = self.job.area.trim_end_matches("/stor");
        let uploads = LISTS.map(|(name, what)| {
            let lines = lines(
                self.parts.journal.clone(),
                &self.job.record,
                what,
                Form::Archived,
            );
            self.put_list(token, format!("{directory}/{name}"), lines)
        });
        let done = self.parts.deps.clock.now();
        let result = async {
            futures_util::future::try_join_all(uploads).await?;
            let status = format!("{directory}/job.json");
            // The last, because it says that the others are there.
            futures_util::try_join!(
                self.remove_live(token, directory),
                self.put_status(token, &status, done)
            )
        };
        match result.await {
            // The user removed the job's directory and does not want this.
            Err(error) if error.is_missing_directory() => Ok(()),
            result => result.map(drop),
        }
    }

    async fn remove_live(&self, token: &str, directory: &str) -> Result<(), FrontDoorError> {
        let live = format!("{directory}/live");
        match self.parts.front_door.delete(token, &live).await {
            // A subuser's roles need not let it delete; then an empty directory is left.
            Err(error) if error.status() == Some(StatusCode::FORBIDDEN) => Ok(()),
            removed => removed.map(drop),
        }
    }

    async fn put_list(
        &self,
        token: &str,
        name: String,
        lines: BoxStream<'static, Result<String, JournalError>>,
    ) -> Result<(), FrontDoorError> {
        let frames = lines
            .ready_chunks(256)
            .map(|lines| {
                let mut text = String::new();
                for line in lines {
                    text.push_str(&line?);
                    text.push('\n');
                }
                Ok(Frame::data(Bytes::from(text)))
            })
            .map_err(|error: JournalError| error.into());
        let body = StreamBody::new(frames).boxed_unsync();
        let put = self
            .parts
            .front_door
            .put(token, &name, "text/plain", None, body);
        put.await
    }

    async fn put_status(
        &self,
        token: &str,
        name: &str,
        done: libmanta::Timestamp,
    ) -> Result<(), FrontDoorError> {
        let mut view = self.view();
        view.times.archive_done = Some(done);
        let status = view.status(&self.job.record).to_json().to_string();
        let size = status.len() as u64;
        let body = full(Bytes::from(status));
        let door = &self.parts.front_door;
        door.put(token, name, "application/json", Some(size), body)
            .await
    }

    /// Makes the end durable and the log needless for anything but the lists.
    pub(crate) async fn finish(&self) {
        let now = self.parts.deps.clock.now();
        let view = self.view();
        let record = JobRecord {
            summary: Some(Summary {
                cancelled: view.job.is_cancelled(),
                stats: view.stats,
                done: view.times.done.unwrap_or(now),
                archive_started: view.times.archive_started.unwrap_or(now),
                archive_done: now,
            }),
            ..self.job.record.clone()
        };
        let segment = Segment::new(now, vec![Entry::ArchiveStarted, Entry::ArchiveDone]);
        let journal: &Journal = &self.parts.journal;
        let finished = retry(&self.parts, &self.job, || {
            journal.finish(self.position, &segment, &record, now)
        });
        if let Err(error) = finished.await {
            return self.leave(&error);
        }
        self.update(
            |view| view.times.archive_done = Some(now),
            JobEvent::ArchiveDone,
        );
        self.parts.stats.jobs_archived.inc();
    }

    /// The job stays as it is until the next start.
    fn leave(&self, error: &JournalError) {
        let error = chain(error);
        tracing::error!(job_id = %self.job.id(), error, "archive of a job cannot be recorded");
    }

    fn view(&self) -> View {
        *self.view.borrow()
    }

    fn update(&self, change: impl FnOnce(&mut View), event: JobEvent) {
        let mut view = self.view();
        change(&mut view);
        match view.job.on(event) {
            Ok(job) => view.job = job,
            Err(error) => tracing::error!(job_id = %self.job.id(), %error, "archive out of order"),
        }
        view.publish(&self.view);
    }
}

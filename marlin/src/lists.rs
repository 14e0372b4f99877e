//! The lists of a job, read from its log page by page, so that a job of a million inputs costs no memory.
//!
//! Only what is durable is in the log, so a list never takes anything back, and it grows at its end.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use libmanta::marlin::JobList;

use libmanta::Timestamp;

use crate::explain::Explained;
use crate::journal::{Journal, JournalError, Position};
use crate::record::{Entry, Failure, JobRecord};

/// For whom errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Live,
    Archived,
}

/// The lines of a list, complete, in the order in which they came to be.
pub(crate) fn lines(
    journal: Journal,
    job: &JobRecord,
    what: JobList,
    form: Form,
) -> BoxStream<'static, Result<String, JournalError>> {
    let id = job.id;
    let select = Arc::new(Select {
        last_phase: job.definition.phases.len().saturating_sub(1),
        tasks: Explained::new(job),
        what,
        form,
    });
    let pages = stream::try_unfold(
        (journal, Position::default(), select),
        move |(journal, at, select)| async move {
            let (segments, next) = journal.read(id, at).await?;
            if segments.is_empty() {
                return Ok::<_, JournalError>(None);
            }
            // Made one by one as they are taken: those of a task repeat what is the same for all tasks, so
            // they may be far longer than the page.
            let selecting = select.clone();
            let entries = segments.into_iter().flat_map(|segment| {
                let time = segment.time;
                segment.entries.into_iter().map(move |entry| (entry, time))
            });
            let lines = entries.flat_map(move |(entry, time)| selecting.lines(entry, time));
            Ok(Some((stream::iter(lines.map(Ok)), (journal, next, select))))
        },
    );
    pages.try_flatten().boxed()
}

/// What of a log is in a list.
struct Select {
    last_phase: usize,
    tasks: Explained,
    what: JobList,
    form: Form,
}

impl Select {
    fn lines(&self, entry: Entry, time: Timestamp) -> Vec<String> {
        let (what, form) = (self.what, self.form);
        match (what, entry) {
            (JobList::Inputs, Entry::Inputs { names }) => names,
            (JobList::Outputs, Entry::Commit(commit)) if commit.phase == self.last_phase => commit
                .outputs
                .into_iter()
                .map(|output| output.name)
                .collect(),
            (JobList::Failures | JobList::Errors, Entry::Commit(commit)) => commit
                .failure
                .and_then(|f| line(f, what, form))
                .into_iter()
                .collect(),
            (JobList::Failures | JobList::Errors, Entry::Cancelled { errors, .. }) => errors
                .into_iter()
                .filter_map(|f| line(f, what, form))
                .collect(),
            (JobList::Tasks, entry) => self.tasks.entry(entry, time),
            _ => Vec::new(),
        }
    }
}

fn line(failure: Failure, what: JobList, form: Form) -> Option<String> {
    match (what, form) {
        (JobList::Errors, Form::Live) => Some(failure.to_json().to_string()),
        (JobList::Errors, Form::Archived) => Some(failure.to_archived_json().to_string()),
        _ => failure.origin,
    }
}

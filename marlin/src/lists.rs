//! The lists of a job, read from its log page by page, so that a job of a million inputs costs no memory.
//!
//! Only what is durable is in the log, so a list never takes anything back, and it grows at its end.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use libmanta::Timestamp;
use libmanta::marlin::JobList;

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
        what: match what {
            JobList::Inputs => What::Inputs,
            JobList::Outputs => What::Outputs,
            JobList::Failures => What::Failures(None),
            JobList::Errors => What::Failures(Some(form)),
            JobList::Tasks => What::Tasks(Explained::new(job)),
        },
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
            let selecting = Arc::clone(&select);
            let entries = segments.into_iter().flat_map(|segment| {
                let time = segment.time;
                segment.entries.into_iter().map(move |entry| (entry, time))
            });
            let lines =
                entries.flat_map(move |(entry, time)| Arc::clone(&selecting).lines(entry, time));
            Ok(Some((stream::iter(lines.map(Ok)), (journal, next, select))))
        },
    );
    pages.try_flatten().boxed()
}

/// What of a log is in a list.
struct Select {
    last_phase: usize,
    what: What,
}

enum What {
    Inputs,
    Outputs,
    /// The errors in a form, or the inputs that failed.
    Failures(Option<Form>),
    Tasks(Explained),
}

type Lines = Box<dyn Iterator<Item = String> + Send>;

impl Select {
    fn lines(self: Arc<Self>, entry: Entry, time: Timestamp) -> Lines {
        match (&self.what, entry) {
            (What::Inputs, Entry::Inputs { names }) => Box::new(names.into_iter()),
            (What::Outputs, Entry::Commit(commit)) if commit.phase == self.last_phase => {
                Box::new(commit.outputs.into_iter().map(|output| output.name))
            }
            (What::Failures(form), Entry::Commit(commit)) => {
                Box::new(commit.failure.and_then(|f| line(f, *form)).into_iter())
            }
            (What::Failures(form), Entry::Cancelled { errors, .. }) => {
                let form = *form;
                Box::new(errors.into_iter().filter_map(move |f| line(f, form)))
            }
            (What::Tasks(tasks), Entry::Commit(commit)) => {
                Box::new(std::iter::once(tasks.commit(&commit, time).to_string()))
            }
            (What::Tasks(_), Entry::Cancelled { errors, .. }) => {
                let document = move |failure| match &self.what {
                    What::Tasks(tasks) => Some(tasks.cancelled(&failure, time).to_string()),
                    _ => None,
                };
                Box::new(errors.into_iter().filter_map(document))
            }
            _ => Box::new(std::iter::empty()),
        }
    }
}

fn line(failure: Failure, form: Option<Form>) -> Option<String> {
    match form {
        Some(Form::Live) => Some(failure.to_json().to_string()),
        Some(Form::Archived) => Some(failure.to_archived_json().to_string()),
        None => failure.origin,
    }
}

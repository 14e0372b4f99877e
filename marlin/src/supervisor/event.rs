//! What a supervisor hears, and what it wants done.

use std::sync::Arc;

use crate::record::{Entry, Output, Segment, TaskError, Work};
use crate::run::Run;
use crate::supervisor::resolve::Located;

/// Identifies a caller who waits for an answer.
pub(crate) type Ticket = u64;

#[derive(Debug)]
pub(crate) enum Event {
    /// The owner is ready; picks up what a replayed log left open.
    Begin,
    AddInputs {
        ticket: Ticket,
        names: Vec<String>,
        /// The input ends with them.
        last: bool,
    },
    EndInput {
        ticket: Ticket,
    },
    Cancel {
        ticket: Ticket,
    },
    /// Nobody added an input for an hour.
    InputIdle,
    Resolved {
        item: u64,
        result: Result<Located, TaskError>,
    },
    Started {
        work: Work,
        attempt: u8,
    },
    Finished {
        work: Work,
        attempt: u8,
        outcome: Outcome,
        run: Option<Box<Run>>,
    },
    /// The time of [`Effect::Gather`] is over.
    Gathered,
    /// The entries of the last [`Effect::Write`] are durable.
    Written(Vec<Segment>),
    /// They are not, and trying again is of no use.
    Unwritable(Vec<Entry>),
    Deleted,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done(Vec<Output>),
    Failed(TaskError),
    /// The zone is gone, nobody knows how far it came.
    Lost,
    /// It held a zone for too long while others had none.
    Killed,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    Reply {
        ticket: Ticket,
        result: Result<(), &'static str>,
    },
    /// Make these durable, together. No other write comes before [`Event::Written`] or
    /// [`Event::Unwritable`].
    Write(Vec<Entry>),
    /// Give results a moment to come together, then tell with [`Event::Gathered`].
    Gather,
    Resolve {
        item: u64,
        name: Arc<str>,
    },
    StartMap {
        phase: usize,
        item: u64,
        attempt: u8,
        located: Located,
        origin: Option<Arc<str>>,
    },
    StartReduce {
        phase: usize,
        index: u8,
        attempt: u8,
        open: bool,
    },
    Feed {
        phase: usize,
        index: u8,
        input: Located,
    },
    CloseFeed {
        phase: usize,
        index: u8,
    },
    /// No task of this map phase comes any more, retries aside.
    CloseGroup {
        phase: usize,
    },
    Delete(Arc<str>),
    /// Drop every task of the job.
    Abort,
    /// The job is done, durably.
    Done,
}

//! What a zone's local Manta and the task that runs there know of each other.
//!
//! Sessions are numbered, because a request may outlive the task that made it: what it brings after the end
//! of its session does not count. Source: marlin.md section 4, rule 5.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::context::JobContext;
use crate::record::{Output, TaskError};

/// What the task's own control request decided.
#[derive(Debug)]
pub(crate) enum Decision {
    Commit,
    Fail(TaskError),
}

/// The front desk of one zone: open while a command of a task runs.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: u64,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    job: Arc<JobContext>,
    /// The document of the control API.
    document: Arc<serde_json::Value>,
    streamed: bool,
    outputs: Vec<Output>,
    decide: Option<oneshot::Sender<Decision>>,
}

/// A request's hold on the session in which it came.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    number: u64,
    pub(crate) job: Arc<JobContext>,
    pub(crate) document: Arc<serde_json::Value>,
}

/// What happened during a session.
#[derive(Debug, Default)]
pub(crate) struct Takings {
    /// Some request carried `x-manta-stream: stdout`, so that standard output does not count.
    pub(crate) streamed: bool,
    pub(crate) outputs: Vec<Output>,
}

impl Desk {
    /// Opens for a task. The receiver hears of the first control request that ends it.
    pub(crate) fn open(
        &self,
        job: Arc<JobContext>,
        document: serde_json::Value,
    ) -> oneshot::Receiver<Decision> {
        let (decide, decision) = oneshot::channel();
        let mut state = self.lock();
        state.sessions += 1;
        state.session = Some(Session {
            number: state.sessions,
            job,
            document: Arc::new(document),
            streamed: false,
            outputs: Vec::new(),
            decide: Some(decide),
        });
        decision
    }

    pub(crate) fn close(&self) -> Takings {
        self.lock()
            .session
            .take()
            .map(|session| Takings {
                streamed: session.streamed,
                outputs: session.outputs,
            })
            .unwrap_or_default()
    }

    /// `None` when no task runs.
    pub(crate) fn visit(&self) -> Option<Visit> {
        self.lock().session.as_ref().map(|session| Visit {
            number: session.number,
            job: Arc::clone(&session.job),
            document: Arc::clone(&session.document),
        })
    }

    /// Standard output will not be an output of this task.
    pub(crate) fn streams(&self, visit: &Visit) {
        self.with(visit, |session| session.streamed = true);
    }

    pub(crate) fn emit(&self, visit: &Visit, output: Output) {
        self.with(visit, |session| session.outputs.push(output));
    }

    /// Ends the task; the first decision stands.
    pub(crate) fn decide(&self, visit: &Visit, decision: Decision) {
        self.with(visit, |session| {
            if let Some(decide) = session.decide.take() {
                let _ = decide.send(decision);
            }
        });
    }

    fn with(&self, visit: &Visit, change: impl FnOnce(&mut Session)) {
        let mut state = self.lock();
        if let Some(session) = state.session.as_mut()
            && session.number == visit.number
        {
            change(session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

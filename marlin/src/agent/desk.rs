//! What a zone's local Manta and the task that runs there know of each other.
//!
//! A connection belongs for ever to the session in which it was accepted, and ends with it: what a task left
//! behind must not speak for the next one. Source: marlin.md section 4, rule 5.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::traffic::Traffic;
use crate::context::JobContext;
use crate::front_door::FrontDoor;
use crate::record::{Output, TaskError};

/// Outputs of one task. With [`NAME_BYTES_MAX`] this bounds the commit, which must fit into a record.
pub(crate) const OUTPUTS_MAX: usize = 100_000;
/// Names of one task's outputs together.
pub(crate) const NAME_BYTES_MAX: usize = 4 << 20;
/// More than the kernel keeps of connections that nobody has accepted.
const BACKLOG_MAX: usize = 65_536;

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
    /// On all connections, whichever session they belong to.
    pub(crate) traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct State {
    /// What connections are accepted from; without blocking.
    listeners: Vec<TcpListener>,
    sessions: u64,
    session: Option<Session>,
    /// Connections of the session that ended last.
    ending: Option<TaskTracker>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    job: Arc<JobContext>,
    front_door: FrontDoor,
    /// The document of the control API.
    document: Arc<serde_json::Value>,
    streamed: bool,
    outputs: Vec<Output>,
    name_bytes: usize,
    ended: CancellationToken,
    connections: TaskTracker,
    decide: Option<oneshot::Sender<Decision>>,
}

/// The task has emitted as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a task may emit at most {OUTPUTS_MAX} outputs with {NAME_BYTES_MAX} bytes of names in all"
)]
pub(crate) struct TooMuch;

/// A connection's hold on the session in which it was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    number: u64,
    pub(crate) job: Arc<JobContext>,
    /// As the task knows it.
    pub(crate) front_door: FrontDoor,
    pub(crate) document: Arc<serde_json::Value>,
    /// Cancelled at the end of the session.
    pub(crate) ended: CancellationToken,
    /// The end of the session waits for whoever holds a token of this.
    pub(crate) connections: TaskTracker,
}

/// What happened during a session.
#[derive(Debug, Default)]
pub(crate) struct Takings {
    /// Some request carried `x-manta-stream: stdout`, so that standard output does not count.
    pub(crate) streamed: bool,
    pub(crate) outputs: Vec<Output>,
}

impl Desk {
    /// Tells where connections come from.
    pub(crate) fn listen(&self, listeners: Vec<TcpListener>) {
        self.lock().listeners = listeners;
    }

    /// Accepts a connection for the session that is open. The lock is held meanwhile, so that no session
    /// ends or begins between the two; `accept` must not block.
    pub(crate) fn admit<T>(
        &self,
        accept: impl FnOnce() -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<(T, Option<Visit>)>> {
        let state = self.lock();
        let accepted = ready!(accept())?;
        let visit = state.session.as_ref().map(Session::visit);
        Poll::Ready(Ok((accepted, visit)))
    }

    /// Opens for a task, after everything that still waits to be accepted has been turned away. The receiver hears of the first control request that ends it.
    pub(crate) fn open(
        &self,
        job: Arc<JobContext>,
        front_door: FrontDoor,
        document: serde_json::Value,
    ) -> oneshot::Receiver<Decision> {
        let (decide, decision) = oneshot::channel();
        let mut state = self.lock();
        state.end_session();
        state.turn_away();
        state.sessions += 1;
        state.session = Some(Session {
            number: state.sessions,
            job,
            front_door,
            document: Arc::new(document),
            streamed: false,
            outputs: Vec::new(),
            name_bytes: 0,
            ended: CancellationToken::new(),
            connections: TaskTracker::new(),
            decide: Some(decide),
        });
        decision
    }

    /// Ends the session and waits until none of its connections is left; also when somebody who ended it did not
    /// stay so long, but then there is nothing to take.
    pub(crate) async fn close(&self) -> Takings {
        let (session, ending) = {
            let mut state = self.lock();
            (state.end_session(), state.ending.clone())
        };
        if let Some(ending) = ending {
            ending.wait().await;
        }
        let Some(session) = session else {
            return Takings::default();
        };
        Takings {
            streamed: session.streamed,
            outputs: session.outputs,
        }
    }

    /// Whether the session is still open.
    pub(crate) fn knows(&self, visit: &Visit) -> bool {
        let state = self.lock();
        let number = state.session.as_ref().map(|session| session.number);
        number == Some(visit.number)
    }

    /// Standard output will not be an output of this task.
    pub(crate) fn streams(&self, visit: &Visit) {
        self.with(visit, |session| session.streamed = true);
    }

    /// Whether an output of this name would be taken.
    pub(crate) fn has_room(&self, visit: &Visit, name: &str) -> Result<(), TooMuch> {
        let mut result = Ok(());
        self.with(visit, |session| result = session.has_room(name));
        result
    }

    pub(crate) fn emit(&self, visit: &Visit, output: Output) -> Result<(), TooMuch> {
        let mut result = Ok(());
        self.with(visit, |session| {
            result = session.has_room(&output.name);
            if result.is_ok() {
                session.name_bytes += output.name.len();
                session.outputs.push(output);
            }
        });
        result
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

impl State {
    fn end_session(&mut self) -> Option<Session> {
        let session = self.session.take()?;
        session.ended.cancel();
        session.connections.close();
        self.ending = Some(session.connections.clone());
        Some(session)
    }

    fn turn_away(&self) {
        for listener in &self.listeners {
            for _ in 0..BACKLOG_MAX {
                match listener.accept() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // One that was given up before we came to it.
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
}

impl Session {
    fn visit(&self) -> Visit {
        Visit {
            number: self.number,
            job: Arc::clone(&self.job),
            front_door: self.front_door.clone(),
            document: Arc::clone(&self.document),
            ended: self.ended.clone(),
            connections: self.connections.clone(),
        }
    }

    fn has_room(&self, name: &str) -> Result<(), TooMuch> {
        let fits =
            self.outputs.len() < OUTPUTS_MAX && self.name_bytes + name.len() <= NAME_BYTES_MAX;
        if fits { Ok(()) } else { Err(TooMuch) }
    }
}

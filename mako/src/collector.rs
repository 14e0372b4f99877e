//! The collector: unlinks copies nobody needs any more.
//!
//! Two sources tell it so.
//!
//! - The *delete log* of the metadata tier: an entry lies there from the transaction that removed an
//!   object until all its copies are gone. Entries younger than a grace period are left alone, so that a
//!   reader that looked the object up a moment ago finds its bytes. A copy on a node that does not answer
//!   keeps its entry.
//! - The *sweep*: copies that no metadata names, left by a crash between copy and metadata. It walks every
//!   node when it starts and once an hour.
//!
//! # Why the sweep never takes a copy of a PUT in flight
//!
//! A PUT makes its copies durable first and commits its metadata after that, so for a while a copy is
//! there that nothing names. Two rules keep the sweep away from it:
//!
//! 1. the first sweep takes only copies that are older than the collector, which is started before the
//!    front door. The processes that wrote them are gone (a node is locked by one process), and so are
//!    their PUTs;
//! 2. every other sweep takes only copies older than `sweep_age`, an hour, and no request waits that long
//!    between its copies and its metadata.
//!
//! Ages are differences, and the nodes count them for young copies with a clock that nobody can set
//! (`store/recent.rs`). A copy that is older and not named then never will be: an object id is named for
//! the first time by the PUT that made it. Whether it is named is asked after its age was seen, never
//! before.
//!
//! # Why the sweep never empties a node
//!
//! Metadata that is wrong, because it is another store's or a part of it is gone, names few of a node's
//! copies. The sweep counts before it deletes, and leaves a node alone that has more unnamed copies than
//! crashes leave (`collector/sweep.rs`).
//!
//! One task owns everything; calls are messages to it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libmanta::mako::{Shark, SharkError};
use libmanta::moray::{DeleteLog, MorayError};
use libmanta::{Clock, StorageId, Timestamp};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod drain;
mod sweep;

#[cfg(test)]
mod tests;

use sweep::Sweep;

/// When to collect what.
#[derive(Clone, Copy, Debug)]
pub struct CollectorConfig {
    /// How long bytes outlive their metadata: default 10 s.
    pub grace: Duration,
    /// How often the delete log is read: default 5 s.
    pub drain_interval: Duration,
    /// How often all nodes are swept: default 1 h.
    pub sweep_interval: Duration,
    /// Copies without metadata are left alone until they are this old: default 1 h. More than any request
    /// takes.
    pub sweep_age: Duration,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            drain_interval: Duration::from_secs(5),
            sweep_interval: Duration::from_secs(3600),
            sweep_age: Duration::from_secs(3600),
        }
    }
}

/// The running collector. Dropping it stops it; [`shutdown`](Self::shutdown) also waits.
#[derive(Debug)]
pub struct Collector {
    status: Arc<Mutex<CollectorStatus>>,
    nudged: Arc<Notify>,
    requests: mpsc::Sender<Request>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the collector did and does.
#[derive(Clone, Debug, Default)]
pub struct CollectorStatus {
    pub drain: Activity,
    pub sweep: Activity,
    /// Entries of the delete log whose copies are all gone.
    pub entries_forgotten: u64,
    /// Copies unlinked because of the delete log.
    pub copies_collected: u64,
    /// Copies unlinked because no metadata named them.
    pub copies_swept: u64,
    /// Entries the last drain had to leave because a node did not answer.
    pub entries_waiting: u64,
}

/// One repeated activity. Times are those of the collector's clock.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    pub last_start: Option<Timestamp>,
    pub last_end: Option<Timestamp>,
    /// Of the last run; `None` when it went well.
    pub last_error: Option<String>,
}

#[derive(Debug)]
enum Request {
    /// Drains once, now, and answers when it is done.
    Drain(oneshot::Sender<()>),
    /// Sweeps every node once, from the beginning, and answers when it is done.
    Sweep(oneshot::Sender<()>),
}

/// Why a step did not do all it should. What was left is tried again.
#[derive(Debug, Error)]
enum CollectError {
    #[error("metadata: {0}")]
    Metadata(#[from] MorayError),
    #[error("{0}")]
    Shark(#[from] SharkError),
    #[error("no storage node is called {0}")]
    UnknownNode(StorageId),
    #[error(
        "metadata names {named} copies of {storage_id} and does not name {unnamed}, so none is removed"
    )]
    Implausible {
        storage_id: StorageId,
        unnamed: u64,
        named: u64,
    },
}

impl Collector {
    /// Starts the worker, on the current runtime. Call it before any PUT can begin: the first sweep takes
    /// everything older than this moment that no metadata names.
    #[must_use]
    pub fn start(
        config: CollectorConfig,
        log: Arc<dyn DeleteLog>,
        sharks: Vec<Arc<dyn Shark>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let status = Arc::new(Mutex::default());
        let nudged = Arc::new(Notify::new());
        let stop = CancellationToken::new();
        // One at a time is all that makes sense; the rest waits.
        let (requests, requested) = mpsc::channel(1);
        let by_id = sharks
            .iter()
            .map(|shark| (shark.storage_id().clone(), Arc::clone(shark)))
            .collect();
        let worker = Worker {
            config,
            log,
            sharks,
            by_id,
            clock,
            status: Arc::clone(&status),
            stop: stop.clone(),
            started: Instant::now(),
        };
        let task = tokio::spawn(worker.run(Arc::clone(&nudged), requested));
        Self {
            status,
            nudged,
            requests,
            stop,
            task: Mutex::new(Some(task)),
        }
    }

    /// Asks for a drain soon. Cheap; many calls make one drain.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    #[must_use]
    pub fn status(&self) -> CollectorStatus {
        lock(&self.status).clone()
    }

    /// Drains the delete log once and waits for it. Errors are in the status.
    pub async fn run_once(&self) {
        self.request(Request::Drain).await;
    }

    /// Sweeps all nodes once and waits for it. Errors are in the status.
    pub async fn sweep_once(&self) {
        self.request(Request::Sweep).await;
    }

    /// Stops after the step that runs now. What is left waits in the delete log.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task
            && let Err(error) = task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    async fn request(&self, request: impl FnOnce(oneshot::Sender<()>) -> Request) {
        let (done, finished) = oneshot::channel();
        // After a shutdown there is nobody to ask, and nothing to wait for.
        if self.requests.send(request(done)).await.is_ok() {
            let _ = finished.await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Worker {
    config: CollectorConfig,
    log: Arc<dyn DeleteLog>,
    sharks: Vec<Arc<dyn Shark>>,
    by_id: HashMap<StorageId, Arc<dyn Shark>>,
    clock: Arc<dyn Clock>,
    status: Arc<Mutex<CollectorStatus>>,
    stop: CancellationToken,
    started: Instant,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Drains when it is due or asked for, and in between takes the sweep one page further, so that a
    /// sweep of many million copies does not hold back the drain.
    async fn run(self, nudged: Arc<Notify>, mut requests: mpsc::Receiver<Request>) {
        let mut drain_at = Instant::now();
        let mut sweep_at = Instant::now() + self.config.sweep_interval;
        let mut sweep = Some(self.begin_sweep());
        let mut waiting = Vec::new();
        loop {
            let step_at = match &sweep {
                Some(sweep) => sweep.next_step.min(drain_at),
                None => sweep_at.min(drain_at),
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                request = requests.recv() => match request {
                    Some(Request::Drain(done)) => {
                        self.drain().await;
                        let _ = done.send(());
                    }
                    Some(Request::Sweep(done)) => {
                        sweep = Some(self.begin_sweep());
                        waiting.push(done);
                    }
                    // The handle is gone.
                    None => return,
                },
                () = nudged.notified() => drain_at = Instant::now(),
                () = tokio::time::sleep_until(step_at) => {}
            }
            let now = Instant::now();
            if drain_at <= now {
                self.drain().await;
                drain_at = Instant::now() + self.config.drain_interval;
            }
            if sweep.is_none() && sweep_at <= now {
                sweep = Some(self.begin_sweep());
                sweep_at = now + self.config.sweep_interval;
            }
            if let Some(running) = sweep.take_if(|sweep| sweep.next_step <= now) {
                sweep = self.sweep_step(running).await;
                if sweep.is_none() {
                    for done in waiting.drain(..) {
                        let _: Result<(), ()> = done.send(());
                    }
                }
            }
        }
    }

    fn begin_sweep(&self) -> Sweep {
        self.update(|status| status.sweep.start(self.clock.now()));
        Sweep::begin()
    }

    fn update(&self, change: impl FnOnce(&mut CollectorStatus)) {
        change(&mut lock(&self.status));
    }
}

impl Activity {
    fn start(&mut self, now: Timestamp) {
        self.last_start = Some(now);
    }

    fn end(&mut self, now: Timestamp, error: Option<String>) {
        self.last_end = Some(now);
        self.last_error = error;
    }
}

fn lock(status: &Mutex<CollectorStatus>) -> std::sync::MutexGuard<'_, CollectorStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

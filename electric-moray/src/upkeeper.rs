//! Runs errands beside the requests that logged them, and whatever a crash has left behind: at start, and from
//! then on for ever, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use libmanta::moray::links::{AuditCursor, Logged, Upkeep};
use libmanta::{Clock, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::router::Router;

/// How much is looked after, and when.
#[derive(Clone, Debug)]
pub struct UpkeeperConfig {
    /// Between two passes over the errands in the logs, which find what a crash or a shard that was down has
    /// left there.
    pub errands_interval: Duration,
    /// Errands younger than this are about to be run by whoever logged them.
    pub errands_age: Duration,
    /// Between two pages of the audit, which goes round for ever.
    pub audit_interval: Duration,
    /// References in such a page.
    pub audit_page: usize,
    /// An operation that takes longer than this counts as stopped. Being wrong makes it start again.
    pub stopped_after: Duration,
    /// Errands that may wait to be run; beyond that the requests run their own.
    pub queue_max: usize,
}

impl Default for UpkeeperConfig {
    fn default() -> Self {
        Self {
            errands_interval: Duration::from_secs(5),
            errands_age: Duration::from_secs(5),
            audit_interval: Duration::from_secs(1),
            audit_page: 256,
            stopped_after: Duration::from_secs(60),
            queue_max: 1024,
        }
    }
}

/// Errands of one log that are run together.
const PAGE: usize = 256;

/// The task that clears up. Dropping it without [`shutdown`](Self::shutdown) lets the task end by itself.
#[derive(Debug)]
pub struct Upkeeper {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Upkeeper {
    /// Starts it; from now on the requests of `router` leave their errands to it. One for each router.
    #[must_use]
    pub fn start(router: Arc<Router>, config: UpkeeperConfig, clock: Arc<dyn Clock>) -> Self {
        let stop = CancellationToken::new();
        let (queue, errands) = mpsc::channel(config.queue_max.max(1));
        if router.errands.set(queue).is_err() {
            tracing::error!("a router has an upkeeper already, which runs its errands");
        }
        let worker = Worker {
            router,
            config,
            clock,
            errands,
            audit: AuditCursor::default(),
        };
        let task = tokio::spawn(worker.run(stop.clone()));
        Self {
            stop: stop.drop_guard(),
            task,
        }
    }

    /// Ends after what is being done just now. What waits stays in the logs.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "upkeep of links ended badly");
        }
    }
}

struct Worker {
    router: Arc<Router>,
    config: UpkeeperConfig,
    clock: Arc<dyn Clock>,
    errands: mpsc::Receiver<Logged>,
    audit: AuditCursor,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        let mut next_errands = Instant::now();
        let mut next_audit = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next_errands) => {
                    self.run_errands().await;
                    next_errands = Instant::now() + self.config.errands_interval;
                }
                () = tokio::time::sleep_until(next_audit) => {
                    self.audit().await;
                    next_audit = Instant::now() + self.config.audit_interval;
                }
                Some(first) = self.errands.recv() => self.run_fresh(first).await,
            }
        }
    }

    async fn run_fresh(&mut self, first: Logged) {
        let mut errands = vec![first];
        while errands.len() < PAGE
            && let Ok(logged) = self.errands.try_recv()
        {
            errands.push(logged);
        }
        self.router.run_now(errands).await;
    }

    async fn run_errands(&self) {
        let before = self.before(self.config.errands_age);
        match self.router.run_errands(before, PAGE).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "errands of links and renames run from the logs"),
            Err(error) => tracing::warn!(%error, "errands of links and renames wait"),
        }
        if let Err(error) = self.router.look_for_oldest_errand().await {
            tracing::warn!(%error, "errands of links and renames cannot be counted");
        }
    }

    async fn audit(&mut self) {
        let stopped = self.before(self.config.stopped_after);
        let page = self.config.audit_page;
        match self.router.audit(&mut self.audit, stopped, page).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "references that a crash left behind removed"),
            Err(error) => tracing::warn!(%error, "references are not looked after"),
        }
    }

    fn before(&self, age: Duration) -> Timestamp {
        self.clock.now().minus(age)
    }
}

//! Ends what a crash left half ended, and removes uploads that ended a while ago: parts, directory, records.
//!
//! Several front doors may do so at the same time; every step may be repeated. An upload that nobody ended is
//! never touched, and neither is a commit whose target is not written: only its client can say whether it is
//! still wanted.
//!
//! The order of removal is parts, directory, outcome, upload together with its gate: the gate is what the
//! collector finds all others by. Removed parts go to the delete log like everything that is removed, and
//! their bytes stay where the object is made of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::StreamExt as _;
use libmanta::moray::{List, MorayError, NamespaceError, Order, Record};
use libmanta::{Condition, ObjectKey, Timestamp};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::abort;
use super::ledger::{self, Seen, corrupt};
use super::records::{GATES, OUTCOMES, Outcome, State, Verdict};
use crate::server::Server;

/// Gates, or outcomes, looked at in one go.
const PAGE: usize = 256;
/// Parts listed in one go.
const PARTS_PAGE: usize = 1024;
/// Parts removed at a time.
const IN_PARALLEL: usize = 8;
/// How often all outcomes are looked through for those without an upload. Such a one belongs to a request that
/// is making the upload, or that never will: after `orphan_age` it never will, for `create.rs` gives up earlier.
const ORPHANS_INTERVAL: Duration = Duration::from_secs(1800);

/// The running collector. Dropping it stops it; [`shutdown`](Self::shutdown) also waits.
#[derive(Debug)]
pub(crate) struct Collector {
    requests: mpsc::Sender<oneshot::Sender<()>>,
    stop: CancellationToken,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Collector {
    pub(crate) fn start(server: Arc<Server>) -> Self {
        let stop = CancellationToken::new();
        // A request is nothing; whoever makes another one waits.
        let (requests, receiver) = mpsc::channel(1);
        let worker = Worker {
            server,
            stop: stop.clone(),
            orphans: HashMap::new(),
            orphans_at: Instant::now(),
        };
        let task = tokio::spawn(worker.run(receiver));
        Self {
            requests,
            stop,
            task: tokio::sync::Mutex::new(Some(task)),
        }
    }

    /// Goes through everything once, now.
    pub(crate) async fn collect(&self) {
        let (done, finished) = oneshot::channel();
        if self.requests.send(done).await.is_ok() {
            let _ = finished.await;
        }
    }

    /// Stops after the step under way. Harmless when repeated.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        let task = self.task.lock().await.take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the collector of uploads panicked");
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Debug, Error)]
enum CollectError {
    #[error("metadata: {0}")]
    Moray(#[from] MorayError),
    #[error("directory: {0}")]
    Namespace(#[from] NamespaceError),
}

struct Worker {
    server: Arc<Server>,
    stop: CancellationToken,
    /// Outcomes without an upload, and since when they are known. By a clock that nobody sets.
    orphans: HashMap<libmanta::moray::RecordKey, Instant>,
    orphans_at: Instant,
}

impl Worker {
    async fn run(mut self, mut requests: mpsc::Receiver<oneshot::Sender<()>>) {
        // Not at once: nothing that a start finds here is in a hurry.
        let interval = self.server.config.multipart.collect_interval;
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                request = requests.recv() => match request {
                    Some(done) => Some(done),
                    None => return,
                },
                _ = ticks.tick() => None,
            };
            if done.is_some() {
                self.orphans_at = Instant::now();
            }
            self.pass().await;
            if let Some(done) = done {
                let _: Result<(), ()> = done.send(());
            }
        }
    }

    async fn pass(&mut self) {
        let mut failed = 0_u64;
        let mut first_error = None;
        let mut note = |result: Result<(), CollectError>| {
            if let Err(error) = result {
                failed += 1;
                first_error.get_or_insert(error);
            }
        };
        let mut after: Option<(String, String)> = None;
        loop {
            let page = match self.page(GATES, after.as_ref()).await {
                Ok(page) => page,
                Err(error) => {
                    note(Err(error.into()));
                    break;
                }
            };
            let Some(last) = page.last() else { break };
            after = Some((last.key.route.clone(), last.key.key.clone()));
            for gate in &page {
                if self.stop.is_cancelled() {
                    return;
                }
                note(self.look(gate).await);
            }
        }
        if self.orphans_at <= Instant::now() {
            self.orphans_at = Instant::now() + ORPHANS_INTERVAL;
            note(self.look_for_orphans().await);
        }
        if let Some(error) = first_error {
            tracing::warn!(%error, uploads = failed, "uploads could not all be collected, trying again");
        }
    }

    async fn page(
        &self,
        bucket: &str,
        after: Option<&(String, String)>,
    ) -> Result<Vec<Record>, MorayError> {
        let after = after.map(|(route, key)| (route.as_str(), key.as_str()));
        self.server.moray.scan_all(bucket, after, PAGE).await
    }

    /// One upload that somebody wanted to end.
    async fn look(&self, gate: &Record) -> Result<(), CollectError> {
        let server = &self.server;
        let moray = &*server.moray;
        let directory = ledger::directory_of_gate(gate)?;
        let Some(seen) = ledger::upload(moray, &directory).await? else {
            return Ok(ledger::forget(moray, &directory).await?);
        };
        let ended = |at: Timestamp| server.clock.now().since(at) >= server.config.multipart.grace;
        match &seen.upload.state {
            // The commit was taken back.
            State::Created => Ok(()),
            State::Aborting => Ok(abort::conclude(server, &seen).await?),
            State::Committing { .. } => {
                match ledger::outcome(moray, &seen.upload).await? {
                    None | Some((Verdict::Pending, _)) => {}
                    Some((verdict, _)) => {
                        ledger::settle(moray, &seen, verdict, server.clock.now()).await?;
                    }
                }
                Ok(())
            }
            State::Committed { at, .. } | State::Aborted { at } if ended(*at) => {
                self.remove(&seen).await
            }
            State::Committed { .. } | State::Aborted { .. } => Ok(()),
        }
    }

    async fn remove(&self, seen: &Seen) -> Result<(), CollectError> {
        let moray = &*self.server.moray;
        self.remove_parts(&seen.directory).await?;
        self.remove_directory(&seen.directory).await?;
        ledger::forget_outcome(moray, seen.upload.outcome()).await?;
        ledger::forget(moray, &seen.directory).await?;
        let metrics = &self.server.metrics;
        metrics.multipart_uploads_collected.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn remove_parts(&self, directory: &ObjectKey) -> Result<(), CollectError> {
        let moray = &*self.server.moray;
        loop {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            let list = List {
                directory: directory.clone(),
                order: Order::Name {
                    from: None,
                    reverse: false,
                },
                limit: PARTS_PAGE,
                only: None,
            };
            let page = match moray.list(&list).await {
                Ok(page) => page.entries,
                Err(NamespaceError::Moray(error)) => return Err(error.into()),
                // Gone already.
                Err(_) => return Ok(()),
            };
            if page.is_empty() {
                return Ok(());
            }
            let mut removals =
                futures_util::stream::iter(page)
                    .map(|entry| async move {
                        moray.remove_object(&entry.key, &Condition::default()).await
                    })
                    .buffer_unordered(IN_PARALLEL);
            while let Some(removed) = removals.next().await {
                match removed {
                    Ok(_) | Err(NamespaceError::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    async fn remove_directory(&self, directory: &ObjectKey) -> Result<(), CollectError> {
        match self.server.moray.remove_directory(directory, None).await {
            Ok(_) | Err(NamespaceError::NotFound | NamespaceError::ParentNotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What a request left behind that died while it created an upload.
    async fn look_for_orphans(&mut self) -> Result<(), CollectError> {
        let server = self.server.clone();
        let moray = &*server.moray;
        let known = std::mem::take(&mut self.orphans);
        let mut after: Option<(String, String)> = None;
        loop {
            let page = self.page(OUTCOMES, after.as_ref()).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some((last.key.route.clone(), last.key.key.clone()));
            for record in page {
                let outcome = Outcome::decode(&record.value);
                let outcome = outcome.map_err(|error| corrupt(&record, &error))?;
                let directory = outcome.parts_directory;
                if ledger::upload(moray, &directory).await?.is_some() {
                    continue;
                }
                let since = known.get(&record.key).copied();
                let since = since.unwrap_or_else(Instant::now);
                if since.elapsed() < server.config.multipart.orphan_age {
                    self.orphans.insert(record.key, since);
                    continue;
                }
                self.remove_directory(&directory).await?;
                ledger::forget_outcome(moray, record.key).await?;
            }
        }
    }
}

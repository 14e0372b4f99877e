//! Marlin as the rest of the store sees it: the [`Jobs`] port, start and shutdown.
//!
//! A job that is not archived has an owner task and a view in memory; of any other only records remain, and
//! those are read when somebody asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use libmanta::marlin::{JobError, JobFilter, JobList, JobStatus, Jobs, NewJob};
use libmanta::{AccountId, JobId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::meter::Auditor;
use crate::agent::{self, Agent};
use crate::config::{Config, Deps};
use crate::context::JobContext;
use crate::error::{StartError, chain};
use crate::front_door::FrontDoor;
use crate::housekeeping;
use crate::journal::{Journal, JournalError, Position};
use crate::ledger::Ledger;
use crate::lists::{Form, lines};
use crate::medusa;
use crate::record::JobRecord;
use crate::replay::{Replayed, replay};
use crate::snapshot;
use crate::stats::Stats;
use crate::supervisor::Supervisor;
use crate::supervisor::owner::{self, MAILBOX, Message, Owner, REPORTS, Request};
use crate::supervisor::view::View;

/// How long a start waits for [`Service::offer_sessions`].
const SESSIONS_PATIENCE: Duration = Duration::from_secs(5);

/// Jobs, supervised and run on this machine.
#[derive(Debug)]
pub struct Service {
    deps: Arc<Deps>,
    journal: Journal,
    stats: Arc<Stats>,
    /// `None` when this machine cannot run jobs.
    engine: Option<owner::Parts>,
    live: Arc<Live>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    /// Held while something is restarted, so that no job ever has two owners.
    restarting: tokio::sync::Mutex<()>,
}

/// The jobs that have an owner task.
#[derive(Debug, Default)]
struct Live {
    jobs: Mutex<HashMap<JobId, Arc<Handle>>>,
}

#[derive(Debug)]
struct Handle {
    job: Arc<JobContext>,
    view: Arc<watch::Sender<View>>,
    mailbox: mpsc::Sender<Message>,
    /// Ends the owner task,
    stop: CancellationToken,
    /// which then says so.
    ended: CancellationToken,
}

/// Starts marlin: replays every job that was not archived and goes on with it.
///
/// Errors: moray cannot be read, or holds a log this program did not write.
pub async fn start(config: Config, deps: Deps) -> Result<Arc<Service>, StartError> {
    let (config, deps) = (Arc::new(config), Arc::new(deps));
    let journal = Journal::new(Arc::clone(&deps.buckets));
    let stats = Arc::new(Stats::default());
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let engine = match &deps.zones {
        Ok(zones) => {
            let front_door = FrontDoor::new(&config.front_door);
            let auditor = Auditor::new(&config.node, Arc::clone(&deps.clock), config.checkpoint);
            let parts = agent::Parts {
                config: Arc::clone(&config),
                zones: Arc::clone(zones),
                sharks: deps.sharks.clone().into(),
                front_door: front_door.clone(),
                stats: Arc::clone(&stats),
                auditor: Arc::new(auditor),
            };
            let agent = Agent::start(parts, &tasks, shutdown.clone());
            Some(owner::Parts {
                config: Arc::clone(&config),
                deps: Arc::clone(&deps),
                journal: journal.clone(),
                front_door,
                agent,
                stats: Arc::clone(&stats),
                shutdown: shutdown.clone(),
            })
        }
        Err(reason) => {
            tracing::info!(reason, "jobs are not available");
            None
        }
    };
    let service = Arc::new(Service {
        deps: Arc::clone(&deps),
        journal: journal.clone(),
        stats,
        engine,
        live: Arc::default(),
        shutdown: shutdown.clone(),
        tasks,
        restarting: tokio::sync::Mutex::default(),
    });
    service.resume().await?;
    let housekeeping = housekeeping::run(journal, config.linger, Arc::clone(&deps.clock));
    service.tasks.spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = housekeeping => {}
        }
    });
    Ok(service)
}

impl Service {
    /// Stops taking tasks, drops those that run, and waits until everything has ended. They are run again
    /// at the next start; nothing that was acknowledged is lost. The zones themselves stay up.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Makes the object that `mlogin` needs; to be called when the front door serves. Without it there are jobs,
    /// but no interactive ones. Waits a while; where that is not enough it goes on in the background, until it
    /// succeeds or marlin shuts down. Does nothing on a machine that cannot run jobs.
    pub async fn offer_sessions(self: &Arc<Self>) {
        let Some(engine) = self.engine.clone() else {
            return;
        };
        let (deps, shutdown) = (Arc::clone(&self.deps), self.shutdown.clone());
        let offering = self.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = medusa::offer(&engine.front_door, deps.identity.as_ref()) => {}
            }
        });
        // A store whose nodes do not answer starts nevertheless, and can be looked at.
        let _ = tokio::time::timeout(SESSIONS_PATIENCE, offering).await;
    }

    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Transactions that the log of a job has cost so far, its creation included.
    pub async fn commits(&self, id: JobId) -> Result<u64, JobError> {
        let mut at = Position::default();
        loop {
            let (segments, next) = self.journal.read(id, at).await.map_err(unavailable)?;
            if segments.is_empty() {
                return Ok(at.0 + 1);
            }
            at = next;
        }
    }

    /// Jobs, groups and zones as they are now, for dashboards.
    pub async fn snapshot(&self) -> serde_json::Value {
        let jobs: Vec<_> = {
            let live = self.live.lock();
            let job = |handle: &Arc<Handle>| snapshot::job(&handle.job.record, handle.view());
            live.values().map(job).collect()
        };
        let groups = match &self.engine {
            Some(engine) => engine.agent.snapshot().await,
            None => Vec::new(),
        };
        serde_json::json!({
            "jobs": jobs,
            "groups": groups.iter().map(snapshot::group).collect::<Vec<_>>(),
            "zones": snapshot::zones(&self.deps.zones),
        })
    }

    /// Stops the supervisor of a job and starts another, which goes on from the log. `false` when no job of that
    /// id is under way. Tasks that run are run again, which is no attempt of theirs. Waits for a write of the log
    /// that is under way, as long as that takes, and for the job's zones.
    ///
    /// Errors: the log cannot be read; the job then waits until this is called again. Goes on when it is dropped.
    pub async fn restart_supervisor(self: &Arc<Self>, id: JobId) -> Result<bool, StartError> {
        let this = Arc::clone(self);
        self.to_the_end(async move {
            let _alone = this.restarting.lock().await;
            this.replace_supervisor(id).await
        })
        .await
    }

    /// Has the agent give back every zone and forget every task, and starts all supervisors again, which give it
    /// their tasks anew.
    ///
    /// Errors: logs cannot be read; these jobs wait until this is called again, or
    /// [`restart_supervisor`](Self::restart_supervisor). All others go on.
    pub async fn restart_agent(self: &Arc<Self>) -> Result<(), StartError> {
        let this = Arc::clone(self);
        self.to_the_end(async move {
            let Some(engine) = &this.engine else {
                return Ok(());
            };
            let _alone = this.restarting.lock().await;
            engine.agent.restart().await;
            let jobs: Vec<JobId> = this.live.lock().keys().copied().collect();
            let mut outcome = Ok(());
            for id in jobs {
                if let Err(error) = this.replace_supervisor(id).await {
                    let text = chain(&error);
                    tracing::warn!(job_id = %id, error = text, "supervisor not started anew");
                    outcome = outcome.and(Err(error));
                }
            }
            outcome
        })
        .await
    }

    /// A restart that is left half done leaves a job without an owner.
    async fn to_the_end<T: Send + 'static>(
        &self,
        restart: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let restarted = self.tasks.spawn(restart).await;
        restarted.expect("invariant: nothing aborts it, and a panic goes on here")
    }

    /// To be called by one at a time.
    async fn replace_supervisor(&self, id: JobId) -> Result<bool, StartError> {
        let handle = self.live.lock().get(&id).cloned();
        let (Some(engine), Some(handle)) = (&self.engine, handle) else {
            return Ok(false);
        };
        handle.stop.cancel();
        handle.ended.cancelled().await;
        if self.shutdown.is_cancelled() {
            return Ok(false);
        }
        engine.agent.evict(id).await;
        let record = self.journal.job(id).await.map_err(StartError::journal)?;
        let Some(record) = record.filter(|record| record.summary.is_none()) else {
            // It was archived meanwhile.
            self.live.lock().remove(&id);
            return Ok(false);
        };
        let replayed = replay(&self.journal, &record).await?;
        tracing::info!(job_id = %id, segments = replayed.position.0, "supervisor starts anew");
        self.supervise(engine, record, replayed);
        Ok(true)
    }

    /// Goes on with every job that is not archived.
    async fn resume(&self) -> Result<(), StartError> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        for id in self.journal.live().await.map_err(StartError::journal)? {
            let Some(record) = self.journal.job(id).await.map_err(StartError::journal)? else {
                continue;
            };
            let replayed = replay(&self.journal, &record).await?;
            tracing::info!(job_id = %id, segments = replayed.position.0, "job resumed");
            self.supervise(engine, record, replayed);
        }
        Ok(())
    }

    /// Starts the owner task of a job.
    fn supervise(&self, engine: &owner::Parts, record: JobRecord, replayed: Replayed) {
        let (reports_in, reports) = mpsc::channel(REPORTS);
        let (mailbox_in, mailbox) = mpsc::channel(MAILBOX);
        let id = record.id;
        let phases = record.definition.phases.len();
        let (stop, ended) = (self.shutdown.child_token(), CancellationToken::new());
        let job = JobContext::new(record, stop.child_token(), reports_in);
        let supervisor = Supervisor::new(id, phases, replayed.ledger, replayed.deletes);
        let view = Arc::new(watch::Sender::new(supervisor.view()));
        let handle = Arc::new(Handle {
            job: Arc::clone(&job),
            view: Arc::clone(&view),
            mailbox: mailbox_in,
            stop: stop.clone(),
            ended: ended.clone(),
        });
        self.live.lock().insert(id, handle);
        let owner = Owner {
            parts: owner::Parts {
                shutdown: stop.clone(),
                ..engine.clone()
            },
            job,
            supervisor,
            mailbox,
            reports,
            view: Arc::clone(&view),
            position: replayed.position,
            waiting: BTreeMap::new(),
            tickets: 0,
            feeds: HashMap::new(),
            work: JoinSet::new(),
            shutdown: self.shutdown.clone(),
        };
        let live = Arc::clone(&self.live);
        self.tasks.spawn(async move {
            let _ended = ended.drop_guard();
            owner.run().await;
            // Any other is simply not finished; it keeps its status, and may be restarted.
            if view.borrow().job.is_archived() {
                live.lock().remove(&id);
            }
        });
    }

    fn engine(&self) -> Result<&owner::Parts, JobError> {
        self.engine.as_ref().ok_or_else(|| JobError::Unavailable {
            reason: self.deps.zones.as_ref().err().cloned().unwrap_or_default(),
        })
    }

    fn handle(&self, owner: AccountId, id: JobId) -> Option<Arc<Handle>> {
        let handle = self.live.lock().get(&id).cloned()?;
        (handle.job.record.owner == owner).then_some(handle)
    }

    /// The record of a job that has no owner task, and what its log says.
    async fn stored(&self, owner: AccountId, id: JobId) -> Result<(JobRecord, View), JobError> {
        let record = self.journal.job(id).await.map_err(unavailable)?;
        let record = record
            .filter(|r| r.owner == owner)
            .ok_or(JobError::NotFound)?;
        let view = match record.summary {
            Some(summary) => View::archived(summary),
            None => {
                let replayed = replay(&self.journal, &record).await;
                let replayed = replayed.map_err(|error| JobError::Unavailable {
                    reason: error.to_string(),
                })?;
                let ledger = replayed.ledger;
                View::new(ledger.state(), ledger.stats(), ledger.times())
            }
        };
        Ok((record, view))
    }

    async fn request(&self, owner: AccountId, id: JobId, request: Request) -> Result<(), JobError> {
        let Some(handle) = self.handle(owner, id) else {
            let (_, view) = self.stored(owner, id).await?;
            self.engine()?;
            let state = view.job.refusal_word();
            return Err(JobError::InvalidState { id, state });
        };
        let (reply, answer) = oneshot::channel();
        let message = Message { request, reply };
        let sent = handle.mailbox.send(message).await.is_ok();
        match answer.await {
            Ok(answer) if sent => answer,
            _ if handle.view().job.is_done() => {
                let state = handle.view().job.refusal_word();
                Err(JobError::InvalidState { id, state })
            }
            _ => Err(JobError::Unavailable {
                reason: "the job's supervisor has ended".to_owned(),
            }),
        }
    }
}

#[async_trait]
impl Jobs for Service {
    async fn images(&self) -> Vec<String> {
        match &self.deps.zones {
            Ok(zones) => zones.images().await,
            Err(_) => Vec::new(),
        }
    }

    async fn create(&self, job: NewJob) -> Result<JobId, JobError> {
        let engine = self.engine()?;
        (self.deps.may_run)(job.owner).map_err(|reason| JobError::Unavailable { reason })?;
        let record = JobRecord {
            version: JobRecord::version_for(&job.principal),
            id: JobId::random(),
            owner: job.owner,
            principal: job.principal,
            token: job.token,
            definition: job.definition,
            created: self.deps.clock.now(),
            summary: None,
        };
        let id = record.id;
        self.journal.create(&record).await.map_err(unavailable)?;
        self.stats.log_commits.inc();
        self.stats.jobs_created.inc();
        let replayed = Replayed {
            ledger: Ledger::new(id, &record.definition),
            deletes: Vec::new(),
            position: Position::default(),
        };
        self.supervise(engine, record, replayed);
        Ok(id)
    }

    async fn status(&self, owner: AccountId, id: JobId) -> Result<JobStatus, JobError> {
        if let Some(handle) = self.handle(owner, id) {
            return Ok(handle.view().status(&handle.job.record));
        }
        let (record, view) = self.stored(owner, id).await?;
        Ok(view.status(&record))
    }

    async fn wait(
        &self,
        owner: AccountId,
        id: JobId,
        at_most: Duration,
    ) -> Result<JobStatus, JobError> {
        let Some(handle) = self.handle(owner, id) else {
            return self.status(owner, id).await;
        };
        let mut view = handle.view.subscribe();
        let first = view.borrow_and_update().job;
        if !first.is_done() {
            let change = async { drop(view.wait_for(|view| view.job != first).await) };
            tokio::select! {
                () = change => {}
                () = tokio::time::sleep(at_most) => {}
                // Whoever asks again asks its successor.
                () = handle.stop.cancelled() => {}
            }
        }
        Ok(handle.view().status(&handle.job.record))
    }

    async fn live(&self, owner: AccountId, filter: &JobFilter) -> Result<Vec<JobStatus>, JobError> {
        let mut found: Vec<(Arc<Handle>, View)> = self
            .live
            .lock()
            .values()
            .filter(|handle| handle.job.record.owner == owner)
            .map(|handle| (Arc::clone(handle), handle.view()))
            .filter(|(handle, view)| {
                let name = &handle.job.record.definition.name;
                !view.job.is_done()
                    && filter.state.is_none_or(|state| state == view.state())
                    && filter.name.as_ref().is_none_or(|wanted| wanted == name)
            })
            .collect();
        found.sort_by_key(|(handle, _)| {
            std::cmp::Reverse((handle.job.record.created, handle.job.id()))
        });
        found.truncate(filter.limit);
        let status = |(handle, view): (Arc<Handle>, View)| view.status(&handle.job.record);
        Ok(found.into_iter().map(status).collect())
    }

    async fn add_inputs(
        &self,
        owner: AccountId,
        id: JobId,
        names: Vec<String>,
        last: bool,
    ) -> Result<(), JobError> {
        let add = Request::AddInputs { names, last };
        self.request(owner, id, add).await
    }

    async fn end_input(&self, owner: AccountId, id: JobId) -> Result<(), JobError> {
        self.request(owner, id, Request::EndInput).await
    }

    async fn cancel(&self, owner: AccountId, id: JobId) -> Result<(), JobError> {
        self.request(owner, id, Request::Cancel).await
    }

    async fn list(
        &self,
        owner: AccountId,
        id: JobId,
        what: JobList,
    ) -> Result<BoxStream<'static, Result<String, JobError>>, JobError> {
        let record = match self.handle(owner, id) {
            Some(handle) => handle.job.record.clone(),
            None => {
                let record = self.journal.job(id).await.map_err(unavailable)?;
                record
                    .filter(|r| r.owner == owner)
                    .ok_or(JobError::NotFound)?
            }
        };
        let lines = lines(self.journal.clone(), &record, what, Form::Live);
        Ok(lines.map(|line| line.map_err(unavailable)).boxed())
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Handle>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    fn view(&self) -> View {
        *self.view.borrow()
    }
}

fn unavailable(error: JournalError) -> JobError {
    tracing::warn!(error = chain(&error), "records of a job not available");
    JobError::Unavailable {
        reason: error.to_string(),
    }
}

//! The agent: runs tasks in the zones of this machine.
//!
//! One owner task holds the [`schedule`] and is told of everything that matters to it; each zone in use is
//! served by a [`stream`] task of its own, which reports results straight to the job they belong to. The
//! agent keeps nothing that must survive: what it had in hand when it stops is run again.

pub(crate) mod command;
pub(crate) mod control;
pub(crate) mod desk;
pub(crate) mod environment;
pub(crate) mod group;
pub(crate) mod local;
pub(crate) mod meter;
pub(crate) mod outputs;
pub(crate) mod proxy;
pub(crate) mod reduce;
pub(crate) mod schedule;
pub(crate) mod stream;
pub(crate) mod traffic;
pub(crate) mod tunnel;
pub(crate) mod verdict;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use libmanta::mako::Shark;
use libmanta::triton::Zones;
use libmanta::{JobId, TaskId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::group::Group;
use crate::agent::meter::Auditor;
use crate::agent::schedule::{Effect, GroupKey, GroupView, Limits, Schedule, StreamId};
use crate::agent::stream::{End, Stream};
use crate::config::Config;
use crate::context::{JobContext, Report};
use crate::front_door::FrontDoor;
use crate::names::TaskNames;
use crate::record::{ErrorCode, TaskError, Work};
use crate::run::{Queued, Run};
use crate::stats::Stats;
use crate::supervisor::event::Outcome;
use crate::supervisor::resolve::Located;

/// Messages that may wait. Senders wait when it is full; the owner never waits for them.
const MAILBOX: usize = 1024;
const BATCH: usize = 256;

/// One attempt at a piece of work.
#[derive(Debug)]
pub(crate) struct TaskSpec {
    pub(crate) id: TaskId,
    pub(crate) job: Arc<JobContext>,
    pub(crate) phase: usize,
    pub(crate) attempt: u8,
    pub(crate) what: What,
    pub(crate) queued: Queued,
    /// How it went, once it has had a zone.
    pub(crate) run: Option<Box<Run>>,
}

#[derive(Debug)]
pub(crate) enum What {
    Map {
        item: u64,
        input: Located,
        origin: Option<Arc<str>>,
    },
    Reduce {
        index: u8,
        feed: watch::Receiver<Feed>,
        /// More inputs may come.
        open: bool,
    },
}

/// The inputs of a reducer so far. It grows with the job, like the job's own list of items.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(crate) inputs: Vec<Located>,
    pub(crate) closed: bool,
}

impl TaskSpec {
    pub(crate) fn work(&self) -> Work {
        match &self.what {
            What::Map { item, .. } => Work::Item(*item),
            What::Reduce { index, .. } => Work::Reducer {
                phase: self.phase,
                index: *index,
            },
        }
    }

    pub(crate) fn group(&self) -> GroupKey {
        GroupKey {
            job: self.job.id(),
            phase: self.phase,
        }
    }

    pub(crate) fn names(&self) -> TaskNames {
        let (input, origin) = match &self.what {
            What::Map { input, origin, .. } => (Some(&*input.name), origin.as_deref()),
            What::Reduce { .. } => (None, None),
        };
        TaskNames::new(&self.job.area, self.phase, self.id, input, origin)
    }

    pub(crate) async fn report(&self, outcome: Option<Outcome>) {
        let report = Report {
            work: self.work(),
            attempt: self.attempt,
            outcome,
            run: self.run.clone(),
        };
        self.job.report(report).await;
    }
}

/// What the agent works with.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) zones: Arc<dyn Zones>,
    pub(crate) sharks: Arc<[Arc<dyn Shark>]>,
    pub(crate) front_door: FrontDoor,
    pub(crate) stats: Arc<Stats>,
    pub(crate) auditor: Arc<Auditor>,
}

pub(crate) enum Message {
    Submit(Box<TaskSpec>),
    Close(GroupKey),
    /// Whoever waits is told once no zone works for the job.
    Abort(JobId, Option<oneshot::Sender<()>>),
    /// The stream can take a task.
    Free(StreamId),
    /// A reducer's command has ended before all its inputs are known, which its commit consumes. Source: marlin.md
    /// section 3.3. Its zone is not kept for that.
    Unfed(Box<TaskSpec>, Outcome),
    Snapshot(oneshot::Sender<Vec<GroupView>>),
    /// Give every zone back and forget every task; those who want them run submit them again.
    Restart(oneshot::Sender<()>),
}

/// Speaks to the agent. Cheap to clone; calls to an agent that has stopped do nothing.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    mailbox: mpsc::Sender<Message>,
}

impl Agent {
    /// Starts the owner task in `tasks`. It ends when `shutdown` is cancelled and every zone was given back.
    pub(crate) fn start(parts: Parts, tasks: &TaskTracker, shutdown: CancellationToken) -> Self {
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        parts.auditor.agent_starts();
        let owner = Owner {
            schedule: Schedule::new(limits(&parts)),
            parts,
            generation: shutdown.child_token(),
            restarting: None,
            evicting: Vec::new(),
            tasks: HashMap::new(),
            groups: HashMap::new(),
            streams: HashMap::new(),
            running: JoinSet::new(),
            reports: JoinSet::new(),
            mailbox: mailbox.clone(),
        };
        tasks.spawn(owner.run(messages, shutdown));
        Self { mailbox }
    }

    pub(crate) async fn submit(&self, task: TaskSpec) {
        let _ = self.mailbox.send(Message::Submit(Box::new(task))).await;
    }

    /// No task of the group waits for further input any more.
    pub(crate) async fn close(&self, group: GroupKey) {
        let _ = self.mailbox.send(Message::Close(group)).await;
    }

    /// Drops everything of a job. Zones that run its tasks end by the job's own token.
    pub(crate) async fn abort(&self, job: JobId) {
        let _ = self.mailbox.send(Message::Abort(job, None)).await;
    }

    /// The same, and returns once no zone works for the job any more: what is submitted then starts afresh.
    pub(crate) async fn evict(&self, job: JobId) {
        let (reply, answer) = oneshot::channel();
        let _ = self.mailbox.send(Message::Abort(job, Some(reply))).await;
        let _ = answer.await;
    }

    /// Returns once no task runs and none is known any more.
    pub(crate) async fn restart(&self) {
        let (reply, answer) = oneshot::channel();
        let _ = self.mailbox.send(Message::Restart(reply)).await;
        let _ = answer.await;
    }

    pub(crate) async fn snapshot(&self) -> Vec<GroupView> {
        let (reply, answer) = oneshot::channel();
        let _ = self.mailbox.send(Message::Snapshot(reply)).await;
        answer.await.unwrap_or_default()
    }
}

fn limits(parts: &Parts) -> Limits {
    Limits {
        streams: parts.config.streams.max(1),
        zones: parts.zones.capacity(),
        idle: parts.config.zone_idle,
        hog_grace: parts.config.hog_grace,
        hog_kill: parts.config.hog_kill,
    }
}

struct Owner {
    parts: Parts,
    /// Ends the streams there are.
    generation: CancellationToken,
    /// Who waits for a restart, until it is done.
    restarting: Option<oneshot::Sender<()>>,
    /// Who waits for the zones of a job.
    evicting: Vec<(JobId, oneshot::Sender<()>)>,
    schedule: Schedule,
    /// Tasks that are queued.
    tasks: HashMap<TaskId, Box<TaskSpec>>,
    groups: HashMap<GroupKey, Arc<Group>>,
    streams: HashMap<StreamId, StreamHandle>,
    running: JoinSet<End>,
    /// Reports about tasks that have no zone, or none any more, sent without making the owner wait.
    reports: JoinSet<()>,
    mailbox: mpsc::Sender<Message>,
}

struct StreamHandle {
    id: Id,
    /// `None` once the stream was told to stop.
    commands: Option<mpsc::Sender<Box<TaskSpec>>>,
    /// Ends the task that runs now.
    kill: CancellationToken,
}

impl Owner {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>, shutdown: CancellationToken) {
        loop {
            if let Some(restarted) = self.restarting.take() {
                self.start_anew(&shutdown).await;
                let _ = restarted.send(());
            }
            self.schedule.set_zones(self.parts.zones.capacity());
            for effect in self.schedule.balance(Instant::now()) {
                self.carry_out(effect);
            }
            let evicted = self
                .evicting
                .extract_if(.., |(job, _)| !self.schedule.serves(*job));
            for (_, told) in evicted {
                let _ = told.send(());
            }
            let deadline = self.schedule.next_deadline();
            tokio::select! {
                () = shutdown.cancelled() => break,
                message = messages.recv() => match message {
                    Some(message) => {
                        self.take(message);
                        // What waits is taken together: handing out zones looks at every group.
                        for message in std::iter::from_fn(|| messages.try_recv().ok()).take(BATCH) {
                            self.take(message);
                        }
                    }
                    None => break,
                },
                Some(ended) = self.running.join_next_with_id() => self.stream_ended(ended),
                Some(_) = self.reports.join_next() => {}
                () = sleep_until(deadline) => {}
            }
        }
        // Streams listen to the same token; those that were starting or idle see their channel close.
        messages.close();
        self.streams.clear();
        while self.running.join_next().await.is_some() {}
        self.reports.shutdown().await;
    }

    /// Drops everything in hand, and waits until no zone is in use.
    async fn start_anew(&mut self, shutdown: &CancellationToken) {
        tracing::info!(
            tasks = self.tasks.len(),
            streams = self.streams.len(),
            "agent starts anew"
        );
        self.generation.cancel();
        self.streams.clear();
        while self.running.join_next().await.is_some() {}
        self.reports.shutdown().await;
        self.tasks.clear();
        self.groups.clear();
        self.schedule = Schedule::new(limits(&self.parts));
        self.generation = shutdown.child_token();
        self.parts.auditor.agent_starts();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Submit(task) => {
                let key = task.group();
                let (reduce, closed) = match &task.what {
                    What::Map { .. } => (false, false),
                    What::Reduce { open, .. } => (true, !open),
                };
                self.groups
                    .entry(key)
                    .or_insert_with(|| Arc::new(Group::new(Arc::clone(&task.job), key.phase)));
                let owner = self.owner_of(&task.job);
                let attempt = (task.id, task.attempt);
                self.schedule.submit(key, owner, reduce, closed, attempt);
                self.tasks.insert(task.id, task);
            }
            Message::Close(group) => self.schedule.close(group),
            Message::Abort(job, told) => {
                self.evicting.extend(told.map(|told| (job, told)));
                for task in self.schedule.abort(job) {
                    self.tasks.remove(&task);
                }
                self.groups.retain(|key, _| key.job != job);
            }
            Message::Free(stream) => self.schedule.free(stream, Instant::now()),
            Message::Unfed(task, outcome) => {
                self.reports.spawn(async move {
                    let cancel = task.job.cancel.clone();
                    let fed = async {
                        if let What::Reduce { feed, .. } = &task.what {
                            reduce::fed(feed.clone()).await;
                        }
                        task.report(Some(outcome)).await;
                    };
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = fed => {}
                    }
                });
            }
            Message::Snapshot(reply) => {
                let _ = reply.send(self.schedule.view());
            }
            Message::Restart(reply) => self.restarting = Some(reply),
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Start { stream, group } => {
                let Some(context) = self.groups.get(&group) else {
                    return self.schedule.ended(stream);
                };
                let (commands, inbox) = mpsc::channel(1);
                let kill = CancellationToken::new();
                let task = Stream {
                    id: stream,
                    kill: kill.clone(),
                    group: Arc::clone(context),
                    parts: self.parts.clone(),
                    agent: self.mailbox.clone(),
                    shutdown: self.generation.clone(),
                };
                let handle = self.running.spawn(task.serve(inbox));
                let id = handle.id();
                let handle = StreamHandle {
                    id,
                    commands: Some(commands),
                    kill,
                };
                self.streams.insert(stream, handle);
            }
            Effect::Run { stream, task } => {
                let Some(task) = self.tasks.remove(&task) else {
                    return;
                };
                let commands = self.streams.get(&stream).and_then(|s| s.commands.as_ref());
                // A stream holds one command at a time and said that it is free, so this succeeds unless
                // it has just died, which loses the attempt.
                if let Some(Err(error)) = commands.map(|commands| commands.try_send(task)) {
                    let task = error.into_inner();
                    self.reports
                        .spawn(async move { task.report(Some(Outcome::Lost)).await });
                }
            }
            Effect::Stop { stream } => {
                if let Some(handle) = self.streams.get_mut(&stream) {
                    handle.commands = None;
                }
            }
            Effect::Kill { stream } => {
                if let Some(handle) = self.streams.get_mut(&stream) {
                    let group = self.schedule.group_of(stream);
                    tracing::info!(?group, "task killed so that others get a zone");
                    self.parts.stats.tasks_killed.inc();
                    handle.commands = None;
                    handle.kill.cancel();
                }
            }
        }
    }

    fn owner_of(&self, job: &JobContext) -> schedule::Owner {
        let weight = self.parts.config.weights.get(job.login()).copied();
        schedule::Owner {
            account: job.record.owner,
            weight: weight.map_or(1, NonZeroU32::get),
        }
    }

    fn stream_ended(&mut self, ended: Result<(Id, End), tokio::task::JoinError>) {
        let (id, end) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "stream of tasks panicked");
                (error.id(), End::Unable)
            }
        };
        let stream = self
            .streams
            .iter()
            .find(|(_, s)| s.id == id)
            .map(|(stream, _)| *stream);
        let Some(stream) = stream else {
            return;
        };
        self.streams.remove(&stream);
        if let Some(group) = self.schedule.group_of(stream) {
            self.settle(group, end);
        }
        self.schedule.ended(stream);
        let alive = self.schedule.keys();
        self.groups.retain(|key, _| alive.contains(key));
    }

    /// What the end of a stream means for the tasks that waited for it.
    fn settle(&mut self, group: GroupKey, end: End) {
        match end {
            End::GivenBack => {}
            End::InitFailed => {
                let queued = self.schedule.take_queued(group);
                self.fail(queued, &|_| Outcome::Failed(cascade()));
            }
            End::CannotStart(error) => {
                let queued = self.schedule.take_queued(group);
                let assets = matches!(&error, StartError { cascade: true, .. });
                self.fail(queued, &|at| {
                    let first = at == 0 || !assets;
                    let error = if first {
                        error.error.clone()
                    } else {
                        cascade()
                    };
                    Outcome::Failed(error)
                });
            }
            // One task is charged with the attempt, so that a zone that never comes up ends some time.
            End::Unable => {
                let first = self.schedule.take_first(group);
                self.fail(first.into_iter().collect(), &|_| Outcome::Lost);
            }
        }
    }

    fn fail(&mut self, tasks: Vec<TaskId>, outcome: &dyn Fn(usize) -> Outcome) {
        let specs = tasks.iter().filter_map(|id| self.tasks.remove(id));
        let reports: Vec<_> = specs
            .enumerate()
            .map(|(at, task)| (task, outcome(at)))
            .collect();
        if !reports.is_empty() {
            self.reports.spawn(async move {
                for (task, outcome) in reports {
                    task.report(Some(outcome)).await;
                }
            });
        }
    }
}

/// Why a zone could not be prepared for a group.
#[derive(Clone, Debug)]
pub(crate) struct StartError {
    pub(crate) error: TaskError,
    /// The first task that waits gets the error, the others only hear of it.
    pub(crate) cascade: bool,
}

fn cascade() -> TaskError {
    TaskError::new(
        ErrorCode::TaskInit,
        "task aborted because a previous task failed to initialize (see other errors for details)",
    )
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

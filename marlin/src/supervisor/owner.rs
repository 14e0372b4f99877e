//! The owner task of one job: feeds events to the [`Supervisor`] and carries its effects out.
//!
//! It is the only writer of the job's log. When the job is done it archives it and ends; when marlin shuts
//! down it ends at once, and what was not written is run again at the next start. When it alone is stopped, it
//! ends as soon as no write is under way: its successor reads the log to the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use libmanta::marlin::{JobError, PhaseKind};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::schedule::GroupKey;
use crate::agent::{Agent, Feed, TaskSpec, What};
use crate::config::{Config, Deps};
use crate::context::{JobContext, Report};
use crate::error::chain;
use crate::front_door::{FrontDoor, FrontDoorError};
use crate::journal::{Journal, Position};
use crate::record::Work;
use crate::run::Queued;
use crate::stats::Stats;
use crate::supervisor::event::{Effect, Event, Ticket};
use crate::supervisor::log_writer::{split, write};
use crate::supervisor::resolve::resolve;
use crate::supervisor::view::View;
use crate::supervisor::{Supervisor, archive};
use crate::task_id::task_id;

/// Requests of users that may wait for one job.
pub(crate) const MAILBOX: usize = 16;
/// Reports of tasks that may wait: more than tasks run at a time, so that no zone waits for us.
pub(crate) const REPORTS: usize = 256;
/// Attempts at one deletion; the object may be left behind after that.
const DELETE_ATTEMPTS: u32 = 5;
/// Before entries that were refused are tried again in another form.
const UNWRITABLE_PAUSE: Duration = Duration::from_millis(100);

/// What a result may wait to be written with others, while its job has more to do. It adds to the time of no
/// job by more than this in each of its phases, and spares most of the transactions of one with many tasks.
const GATHER: Duration = Duration::from_millis(20);

/// A request of a user, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<(), JobError>>,
}

#[derive(Debug)]
pub(crate) enum Request {
    AddInputs { names: Vec<String>, last: bool },
    EndInput,
    Cancel,
}

/// What every owner works with.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) deps: Arc<Deps>,
    pub(crate) journal: Journal,
    pub(crate) front_door: FrontDoor,
    pub(crate) agent: Agent,
    pub(crate) stats: Arc<Stats>,
    /// Ends whoever works with this.
    pub(crate) shutdown: CancellationToken,
}

pub(crate) struct Owner {
    pub(crate) parts: Parts,
    pub(crate) job: Arc<JobContext>,
    pub(crate) supervisor: Supervisor,
    pub(crate) mailbox: mpsc::Receiver<Message>,
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) view: Arc<watch::Sender<View>>,
    /// Of the next segment.
    pub(crate) position: Position,
    /// Since when, and who; tickets grow, so the first has waited longest.
    pub(crate) waiting: BTreeMap<Ticket, (Instant, oneshot::Sender<Result<(), JobError>>)>,
    pub(crate) tickets: Ticket,
    pub(crate) feeds: HashMap<(usize, u8), watch::Sender<Feed>>,
    /// Look-ups, deletions, and the write under way.
    pub(crate) work: JoinSet<Event>,
    /// All of marlin shuts down, not only this job's owner.
    pub(crate) shutdown: CancellationToken,
}

impl Owner {
    /// Runs the job to its archive. Returns early at shutdown.
    pub(crate) async fn run(mut self) {
        self.make_feeds();
        let mut input_deadline = Instant::now() + self.parts.config.input_idle;
        let mut event = Event::Begin;
        loop {
            if matches!(event, Event::AddInputs { .. }) {
                input_deadline = Instant::now() + self.parts.config.input_idle;
            }
            if let Event::Written(segments) = &event {
                self.position = Position(self.position.0 + segments.len() as u64);
            }
            let effects = self.supervisor.on(event);
            // Before the answers: whoever hears of a change must see it.
            self.supervisor.view().publish(&self.view);
            let mut done = false;
            for effect in effects {
                done |= effect == Effect::Done;
                self.carry_out(effect).await;
            }
            if done {
                break;
            }
            let Some(next) = self.next_event(input_deadline).await else {
                return self.leave().await;
            };
            event = next;
        }
        self.parts.stats.jobs_done.inc();
        // Zones that still hold the job's tasks (it was cancelled) go back now.
        self.job.cancel.cancel();
        self.refuse_requests();
        self.archive().await;
    }

    /// `None` at shutdown.
    async fn next_event(&mut self, input_deadline: Instant) -> Option<Event> {
        loop {
            let oldest = self.waiting.first_key_value().map(|(_, (since, _))| *since);
            let patience = oldest.map(|since| since + self.parts.config.answer_within);
            tokio::select! {
                event = self.await_event(input_deadline) => return event,
                () = tokio::time::sleep_until(patience.unwrap_or(input_deadline)),
                    if patience.is_some() => self.give_up_oldest(),
            }
        }
    }

    /// Answers the caller who has waited longest, because the records cannot be written now. What was asked
    /// stays queued and may still come to be.
    fn give_up_oldest(&mut self) {
        if let Some((_, (_, reply))) = self.waiting.pop_first() {
            let reason = "the request is not recorded yet".to_owned();
            let _ = reply.send(Err(JobError::Unavailable { reason }));
        }
    }

    /// `None` at shutdown. Cancel-safe.
    async fn await_event(&mut self, input_deadline: Instant) -> Option<Event> {
        tokio::select! {
            () = self.parts.shutdown.cancelled() => None,
            Some(ended) = self.work.join_next() => match ended {
                Ok(event) => Some(event),
                Err(error) => {
                    // Nothing is known about the write or look-up that it was. The log is still true, so
                    // the job goes on at the next start.
                    tracing::error!(job_id = %self.job.id(), %error, "work of a job panicked");
                    None
                }
            },
            Some(report) = self.reports.recv() => Some(event_of(report)),
            Some(message) = self.mailbox.recv() => Some(self.admit(message)),
            () = tokio::time::sleep_until(input_deadline), if !self.input_ended() => {
                Some(Event::InputIdle)
            }
        }
    }

    fn input_ended(&self) -> bool {
        self.supervisor.ledger().state() != crate::job::Job::Open
    }

    fn admit(&mut self, message: Message) -> Event {
        let ticket = self.tickets;
        self.tickets += 1;
        self.waiting.insert(ticket, (Instant::now(), message.reply));
        match message.request {
            Request::AddInputs { names, last } => Event::AddInputs {
                ticket,
                names,
                last,
            },
            Request::EndInput => Event::EndInput { ticket },
            Request::Cancel => Event::Cancel { ticket },
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { ticket, result } => {
                if let Some((_, reply)) = self.waiting.remove(&ticket) {
                    let id = self.job.id();
                    let _ =
                        reply.send(result.map_err(|state| JobError::InvalidState { id, state }));
                }
            }
            Effect::Write(entries) => {
                let segments = split(entries, self.parts.deps.clock.now());
                let from = self.position;
                let (parts, job) = (self.parts.clone(), Arc::clone(&self.job));
                self.work.spawn(async move {
                    match write(&parts, &job, from, &segments).await {
                        Ok(()) => Event::Written(segments),
                        Err(error) => {
                            let error = chain(&error);
                            tracing::error!(job_id = %job.id(), error, "log of a job refuses entries");
                            tokio::time::sleep(UNWRITABLE_PAUSE).await;
                            let entries = segments.into_iter().flat_map(|s| s.entries);
                            Event::Unwritable(entries.collect())
                        }
                    }
                });
            }
            Effect::Gather => {
                self.work.spawn(async {
                    tokio::time::sleep(GATHER).await;
                    Event::Gathered
                });
            }
            Effect::Resolve { item, name } => {
                let (deps, job) = (Arc::clone(&self.parts.deps), Arc::clone(&self.job));
                self.work.spawn(async move {
                    let result = resolve(&deps, &job.record.principal, name).await;
                    Event::Resolved { item, result }
                });
            }
            Effect::StartMap {
                item,
                attempt,
                located,
                origin,
                phase,
            } => {
                let what = What::Map {
                    item,
                    input: located,
                    origin,
                };
                self.start(phase, Work::Item(item), attempt, what).await;
            }
            Effect::StartReduce {
                phase,
                index,
                attempt,
                open,
            } => {
                if let Some(feed) = self.feeds.get(&(phase, index)) {
                    let feed = feed.subscribe();
                    let what = What::Reduce { index, feed, open };
                    let work = Work::Reducer { phase, index };
                    self.start(phase, work, attempt, what).await;
                }
            }
            Effect::Feed {
                phase,
                index,
                input,
            } => {
                if let Some(feed) = self.feeds.get(&(phase, index)) {
                    feed.send_modify(|feed| feed.inputs.push(input));
                }
            }
            Effect::CloseFeed { phase, index } => {
                if let Some(feed) = self.feeds.get(&(phase, index)) {
                    feed.send_modify(|feed| feed.closed = true);
                }
                self.parts.agent.close(self.group(phase)).await;
            }
            Effect::CloseGroup { phase } => self.parts.agent.close(self.group(phase)).await,
            Effect::Delete(name) => {
                let (parts, job) = (self.parts.clone(), Arc::clone(&self.job));
                self.work.spawn(async move {
                    delete(&parts, &job, &name).await;
                    Event::Deleted
                });
            }
            Effect::Abort => {
                self.job.cancel.cancel();
                self.parts.agent.abort(self.job.id()).await;
            }
            Effect::Done => {}
        }
    }

    async fn start(&self, phase: usize, work: Work, attempt: u8, what: What) {
        let task = TaskSpec {
            id: task_id(self.job.id(), work, attempt),
            job: Arc::clone(&self.job),
            phase,
            attempt,
            what,
            queued: Queued {
                at: self.parts.deps.clock.now(),
                since: std::time::Instant::now(),
            },
            run: None,
        };
        self.parts.agent.submit(task).await;
    }

    fn group(&self, phase: usize) -> GroupKey {
        let job = self.job.id();
        GroupKey { job, phase }
    }

    fn make_feeds(&mut self) {
        for (phase, definition) in self.job.record.definition.phases.iter().enumerate() {
            if definition.kind == PhaseKind::Reduce {
                for index in 0..definition.count.unwrap_or(1).max(1) {
                    let feed = watch::Sender::new(Feed::default());
                    self.feeds.insert((phase, index), feed);
                }
            }
        }
    }

    /// The callers who wait learn that they cannot know.
    async fn leave(&mut self) {
        self.job.cancel.cancel();
        let drained = async { while self.work.join_next().await.is_some() {} };
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = drained => {}
        }
        // Afterwards, so that whoever then looks sees what was written.
        for (_, (_, reply)) in std::mem::take(&mut self.waiting) {
            let reason = "the job's supervisor has ended".to_owned();
            let _ = reply.send(Err(JobError::Unavailable { reason }));
        }
    }

    fn refuse_requests(&mut self) {
        self.mailbox.close();
        self.reports.close();
        let (id, state) = (
            self.job.id(),
            self.supervisor.ledger().state().refusal_word(),
        );
        while let Ok(message) = self.mailbox.try_recv() {
            let _ = message
                .reply
                .send(Err(JobError::InvalidState { id, state }));
        }
    }

    async fn archive(mut self) {
        let archive = archive::Archive {
            parts: self.parts.clone(),
            job: Arc::clone(&self.job),
            view: Arc::clone(&self.view),
            position: self.position,
        };
        // Look-ups and deletions of a cancelled job are of no use any more.
        self.work.shutdown().await;
        tokio::select! {
            () = self.parts.shutdown.cancelled() => return,
            () = archive.store() => {}
        }
        // A write of the log is not left half done when this owner alone is stopped.
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = archive.finish() => {}
        }
    }
}

fn event_of(report: Report) -> Event {
    let Report {
        work,
        attempt,
        outcome,
        run,
    } = report;
    match outcome {
        None => Event::Started { work, attempt },
        Some(outcome) => Event::Finished {
            work,
            attempt,
            outcome,
            run,
        },
    }
}

/// Deletes an intermediate object. One that is gone, or that the user replaced by a directory, is fine.
async fn delete(parts: &Parts, job: &JobContext, name: &str) {
    let mut pause = Duration::from_millis(100);
    for attempt in 1..=DELETE_ATTEMPTS {
        match parts.front_door.delete(job.token(), name).await {
            Ok(_) => return,
            Err(FrontDoorError::Refused { code, .. }) if code == "DirectoryNotEmpty" => return,
            Err(error) if error.is_retryable() && attempt < DELETE_ATTEMPTS => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(job_id = %job.id(), error, "intermediate object not deleted");
                return;
            }
        }
    }
}

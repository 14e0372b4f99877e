//! One zone in the service of one group: prepared, given task after task without reset, given back.
//!
//! The zone goes back, by being dropped, when the group has nothing more for it, when a task failed in it
//! (what a failing command leaves behind is nobody's business), or when the job is cancelled. Whatever was
//! written by then is first stored or thrown away, because the files lie on the zone's disk.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use libmanta::triton::{Zone, ZoneError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::command::{self, Run, Step, Trouble};
use crate::agent::desk::Desk;
use crate::agent::environment::Purpose;
use crate::agent::group::{self, Group};
use crate::agent::meter::{Metered, Odometer};
use crate::agent::outputs::{self, Remains};
use crate::agent::proxy::Proxy;
use crate::agent::schedule::StreamId;
use crate::agent::{Message, Parts, StartError, TaskSpec, What, local, reduce};
use crate::error::chain;
use crate::front_door::FrontDoor;
use crate::names;
use crate::perturbation::Perturbation;
use crate::record::{ErrorCode, TaskError};
use crate::run::Stopwatch;
use crate::supervisor::event::Outcome;

/// Tasks of one zone whose outputs are being stored while the next one runs. Two, so that a slow disk
/// holds the zone back instead of piling up open files.
const COLLECTING_MAX: usize = 2;

const UNABLE_PAUSE: Duration = Duration::from_millis(250);

/// Why a stream ended.
#[derive(Debug)]
pub(crate) enum End {
    GivenBack,
    /// `init` failed; its task has been told.
    InitFailed,
    /// The group's tasks cannot run here.
    CannotStart(StartError),
    /// No zone came up, for no fault of the group.
    Unable,
}

pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) group: Arc<Group>,
    pub(crate) parts: Parts,
    pub(crate) agent: mpsc::Sender<Message>,
    pub(crate) shutdown: CancellationToken,
    /// The task that runs has had its time; others wait for the zone.
    pub(crate) kill: CancellationToken,
}

/// What a stream has started and waits for, however it ends.
#[derive(Default)]
struct Helpers {
    proxy: Option<Proxy>,
    /// Outputs being stored.
    collecting: JoinSet<()>,
}

impl Stream {
    pub(crate) async fn serve(self, mut commands: mpsc::Receiver<Box<TaskSpec>>) -> End {
        let cancel = self.group.job.cancel.clone();
        let shutdown = self.shutdown.clone();
        let mut helpers = Helpers::default();
        // Being dropped in the middle is how everything here is cancelled: futures of the zone kill it.
        let end = tokio::select! {
            biased;
            () = cancel.cancelled() => End::GivenBack,
            () = shutdown.cancelled() => End::GivenBack,
            end = self.work(&mut commands, &mut helpers) => end,
        };
        helpers.collecting.shutdown().await;
        if let Some(proxy) = helpers.proxy {
            proxy.close().await;
        }
        end
    }

    async fn work(
        &self,
        commands: &mut mpsc::Receiver<Box<TaskSpec>>,
        helpers: &mut Helpers,
    ) -> End {
        let acquire = self.parts.zones.acquire(self.group.zone_spec());
        let mut zone = tokio::select! {
            zone = acquire => match zone {
                Ok(zone) => zone,
                Err(error) => return refused(error).await,
            },
            // Nothing is sent before the zone is there, so this is the end of the channel.
            _ = commands.recv() => return End::GivenBack,
        };
        let desk = Arc::new(Desk::default());
        let proxy = zone.listeners().and_then(|listeners| {
            let limit = self.parts.config.connections_per_zone;
            Proxy::start(listeners, &desk, limit)
        });
        match proxy {
            Ok(proxy) => helpers.proxy = Some(proxy),
            Err(error) => {
                tracing::error!(zone = zone.name(), %error, "zone has no local manta");
                return unable().await;
            }
        }
        let collecting = &mut helpers.collecting;
        let end = match self.load_assets(zone.as_mut()).await {
            Err(end) => end,
            Ok(()) => {
                self.run_tasks(zone.as_mut(), &desk, commands, collecting)
                    .await
            }
        };
        // Before the zone goes: its next tenant must find nobody connected, and its disk no open file.
        if let Some(proxy) = helpers.proxy.take() {
            proxy.close().await;
        }
        while collecting.join_next().await.is_some() {}
        end
    }

    async fn load_assets(&self, zone: &mut dyn Zone) -> Result<(), End> {
        let scratch = &self.parts.config.scratch_dir;
        let assets = self.group.assets(&self.parts.front_door, scratch).await;
        for (path, content) in assets.map_err(End::CannotStart)? {
            if let Err(error) = zone.write_file(&path, 0o777, content).await {
                if let Some(error) = group::unwritable_asset(&path, &error) {
                    return Err(End::CannotStart(error));
                }
                let error = chain(&error);
                tracing::warn!(zone = zone.name(), error, "asset not written");
                return Err(unable().await);
            }
        }
        Ok(())
    }

    async fn run_tasks(
        &self,
        zone: &mut dyn Zone,
        desk: &Desk,
        commands: &mut mpsc::Receiver<Box<TaskSpec>>,
        collecting: &mut JoinSet<()>,
    ) -> End {
        let mut odometer = Odometer::new(zone, Arc::clone(&desk.traffic), self.group.zone_spec());
        let phase = self.group.job.phase(self.group.phase);
        let mut init = phase.and_then(|phase| phase.init.clone());
        loop {
            let _ = self.agent.send(Message::Free(self.id)).await;
            let Some(mut task) = commands.recv().await else {
                return End::GivenBack;
            };
            let stopwatch = Stopwatch::start(task.queued, &self.parts.config.node, zone.name());
            let mut metered = Metered::start(&self.parts.auditor, &mut odometer, &task);
            task.report(None).await;
            self.parts.stats.tasks_started.inc();
            let init = init.take().filter(|init| !init.is_empty());
            let perturbation = Perturbation::new(self.parts.config.perturb);
            let front_door = self.parts.front_door.perturbed_by(perturbation);
            let step = tokio::select! {
                biased;
                () = self.kill.cancelled() => Step::Unrun(Outcome::Killed),
                never = metered.checkpoints() => match never {},
                step = self.run_task(zone, &front_door, desk, &task, init.as_deref()) => step,
            };
            if let Step::Unrun(Outcome::Killed) = &step {
                // Nothing that it begins to say comes after what its next attempt says. A request that the store has
                // all of is answered to nobody and may still take effect.
                desk.close().await;
            }
            let used = metered.end();
            match step {
                Step::Unrun(outcome) => {
                    task.run = Some(stopwatch.stop(None, used));
                    let gone = matches!(outcome, Outcome::Lost | Outcome::Killed);
                    task.report(Some(outcome)).await;
                    if gone {
                        return End::GivenBack;
                    }
                }
                Step::Ran { rest, fit, init } => {
                    task.run = Some(stopwatch.stop(rest.end, used));
                    collecting.spawn(finish(
                        front_door,
                        self.agent.clone(),
                        Collected { task, rest },
                    ));
                    if init {
                        return End::InitFailed;
                    }
                    if !fit {
                        return End::GivenBack;
                    }
                }
            }
            while collecting.len() >= COLLECTING_MAX {
                collecting.join_next().await;
            }
        }
    }

    async fn run_task(
        &self,
        zone: &mut dyn Zone,
        front_door: &FrontDoor,
        desk: &Desk,
        task: &TaskSpec,
        init: Option<&str>,
    ) -> Step {
        match self.try_task(zone, front_door, desk, task, init).await {
            Ok(step) => step,
            Err(Trouble::Task(error)) => Step::Unrun(Outcome::Failed(error)),
            Err(Trouble::Zone(error)) => {
                let error = chain(&error);
                tracing::warn!(zone = zone.name(), error, "zone failed under a task");
                Step::Unrun(Outcome::Lost)
            }
        }
    }

    async fn try_task(
        &self,
        zone: &mut dyn Zone,
        front_door: &FrontDoor,
        desk: &Desk,
        task: &TaskSpec,
        init: Option<&str>,
    ) -> Result<Step, Trouble> {
        let parts = &self.parts;
        if let Some(script) = init {
            let nothing = File::open("/dev/null").map_err(Trouble::io("open /dev/null"))?;
            let run = Run {
                script,
                purpose: Purpose::Init,
                stdin: nothing.into(),
                input_file: None,
                feed: None,
                directory: None,
                shortened: false,
            };
            let step = command::execute(&parts.config, front_door, zone, desk, task, run).await?;
            if matches!(&step, Step::Ran { rest, .. } if rest.error.is_some() || rest.decided) {
                return Ok(step);
            }
        }
        let script = self
            .group
            .job
            .phase(self.group.phase)
            .map_or("", |phase| &phase.exec);
        let stdout = task.names().stdout();
        let directory = outputs::prepare_directory(front_door, &task.job, &stdout);
        let run = match &task.what {
            What::Map { input, .. } => {
                let file = local::open_copy(&parts.sharks, input).await;
                let (path, shortened) = names::input_path(&input.name);
                let stdin = zone.show_input(&path, file.map_err(Trouble::Task)?).await?;
                Run {
                    script,
                    purpose: Purpose::Exec,
                    stdin: stdin.into(),
                    input_file: Some(format!("{}{path}", zone.path_prefix())),
                    feed: None,
                    directory,
                    shortened,
                }
            }
            What::Reduce { feed, .. } => {
                let (reader, writer) = reduce::pipe().map_err(Trouble::io("make a pipe"))?;
                let feeding =
                    reduce::feed(&task.job, front_door, &parts.sharks, feed.clone(), writer);
                Run {
                    script,
                    purpose: Purpose::Exec,
                    stdin: reader,
                    input_file: None,
                    feed: Some(Box::pin(feeding)),
                    directory,
                    shortened: false,
                }
            }
        };
        command::execute(&parts.config, front_door, zone, desk, task, run).await
    }
}

/// A task whose command has ended.
struct Collected {
    task: Box<TaskSpec>,
    rest: Remains,
}

/// Stores what the task left and reports.
async fn finish(front_door: FrontDoor, agent: mpsc::Sender<Message>, collected: Collected) {
    let task = collected.task;
    let cancel = task.job.cancel.clone();
    let work = async {
        let outcome = outputs::store(&front_door, &task, collected.rest).await;
        match &task.what {
            What::Reduce { feed, .. } if !feed.borrow().closed => {
                let _ = agent.send(Message::Unfed(task, outcome)).await;
            }
            _ => task.report(Some(outcome)).await,
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// Waits a moment first, so that a machine out of order does not burn through every task of a job.
async fn unable() -> End {
    tokio::time::sleep(UNABLE_PAUSE).await;
    End::Unable
}

/// What a zone that cannot be had means for the group.
async fn refused(error: ZoneError) -> End {
    let code = match &error {
        ZoneError::NotEnoughMemory | ZoneError::NotEnoughDisk => ErrorCode::TaskInit,
        ZoneError::NoImage => ErrorCode::InvalidArgument,
        // So are we, or will be in a moment.
        ZoneError::ShutDown => return std::future::pending().await,
        ZoneError::Unsupported(_) | ZoneError::Gone(_) | ZoneError::Io { .. } => {
            let error = chain(&error);
            tracing::warn!(error, "zone not acquired");
            return unable().await;
        }
    };
    let message = format!("failed to dispatch task: {error}");
    End::CannotStart(StartError {
        error: TaskError::new(code, message),
        cascade: false,
    })
}

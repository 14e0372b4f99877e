//! One command in a zone, from its environment to its end.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use libmanta::triton::{Command, Exit, Zone, ZoneError};
use tokio_util::task::AbortOnDropHandle;

use crate::agent::desk::{Decision, Desk};
use crate::agent::environment::{Purpose, environment};
use crate::agent::outputs::Remains;
use crate::agent::verdict::{Ended, judge};
use crate::agent::{TaskSpec, What};
use crate::config::Config;
use crate::front_door::FrontDoor;
use crate::names;
use crate::record::TaskError;
use crate::run::CommandEnd;
use crate::supervisor::event::Outcome;

/// A command about to run.
pub(crate) struct Run<'a> {
    pub(crate) script: &'a str,
    pub(crate) purpose: Purpose,
    pub(crate) stdin: OwnedFd,
    /// Where the input appears.
    pub(crate) input_file: Option<String>,
    /// Writes a reducer's input; ends with an error if it cannot be read.
    pub(crate) feed: Option<BoxFuture<'a, Result<(), TaskError>>>,
    pub(crate) directory: Option<AbortOnDropHandle<()>>,
    pub(crate) shortened: bool,
}

/// How far a task came in its zone.
pub(crate) enum Step {
    /// The command never ran, or its zone took the result with it.
    Unrun(Outcome),
    Ran {
        rest: Remains,
        /// The zone may serve another task.
        fit: bool,
        /// It was `init`, and it failed.
        init: bool,
    },
}

/// Why a command was not run, or not to its end.
pub(crate) enum Trouble {
    Task(TaskError),
    Zone(ZoneError),
}

impl Trouble {
    pub(crate) fn io(during: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Zone(ZoneError::Io { during, source })
    }
}

impl From<ZoneError> for Trouble {
    fn from(error: ZoneError) -> Self {
        Self::Zone(error)
    }
}

/// How a command came to its end.
enum Ran {
    Exited(Exit),
    /// The task ended itself through the control API; its zone may be dead.
    Decided(Decision),
    /// Its input could not be read; its zone is dead.
    Starved(TaskError),
    Lost(ZoneError),
}

/// Runs a command to its end. The zone is of no more use unless [`Step::Ran`] says `fit`.
pub(crate) async fn execute(
    config: &Config,
    front_door: &FrontDoor,
    zone: &mut dyn Zone,
    desk: &Desk,
    task: &TaskSpec,
    run: Run<'_>,
) -> Result<Step, Trouble> {
    let stdout = zone.output_file().await?;
    let stderr = zone.output_file().await?;
    let clone = |file: &File| file.try_clone().map_err(Trouble::io("share an output"));
    let env = environment(
        task,
        run.purpose,
        &config.tools_dir,
        &zone.manta_url(),
        run.input_file.as_deref(),
        zone.environment(),
    );
    let command = Command {
        argv: ["/bin/bash", "--norc", "-c", run.script]
            .map(str::to_owned)
            .to_vec(),
        env,
        stdin: run.stdin,
        stdout: clone(&stdout)?.into(),
        stderr: clone(&stderr)?.into(),
    };
    let mut decision = desk.open(Arc::clone(&task.job), front_door.clone(), document(task));
    let ran = tokio::select! {
        exit = zone.run(command) => match (exit, decision.try_recv()) {
            (_, Ok(decision)) => Ran::Decided(decision),
            (Ok(exit), Err(_)) => Ran::Exited(exit),
            (Err(error), Err(_)) => Ran::Lost(error),
        },
        Ok(decision) = &mut decision => Ran::Decided(decision),
        error = starved(run.feed) => Ran::Starved(error),
    };
    let takings = desk.close().await;
    let init = run.purpose == Purpose::Init;
    let core = match &ran {
        Ran::Exited(exit) if exit.core_dumped => zone.core_file().await.unwrap_or_else(|error| {
            tracing::debug!(zone = zone.name(), %error, "core file not found");
            None
        }),
        _ => None,
    };
    let end = match &ran {
        Ran::Exited(exit) => Some(CommandEnd::new(*exit, init)),
        Ran::Decided(_) | Ran::Starved(_) | Ran::Lost(_) => None,
    };
    let (error, decided) = match ran {
        Ran::Exited(exit) => {
            let ended = Ended {
                exit,
                disk_available_bytes: zone.disk_available_bytes(),
                init,
                shortened: run.shortened,
            };
            (judge(ended), false)
        }
        Ran::Decided(Decision::Commit) => (None, true),
        Ran::Decided(Decision::Fail(error)) => (Some(error), true),
        Ran::Starved(error) => (Some(error), false),
        Ran::Lost(error) => return Err(error.into()),
    };
    let fit = error.is_none() && !decided;
    let init = init && error.is_some();
    let rest = Remains {
        takings,
        stdout,
        stderr,
        core,
        end,
        error,
        decided,
        directory: run.directory,
    };
    Ok(Step::Ran { rest, fit, init })
}

/// Ends only when a reducer's input cannot be read; a feed that is done says nothing.
async fn starved(feed: Option<BoxFuture<'_, Result<(), TaskError>>>) -> TaskError {
    match feed {
        Some(feed) => match feed.await {
            Err(error) => error,
            Ok(()) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// What the control API tells about a task. Source: marlin.md section 6.13.
fn document(task: &TaskSpec) -> serde_json::Value {
    let names = task.names();
    let mut document = serde_json::json!({
        "jobId": task.job.id().to_string(),
        "taskId": task.id.to_string(),
        "taskPhase": task.job.phase(task.phase),
        "login": task.job.login(),
        "taskErrorKey": names.stderr(),
        "taskOutputKey": names.stdout(),
        "taskOutputBase": names.output_base(),
    });
    match &task.what {
        What::Map { input, .. } => {
            document["taskInputKeys"] = serde_json::json!([&*input.name]);
            document["taskInputFile"] = names::input_path(&input.name).0.into();
        }
        What::Reduce { index, .. } => document["rIdx"] = (*index).into(),
    }
    document
}

//! `manta adm restart`: parts of a running store, started anew while the rest goes on.

use anyhow::Result;
use http::Method;
use libmanta::JobId;
use mahi::admin::Client;
use serde_json::Value;

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm restart agent
  manta adm restart supervisor 8d3f1c9e-6a2b-4c53-9e0f-3f1d5a7b2c41")]
pub(crate) enum Command {
    /// What runs tasks: every zone is given back, and the tasks that ran in them run again
    #[command(after_help = "Examples:
  manta adm restart agent")]
    Agent,
    /// What looks after a job: it goes on from the job's log, and tasks of the job that run are run again
    #[command(after_help = "Examples:
  manta adm restart supervisor 8d3f1c9e-6a2b-4c53-9e0f-3f1d5a7b2c41")]
    Supervisor { job: JobId },
}

pub(crate) async fn run(client: &Client, command: Command) -> Result<()> {
    let path = match command {
        Command::Agent => "/agent/restart".to_owned(),
        Command::Supervisor { job } => format!("/supervisors/{job}/restart"),
    };
    let _: Value = client.ask(Method::POST, &path, None::<&()>).await?;
    Ok(())
}

//! `mjob`: jobs. One file for each group of subcommands that share their work.

mod create;
mod inputs;
mod phases;
mod report;
mod wait;

use clap::{Parser, Subcommand};

use super::command::Command;
use super::failure::Failure;

/// Manage compute jobs
#[derive(Debug, Parser)]
#[command(
    name = "mjob",
    version,
    disable_version_flag = true,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:
  mfind -t o ~~/stor/books | mjob create -o -m 'grep -c whale' -r 'awk \"{ n += \\$1 } END { print n }\"'
  mjob create -n words --memory 2048 -m 'tr -cs A-Za-z \"\\n\"' -r 'sort | uniq -c' < names
  mjob list -l -s running
  mjob outputs JOBID"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
    /// Print version
    #[arg(long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Add inputs from stdin to jobs
    Addinputs(inputs::AddInputs),
    /// Cancel jobs
    Cancel(report::ManyJobs),
    /// End the input of jobs
    Close(report::ManyJobs),
    /// Create a job
    Create(Box<create::Create>),
    /// Print the errors of jobs
    Errors(report::ManyJobs),
    /// Print the inputs of jobs that failed
    Failures(report::ManyJobs),
    /// Print the state of jobs
    Get(report::ManyJobs),
    /// Print the inputs of jobs
    Inputs(report::ManyJobs),
    /// List jobs
    List(report::List),
    /// Print the outputs of jobs
    Outputs(report::ManyJobs),
    /// Wait for jobs to be done
    #[command(visible_alias = "wait")]
    Watch(report::ManyJobs),
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        use manta_client::LiveList;
        match self.command {
            Subcommands::Addinputs(arguments) => arguments.run().await,
            Subcommands::Cancel(arguments) => arguments.cancel().await,
            Subcommands::Close(arguments) => arguments.close().await,
            Subcommands::Create(arguments) => arguments.run().await,
            Subcommands::Errors(arguments) => arguments.print_list(LiveList::Errors).await,
            Subcommands::Failures(arguments) => arguments.print_list(LiveList::Failures).await,
            Subcommands::Get(arguments) => arguments.get().await,
            Subcommands::Inputs(arguments) => arguments.print_list(LiveList::Inputs).await,
            Subcommands::List(arguments) => arguments.run().await,
            Subcommands::Outputs(arguments) => arguments.print_list(LiveList::Outputs).await,
            Subcommands::Watch(arguments) => arguments.watch().await,
        }
    }
}

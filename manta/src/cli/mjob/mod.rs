//! `mjob`: jobs. One file for each group of subcommands that share their work.

mod bar;
mod create;
mod errors;
mod explain;
mod inputs;
mod phases;
mod report;
mod share;
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
    #[command(after_help = "Examples:
  mfind -t o ~~/stor/books | mjob addinputs 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53
  echo ~~/stor/book.txt | mjob addinputs --open 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Addinputs(inputs::AddInputs),
    /// Cancel jobs
    #[command(after_help = "Examples:
  mjob cancel 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Cancel(report::ManyJobs),
    /// End the input of jobs
    #[command(after_help = "Examples:
  mjob close 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Close(report::ManyJobs),
    /// Create a job
    #[command(after_help = "Examples:
  mfind -t o ~~/stor/books | mjob create -o -m 'grep -c whale' -r 'sort -n | tail -n 1'
  mjob create -w -n words 'wc -w' ^^ 'sort -n' < names")]
    Create(Box<create::Create>),
    /// Print the errors of jobs
    #[command(after_help = "Examples:
  mjob errors 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Errors(report::ManyJobs),
    /// Tell what every task of a job did
    #[command(after_help = "Examples:
  mjob explain 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53
  mjob explain -j 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53 > tasks")]
    Explain(explain::Explain),
    /// Print the inputs of jobs that failed
    #[command(after_help = "Examples:
  mjob failures 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53 | mjob addinputs $other")]
    Failures(report::ManyJobs),
    /// Print the state of jobs
    #[command(after_help = "Examples:
  mjob get 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Get(report::ManyJobs),
    /// Print the inputs of jobs
    #[command(after_help = "Examples:
  mjob inputs 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Inputs(report::ManyJobs),
    /// List jobs
    #[command(after_help = "Examples:
  mjob list
  mjob list -l -s running -n words")]
    List(report::List),
    /// Print the outputs of jobs
    #[command(after_help = "Examples:
  mjob outputs 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53 | xargs mget")]
    Outputs(report::ManyJobs),
    /// Make a page that shows what a job did
    #[command(after_help = "Examples:
  mjob share 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53
  mjob share -s -r README.md 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53 > job.html")]
    Share(share::Share),
    /// Wait for jobs to be done
    #[command(after_help = "Examples:
  mjob watch 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
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
            Subcommands::Explain(arguments) => arguments.run().await,
            Subcommands::Failures(arguments) => arguments.print_list(LiveList::Failures).await,
            Subcommands::Get(arguments) => arguments.get().await,
            Subcommands::Inputs(arguments) => arguments.print_list(LiveList::Inputs).await,
            Subcommands::List(arguments) => arguments.run().await,
            Subcommands::Outputs(arguments) => arguments.print_list(LiveList::Outputs).await,
            Subcommands::Share(arguments) => arguments.run().await,
            Subcommands::Watch(arguments) => arguments.watch().await,
        }
    }
}

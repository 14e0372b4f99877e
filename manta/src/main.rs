//! The one binary of Manta: the store, its operator's commands, its users' commands, and the tools inside a
//! zone. Which of them it is comes from its first argument, or from the name it was called by.

mod adm;
mod cli;
mod config;
mod data_dir;
mod demo;
mod doors;
mod environment;
#[cfg(test)]
mod examples;
mod keys;
mod metrics;
mod restarts;
mod store;
mod telemetry;
mod throttle;
mod up;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// An object store with compute on data.
///
/// The client commands (mls, mput, mget, …) are reached by their own names, or as `manta mls` and so on.
#[derive(Debug, Parser)]
#[command(
    name = "manta",
    version,
    disable_help_subcommand = true,
    after_help = "Examples:
  manta demo
  manta up --data-dir /srv/manta
  . /srv/manta/env && mput -f book.txt ~~/stor/book.txt
  manta mls -l ~~/stor
  manta adm --data-dir /srv/manta account list"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole store in one process.
    Up(up::Arguments),
    /// A scratch store, real text in, a map/reduce job over it, the result.
    Demo(demo::Arguments),
    /// Operator's commands for a running store.
    Adm(adm::Arguments),
    #[command(external_subcommand)]
    Client(Vec<OsString>),
}

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == "--triton-zygote") {
        // Before anything else: the zygote must have no second thread.
        triton::zygote::main();
    }
    let name = args.first().map(base_name).unwrap_or_default();
    if let Some(code) = client(&name, args.get(1..).unwrap_or_default()) {
        return code;
    }
    if let Some(code) = args
        .get(1)
        .and_then(|arg| client(&base_name(arg), &args[2..]))
    {
        return code;
    }
    if let Some(shell) = cli::completion::asked(&args[1..]) {
        return cli::completion::print(everything(), shell);
    }
    if args.len() == 1 {
        args.push("--help".into());
    }
    let outcome = match Arguments::parse_from(args).command {
        Command::Up(arguments) => up::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Adm(arguments) => adm::run(arguments),
        Command::Client(words) => {
            let word = words
                .first()
                .map(|w| w.to_string_lossy().into_owned())
                .unwrap_or_default();
            Err(anyhow::anyhow!(
                "there is no command \"{word}\"; see manta --help"
            ))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manta: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `manta` with the client commands among its own.
fn everything() -> clap::Command {
    Arguments::command().subcommands(cli::definitions())
}

fn base_name(argument: &OsString) -> String {
    Path::new(argument)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Runs a client command or an in-zone tool if `name` is one.
fn client(name: &str, args: &[OsString]) -> Option<ExitCode> {
    if cli::COMMANDS.contains(&name) {
        return Some(cli::run(name, args.to_vec()));
    }
    marlin::tools::NAMES
        .contains(&name)
        .then(|| marlin::tools::run(name, args))
}

//! The tools a command finds in its zone, besides the ones everybody has. Source: marlin.md section 9.
//!
//! They talk to the local Manta at `MANTA_URL` and need no credentials. Exit codes: 1 for an error at run
//! time, 2 for wrong usage.

mod arguments;
mod lines;
mod maggr;
mod mcat;
mod medusa_agent;
mod mpipe;
mod msplit;
mod mtee;
mod number;
mod printf;
mod script;
mod upload;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::chain;
use crate::front_door::{BoxError, FrontDoor};

/// Every tool, by the name it is called by.
pub const NAMES: [&str; 6] = [
    "maggr",
    "mcat",
    medusa_agent::NAME,
    "mpipe",
    "msplit",
    "mtee",
];

/// Runs one of [`NAMES`] with the arguments after its name.
#[must_use]
pub fn run(name: &str, args: &[OsString]) -> ExitCode {
    let args: Option<Vec<String>> = args.iter().map(|a| a.to_str().map(str::to_owned)).collect();
    let code = match (name, args) {
        ("maggr", Some(args)) => maggr::main(args),
        ("mcat", Some(args)) => mcat::main(args),
        (medusa_agent::NAME, Some(args)) => medusa_agent::main(args),
        ("mpipe", Some(args)) => mpipe::main(args),
        ("msplit", Some(args)) => msplit::main(args),
        ("mtee", Some(args)) => mtee::main(args),
        (name, _) => {
            say(&format!(
                "{name}: no such tool, or arguments that are not text"
            ));
            USAGE
        }
    };
    ExitCode::from(code)
}

const FAILURE: u8 = 1;
const USAGE: u8 = 2;

fn local_manta() -> FrontDoor {
    let url = std::env::var("MANTA_URL").unwrap_or_else(|_| "http://localhost:80/".to_owned());
    FrontDoor::new(&url)
}

/// One thread is enough for a tool that does one thing.
fn block_on<E: Into<BoxError>>(
    future: impl Future<Output = Result<(), E>>,
) -> Result<(), BoxError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    runtime.block_on(future).map_err(Into::into)
}

/// The exit code of a tool that was called correctly; says what went wrong.
fn finish(tool: &str, result: Result<(), BoxError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            say(&format!("{tool}: {}", chain(&*error)));
            FAILURE
        }
    }
}

/// Says what was wrong with the arguments.
fn usage(tool: &str, error: &str, help: &str) -> u8 {
    say(&format!("{tool}: {error}\n{help}"));
    USAGE
}

#[expect(
    clippy::print_stderr,
    reason = "a command-line tool speaks to its user"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

/// `-r INDEX`: a number; the range is checked by whoever emits.
fn parse_reducer(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("reducer index must be a number: \"{text}\""))
}

/// Names may begin with `~~`, as everywhere in the ecosystem.
fn expand(name: &str) -> String {
    match (name.strip_prefix("~~"), std::env::var("MANTA_USER")) {
        (Some(rest), Ok(login)) if rest.is_empty() || rest.starts_with('/') => {
            format!("/{login}{rest}")
        }
        _ => name.to_owned(),
    }
}

/// The name given for an object, in full.
fn whole_name(object: &str) -> Result<String, String> {
    let object = expand(object);
    if object.starts_with('/') {
        Ok(object)
    } else {
        Err(format!("not an absolute name: \"{object}\""))
    }
}

/// A name for an output that was given none, unlike any other.
fn output_name() -> Result<String, String> {
    let base = std::env::var("MANTA_OUTPUT_BASE").ok();
    let base = base.filter(|base| base.starts_with('/'));
    let base = base.ok_or("MANTA_OUTPUT_BASE is not set")?;
    Ok(format!("{base}{}", uuid::Uuid::new_v4()))
}

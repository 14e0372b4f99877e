//! The tools a command finds in its zone, besides the ones everybody has. Source: marlin.md section 9.
//!
//! They talk to the local Manta at `MANTA_URL` and need no credentials. Exit codes: 1 for an error at run
//! time, 2 for wrong usage.

mod mcat;
mod mpipe;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::front_door::FrontDoor;

/// Every tool, by the name it is called by.
pub const NAMES: [&str; 2] = ["mcat", "mpipe"];

/// Runs one of [`NAMES`] with the arguments after its name.
#[must_use]
pub fn run(name: &str, args: &[OsString]) -> ExitCode {
    let args: Option<Vec<String>> = args.iter().map(|a| a.to_str().map(str::to_owned)).collect();
    let code = match (name, args) {
        ("mcat", Some(args)) => mcat::main(args),
        ("mpipe", Some(args)) => mpipe::main(args),
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
fn block_on<F: Future<Output = u8>>(tool: &str, future: F) -> u8 {
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => {
            say(&format!("{tool}: cannot start: {error}"));
            FAILURE
        }
    }
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

/// Where an option's value is: in the same argument or in the next one.
fn value_of(
    option: char,
    attached: &str,
    rest: &mut impl Iterator<Item = String>,
) -> Result<String, String> {
    if attached.is_empty() {
        rest.next()
            .ok_or_else(|| format!("option requires an argument -- {option}"))
    } else {
        Ok(attached.to_owned())
    }
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

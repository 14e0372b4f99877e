//! Everything a developer runs, in Rust, so that nothing has to be installed to build or to test.
//!
//! Surprise: `xtask` builds nothing of the product itself; it calls the `cargo` that started it.

mod bench;
mod check;
mod clients;
mod command;
mod debian;
mod soak;
mod suite;
mod tidy;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask check                 rustfmt, clippy, cargo-deny where installed, tidy
cargo xtask tidy                  our own rules: crate arrows, file docs, names, lengths
cargo xtask test                  installs what the tests need, then every test
cargo xtask test --quick          needs nothing but Rust: no system tests
cargo xtask test --repeat N       every test N times, stopping at the first failure
cargo xtask test [..] -- ARGS     ARGS go to the test runner (a name to filter by, for instance)
cargo xtask bench [ROW]...        measures, and writes bench/RESULTS.md when all rows were run
cargo xtask soak [PART]...        the long versions, seeds and results go to tests/SOAK.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((task, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return Ok(());
    };
    match task.as_str() {
        "check" => no_more(rest).and_then(|()| check::run()),
        "tidy" => no_more(rest).and_then(|()| tidy::run()),
        "test" => suite::run(&suite::Options::parse(rest)?),
        "bench" => bench::run(rest),
        "soak" => soak::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no task \"{other}\"; `cargo xtask` lists them"),
    }
}

fn no_more(rest: &[String]) -> Result<()> {
    match rest.first() {
        None => Ok(()),
        Some(extra) => bail!("unexpected argument \"{extra}\""),
    }
}

//! `cargo xtask check`: what is looked at before anything runs.

use anyhow::Result;

use crate::command::{self, cargo, succeeds};
use crate::tidy;

pub(crate) fn run() -> Result<()> {
    command::run(&mut cargo(["fmt", "--all", "--", "--check"]))?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    command::run(&mut cargo(clippy))?;
    if succeeds(&mut cargo(["deny", "--version"])) {
        command::run(&mut cargo(["deny", "--all-features", "check"]))?;
    } else {
        eprintln!("xtask: cargo-deny is not installed, so licences and sources were not looked at");
    }
    tidy::run()
}

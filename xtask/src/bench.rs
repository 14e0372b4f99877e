//! `cargo xtask bench`: builds what is measured as users build it, and measures it.
//!
//! Only a run of all rows writes `bench/RESULTS.md`: a part of them says nothing about the others.

use std::process::Command;

use anyhow::Result;

use crate::command::{self, cargo};
use crate::tree;

pub(crate) fn run(rows: &[String]) -> Result<()> {
    command::run(&mut cargo([
        "build",
        "--release",
        "--package",
        "manta",
        "--package",
        "bench",
    ]))?;
    let artefacts = tree::artefacts("release")?;
    let mut bench = Command::new(artefacts.join("bench"));
    bench
        .current_dir(tree::root())
        .env("MANTA_BIN", artefacts.join("manta"));
    if rows.is_empty() {
        bench.arg("all");
    } else {
        bench.arg("row").args(rows);
    }
    command::run(&mut bench)
}

//! `cargo xtask bench`: builds what is measured as users build it, and measures it.
//!
//! Only a run of all rows writes `bench/RESULTS.md`: a part of them says nothing about the others.
//!
//! Surprise: what cannot be installed is no failure. The row that compares with it says that it is missing.

use std::process::Command;

use anyhow::Result;

use crate::command::{self, cargo};
use crate::{clients, debian, tree};

/// Rows that are compared with programs of others.
const COMPARED: [&str; 2] = ["wc", "spark"];

pub(crate) fn run(rows: &[String]) -> Result<()> {
    let wants = |name: &str| rows.is_empty() || rows.iter().any(|row| row == name);
    if COMPARED.into_iter().any(wants) {
        said(debian::install_for_bench());
    }
    let spark = if wants("spark") {
        said(clients::install_spark())
    } else {
        None
    };
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
    if let Some(spark) = spark {
        bench.env("MANTA_BENCH_SPARK", spark);
    }
    if rows.is_empty() {
        bench.arg("all");
    } else {
        bench.arg("row").args(rows);
    }
    command::run(&mut bench)
}

fn said<T>(installed: Result<T>) -> Option<T> {
    installed
        .inspect_err(|error| eprintln!("xtask: not installed: {error:#}"))
        .ok()
}

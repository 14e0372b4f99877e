//! `cargo xtask soak`: the tests that can run for longer, run for longer.
//!
//! A part is an ordinary test with more rounds, so what is soaked is what is tested. Each run appends a
//! line to `tests/SOAK.md` with the commit and the seed that repeats it.

use std::fs::File;
use std::io::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, run as run_command};
use crate::{clients, debian, tree};

struct Part {
    name: &'static str,
    package: &'static str,
    /// Filters the tests that run.
    test: &'static str,
    /// What makes it long.
    settings: &'static [(&'static str, &'static str)],
}

const PARTS: [Part; 9] = [
    Part {
        name: "model",
        package: "libmanta",
        test: "namespace::model",
        settings: &[("MODEL_SIZE", "large")],
    },
    Part {
        name: "links",
        package: "libmanta",
        test: "link::model",
        settings: &[("MODEL_SIZE", "large")],
    },
    Part {
        name: "kill",
        package: "tests",
        test: "kill_nine",
        settings: &[("MANTA_TEST_KILL_ROUNDS", "200")],
    },
    Part {
        name: "histories",
        package: "tests",
        test: "histories_are_linearizable",
        settings: &[
            ("MANTA_TEST_HISTORIES", "3000"),
            ("MANTA_TEST_KILLED_HISTORIES", "500"),
        ],
    },
    Part {
        name: "replay",
        package: "tests",
        test: "crash_replay",
        settings: &[
            ("MANTA_TEST_CUTS", "10000"),
            ("MANTA_TEST_REPLAY_WRITES", "300"),
        ],
    },
    Part {
        name: "namespace",
        package: "electric-moray",
        test: "linearizable",
        settings: &[("MORAY_ROUNDS", "5000")],
    },
    Part {
        name: "zones",
        package: "triton",
        test: "",
        settings: &[("TRITON_RESETS", "20000")],
    },
    Part {
        name: "jobs",
        package: "tests",
        test: "jobs_end_as_they_should_whatever_dies",
        settings: &[("MANTA_TEST_FAULT_JOBS", "200")],
    },
    Part {
        name: "fuzz",
        package: "tests",
        test: "fuzz_",
        settings: &[("MANTA_FUZZ_SECONDS", "600")],
    },
];

pub(crate) fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|n| PARTS.iter().all(|part| part.name != n.as_str()))
    {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!(
            "there is no part \"{unknown}\"; there are {}",
            known.join(", ")
        );
    }
    debian::install_for_tests()?;
    let clients = clients::install()?;
    run_command(&mut cargo([
        "build",
        "--release",
        "--package",
        "manta",
        "--bin",
        "manta",
    ]))?;
    let binary = tree::artefacts("release")?.join("manta");
    let commit = tree::commit()?;
    let mut failed = Vec::new();
    for part in PARTS
        .iter()
        .filter(|p| names.is_empty() || names.iter().any(|n| n == p.name))
    {
        let seed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("read the clock")?
            .as_secs();
        let started = Instant::now();
        // Optimised: a model of millions of states takes hours otherwise.
        let mut command = cargo(["test", "--profile", "fast", "--package", part.package]);
        command
            .args([part.test, "--", "--nocapture"])
            .env("MANTA_TEST_SEED", seed.to_string())
            .env("MORAY_SEED", seed.to_string())
            .env("MANTA_BIN", &binary)
            .env("MANTA_CLIENTS", &clients)
            .envs(part.settings.iter().copied());
        let passed = run_command(&mut command).is_ok();
        if !passed {
            failed.push(part.name);
        }
        let settings: Vec<String> = part
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        record(&format!(
            "| {} | {commit} | {seed} | {} | {} s | {} |",
            part.name,
            settings.join(" "),
            started.elapsed().as_secs(),
            if passed { "passed" } else { "FAILED" },
        ))?;
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("failed: {}", failed.join(", ")),
    }
}

fn record(line: &str) -> Result<()> {
    let path = tree::root().join("tests/SOAK.md");
    let mut file = File::options()
        .append(true)
        .open(&path)
        .context("open tests/SOAK.md")?;
    writeln!(file, "{line}").context("write tests/SOAK.md")
}

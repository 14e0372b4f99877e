//! The real clients of the ecosystem, installed unmodified below the target directory.
//!
//! Their versions, and those of everything they depend on, are pinned in `tests/clients/`; Spark, which benches
//! compare with, in `bench/spark/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run;
use crate::tree;

/// Installs the clients where they are not there yet; returns the directory that holds `npm`, `pypi` and
/// `schemathesis`.
pub(crate) fn install() -> Result<PathBuf> {
    let clients = tree::target_directory()?.join("clients");
    let pins = tree::root().join("tests/clients");
    once(
        &clients.join("npm"),
        &pins.join("package-lock.json"),
        |directory| {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(pins.join(file), directory.join(file))
                    .with_context(|| format!("copy {file}"))?;
            }
            // The scripts would only build a tracing module that the client works without.
            let quiet = [
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ];
            run(Command::new("npm").args(quiet).current_dir(directory))
        },
    )?;
    for (name, requirements) in [
        ("pypi", "requirements.txt"),
        ("schemathesis", "schemathesis.txt"),
    ] {
        let requirements = pins.join(requirements);
        once(&clients.join(name), &requirements, |directory| {
            python(directory, &requirements)
        })?;
    }
    Ok(clients)
}

/// Installs Spark where it is not there yet; returns its Python environment.
pub(crate) fn install_spark() -> Result<PathBuf> {
    let environment = tree::target_directory()?.join("clients/spark");
    let requirements = tree::root().join("bench/spark/requirements.txt");
    once(&environment, &requirements, |directory| {
        python(directory, &requirements)
    })?;
    Ok(environment)
}

/// A virtual environment with exactly the packages that are named.
fn python(directory: &Path, requirements: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    let quiet = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--requirement",
    ];
    run(Command::new(directory.join("bin/pip"))
        .args(quiet)
        .arg(requirements))
}

/// Runs `fill` on an empty directory, unless it was filled from the same pins before. The pins are copied
/// next to the directory last, so that an install that was cut short is done again.
fn once(directory: &Path, pins: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let wanted = fs::read(pins).with_context(|| format!("read {}", pins.display()))?;
    let done = directory.with_extension("pins");
    if fs::read(&done).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    fill(directory)?;
    fs::write(&done, wanted).with_context(|| format!("write {}", done.display()))
}

//! Measures a store as its users meet it, against the floors the project has set itself.
//!
//! Surprise: one thread does everything on this side, but for load at a fixed rate. Load generator and store
//! share the cores, so whatever is spent here is missing there.

mod arguments;
mod content;
mod histogram;
mod machine;
mod metrics;
mod processes;
mod report;

mod connection;
mod cpu_group;
mod signer;
mod store;

mod job;
mod load;
mod paced;
mod raw_load;
mod rows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, USAGE};
use crate::report::{Circumstances, Row};
use crate::rows::Kind;
use crate::store::Origin;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: a floor was missed, or a row failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every floor was met.
fn run() -> Result<bool> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
        // What is dropped here stops its store and removes its files.
        tokio::select! {
            result = perform(arguments) => result,
            _ = terminate.recv() => bail!("stopped by SIGTERM"),
            _ = interrupt.recv() => bail!("stopped by SIGINT"),
        }
    })
}

async fn perform(arguments: Arguments) -> Result<bool> {
    match arguments {
        Arguments::Help => {
            print!("{USAGE}");
            Ok(true)
        }
        Arguments::Load(load) => {
            println!("{}", raw_load::run(&load).await?);
            Ok(true)
        }
        Arguments::Rows {
            kinds,
            runs,
            write,
            scratch,
        } => measure(&kinds, runs, write.as_deref(), scratch).await,
    }
}

async fn measure(
    kinds: &[Kind],
    runs: usize,
    write: Option<&Path>,
    scratch: Option<PathBuf>,
) -> Result<bool> {
    let origin = Origin {
        manta: manta()?,
        below: scratch.unwrap_or_else(std::env::temp_dir),
    };
    if let Some(directory) = write.and_then(Path::parent) {
        let here = directory.as_os_str().is_empty() || directory.is_dir();
        ensure!(
            here,
            "{} is not there; start from the root of the workspace",
            directory.display()
        );
    }
    let circumstances = Circumstances {
        commit: machine::commit(),
        date: httpdate::fmt_http_date(SystemTime::now()),
        profile: profile(&origin.manta),
        machine: machine::describe(&origin.below)?,
        runs,
    };
    let rows = rows::run_all(kinds, runs, &origin).await?;
    let text = report::render(&rows, &circumstances);
    print!("{text}");
    if let Some(path) = write {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(rows.iter().all(Row::is_good))
}

/// `MANTA_BIN`, or the binary next to this one.
fn manta() -> Result<PathBuf> {
    let path = match std::env::var_os("MANTA_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()
            .context("find this program")?
            .with_file_name("manta"),
    };
    let path = path.canonicalize().with_context(|| {
        format!(
            "find {}; build it first: cargo build --release -p manta -p bench",
            path.display()
        )
    })?;
    Ok(path)
}

/// Cargo puts each profile into a directory of its name, but for the profile `dev`.
fn profile(manta: &Path) -> String {
    match manta
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
    {
        Some("debug") => "dev (not for comparison)".to_owned(),
        Some(name) => name.to_owned(),
        None => "unknown".to_owned(),
    }
}

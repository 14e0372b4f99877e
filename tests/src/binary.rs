//! Where the binary under test and the real clients lie.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The `manta` to test: `MANTA_BIN`, or the one next to the running test.
pub fn manta() -> Result<PathBuf> {
    let path = match std::env::var_os("MANTA_BIN") {
        Some(path) => PathBuf::from(path),
        None => artefacts(2)?.join("manta"),
    };
    if !path.is_file() {
        bail!(
            "{} is not there: run `cargo xtask test`, or `cargo build -p manta` first",
            path.display()
        );
    }
    Ok(path)
}

/// The directory of the real clients of npm and PyPI: `MANTA_CLIENTS`, or the one of the target directory.
pub fn clients() -> Result<PathBuf> {
    let path = match std::env::var_os("MANTA_CLIENTS") {
        Some(path) => PathBuf::from(path),
        None => artefacts(4)?.join("clients"),
    };
    if !path.is_dir() {
        bail!(
            "{} is not there: `cargo xtask test` installs the real clients",
            path.display()
        );
    }
    Ok(path)
}

/// A directory above the running test, which lies in `target/TRIPLE/PROFILE/deps`.
fn artefacts(levels_up: usize) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running test")?;
    let directory = own
        .ancestors()
        .nth(levels_up)
        .context("find the target directory")?;
    Ok(directory.to_path_buf())
}

//! Where things lie in the repository and in the target directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{cargo, output};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent()
        .expect("xtask lies in a directory of the repository")
        .to_path_buf()
}

/// What cargo knows of the workspace's own crates.
pub(crate) fn metadata() -> Result<Value> {
    let text = output(&mut cargo([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    serde_json::from_str(&text).context("understand `cargo metadata`")
}

/// The target directory, wherever the developer keeps it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    let directory = metadata["target_directory"].as_str();
    Ok(PathBuf::from(
        directory.context("`cargo metadata` names no target directory")?,
    ))
}

/// Where cargo puts what it builds with this profile. `.cargo/config.toml` names a target, so artefacts
/// lie in a directory of that name.
pub(crate) fn artefacts(profile: &str) -> Result<PathBuf> {
    let version = output(
        std::process::Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .arg("-vV"),
    )?;
    let triple = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` names no host")?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(target_directory()?.join(triple).join(directory))
}

/// The commit that is checked out, with a mark when files differ from it.
pub(crate) fn commit() -> Result<String> {
    let mut git = std::process::Command::new("git");
    git.args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(root());
    let commit = output(&mut git)?.trim().to_owned();
    // What the runs themselves write says nothing about what was run.
    let mut git = std::process::Command::new("git");
    git.args(["status", "--porcelain", "--untracked-files=no", "--", "."])
        .args([":(exclude)tests/SOAK.md", ":(exclude)bench/RESULTS.md"])
        .current_dir(root());
    let is_changed = !output(&mut git)?.trim().is_empty();
    Ok(if is_changed {
        commit + "-dirty"
    } else {
        commit
    })
}

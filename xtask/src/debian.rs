//! Programs the tests use, and the Debian packages they come from.
//!
//! Surprise: a program counts as there when it is found, whatever package manager brought it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{find, run, succeeds};

/// Program, its package, and who wants it.
const NEEDED: [(&str, &str, &str); 10] = [
    ("cc", "gcc", "the bundled SQLite is C"),
    ("strace", "strace", "tests read the order of system calls"),
    ("mkfs.ext4", "e2fsprogs", "disk limits of zones"),
    (
        "ssh-keygen",
        "openssh-client",
        "keys in every format, and ssh-agent",
    ),
    ("openssl", "openssl", "signatures made by another program"),
    ("setpriv", "util-linux", "tests that run as another user"),
    ("xargs", "findutils", "what a job is compared with"),
    ("node", "nodejs", "the real client of npm"),
    ("npm", "npm", "the real client of npm"),
    ("python3", "python3", "the real client of PyPI"),
];

/// Installs what is missing when root; otherwise fails with the one line to run.
pub(crate) fn install() -> Result<()> {
    let mut missing: Vec<&str> = Vec::new();
    for (program, package, reason) in NEEDED {
        if find(program).is_none() && !missing.contains(&package) {
            eprintln!("xtask: {program} is missing ({reason})");
            missing.push(package);
        }
    }
    if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        eprintln!("xtask: python3 cannot make virtual environments (the real client of PyPI)");
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let install = ["install", "--yes", "--no-install-recommends"];
    if !is_root()? {
        bail!(
            "run this once, then try again: sudo apt-get {} {}",
            install.join(" "),
            missing.join(" ")
        );
    }
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(install).args(&missing))
}

fn is_root() -> Result<bool> {
    let own = std::fs::metadata("/proc/self").context("look at /proc/self")?;
    Ok(own.uid() == 0)
}

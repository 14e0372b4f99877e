//! Programs that tests and benches use, and the Debian packages they come from.
//!
//! Surprise: a program counts as there when it is found, whatever package manager brought it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{find, run, succeeds};

/// Program, its package, and who wants it.
type Need = (&'static str, &'static str, &'static str);

const FOR_TESTS: [Need; 13] = [
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
    (
        "curl",
        "curl",
        "tasks that talk to the store without its tools",
    ),
    ("perl", "perl", "tasks that talk to the kernel"),
    (
        "reboot",
        "systemd-sysv",
        "tasks that try to reboot their zone",
    ),
    ("node", "nodejs", "the real client of npm"),
    ("npm", "npm", "the real client of npm"),
    ("python3", "python3", "the real client of PyPI"),
];

const FOR_BENCH: [Need; 4] = [
    ("xargs", "findutils", "what a job is compared with"),
    ("parallel", "parallel", "what a job is compared with"),
    ("java", "default-jre-headless", "Spark is compared with"),
    ("python3", "python3", "Spark is driven by it"),
];

pub(crate) fn install_for_tests() -> Result<()> {
    install(&FOR_TESTS)
}

pub(crate) fn install_for_bench() -> Result<()> {
    install(&FOR_BENCH)
}

/// Installs what is missing when root; otherwise fails with the one line to run.
fn install(needed: &[Need]) -> Result<()> {
    let mut missing: Vec<&str> = Vec::new();
    for (program, package, reason) in needed {
        if find(program).is_none() && !missing.contains(package) {
            eprintln!("xtask: {program} is missing ({reason})");
            missing.push(package);
        }
    }
    if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        eprintln!("xtask: python3 cannot make virtual environments (packages of PyPI)");
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

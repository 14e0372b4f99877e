//! A control group in which the kernel adds up the processor time of everything that ever ran in it.
//!
//! Adding up the times of processes would miss those that nobody waits for, as the zones of a store. Both
//! sides of a comparison run in such a group, so that both are measured the same way.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// How long processes that were told to end may take to leave their group.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where groups are made: the tree that accounts for processor time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    mount: PathBuf,
    /// Version 1: `cpuacct`. Version 2: empty, as in `/proc/PID/cgroup`.
    pub(crate) controller: &'static str,
}

impl Hierarchy {
    pub(crate) fn find() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
        Self::find_in(&mounts)
            .context("no control group tree that counts processor time is mounted")
    }

    fn find_in(mounts: &str) -> Option<Self> {
        let found = |kind: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let mut fields = line.split(' ').skip(1);
                let (point, found, options) = (fields.next()?, fields.next()?, fields.next()?);
                let has = option.is_empty() || options.split(',').any(|other| other == option);
                (found == kind && has).then(|| PathBuf::from(point))
            })
        };
        let v1 = found("cgroup", "cpuacct").map(|mount| Self {
            mount,
            controller: "cpuacct",
        });
        v1.or_else(|| {
            found("cgroup2", "").map(|mount| Self {
                mount,
                controller: "",
            })
        })
    }

    /// Processor time used below a group so far, by everything that ever was in it.
    pub(crate) fn used(&self, group: &Path) -> Result<Duration> {
        let directory = self.mount.join(group.strip_prefix("/").unwrap_or(group));
        let (file, key) = match self.controller {
            "cpuacct" => ("cpuacct.usage", ""),
            _ => ("cpu.stat", "usage_usec "),
        };
        let path = directory.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.parse().ok());
        let value = value.with_context(|| format!("understand {}", path.display()))?;
        Ok(if key.is_empty() {
            Duration::from_nanos(value)
        } else {
            Duration::from_micros(value)
        })
    }
}

/// A group of our own; removed when dropped, after its members have ended.
#[derive(Debug)]
pub(crate) struct CpuGroup {
    pub(crate) hierarchy: Hierarchy,
    /// As `/proc/PID/cgroup` shows it.
    pub(crate) path: PathBuf,
}

impl CpuGroup {
    /// `name` must not be in use; the process id is added to it.
    pub(crate) fn make(name: &str) -> Result<Self> {
        let hierarchy = Hierarchy::find()?;
        let name = format!("manta-bench-{}-{name}", std::process::id());
        let directory = hierarchy.mount.join(&name);
        fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(Self {
            hierarchy,
            path: Path::new("/").join(name),
        })
    }

    pub(crate) fn used(&self) -> Result<Duration> {
        self.hierarchy.used(&self.path)
    }

    /// Makes a command start as a member.
    pub(crate) fn adopt(&self, command: &mut Command) -> Result<()> {
        let members = self.members();
        let members = File::options()
            .write(true)
            .open(&members)
            .with_context(|| format!("open {}", members.display()))?;
        let members = OwnedFd::from(members);
        let join = move || {
            rustix::io::write(&members, b"0")
                .map(|_| ())
                .map_err(std::io::Error::from)
        };
        // SAFETY: between fork and exec the closure makes one system call on a descriptor it owns, and
        // neither allocates nor takes a lock.
        unsafe { command.pre_exec(join) };
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        self.hierarchy
            .mount
            .join(self.path.strip_prefix("/").unwrap_or(&self.path))
    }

    fn members(&self) -> PathBuf {
        self.directory().join("cgroup.procs")
    }

    fn remove(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            match remove_with_children(&self.directory()) {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > PATIENCE => {
                    let left = fs::read_to_string(self.members()).unwrap_or_default();
                    bail!("{error}; still in it: {}", left.replace('\n', " "));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// A member may have made groups below its own.
fn remove_with_children(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_with_children(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

impl Drop for CpuGroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!(
                "bench: {} is left behind: {error:#}",
                self.directory().display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_preferred_where_it_counts_processor_time() {
        let v1 = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n";
        let memory = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
        let v2 = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let hybrid = Hierarchy::find_in(&format!("{memory}{v2}{v1}")).unwrap();
        assert_eq!(hybrid.mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(hybrid.controller, "cpuacct");
        assert_eq!(
            Hierarchy::find_in(&format!("{memory}{v2}"))
                .unwrap()
                .controller,
            ""
        );
        assert_eq!(Hierarchy::find_in(memory), None);
    }
}

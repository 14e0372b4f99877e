//! The cgroups of one slot: joined by every zone of it in turn.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::layout::{Roots, Version, empty, remove_when_idle};
use super::{get_keyed, get_number, make_directory, set};

/// How long the kernel may take to see that a cgroup has become empty.
const IDLE_DEADLINE: Duration = Duration::from_secs(5);

/// What a zone may leave to the next one. Tasks that only compute leave about 1 MiB and must not wait for the
/// kernel to look for it; and half of the smallest limit there is remains the next zone's own in any case.
const REMAINS_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(crate) struct SlotCgroup {
    version: Version,
    roots: Roots,
}

/// How a zone gets into its v2 directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By `CLONE_INTO_CGROUP`. Kernels (6.18) kill at birth where `cgroup.kill` was not used as often on that directory
    /// as on the one of the parent.
    Born,
    /// By itself. Under a lock of the whole machine: 12 ms in the median until every core has seen it.
    Moved,
}

/// What a zone gets into its cgroups by.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// To be born in.
    pub(crate) directory: Option<OwnedFd>,
    /// Where "0" moves who writes it.
    pub(crate) files: Vec<OwnedFd>,
}

impl SlotCgroup {
    pub(super) fn make(version: Version, roots: Roots) -> io::Result<Self> {
        for directory in roots.distinct() {
            make_directory(directory)?;
        }
        Ok(Self { version, roots })
    }

    pub(crate) fn entrance(&self, way: Way) -> io::Result<Entrance> {
        let (mut directory, mut files) = (None, Vec::new());
        for path in self.roots.distinct() {
            let file = match (Some(path) == self.unified(), way) {
                (true, Way::Born) => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    directory = Some(rustix::fs::open(path, flags, Mode::empty())?);
                    continue;
                }
                (true, Way::Moved) => "cgroup.procs",
                // Moves only the writer, and so needs no lock.
                (false, _) => "tasks",
            };
            let file = File::options().write(true).open(path.join(file))?;
            files.push(file.into());
        }
        Ok(Entrance { directory, files })
    }

    /// The directory in the v2 tree.
    fn unified(&self) -> Option<&Path> {
        match self.version {
            Version::V2 => Some(&self.roots.memory),
            Version::V1 => self.roots.unified.as_deref(),
        }
    }

    /// Limits memory, swap included. `bytes` is rounded down to pages. Blocks while the kernel takes away what is
    /// in use above that.
    pub(crate) fn set_memory(&self, bytes: u64) -> io::Result<()> {
        let bytes = bytes & !0xfff;
        let value = bytes.to_string();
        let directory = &self.roots.memory;
        match self.version {
            Version::V2 => {
                set(directory, "memory.max", &value)?;
                if directory.join("memory.swap.max").exists() {
                    set(directory, "memory.swap.max", "0")?;
                }
                Ok(())
            }
            Version::V1 => {
                // Absent without swap accounting. Never below the other limit, or the kernel refuses.
                let swap = directory.join("memory.memsw.limit_in_bytes").exists();
                let raised = bytes > get_number(directory, "memory.limit_in_bytes")?;
                let set_swap = || match swap {
                    true => set(directory, "memory.memsw.limit_in_bytes", &value),
                    false => Ok(()),
                };
                if raised {
                    set_swap()?;
                    return set(directory, "memory.limit_in_bytes", &value);
                }
                set(directory, "memory.limit_in_bytes", &value)?;
                set_swap()
            }
        }
    }

    pub(crate) fn set_processes(&self, most: u32) -> io::Result<()> {
        set(&self.roots.pids, "pids.max", &most.to_string())
    }

    /// Processes the kernel has killed here for want of memory, ever.
    pub(crate) fn oom_kills(&self) -> io::Result<u64> {
        match self.version {
            Version::V1 => get_keyed(&self.roots.memory, "memory.oom_control", "oom_kill "),
            Version::V2 => get_keyed(&self.roots.memory, "memory.events", "oom_kill "),
        }
    }

    /// Starts a new measurement of [`peak_bytes`](Self::peak_bytes), where the kernel can.
    pub(crate) fn reset_peak(&self) -> io::Result<()> {
        match self.version {
            Version::V1 => std::fs::write(self.roots.memory.join("memory.max_usage_in_bytes"), "0"),
            // Resettable only through a descriptor kept open, since 6.12; without it the peak is the slot's.
            Version::V2 => Ok(()),
        }
    }

    /// The most memory in use at once, with what earlier zones have left: little on v1, as
    /// [`give_back`](Self::give_back) sees to it. `None` where the kernel does not say (v2 before 5.19).
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        let file = match self.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        get_number(&self.roots.memory, file).ok()
    }

    /// CPU time used here, ever.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        match self.version {
            Version::V1 => {
                get_number(&self.roots.cpuacct, "cpuacct.usage").map(Duration::from_nanos)
            }
            Version::V2 => {
                get_keyed(&self.roots.cpu, "cpu.stat", "usage_usec ").map(Duration::from_micros)
            }
        }
    }

    /// The same by who used it: programs, and the kernel for them.
    pub(crate) fn cpu_parts(&self) -> io::Result<[Duration; 2]> {
        match self.version {
            Version::V1 => {
                let part = |file| get_number(&self.roots.cpuacct, file).map(Duration::from_nanos);
                Ok([part("cpuacct.usage_user")?, part("cpuacct.usage_sys")?])
            }
            Version::V2 => {
                let part =
                    |key| get_keyed(&self.roots.cpu, "cpu.stat", key).map(Duration::from_micros);
                Ok([part("user_usec ")?, part("system_usec ")?])
            }
        }
    }

    /// Memory in use.
    pub(crate) fn memory_bytes(&self) -> io::Result<u64> {
        let file = match self.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        get_number(&self.roots.memory, file)
    }

    /// Processes and threads in it.
    pub(crate) fn population(&self) -> io::Result<u64> {
        get_number(&self.roots.pids, "pids.current")
    }

    /// Whether the last zone has left more than the next one should be charged with, that only goes with its mounts:
    /// files in memory, and what the kernel knows of its files.
    pub(crate) fn mounts_hold_much(&self) -> bool {
        let memory = &self.roots.memory;
        let files = get_keyed(memory, "memory.stat", "shmem ");
        let kernel = match self.version {
            // Absent without accounting of the kernel's memory.
            Version::V1 => get_number(memory, "memory.kmem.usage_in_bytes"),
            Version::V2 => get_keyed(memory, "memory.stat", "slab "),
        };
        files.unwrap_or(0).saturating_add(kernel.unwrap_or(0)) > REMAINS_MAX
    }

    /// Gives back what the last zone has left, if it is much. Blocks: some milliseconds for each 10 MiB.
    ///
    /// Only while nobody is in it, since it would take the pages of whoever is. Best effort, and v1 only: what stays
    /// is charged to the next zone, and is the first to go under its pressure.
    pub(crate) fn give_back(&self) {
        let is_much = || self.memory_bytes().is_ok_and(|bytes| bytes > REMAINS_MAX);
        if self.version == Version::V1 && is_much() {
            let _ = std::fs::write(self.roots.memory.join("memory.force_empty"), "0");
        }
    }

    /// Kills every member at once, where the kernel can, and makes the directories anew: see [`Way::Born`].
    /// Blocks until it is empty.
    pub(crate) fn kill(&self) -> io::Result<()> {
        if let Some(directory) = self.unified() {
            // Absent before 5.14; then the loop below does it one by one.
            let _ = std::fs::write(directory.join("cgroup.kill"), "1");
        }
        let removed = self.remove();
        // Also where something could not be removed: what was must be there again.
        for directory in self.roots.distinct() {
            make_directory(directory)?;
        }
        removed
    }

    /// Kills what is left and removes the directories.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + IDLE_DEADLINE;
        for directory in self.roots.distinct() {
            if directory.exists() {
                empty(directory, deadline)?;
                remove_when_idle(directory, deadline)?;
            }
        }
        Ok(())
    }
}

//! What the machine holds: processes, mounts, control groups, loop devices, files. Tests compare it before
//! and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A process and all that came from it, itself first. Gone ones are left out.
#[must_use]
pub fn process_tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in process_ids() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        tree.extend(children.get(&tree[next]).into_iter().flatten());
        next += 1;
    }
    tree.retain(|pid| Path::new(&format!("/proc/{pid}")).exists());
    tree
}

/// The processes that a process started.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let mut all = process_ids();
    all.retain(|pid| parent_of(*pid) == Some(parent));
    all
}

/// All processes of the machine.
#[must_use]
pub fn process_ids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, parentheses included.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// The pid 1, as the machine knows it, of the zone of a store in which a process with this argument runs.
#[must_use]
pub fn zone_init(store: u32, argument: &str) -> Option<u32> {
    let has_it = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words
            .split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    };
    let mut pid = process_tree(store).into_iter().find(has_it)?;
    // A process has an id in each of its namespaces, the innermost last.
    let is_first = |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        ids.and_then(|ids| ids.split_whitespace().nth_back(0)) == Some("1")
    };
    while !is_first(pid) {
        pid = parent_of(pid).filter(|parent| *parent > 1)?;
    }
    Some(pid)
}

/// Resident memory of one process, in bytes; 0 when it is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:") * 1024
}

/// The most resident memory that one process ever had, in bytes; 0 when it is gone.
#[must_use]
pub fn peak_resident_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:") * 1024
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// What the zones of one store have in the kernel, and could leave behind. Other stores may run beside it, so
/// only what bears its marks counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub mounts: BTreeSet<String>,
    pub control_groups: BTreeSet<PathBuf>,
    pub loop_devices: BTreeSet<String>,
}

impl Holdings {
    /// What is there now of the store below `directory`, whose control groups have `group` in their names.
    pub fn of(directory: &Path, group: Option<&str>) -> Result<Self> {
        let directory = directory.to_str().context("a path")?;
        let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
        let mounts = mounts.lines().filter(|line| line.contains(directory));
        let mut control_groups = BTreeSet::new();
        if let Some(group) = group {
            collect_directories(Path::new("/sys/fs/cgroup"), &mut control_groups);
            control_groups.retain(|path| path.to_string_lossy().contains(group));
        }
        let mut loop_devices = BTreeSet::new();
        for entry in fs::read_dir("/sys/block")
            .context("list block devices")?
            .flatten()
        {
            // There is no such file while nothing is attached.
            let backing = fs::read_to_string(entry.path().join("loop/backing_file"));
            if backing.is_ok_and(|file| file.contains(directory)) {
                loop_devices.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(Self {
            mounts: mounts.map(str::to_owned).collect(),
            control_groups,
            loop_devices,
        })
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mounts.is_empty() && self.control_groups.is_empty() && self.loop_devices.is_empty()
    }
}

fn collect_directories(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    // Groups come and go while we look; what cannot be listed any more is gone.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_directories(&entry.path(), found);
            found.insert(entry.path());
        }
    }
}

/// Files (not directories) below a directory, with their sizes in bytes.
pub fn files_below(directory: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut files = BTreeMap::new();
    let mut rest = vec![directory.to_path_buf()];
    while let Some(directory) = rest.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("list {}", directory.display()))?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => rest.push(entry.path()),
                Ok(metadata) => {
                    files.insert(entry.path(), metadata.len());
                }
                // Removed since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(files)
}

#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a command line runs on this machine, in a zone or not.
#[must_use]
pub fn runs(line: &[&str]) -> bool {
    let wanted: Vec<u8> = line
        .iter()
        .flat_map(|word| [word.as_bytes(), b"\0"].concat())
        .collect();
    process_ids().iter().any(|id| {
        std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|cmdline| cmdline == wanted)
    })
}

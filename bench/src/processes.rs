//! What `/proc` says about a process and those that came from it.
//!
//! Surprise: everything here tolerates that a process ends while it is looked at; what is gone counts nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of `/proc/stat` in a second, the same on every Linux that we build for.
const TICKS: u64 = 100;

/// A process and all that came from it, itself first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        tree.extend(children.get(&tree[next]).into_iter().flatten());
        next += 1;
    }
    tree
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, parentheses included.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Of a tree, the processes in the process namespace of its root: the store's own, and none in a zone.
pub(crate) fn outside_zones(root: u32) -> Vec<u32> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(root);
    tree(root)
        .into_iter()
        .filter(|pid| namespace(*pid) == own)
        .collect()
}

/// Resident memory of a process, now and at most so far, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

pub(crate) fn resident(pid: u32) -> Resident {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .map(|status| resident_in(&status))
        .unwrap_or_default()
}

fn resident_in(status: &str) -> Resident {
    let bytes = |field: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(field))?;
        value
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    };
    Resident {
        now: bytes("VmRSS:").unwrap_or(0),
        peak: bytes("VmHWM:").unwrap_or(0),
    }
}

/// The control group of a process in one hierarchy: `cpuacct` for example, or empty for version 2.
pub(crate) fn control_group(pid: u32, controller: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    control_group_in(&groups, controller)
}

fn control_group_in(groups: &str, controller: &str) -> Option<PathBuf> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers
            .split(',')
            .any(|other| other == controller)
            .then(|| PathBuf::from(path))
    })
}

/// Processor time of the calling thread since it began.
pub(crate) fn own_thread_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("read schedstat")?;
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    Ok(Duration::from_nanos(
        nanoseconds.context("understand schedstat")?,
    ))
}

/// Busy time of all cores since the machine started, kernel threads included.
pub(crate) fn machine_busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    busy_in(&stat).context("understand /proc/stat")
}

fn busy_in(stat: &str) -> Option<Duration> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are in user already, and what was stolen by
    // other machines is nobody's work here.
    let busy = ticks.get(..3)?.iter().chain(ticks.get(5..7)?).sum::<u64>();
    Some(Duration::from_millis(busy * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_this_process_holds_its_child() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let tree = tree(std::process::id());
        let (outside, memory) = (
            outside_zones(std::process::id()),
            resident(std::process::id()),
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(tree[0], std::process::id());
        assert!(tree.contains(&child.id()) && outside.contains(&child.id()));
        assert!(memory.now > 0 && memory.peak >= memory.now);
    }

    #[test]
    fn a_status_names_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(
            resident_in(status),
            Resident {
                now: 1 << 20,
                peak: 2 << 20
            }
        );
        assert_eq!(resident_in("Name:\tkthread\n"), Resident::default());
    }

    #[test]
    fn groups_are_found_in_both_versions() {
        let groups = "5:cpu,cpuacct:/zones/one\n4:memory:/x\n0::/user.slice/a:b\n";
        assert_eq!(
            control_group_in(groups, "cpuacct"),
            Some("/zones/one".into())
        );
        assert_eq!(control_group_in(groups, ""), Some("/user.slice/a:b".into()));
        assert_eq!(control_group_in(groups, "pids"), None);
    }

    #[test]
    fn waiting_is_not_work() {
        let busy = busy_in("cpu  100 10 50 9999 888 5 5 7 0 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(busy, Duration::from_millis(1700));
    }
}

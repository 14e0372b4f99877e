//! Finding out which hierarchies there are, and our directories at the top of them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{SlotCgroup, get, make_directory, named, remove_directory, set};

/// How long the processes of a crashed host may take to die.
const DEATH_DEADLINE: Duration = Duration::from_secs(30);

const PREFIX: &str = "manta-";

/// What everything of `host` is called that needs a name outside its directory.
pub(crate) fn name(host: u64) -> String {
    format!("{PREFIX}{host:016x}")
}

/// The cgroups of one host.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    version: Version,
    /// Our directory in each tree, by what the tree is for.
    roots: Roots,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// On v2 all of them are the same directory.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub(super) memory: PathBuf,
    pub(super) pids: PathBuf,
    pub(super) cpu: PathBuf,
    /// v1: where used CPU time is counted.
    pub(super) cpuacct: PathBuf,
    /// v1: the v2 tree beside, for killing.
    pub(super) unified: Option<PathBuf>,
}

impl Roots {
    /// Every directory once.
    pub(super) fn distinct(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> = [&self.memory, &self.pids, &self.cpu, &self.cpuacct]
            .map(PathBuf::as_path)
            .into();
        all.extend(self.unified.as_deref());
        let mut seen = Vec::new();
        all.retain(|path| {
            let new = !seen.contains(path);
            seen.push(path);
            new
        });
        all
    }

    pub(super) fn below(&self, name: &str) -> Self {
        Self {
            memory: self.memory.join(name),
            pids: self.pids.join(name),
            cpu: self.cpu.join(name),
            cpuacct: self.cpuacct.join(name),
            unified: self.unified.as_ref().map(|path| path.join(name)),
        }
    }
}

/// What `/proc/self/mountinfo` says about cgroups.
#[derive(Debug, Default)]
struct Mounted {
    /// Mount point of each v1 controller.
    v1: BTreeMap<String, PathBuf>,
    v2: Option<PathBuf>,
}

impl Cgroups {
    /// Chooses a layout and makes `host`'s directories in it, after removing what a crashed one left there.
    /// Blocks, after a crash until the old processes are dead. Errors say which controller is missing.
    pub(crate) fn open(host: u64, slots: usize) -> io::Result<Self> {
        let name = &name(host);
        let mounted = Mounted::parse(&std::fs::read_to_string("/proc/self/mountinfo")?);
        let (version, roots) = choose(&mounted, name)?;
        let cgroups = Self { version, roots };
        cgroups.remove()?;
        for root in cgroups.roots.distinct() {
            make_directory(root)?;
        }
        // All zones together weigh as much as one ordinary process for each core they can use: see `precedence`.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let processes = slots.min(cores) as u64;
        match version {
            Version::V1 => {
                let shares = (1024 * processes).min(262_144);
                set(&cgroups.roots.cpu, "cpu.shares", &shares.to_string())?;
            }
            Version::V2 => {
                let enable = "+memory +pids +cpu";
                let file = cgroups.roots.memory.join("cgroup.subtree_control");
                std::fs::write(&file, enable).map_err(|error| named(&file, error))?;
                let weight = (100 * processes).min(10_000);
                set(&cgroups.roots.cpu, "cpu.weight", &weight.to_string())?;
            }
        }
        Ok(cgroups)
    }

    /// One word for logs.
    pub(crate) fn layout(&self) -> &'static str {
        match (self.version, &self.roots.unified) {
            (Version::V2, _) => "v2",
            (Version::V1, Some(_)) => "hybrid",
            (Version::V1, None) => "v1",
        }
    }

    pub(crate) fn slot(&self, name: &str) -> io::Result<SlotCgroup> {
        SlotCgroup::make(self.version, self.roots.below(name))
    }

    /// Removes what hosts that are dead have left: empty directories, since their processes died with them.
    /// `dead` lends the name of a host that is; while it is lent nobody can become that host.
    pub(crate) fn sweep<T>(&self, dead: impl Fn(u64) -> Option<T>) {
        for parent in self.roots.distinct().into_iter().filter_map(Path::parent) {
            for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let host = name.to_str().and_then(|name| {
                    let digits = name
                        .strip_prefix(PREFIX)
                        .filter(|digits| digits.len() == 16)?;
                    u64::from_str_radix(digits, 16).ok()
                });
                let Some(_lent) = host.and_then(&dead) else {
                    continue;
                };
                // One that still has processes stays for the next sweep.
                for child in std::fs::read_dir(entry.path())
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    let _ = std::fs::remove_dir(child.path());
                }
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }

    /// Kills what is below our directories and removes them.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + DEATH_DEADLINE;
        for root in self.roots.distinct() {
            let children = match std::fs::read_dir(root) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for child in children {
                let child = child?.path();
                if child.is_dir() {
                    empty(&child, deadline)?;
                    remove_when_idle(&child, deadline)?;
                }
            }
            empty(root, deadline)?;
            remove_when_idle(root, deadline)?;
        }
        Ok(())
    }
}

/// Kills the members of `directory` until there is none.
pub(super) fn empty(directory: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        let members = get(directory, "cgroup.procs")?;
        if members.is_empty() {
            return Ok(());
        }
        for pid in members.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // Gone in the meantime is as good.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "{}: processes do not die",
                directory.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `rmdir` fails for a moment after the last member has died.
pub(super) fn remove_when_idle(directory: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        match remove_directory(directory) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

fn choose(mounted: &Mounted, name: &str) -> io::Result<(Version, Roots)> {
    let v1 = |controller: &str| mounted.v1.get(controller).map(|mount| mount.join(name));
    if let (Some(memory), Some(pids), Some(cpu)) = (v1("memory"), v1("pids"), v1("cpu")) {
        let cpuacct = v1("cpuacct").unwrap_or_else(|| cpu.clone());
        let unified = mounted.v2.as_ref().map(|mount| mount.join(name));
        return Ok((
            Version::V1,
            Roots {
                memory,
                pids,
                cpu,
                cpuacct,
                unified,
            },
        ));
    }
    let Some(mount) = &mounted.v2 else {
        return Err(io::Error::other(
            "no cgroup tree with memory, pids and cpu is mounted",
        ));
    };
    let available = get(mount, "cgroup.controllers")?;
    let missing: Vec<_> = ["memory", "pids", "cpu"]
        .into_iter()
        .filter(|wanted| !available.split(' ').any(|controller| controller == *wanted))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(io::Error::other(format!(
            "no cgroup controller {missing} (v1 or v2)"
        )));
    }
    let root = parent_v2(mount)?.join(name);
    let roots = Roots {
        memory: root.clone(),
        pids: root.clone(),
        cpu: root.clone(),
        cpuacct: root,
        unified: None,
    };
    Ok((Version::V2, roots))
}

/// Where our v2 directory goes: below our own cgroup if it can be split, else at the top.
fn parent_v2(mount: &Path) -> io::Result<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup")?
        .lines()
        .find_map(|line| Some(line.strip_prefix("0::/")?.to_owned()))
        .unwrap_or_default();
    let own = mount.join(own);
    match split(&own, mount) {
        Ok(()) => Ok(own),
        Err(_) if own != *mount => split(mount, mount).map(|()| mount.to_owned()),
        Err(error) => Err(error),
    }
}

/// Enables the controllers for children of `directory`. One with processes in it may not (the top may), so
/// we move into a leaf first; that works only when nobody else is in there.
fn split(directory: &Path, top: &Path) -> io::Result<()> {
    let control = directory.join("cgroup.subtree_control");
    let enable =
        || std::fs::write(&control, "+memory +pids +cpu").map_err(|error| named(&control, error));
    if directory == top || enable().is_ok() {
        return enable();
    }
    let own = std::process::id().to_string();
    if get(directory, "cgroup.procs")?
        .lines()
        .any(|pid| pid != own)
    {
        return Err(io::Error::other(format!(
            "{}: shared with others",
            directory.display()
        )));
    }
    let leaf = directory.join("agent");
    make_directory(&leaf)?;
    let procs = leaf.join("cgroup.procs");
    std::fs::write(&procs, "0").map_err(|error| named(&procs, error))?;
    enable()
}

impl Mounted {
    fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = left.split(' ').nth(4) else {
                continue;
            };
            let mut right = right.split(' ');
            let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
            let point = PathBuf::from(unescape(point));
            match kind {
                Some("cgroup2") => found.v2 = found.v2.or(Some(point)),
                Some("cgroup") => {
                    for controller in options.split(',').filter(|option| !option.contains('=')) {
                        found
                            .v1
                            .entry(controller.to_owned())
                            .or_insert_with(|| point.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }
}

/// `mountinfo` writes blanks as octal escapes.
fn unescape(field: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(field.to_owned(), |text, (escape, plain)| {
        text.replace(escape, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn a_hybrid_machine_has_v1_controllers_and_a_v2_tree() {
        let (version, roots) = choose(&Mounted::parse(HYBRID), "manta-x").unwrap();
        assert_eq!(version, Version::V1);
        assert_eq!(roots.memory, Path::new("/sys/fs/cgroup/memory/manta-x"));
        assert_eq!(
            roots.unified.as_deref(),
            Some(Path::new("/sys/fs/cgroup/uni fied/manta-x"))
        );
        assert_eq!(roots.distinct().len(), 4);
    }

    #[test]
    fn a_pure_v1_machine_needs_no_v2_tree() {
        let text: Vec<_> = HYBRID
            .lines()
            .filter(|line| !line.contains("cgroup2"))
            .collect();
        let (version, roots) = choose(&Mounted::parse(&text.join("\n")), "manta-x").unwrap();
        assert_eq!((version, roots.unified), (Version::V1, None));
    }

    #[test]
    fn a_v2_machine_without_a_controller_is_refused_by_name() {
        let dir = std::env::temp_dir().join(format!("triton-v2-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("cgroup.controllers"), "cpuset cpu pids\n").unwrap();
        let line = format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw", dir.display());
        let refused = choose(&Mounted::parse(&line), "manta-x")
            .unwrap_err()
            .to_string();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(
            refused.contains("memory") && !refused.contains("pids,"),
            "{refused}"
        );
        assert!(choose(&Mounted::default(), "manta-x").is_err());
    }
}

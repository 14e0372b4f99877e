//! A host in a temporary directory, commands in its zones, and counts of what the machine lends.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test file uses its part"
)]

pub mod hostile;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libmanta::triton::{Command, Exit, Zone, ZoneError, ZoneSpec, Zones as _};
use triton::{Config, Host, ZygoteProgram};

pub const MIB: u64 = 1 << 20;
/// Small, so that tests fill them quickly.
pub const SPEC: ZoneSpec = ZoneSpec {
    memory_bytes: 256 * MIB,
    disk_bytes: 64 * MIB,
    image: None,
};

/// Gives this test mounts of its own, so that [`mounts`] shows nothing of what others on the machine do
/// meanwhile. Shared, as the machine's are: what a zygote mounts and does not keep to itself comes back here.
pub fn own_mounts() {
    use rustix::mount::MountPropagationFlags as Propagation;
    // SAFETY: mounts of this thread, and of threads it starts afterwards; no memory or descriptor is touched.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
    for kind in [Propagation::PRIVATE, Propagation::SHARED] {
        rustix::mount::mount_change("/", kind | Propagation::REC).unwrap();
    }
}

/// All mounts there are for this thread.
pub fn mounts() -> String {
    // Not "self": that is the first thread, and this need not be it.
    std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

/// These tests make namespaces, cgroups and mounts.
pub fn need_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "zones are tested as root; run these tests with sudo, or leave out the package triton"
    );
}

pub fn zygote() -> ZygoteProgram {
    ZygoteProgram {
        program: env!("CARGO_BIN_EXE_triton-zygote").into(),
        args: Vec::new(),
    }
}

/// The directory of the attack program, shown to zones as their tools.
pub fn tools(below: &Path) -> PathBuf {
    let tools = below.join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_triton-attack"), tools.join("attack")).unwrap();
    tools
}

pub fn config(below: &Path, slots: usize) -> Config {
    let mut config = Config::new(below.join("state"));
    config.slots = slots;
    config.zygote = zygote();
    config.tools = Some(tools(below));
    config.memory_bytes = SPEC.memory_bytes;
    config.disk_bytes = SPEC.disk_bytes;
    config
}

/// One host and where it lives.
pub struct Site {
    pub host: Arc<Host>,
    pub directory: tempfile::TempDir,
}

impl Site {
    pub async fn new(slots: usize) -> Self {
        Self::with(slots, |_| {}).await
    }

    pub async fn with(slots: usize, change: impl FnOnce(&mut Config)) -> Self {
        need_root();
        own_mounts();
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path(), slots);
        change(&mut config);
        let host = Host::start(config).await.expect("zones on this machine");
        Self { host, directory }
    }

    pub async fn zone(&self) -> Box<dyn Zone> {
        within(60, "acquire a zone", self.host.acquire(SPEC))
            .await
            .unwrap()
    }

    /// Every slot ready or still in use: nothing that happened may cost one.
    pub async fn all_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let stats = self.host.stats();
            assert_eq!(stats.disabled, 0, "{stats:?}");
            if stats.uninit == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "slots not ready: {stats:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn end(self) {
        within(60, "shut down", self.host.shutdown()).await;
    }
}

/// Where a site keeps its state: a disk of its own in memory, of so many bytes. Seen by this test alone.
pub fn small_disk(config: &mut Config, size: &str) {
    std::fs::create_dir(&config.state_dir).unwrap();
    let options = std::ffi::CString::new(format!("size={size},mode=0700")).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("disk", &config.state_dir, "tmpfs", flags, &*options).unwrap();
}

impl Site {
    /// Of one on a [`small_disk`], which can be unmounted when nothing of the host is left.
    pub async fn end_with_disk(self) {
        let Self { host, directory } = self;
        within(60, "shut down", host.shutdown()).await;
        drop(host);
        let disk = directory.path().join("state");
        rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::empty()).unwrap();
    }
}

pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not done within {seconds} s"),
    }
}

/// What a command left behind.
#[derive(Debug)]
pub struct Outcome {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn code(&self) -> Option<i32> {
        match self.exit.status {
            libmanta::triton::ExitStatus::Code(code) => Some(code),
            libmanta::triton::ExitStatus::Signal(_) => None,
        }
    }
}

pub fn environment() -> Vec<(String, String)> {
    [
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        (
            "PATH",
            "/opt/marlin/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin",
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

pub fn null() -> OwnedFd {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
        .into()
}

pub fn shell(line: &str) -> Vec<String> {
    ["/bin/bash", "--norc", "-c", line]
        .map(str::to_owned)
        .into()
}

/// Runs a shell line and collects its output.
pub async fn sh(zone: &mut dyn Zone, line: &str) -> Outcome {
    try_sh(zone, line, null())
        .await
        .unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

pub async fn try_sh(zone: &mut dyn Zone, line: &str, stdin: OwnedFd) -> Result<Outcome, ZoneError> {
    let stdout = zone.output_file().await?;
    let stderr = zone.output_file().await?;
    let command = Command {
        argv: shell(line),
        env: environment(),
        stdin,
        stdout: stdout.try_clone().unwrap().into(),
        stderr: stderr.try_clone().unwrap().into(),
    };
    let exit = within(120, line, zone.run(command)).await?;
    Ok(Outcome {
        exit,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

/// The first MiB of a file.
pub fn text(mut file: File) -> String {
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.take(MIB).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs `line` and asserts that it succeeds and prints `expected`.
pub async fn says(zone: &mut dyn Zone, line: &str, expected: &str) {
    let outcome = sh(zone, line).await;
    assert_eq!(outcome.stdout.trim(), expected, "{line}\n{outcome:?}");
    assert_eq!(outcome.code(), Some(0), "{line}\n{outcome:?}");
}

/// What this process, its children and the machine hold for the host in `directory`.
#[derive(Clone, PartialEq, Eq)]
pub struct Counts {
    pub mounts: usize,
    pub cgroups: usize,
    pub loops: usize,
    pub descendants: usize,
    pub descriptors: usize,
    pub files: BTreeSet<PathBuf>,
}

impl Counts {
    pub fn take(directory: &Path) -> Self {
        Self {
            mounts: mounts().lines().count(),
            cgroups: cgroups(directory).len(),
            loops: loops(directory),
            descendants: descendants(std::process::id()),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            files: files(directory),
        }
    }

    /// Says what grew, without listing thousands of files.
    pub fn assert_same(&self, after: &Self) {
        let figures = |counts: &Self| {
            (
                counts.mounts,
                counts.cgroups,
                counts.loops,
                counts.descendants,
                counts.descriptors,
            )
        };
        let changed: Vec<_> = self
            .files
            .symmetric_difference(&after.files)
            .take(20)
            .collect();
        assert_eq!(changed, Vec::<&PathBuf>::new(), "files");
        assert_eq!(
            figures(self),
            figures(after),
            "mounts, cgroups, loops, processes, descriptors"
        );
    }
}

/// Cgroups of hosts below `directory`: those whose name belongs to a state directory there.
pub fn cgroups(directory: &Path) -> Vec<PathBuf> {
    let state = directory
        .join("state")
        .canonicalize()
        .unwrap_or_else(|_| directory.join("state"));
    let hash = state
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let name = format!("manta-{hash:016x}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut found = Vec::new();
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let root = Path::new(line.split(' ').nth(4).unwrap()).join(&name);
        if root.is_dir() {
            let children = std::fs::read_dir(&root)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            found.extend(children.filter(|path| path.is_dir()));
            found.push(root);
        }
    }
    found
}

/// Processes in the cgroups of the host below `directory`: those in its zones.
pub fn pids_of(directory: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for cgroup in cgroups(directory) {
        let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    found.sort_unstable();
    found.dedup();
    found
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// The parents of zones. By way of the zones, since this process may run other tests.
pub fn zygotes(directory: &Path) -> BTreeSet<i32> {
    let inside = pids_of(directory);
    let parent = |pid: &i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse().ok()
    };
    let parents = inside.iter().filter_map(parent);
    parents.filter(|pid| !inside.contains(pid)).collect()
}

/// Waits until `condition`; panics with `what` after half a minute.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Loop devices whose file is below `directory`.
pub fn loops(directory: &Path) -> usize {
    let directory = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    std::fs::read_dir("/sys/block")
        .unwrap()
        .filter_map(|entry| {
            std::fs::read_to_string(entry.ok()?.path().join("loop/backing_file")).ok()
        })
        .filter(|backing| Path::new(backing.trim()).starts_with(&directory))
        .count()
}

/// Processes below `ancestor`, zombies included.
pub fn descendants(ancestor: u32) -> usize {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let Some(parent) = rest
            .split_whitespace()
            .nth(1)
            .and_then(|field| field.parse().ok())
        else {
            continue;
        };
        parents.push((pid, parent));
    }
    let mut known = BTreeSet::from([ancestor]);
    loop {
        let before = known.len();
        known.extend(
            parents
                .iter()
                .filter(|(_, parent)| known.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if known.len() == before {
            return before - 1;
        }
    }
}

pub fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
    }
    found
}

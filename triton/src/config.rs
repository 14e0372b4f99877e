//! What the operator may choose. Nothing here changes what a zone promises; only how many there are and
//! where they put things.

use std::path::PathBuf;
use std::time::Duration;

use libmanta::Version;
use libmanta::triton::Isolation;

/// Settings of a [`Host`](crate::Host).
#[derive(Clone, Debug)]
pub struct Config {
    /// A directory of our own, made when missing. One host at a time: it is locked. Its path names
    /// everything the host makes elsewhere, so that a host started here again finds what a crash left.
    pub state_dir: PathBuf,
    /// Zones at once, 1 to 128. Default 8.
    pub slots: usize,
    /// A directory shown read-only at `/opt/marlin/bin`.
    pub tools: Option<PathBuf>,
    pub zygote: ZygoteProgram,
    /// `None`: zones as root, user namespaces otherwise. [`Isolation::Process`] is never chosen by itself.
    pub isolation: Option<Isolation>,
    pub scratch: ScratchKind,
    /// Memory of a zone whose job asks for none. Default 1 GiB.
    pub memory_bytes: u64,
    /// Disk of a zone whose job asks for none. Default 8 GiB. A limit, not a reservation; made smaller, but
    /// not below 1 GiB, when the disks of all zones would be more than is free.
    pub disk_bytes: u64,
    /// Memory all zones together may use above `memory_bytes` each. Default: 20% of the machine's.
    pub memory_slop_bytes: Option<u64>,
    /// Disk all zones together may use above `disk_bytes` each. Default: 15% of the file system of
    /// `state_dir`.
    pub disk_slop_bytes: Option<u64>,
    /// Processes and threads of a zone. Default 512.
    pub processes: u32,
    /// Whether zones see `/usr/local` of this machine. Default no.
    pub usr_local: bool,
    /// Imported images, which zones are made of when a job asks for them.
    pub images: Option<PathBuf>,
    /// What this machine's own programs answer to when a job asks for an image. Default 16.1.0.
    pub host_version: Version,
    /// How long zones of an imported image stay ready, and it cannot be removed, after their last task. Default 60 s.
    pub image_idle: Duration,
    /// Not root: whether tasks of several accounts may run without memory and process limits. With a
    /// single account they may in any case: say so here. Default no.
    pub allow_unlimited: bool,
}

/// How to start the zygote: something that calls [`zygote::main`](crate::zygote::main) first thing.
#[derive(Clone, Debug)]
pub struct ZygoteProgram {
    pub program: PathBuf,
    pub args: Vec<String>,
}

impl Default for ZygoteProgram {
    /// This executable, with the hidden argument.
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            args: vec![crate::ZYGOTE_ARGUMENT.to_owned()],
        }
    }
}

/// Where the writable layers of zones are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScratchKind {
    /// Fresh loop file systems.
    #[default]
    Loop,
    /// Memory, counted against the zone that writes.
    Tmpfs,
}

impl Config {
    /// The defaults, over `state_dir`.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            slots: 8,
            tools: None,
            zygote: ZygoteProgram::default(),
            isolation: None,
            scratch: ScratchKind::Loop,
            memory_bytes: 1 << 30,
            disk_bytes: 8 << 30,
            memory_slop_bytes: None,
            disk_slop_bytes: None,
            processes: 512,
            usr_local: false,
            images: None,
            host_version: Version::new(16, 1, 0),
            image_idle: Duration::from_secs(60),
            allow_unlimited: false,
        }
    }
}

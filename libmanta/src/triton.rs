//! The zone port: places where a user's command can run and touch nothing else.
//! Source: zones.md.

use std::fmt;
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

/// The zones of one machine.
#[async_trait]
pub trait Zones: Send + Sync + fmt::Debug {
    /// How commands are held in.
    fn isolation(&self) -> Isolation;

    /// Zones that can be in use at once, disabled ones not counted.
    fn capacity(&self) -> usize;

    /// Versions of the images that zones can be made of, oldest first.
    async fn images(&self) -> Vec<String>;

    /// Waits for a ready zone, first come first served. Cancel-safe.
    async fn acquire(&self, spec: ZoneSpec) -> Result<Box<dyn Zone>, ZoneError>;

    fn stats(&self) -> ZoneStats;

    /// Destroys every zone and gives back what the machine lent: processes, mounts, cgroups, loop devices,
    /// files. Zones still in use are killed. Nothing can be acquired afterwards.
    async fn shutdown(&self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Namespaces, cgroups, seccomp, disk limit.
    Zone,
    /// User namespaces without cgroups: separation, but only resource limits.
    UserNamespace,
    /// Plain processes of the user who runs the store. No separation at all.
    Process,
}

/// What a zone may use, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// A range of versions, of which the newest is taken; `None`: the machine's own programs.
    pub image: Option<String>,
}

/// A zone in the hands of one task group. Dropping it kills what runs in it, throws away everything that
/// was written, and makes the place ready for the next group, all in the background.
#[async_trait]
pub trait Zone: Send {
    /// Stable name of the slot, for logs and dashboards.
    fn name(&self) -> &str;

    /// Sockets that already listen on port 80 of the zone's own loopback addresses (IPv4, IPv6). What they
    /// accept comes from inside this zone and nowhere else. With [`Isolation::Process`] the port differs:
    /// see [`manta_url`](Self::manta_url).
    fn listeners(&self) -> std::io::Result<Vec<TcpListener>>;

    /// `http://localhost:80/` unless the isolation cannot provide it.
    fn manta_url(&self) -> String;

    /// What to put before an absolute path of the zone to get the path its commands see. Empty, except with
    /// [`Isolation::Process`], where commands see the machine's own files and a directory stands for the
    /// zone's root.
    fn path_prefix(&self) -> String {
        String::new()
    }

    /// What the image adds to the environment of commands.
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Copies `content` to the absolute path `path` in the zone, making directories as needed.
    async fn write_file(&mut self, path: &str, mode: u32, content: File) -> Result<(), ZoneError>;

    /// Makes `file` appear read-only at the absolute `path` below `/manta`, alone: what was shown before
    /// disappears. Returns a descriptor of the file opened through the read-only mount, for stdin.
    /// `None` shows an empty file.
    async fn show_input(&mut self, path: &str, file: Option<File>) -> Result<File, ZoneError>;

    /// An empty file for a command's output, in append mode, owned by the zone's root and counted against
    /// its disk. It has no name.
    async fn output_file(&mut self) -> Result<File, ZoneError>;

    /// Runs one command to its end, then kills whatever it left behind. Dropping the future kills the zone,
    /// after which only dropping it makes sense.
    async fn run(&mut self, command: Command) -> Result<Exit, ZoneError>;

    /// The core file that the command that ran last has left, if it is to be had: one, of whichever process.
    async fn core_file(&mut self) -> Result<Option<CoreFile>, ZoneError> {
        Ok(None)
    }

    /// Free bytes on the zone's disk.
    fn disk_available_bytes(&self) -> u64;

    /// To be read also while a command runs. Of no use once the zone was dropped: others use its place then.
    fn meter(&self) -> Arc<dyn Meter>;
}

/// What a zone uses.
pub trait Meter: Send + Sync + fmt::Debug {
    /// As it is now. What this machine cannot tell is 0. Takes some file reads, and never blocks for long.
    fn read(&self) -> Reading;
}

/// A look at the meters of a zone. All but the memory only grows, and began at any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub cpu_user: Duration,
    pub cpu_system: Duration,
    /// Processes that were killed for want of memory.
    pub oom_kills: u64,
    /// In use, the kernel's buffers for the zone included.
    pub memory_bytes: u64,
    /// The most that was in use at once since the last command began.
    pub memory_peak_bytes: u64,
    /// Of its disk and of inputs, by commands that have ended, beyond what was in memory already.
    pub read_bytes: u64,
    /// By commands that have ended, whether or not it has reached the disk.
    pub written_bytes: u64,
}

impl fmt::Debug for dyn Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

/// A command line and what it is given. The working directory is `/`.
#[derive(Debug)]
pub struct Command {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// What the kernel has kept of a process that died.
#[derive(Debug)]
pub struct CoreFile {
    /// To be read from its start, wherever it stands now. It lies on the zone's disk, and ends with it.
    pub file: File,
    /// What the process called itself; any text, or none.
    pub program: String,
}

/// How a command ended, and what it and everything it started used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub status: ExitStatus,
    /// Some process died of a signal that dumps core.
    pub core_dumped: bool,
    /// The kernel killed some process for want of memory.
    pub out_of_memory: bool,
    pub wall: Duration,
    pub cpu: Duration,
    pub peak_memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneStats {
    pub uninit: usize,
    pub ready: usize,
    pub busy: usize,
    pub disabled: usize,
    pub resets: u64,
}

#[derive(Debug, Error)]
pub enum ZoneError {
    /// This machine cannot run zones; the text says what is missing and the ways out.
    #[error("{0}")]
    Unsupported(String),
    #[error("requested image is not available")]
    NoImage,
    #[error("not enough memory available")]
    NotEnoughMemory,
    #[error("not enough disk space available")]
    NotEnoughDisk,
    #[error("the zone is gone: {0}")]
    Gone(String),
    #[error("zone: {during}")]
    Io {
        during: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("zones are shut down")]
    ShutDown,
}

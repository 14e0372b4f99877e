//! The messages between host, zygote, zone init and armed task: one JSON value per datagram, descriptors
//! beside it. Only the host's own processes ever write these; the one message read after confinement
//! ([`Start`]) carries what a tenant chose.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Above every message: the longest carry one path (4,096 bytes) or the list of trees.
const MESSAGE_MAX: usize = 32 * 1024;
/// The most descriptors the kernel passes in one message (`SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_MAX: usize = 253;

/// Which of the two designs a zone follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Flavour {
    /// Privileged set-up by real root; only the task is in a user namespace, with a range of ids.
    Full,
    /// Everything in one user namespace that maps a single id.
    Plain,
    /// Ordinary processes. No namespace, no confinement: only for who asks for it by name.
    Bare,
}

/// A directory of the host that zones see.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tree {
    pub(crate) source: PathBuf,
    /// Whiteouts for what must not be seen.
    pub(crate) mask: Option<PathBuf>,
    /// Where, relative to the root of the zone.
    pub(crate) target: String,
    pub(crate) writable: bool,
}

impl Tree {
    /// `mpipe` and the like, which every image has.
    pub(crate) fn tools(directory: &Path) -> Self {
        Self {
            source: directory.to_owned(),
            mask: None,
            target: "opt/marlin/bin".to_owned(),
            writable: false,
        }
    }
}

/// What every zone of a zygote starts from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) flavour: Flavour,
    /// An empty directory, to mount on.
    pub(crate) mount_point: PathBuf,
    /// The generated lower layer of `/`.
    pub(crate) base: PathBuf,
    pub(crate) trees: Vec<Tree>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToZygote {
    /// First message. `parent` is who must be alive.
    Setup { parent: u32, image: Image },
    /// Makes user namespaces that map `0..65536` to each of `bases`. Only before `Seal`. Answer: `Users`.
    MakeUsers { bases: Vec<u32> },
    /// Builds the image and leaves the host's file tree behind. Answer: `Sealed`.
    Seal,
    /// Descriptors: control socket; with the full flavour scratch, user namespace and network namespace;
    /// then the cgroup's directory to be born in, if there is one, and the files to join through. Answer: `Born`.
    Provision(Provision),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Provision {
    pub(crate) hostname: String,
    /// The host's id of the zone's root.
    pub(crate) uid_base: u32,
    pub(crate) born_in_cgroup: bool,
    pub(crate) shm_bytes: u64,
    /// Plain flavour: the directory that is the writable layer. Bare flavour: what stands for the root.
    pub(crate) scratch: Option<PathBuf>,
    /// Plain flavour: limit of a process's data, the only memory limit there is.
    pub(crate) data_bytes: Option<u64>,
    /// Plain flavour: limit of processes.
    pub(crate) processes: Option<u64>,
    /// Limit of core files; 0 where none could be collected.
    pub(crate) core_bytes: u64,
    /// Where they will be written, relative to the root, if that is known.
    pub(crate) core_directory: Option<PathBuf>,
    /// What `/proc/meminfo` tells.
    pub(crate) memory_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromZygote {
    /// With one descriptor per base, in order.
    Users,
    Sealed,
    /// With the pidfd of the zone's init.
    Born {
        pid: i32,
    },
    Failed(Failure),
}

/// A step that did not work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) during: String,
    pub(crate) errno: i32,
}

impl Failure {
    pub(crate) fn into_io(self) -> io::Error {
        let source = io::Error::from_raw_os_error(self.errno);
        io::Error::new(source.kind(), format!("{}: {source}", self.during))
    }
}

/// Names the step an error happened in.
pub(crate) trait During<T> {
    fn during(self, step: &str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: &str) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            match error.raw_os_error() {
                Some(errno) => Failure {
                    during: step.to_owned(),
                    errno,
                },
                None => Failure {
                    during: format!("{step}: {error}"),
                    errno: libc::EIO,
                },
            }
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToInit {
    /// Shows one input, instead of the one before. `path` is relative to `/manta`. Answer: `Shown`.
    Show { path: String, what: Input },
    /// The zone may use that much memory from now on, and tells so. Answer: `Shown`.
    Memory { bytes: u64 },
    /// Descriptors: a file with a [`Start`], stdin, stdout, stderr. Answer: `Exited` or `NotStarted`.
    Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Input {
    /// The descriptor is a detached mount.
    Mount,
    /// The descriptor is a file to copy from.
    Copy,
    /// Bare flavour: the descriptor is a file to link to.
    Link,
    Empty,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromInit {
    /// The zone is complete. Descriptors: its root directory, its mount namespace (but for the bare flavour), then
    /// (plain and bare flavour) listeners.
    Ready,
    /// A task waits for a `Run`.
    Armed,
    Shown,
    Exited(Ended),
    NotStarted {
        errno: i32,
    },
    Failed(Failure),
}

/// How a command ended, with the usage of everything that was reaped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// As from `wait`.
    pub(crate) status: i32,
    pub(crate) core: bool,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) max_rss_kib: u64,
}

/// What an armed task is to become.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// Sends one message. Never blocks half-way: a datagram is queued whole or not at all.
pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_MAX || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(descriptors.len()))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one message, or `None` when the other end is closed.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let socket = socket.as_fd();
    let received = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            flags,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            // The peer died with messages of ours unread: it is as gone as after a close.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    if received
        .flags
        .intersects(rustix::net::ReturnFlags::TRUNC | rustix::net::ReturnFlags::CTRUNC)
    {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let message = serde_json::from_slice(&bytes[..received.bytes])?;
    Ok(Some((message, descriptors)))
}

/// A connected pair of datagram sockets that keep message borders.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_together_and_a_closed_end_is_the_end() {
        let (a, b) = pair().unwrap();
        let (r, _w) = rustix::pipe::pipe().unwrap();
        send(&a, &ToInit::Run, &[r.as_fd(), r.as_fd()]).unwrap();
        let (message, descriptors) = receive::<ToInit>(&b).unwrap().unwrap();
        assert!(matches!(message, ToInit::Run));
        assert_eq!(descriptors.len(), 2);
        drop(a);
        assert!(receive::<ToInit>(&b).unwrap().is_none());
    }

    #[test]
    fn nonsense_and_oversize_are_errors() {
        let (a, b) = pair().unwrap();
        rustix::net::send(&a, b"{\"Provision\":3}", SendFlags::empty()).unwrap();
        assert!(receive::<ToZygote>(&b).is_err());
        let path = "x".repeat(MESSAGE_MAX);
        assert!(
            send(
                &a,
                &ToInit::Show {
                    path,
                    what: Input::Empty
                },
                &[]
            )
            .is_err()
        );
    }
}

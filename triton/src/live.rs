//! A zone that exists: how the host talks to its init, waits for its end and lets go of what it held.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::background::Background;
use crate::nursery::{Nursery, Request};
use crate::scratch::Scratch;
use crate::wire::{self, Flavour, FromInit, Provision, ToInit};

/// Building a zone takes a millisecond; one that takes this long is stuck.
const READY_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Live {
    /// Readable when zone init, and so everything in the zone, is gone.
    pidfd: AsyncFd<OwnedFd>,
    control: AsyncFd<OwnedFd>,
    /// Taken away when the zone ends, so that a lease that is held on does not hold a disk.
    parts: Mutex<Option<Parts>>,
    /// A task waits for a command. Read from init before a command is sent: closing a socket with unread
    /// messages would lose those already sent the other way.
    armed: AtomicBool,
    scratch_bytes: u64,
    pub(crate) flavour: Flavour,
    /// Of init.
    pid: i32,
    /// Plain and bare flavour: made inside.
    pub(crate) listeners: Vec<OwnedFd>,
}

#[derive(Debug)]
pub(crate) struct Parts {
    /// The mount namespace, for the kernel to take apart when this is dropped, and not while the zone's end is waited
    /// for. `None` until the zone is there, and in the bare flavour.
    mounts: Option<OwnedFd>,
    /// `None` until the zone is there.
    root: Option<Arc<OwnedFd>>,
    scratch: Scratch,
}

/// What a zone is made with besides its scratch.
#[derive(Debug)]
pub(crate) struct Making {
    pub(crate) provision: Provision,
    /// User and network namespace (full flavour), then the cgroup's directory and files.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Why there is no zone.
#[derive(Debug)]
pub(crate) enum Unmade {
    /// The kernel refused to let it be born, or it died without a word.
    Stillborn(io::Error),
    Failed(io::Error),
}

impl Unmade {
    pub(crate) fn into_io(self) -> io::Error {
        let (Self::Stillborn(error) | Self::Failed(error)) = self;
        error
    }
}

impl From<io::Error> for Unmade {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Live {
    /// Makes a zone and waits until a task is armed in it. On errors nothing is left of it, but what `background`
    /// lets go of.
    pub(crate) async fn make(
        nursery: &Nursery,
        flavour: Flavour,
        scratch: Scratch,
        making: Making,
        background: &Background,
    ) -> Result<Self, Unmade> {
        let mut parts = Parts {
            mounts: None,
            root: None,
            scratch,
        };
        match Self::hatch(nursery, flavour, &mut parts, making).await {
            Ok(live) => {
                *live.lock() = Some(parts);
                Ok(live)
            }
            Err(error) => {
                background.let_go(parts).await;
                Err(error)
            }
        }
    }

    async fn hatch(
        nursery: &Nursery,
        flavour: Flavour,
        parts: &mut Parts,
        making: Making,
    ) -> Result<Self, Unmade> {
        let (ours, theirs) = wire::pair()?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(io::Error::from)?;
        let mut descriptors = vec![theirs];
        if let Some(mount) = parts.scratch.mount() {
            descriptors.push(mount.try_clone_to_owned()?);
        }
        descriptors.extend(making.descriptors);
        let request = Request {
            provision: making.provision,
            descriptors,
        };
        let born = nursery.provision(request).await;
        let (pid, pidfd) = born.map_err(|error| match error.kind() {
            // What `clone3` says of a cgroup. A zygote that is lost is another matter.
            io::ErrorKind::InvalidInput
            | io::ErrorKind::ArgumentListTooLong
            | io::ErrorKind::Unsupported
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ResourceBusy => Unmade::Stillborn(error),
            _ => Unmade::Failed(error),
        })?;
        let mut live = Self {
            flavour,
            pid,
            pidfd: crate::sys::watch(pidfd, Interest::READABLE)?,
            control: crate::sys::watch(ours, Interest::READABLE | Interest::WRITABLE)?,
            scratch_bytes: parts.scratch.bytes(),
            parts: Mutex::new(None),
            armed: AtomicBool::new(false),
            listeners: Vec::new(),
        };
        match tokio::time::timeout(READY_DEADLINE, live.become_ready(parts)).await {
            Ok(Ok(())) => Ok(live),
            result => {
                live.kill();
                live.gone().await;
                Err(match result {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                        Unmade::Stillborn(error)
                    }
                    Ok(Err(error)) => Unmade::Failed(error),
                    _ => Unmade::Failed(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the zone does not become ready",
                    )),
                })
            }
        }
    }

    async fn become_ready(&mut self, parts: &mut Parts) -> io::Result<()> {
        let (answer, descriptors) = self.receive().await?;
        if !matches!(answer, FromInit::Ready) {
            return Err(unexpected(answer));
        }
        let mut descriptors = descriptors.into_iter();
        let root = descriptors
            .next()
            .ok_or_else(|| io::Error::other("no root directory"))?;
        parts.root = Some(Arc::new(root));
        if !self.is_bare() {
            parts.mounts = descriptors.next();
        }
        self.listeners = descriptors.collect();
        self.await_armed().await
    }

    pub(crate) fn scratch_bytes(&self) -> u64 {
        self.scratch_bytes
    }

    /// The zone's root directory, and its scratch. Errors when the zone has ended.
    pub(crate) fn parts(&self) -> io::Result<(Arc<OwnedFd>, Arc<OwnedFd>)> {
        let parts = self.lock();
        let parts = parts.as_ref().ok_or_else(ended)?;
        let root = parts.root.clone().ok_or_else(ended)?;
        Ok((root, parts.scratch.share()))
    }

    /// Bare flavour: the directory that stands for the root.
    pub(crate) fn prefix(&self) -> Option<String> {
        let directory = self.lock().as_ref()?.scratch.directory()?;
        self.is_bare()
            .then(|| directory.to_string_lossy().into_owned())
    }

    /// Takes what only a living zone needs. Dropping it unmounts, which writes: not on the runtime.
    pub(crate) fn take_parts(&self) -> Option<Parts> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one request and waits for its answer. Not cancel-safe: afterwards only [`kill`](Self::kill).
    pub(crate) async fn call(
        &self,
        request: &ToInit,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<FromInit> {
        self.control
            .async_io(Interest::WRITABLE, |socket| {
                wire::send(socket, request, descriptors)
            })
            .await?;
        Ok(self.receive().await?.0)
    }

    /// Waits until a task waits for a command.
    pub(crate) async fn await_armed(&self) -> io::Result<()> {
        while !self.armed.load(Ordering::Acquire) {
            match self.receive().await?.0 {
                FromInit::Armed => self.armed.store(true, Ordering::Release),
                other => return Err(unexpected(other)),
            }
        }
        Ok(())
    }

    /// The armed task is about to be used.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
    }

    async fn receive(&self) -> io::Result<(FromInit, Vec<OwnedFd>)> {
        self.control
            .async_io(Interest::READABLE, |socket| wire::receive(socket))
            .await?
            .ok_or_else(ended)
    }

    /// Kills everything in the zone. The kernel needs a moment: [`gone`](Self::gone).
    pub(crate) fn kill(&self) {
        // Without namespaces, nothing but a walk finds what is to be killed.
        if self.is_bare()
            && self.is_alive()
            && let Err(error) = crate::descendants::kill(self.pid)
        {
            tracing::warn!(%error, "processes of a task not killed");
        }
        // Already dead is as good.
        let _ = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
    }

    /// Waits until every process of the zone is gone. Cancel-safe.
    pub(crate) async fn gone(&self) {
        // An error would mean that the descriptor is no pidfd; there is nothing to wait for then.
        let _ = self.pidfd.ready(Interest::READABLE).await;
    }

    /// Nothing but a process group: see [`Flavour::Bare`](crate::wire::Flavour).
    pub(crate) fn is_bare(&self) -> bool {
        self.flavour == Flavour::Bare
    }

    pub(crate) fn is_alive(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(
            self.pidfd.get_ref(),
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(0))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the zone has ended")
}

pub(crate) fn unexpected(answer: FromInit) -> io::Error {
    match answer {
        FromInit::Failed(failure) => failure.into_io(),
        other => io::Error::other(format!("unexpected answer of zone init: {other:?}")),
    }
}

//! The disk of a zone: a file system of its own, so that its size and its inodes are hard limits, thrown
//! away whole after the task group. Source: zones.md section 7.
//!
//! Nothing of it has a name. The image file is unlinked from birth, the loop device forgets it at the last
//! close, and the mount is a descriptor: when the host dies, however it dies, the kernel takes all of it
//! back. Making one costs some milliseconds, so a few are kept ready.

mod loop_image;
mod room;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, Uid};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::remove_tree::remove_tree;
use crate::sys::mount::{self, NOATIME, NODEV, NOSUID};
use loop_image::LoopImages;
use room::Ledger;
pub(crate) use room::default_bytes;

/// Where the upper layers of a zone's overlays are.
pub(crate) const UPPER: &str = "d";

/// Makes that directory, if it is not there, in `scratch` seen from `from`.
pub(crate) fn make_upper(from: impl AsFd, scratch: &Path) -> io::Result<()> {
    match rustix::fs::mkdirat(from, scratch.join(UPPER), Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A writable layer.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// A detached mount, or a directory of the host.
    handle: Arc<OwnedFd>,
    directory: Option<Directory>,
    bytes: u64,
}

impl Scratch {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What zone init attaches as its writable layer.
    pub(crate) fn mount(&self) -> Option<BorrowedFd<'_>> {
        self.directory.is_none().then(|| self.handle.as_fd())
    }

    /// Plain flavour: what zone init binds as its writable layer.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.0.clone())
    }

    /// For use while the zone lives; keeps the file system alive.
    pub(crate) fn share(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.handle)
    }
}

/// Removed with everything in it when dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "scratch directory not removed");
        }
    }
}

/// An unnamed file in append mode, owned by `owner`. Append, because a command may open it again through
/// `/dev/stderr`, and owned by the zone's root, or that opening is refused.
pub(crate) fn output_file(scratch: &OwnedFd, owner: u32) -> io::Result<std::fs::File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC;
    let file = rustix::fs::openat(scratch, ".", flags, Mode::from_raw_mode(0o600))?;
    let group = rustix::fs::Gid::from_raw(owner);
    rustix::fs::fchown(&file, Some(Uid::from_raw(owner)), Some(group))?;
    Ok(file.into())
}

/// Free bytes on `scratch`.
pub(crate) fn available(scratch: &OwnedFd) -> io::Result<u64> {
    let figures = rustix::fs::fstatvfs(scratch)?;
    Ok(figures.f_bavail * figures.f_frsize)
}

/// How scratches are made.
#[derive(Debug)]
pub(crate) enum Maker {
    Loop(Box<LoopImages>, Ledger),
    Tmpfs,
    /// Not root: directories below this one, without a limit.
    Directories(PathBuf),
}

impl Maker {
    /// Images in `directory`, shown by `losetup` as `label`. Errors: without `/dev/loop-control`.
    pub(crate) fn images(directory: &Path, label: String) -> io::Result<Self> {
        let images = LoopImages::new(directory.to_owned(), label)?;
        let ledger = Ledger::new(directory.to_owned());
        Ok(Self::Loop(Box::new(images), ledger))
    }

    /// Blocks for some milliseconds. Errors: `StorageFull` when `must_fit` and there is no room for an image
    /// of that size.
    fn make(&self, bytes: u64, must_fit: bool) -> io::Result<Scratch> {
        let handle = match self {
            Self::Loop(images, ledger) => {
                // What is promised is what can be written: inodes and their like come on top.
                let image = (bytes + bytes / 64) & !0xfff;
                let promise = ledger.promise(image, must_fit)?;
                let handle = Arc::new(images.make(image)?);
                promise.keep(&handle);
                return Ok(Scratch {
                    handle,
                    directory: None,
                    bytes,
                });
            }
            Self::Directories(parent) => return make_directory(parent, bytes),
            Self::Tmpfs => {
                let size = bytes.to_string();
                // One inode for each 16 KiB, as ext4 has.
                let inodes = (bytes / 16_384).max(1024).to_string();
                let options = [
                    ("size", Some(size.as_str())),
                    ("nr_inodes", Some(inodes.as_str())),
                    ("mode", Some("0755")),
                ];
                mount::new_filesystem("tmpfs", &options, NOSUID | NODEV | NOATIME)?
            }
        };
        Ok(Scratch {
            handle: Arc::new(handle),
            directory: None,
            bytes,
        })
    }

    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Loop(..) => "loop ext4 images",
            Self::Tmpfs => "tmpfs",
            Self::Directories(_) => "plain directories, no limit",
        }
    }
}

/// Scratches of the default size, made ahead.
#[derive(Debug)]
pub(crate) struct Pool {
    maker: Arc<Maker>,
    bytes: u64,
    target: usize,
    ready: Mutex<VecDeque<Scratch>>,
    taken: Notify,
}

impl Pool {
    pub(crate) fn new(maker: Maker, bytes: u64, target: usize) -> Arc<Self> {
        let (ready, taken) = (Mutex::default(), Notify::new());
        Arc::new(Self {
            maker: Arc::new(maker),
            bytes,
            target,
            ready,
            taken,
        })
    }

    pub(crate) fn describe(&self) -> &'static str {
        self.maker.describe()
    }

    /// Keeps the pool full until `shutdown`, then empties it.
    pub(crate) async fn fill(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if self.lock().len() >= self.target {
                tokio::select! {
                    () = self.taken.notified() => {}
                    () = shutdown.cancelled() => {}
                }
                continue;
            }
            match self.make(self.bytes).await {
                Ok(scratch) => self.lock().push_back(scratch),
                Err(error) => {
                    tracing::warn!(%error, "scratch file system not made");
                    // Whoever needs one meanwhile tries for itself and reports.
                    tokio::select! {
                        () = self.taken.notified() => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
        // Unmounting writes: off the runtime.
        let _ = tokio::task::spawn_blocking(move || self.empty()).await;
    }

    /// Lets go of those kept ready. Blocks.
    pub(crate) fn empty(&self) {
        let rest = std::mem::take(&mut *self.lock());
        drop(rest);
    }

    /// A fresh scratch of `bytes`; from the pool when that is its size.
    pub(crate) async fn take(&self, bytes: u64) -> io::Result<Scratch> {
        if bytes == self.bytes {
            let ready = self.lock().pop_front();
            if let Some(scratch) = ready {
                return Ok(scratch);
            }
        }
        self.make(bytes).await
    }

    /// Now is a good moment to make up for what was taken.
    pub(crate) fn refill(&self) {
        self.taken.notify_one();
    }

    async fn make(&self, bytes: u64) -> io::Result<Scratch> {
        let maker = Arc::clone(&self.maker);
        // The default has been made to fit at the start, and must be had at any time.
        let must_fit = bytes > self.bytes;
        let made = tokio::task::spawn_blocking(move || maker.make(bytes, must_fit)).await;
        made.map_err(io::Error::other)?
    }

    /// Waits until the kernel has let go of every device, and removes those that were added for us. Blocks.
    pub(crate) fn release(&self) -> io::Result<()> {
        match &*self.maker {
            Maker::Loop(images, _) => images.release(),
            Maker::Tmpfs | Maker::Directories(_) => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Scratch>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why project quotas are not used on the file system of `directory`.
///
/// Enforcing them needs a kernel with `CONFIG_QFMT_V2` or `CONFIG_XFS_QUOTA` and a mount option.
pub(crate) fn project_quotas(directory: &std::path::Path) -> Result<(), String> {
    let device = std::fs::metadata(directory).map_err(|error| error.to_string())?;
    let device = std::os::unix::fs::MetadataExt::dev(&device);
    let wanted = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let mounts =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let options = mounts
        .lines()
        .filter(|line| line.split(' ').nth(2) == Some(&wanted))
        .find_map(|line| line.rsplit(' ').next())
        .ok_or("its file system is not in mountinfo")?;
    if options
        .split(',')
        .any(|option| matches!(option, "prjquota" | "pquota"))
    {
        return Ok(());
    }
    Err("its file system is mounted without project quotas".to_owned())
}

fn make_directory(parent: &Path, bytes: u64) -> io::Result<Scratch> {
    let path = parent.join(unique_name());
    std::fs::create_dir(&path)?;
    let directory = Some(Directory(path.clone()));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(&path, flags, Mode::empty())?;
    Ok(Scratch {
        handle: Arc::new(handle),
        directory,
        bytes,
    })
}

fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "scratch-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A file that no name leads to, in `directory`.
fn unnamed_file(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600)) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let path = directory.join(unique_name());
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))?;
            std::fs::remove_file(path)?;
            Ok(file)
        }
        result => Ok(result?),
    }
}

/// Whether `mode` bits say a regular file.
pub(crate) fn is_regular(file: impl AsFd) -> io::Result<bool> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    Ok(kind == FileType::RegularFile)
}

//! How much disk may be promised to zones: images are sparse, so that all of them together could be larger
//! than what is free, and a full machine would then fail zones in the middle of their work, and the store.
//!
//! What an image already holds is no longer free, so only the rest of it counts as promised.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;
/// The default size is not made smaller than this to fit.
const DEFAULT_LEAST: u64 = GIB;
/// How long images that are being unmounted are waited for before a request is refused.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of `directory`'s file system that images may fill from now on.
fn room(directory: &Path) -> io::Result<u64> {
    let figures = rustix::fs::statvfs(directory)?;
    let (total, free) = (
        figures.f_blocks * figures.f_frsize,
        figures.f_bavail * figures.f_frsize,
    );
    Ok(free.saturating_sub(reserve(total)))
}

/// What is left to the rest of the machine, out of `total` bytes.
fn reserve(total: u64) -> u64 {
    (total / 10).max(GIB)
}

/// The size for `images` images of `wanted` bytes each, of which all fit into `room` if that is possible at
/// all with 1 GiB.
fn fitting(wanted: u64, images: usize, room: u64) -> u64 {
    let share = (room / images.max(1) as u64) & !0xfff;
    wanted.min(share.max(DEFAULT_LEAST))
}

/// The default size on the file system of `directory`; `images` of that size exist at once.
pub(crate) fn default_bytes(directory: &Path, wanted: u64, images: usize) -> io::Result<u64> {
    let room = room(directory)?;
    let bytes = fitting(wanted, images, room);
    if bytes < wanted {
        tracing::info!(
            wanted,
            bytes,
            images,
            room,
            "default disk of zones made smaller to fit"
        );
    }
    if bytes.saturating_mul(images as u64) > room {
        tracing::warn!(bytes, images, room, "disks of zones do not fit all at once");
    }
    Ok(bytes)
}

/// The images of one host.
#[derive(Debug)]
pub(crate) struct Ledger {
    directory: PathBuf,
    images: Mutex<Images>,
}

#[derive(Debug, Default)]
struct Images {
    next: u64,
    promised: BTreeMap<u64, Promised>,
}

#[derive(Debug)]
struct Promised {
    bytes: u64,
    /// `None` while it is being made.
    mount: Option<Weak<OwnedFd>>,
}

/// An image that is being made. Dropping it takes the promise back.
#[derive(Debug)]
pub(super) struct Promise<'a> {
    ledger: &'a Ledger,
    number: u64,
    kept: bool,
}

impl Ledger {
    pub(super) fn new(directory: PathBuf) -> Self {
        let images = Mutex::default();
        Self { directory, images }
    }

    /// Notes an image of `bytes`. With `must_fit`, errors with `StorageFull` when that and what others may
    /// still fill is more than there is room for. Blocks.
    pub(super) fn promise(&self, bytes: u64, must_fit: bool) -> io::Result<Promise<'_>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let mut images = self.lock();
                images.prune();
                if !must_fit || bytes.saturating_add(images.outstanding()) <= room(&self.directory)?
                {
                    let number = images.next;
                    images.next += 1;
                    images
                        .promised
                        .insert(number, Promised { bytes, mount: None });
                    return Ok(Promise {
                        ledger: self,
                        number,
                        kept: false,
                    });
                }
            }
            if Instant::now() > deadline {
                let why = format!("no room for a disk of {bytes} bytes");
                return Err(io::Error::new(io::ErrorKind::StorageFull, why));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Images {
    /// Bytes that images may still take from the file system.
    fn outstanding(&self) -> u64 {
        let rest = |image: &Promised| {
            let mount = image.mount.as_ref().and_then(Weak::upgrade);
            let held = mount.and_then(|mount| {
                let figures = rustix::fs::fstatvfs(&*mount).ok()?;
                Some((figures.f_blocks - figures.f_bfree) * figures.f_frsize)
            });
            image.bytes.saturating_sub(held.unwrap_or(0))
        };
        let sizes = self.promised.values().map(rest);
        sizes.fold(0, u64::saturating_add)
    }

    /// Forgets those that are gone.
    fn prune(&mut self) {
        let alive = |mount: &Weak<OwnedFd>| mount.strong_count() > 0;
        self.promised
            .retain(|_, image| image.mount.as_ref().is_none_or(alive));
    }
}

impl Promise<'_> {
    /// Keeps the promise for as long as `mount` is shared by anybody.
    pub(super) fn keep(mut self, mount: &Arc<OwnedFd>) {
        self.kept = true;
        let mut images = self.ledger.lock();
        if let Some(image) = images.promised.get_mut(&self.number) {
            image.mount = Some(Arc::downgrade(mount));
        }
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.ledger.lock().promised.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_shrinks_to_fit_but_not_below_a_gibibyte() {
        assert_eq!(fitting(8 * GIB, 10, 80 * GIB), 8 * GIB);
        assert_eq!(fitting(8 * GIB, 10, 40 * GIB), 4 * GIB);
        assert_eq!(fitting(8 * GIB, 10, 10 * GIB), GIB);
        assert_eq!(fitting(8 * GIB, 10, 0), GIB);
        // What the operator made smaller than that stays.
        assert_eq!(fitting(GIB / 16, 10, 0), GIB / 16);
        assert_eq!(fitting(8 * GIB, 3, 10 * GIB) % 4096, 0);
    }

    #[test]
    fn a_tenth_or_a_gibibyte_is_left() {
        assert_eq!(reserve(5 * GIB), GIB);
        assert_eq!(reserve(200 * GIB), 20 * GIB);
    }

    #[test]
    fn promises_count_until_their_mount_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(directory.path().to_owned());
        let mount = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        ledger.promise(1 << 61, false).unwrap().keep(&mount);
        let full = ledger.promise(4096, true).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        drop(mount);
        // Given up half-way, it does not count either.
        drop(ledger.promise(1 << 61, false).unwrap());
        drop(ledger.promise(0, true).unwrap());
        assert!(ledger.lock().promised.is_empty());
    }
}

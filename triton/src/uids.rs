//! What hosts that run side by side on one machine must not share: ranges of user ids, and names.
//!
//! Each holds a block of ranges, and its name, by a lock on one byte of a shared file; the kernel gives it
//! back when the host dies, however it dies. So a name nobody has locked is a dead host's, and what carries
//! it may be removed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sys::process::lock_byte;

/// Far above what `useradd` and directory services hand out.
const FIRST: u32 = 1_000_000_000;
/// Ids of one zone: 0 to 65,535 inside.
pub(crate) const RANGE: u32 = 65_536;
/// Ranges of a block: the most slots a host may have.
pub(crate) const SLOTS_MAX: usize = 128;
/// Blocks below 2^31, where some programs still read ids as signed.
const BLOCKS: u32 = (i32::MAX as u32 - FIRST) / (RANGE * SLOTS_MAX as u32);

/// The registry. An empty file that stays.
const REGISTRY: &str = "/run/manta/zones.lock";
/// Bytes from here on stand for names, those before for blocks.
const NAMES: u64 = 1 << 32;
/// How long another host may look at whether ours is dead.
const PATIENCE: Duration = Duration::from_secs(5);

/// A block of id ranges, ours until dropped.
#[derive(Debug)]
pub(crate) struct UidBlock {
    number: u32,
    _lock: File,
}

impl UidBlock {
    pub(crate) fn take() -> io::Result<Self> {
        Self::take_from(Path::new(REGISTRY))
    }

    fn take_from(registry: &Path) -> io::Result<Self> {
        let file = open(registry)?;
        for number in 0..BLOCKS {
            if lock_byte(&file, number.into())? {
                return Ok(Self {
                    number,
                    _lock: file,
                });
            }
        }
        Err(io::Error::other("every block of user ids is in use"))
    }

    /// The host's id of the root of slot `slot`.
    pub(crate) fn base(&self, slot: usize) -> u32 {
        debug_assert!(slot < SLOTS_MAX);
        FIRST + (self.number * SLOTS_MAX as u32 + slot as u32) * RANGE
    }
}

/// A host's name, its own until dropped.
#[derive(Debug)]
pub(crate) struct Name {
    _lock: File,
}

impl Name {
    /// Errors: `ResourceBusy` when a living host has it.
    pub(crate) fn take(name: u64) -> io::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(taken) = Self::take_if_dead(name)? {
                return Ok(taken);
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another host has the name",
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The name, unless a living host has it.
    pub(crate) fn take_if_dead(name: u64) -> io::Result<Option<Self>> {
        let file = open(Path::new(REGISTRY))?;
        // 2^62 names: offsets are signed.
        Ok(lock_byte(&file, NAMES + (name >> 2))?.then_some(Self { _lock: file }))
    }
}

fn open(registry: &Path) -> io::Result<File> {
    if let Some(parent) = registry.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_come_back() {
        let registry = std::env::temp_dir().join(format!("triton-uids-{}", std::process::id()));
        let first = UidBlock::take_from(&registry).unwrap();
        let second = UidBlock::take_from(&registry).unwrap();
        assert_eq!(second.base(0), first.base(SLOTS_MAX - 1) + RANGE);
        drop(first);
        assert_eq!(UidBlock::take_from(&registry).unwrap().number, 0);
        std::fs::remove_file(&registry).unwrap();
    }

    #[test]
    fn the_last_id_is_a_positive_int() {
        let last = UidBlock {
            number: BLOCKS - 1,
            _lock: File::open("/dev/null").unwrap(),
        };
        assert!(i32::try_from(last.base(SLOTS_MAX - 1) + RANGE - 1).is_ok());
    }
}

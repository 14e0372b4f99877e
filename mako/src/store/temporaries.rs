//! Files that are being written.
//!
//! They lie in 256 directories, used 64 files in a row each, and those directories are spread over the
//! disk. Why so many: ext4 allots an inode near its directory, and without a journal it skips inodes freed
//! in the last minutes by looking at each. With one directory, a store that deletes as fast as it writes
//! soon spends most of its processor time there (`examples/publish_ways.rs` after deletions, on 2 cores:
//! 650 µs and more a copy, against 126 µs spread over 256). Why in a row: neighbours in time then share
//! inode and bitmap blocks, which keeps journal commits small.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::IFlags;

use super::layout::{Layout, TEMPORARY_HOMES};

/// Temporaries made in one directory before the next one is used.
const IN_A_ROW: u64 = 64;

/// Hands out names for temporaries. Names are unique in a process, and a process finds none of another's:
/// [`purge`] removes them.
#[derive(Debug, Default)]
pub(crate) struct Temporaries {
    next: AtomicU64,
}

impl Temporaries {
    pub(crate) fn next(&self, layout: &Layout) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let home = number / IN_A_ROW % TEMPORARY_HOMES;
        layout.temporary_home(home).join(format!("{number:x}"))
    }
}

/// Makes the directory of all temporaries. Nothing is synced: a crash loses empty directories at worst.
pub(crate) fn make_top(layout: &Layout) -> io::Result<()> {
    let top = layout.temporaries();
    make_private(&top)?;
    spread_children(&top);
    Ok(())
}

/// Makes the directory of one temporary, which happens when it is used for the first time.
pub(crate) fn make_home(temporary: &Path) -> io::Result<()> {
    temporary.parent().map_or(Ok(()), make_private)
}

/// Removes what an earlier process left unfinished. The caller holds the lock and has not written yet.
pub(crate) fn purge(layout: &Layout) -> io::Result<()> {
    let homes = match fs::read_dir(layout.temporaries()) {
        Ok(homes) => homes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for home in homes {
        let home = home?;
        if home.file_type()?.is_dir() {
            for entry in fs::read_dir(home.path())? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    // A copy in segments that was being made or removed.
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
        } else {
            fs::remove_file(home.path())?;
        }
    }
    Ok(())
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Asks the file system to place the directories below this one far from each other, like `chattr +T`.
/// Only ext4 knows how, and elsewhere nothing is lost.
fn spread_children(path: &Path) {
    if let Ok(dir) = File::open(path)
        && let Ok(flags) = rustix::fs::ioctl_getflags(&dir)
    {
        let _ = rustix::fs::ioctl_setflags(&dir, flags | IFlags::TOPDIR);
    }
}

//! Removal of a tree that somebody hostile may have made: a very deep one takes no more stack and hardly more
//! descriptors than a shallow one.
//!
//! The surprising thing: what lies deeper than [`LEVELS_MAX`] is moved up to the top before it is looked into.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// Levels that are open at once.
const LEVELS_MAX: usize = 16;

/// Removes a tree of ours, directories without permissions (overlay makes one, and so may tenants) included.
/// A tree that is not there is fine. Nobody may change it meanwhile, and nothing may be mounted below it.
pub(crate) fn remove_tree(top: &Path) -> io::Result<()> {
    let top_directory = match open(CWD, top) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(top),
        opened => opened?,
    };
    let mut removal = Removal {
        top: top_directory.as_fd(),
        moved_up: 0,
    };
    // What was moved up may or may not have been seen by the pass that moved it.
    while removal.empty(removal.top, 1)? {}
    Ok(rustix::fs::rmdir(top)?)
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    moved_up: u64,
}

impl Removal<'_> {
    /// Takes everything out of a directory. Whether there was anything.
    fn empty(&mut self, directory: BorrowedFd<'_>, level: usize) -> rustix::io::Result<bool> {
        let mut found = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            found = true;
            if is_removed(directory, name, entry.file_type())? {
                continue;
            }
            if level >= LEVELS_MAX {
                self.move_up(directory, name)?;
                continue;
            }
            let inner = open(directory, name)?;
            self.empty(inner.as_fd(), level + 1)?;
            rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
        }
        Ok(found)
    }

    fn move_up(&mut self, from: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        loop {
            let up = format!(".up-{}", self.moved_up);
            self.moved_up += 1;
            match rustix::fs::renameat_with(from, name, self.top, &up, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                // A directory that moves is written to: its way up is another one.
                Err(Errno::ACCESS) => rustix::fs::chmodat(from, name, OURS, AtFlags::empty())?,
                moved => return moved,
            }
        }
    }
}

const OURS: Mode = Mode::RWXU;

/// Whether it is gone; a directory with something in it is not.
fn is_removed(above: BorrowedFd<'_>, name: &CStr, kind: FileType) -> rustix::io::Result<bool> {
    if kind != FileType::Directory {
        match rustix::fs::unlinkat(above, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(Errno::NOENT) => return Ok(true),
            removed => return removed.map(|()| true),
        }
    }
    match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Opens a directory that its owner may read and change from now on.
fn open(above: impl AsFd, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(&above, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(&above, name, OURS, AtFlags::empty())?;
            rustix::fs::openat(&above, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    if !mode.contains(OURS) {
        rustix::fs::fchmod(&opened, OURS)?;
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes `depth` directories, one in the other, with a file in each, and returns the innermost one.
    fn dig(top: &Path, depth: usize) -> OwnedFd {
        std::fs::create_dir(top).unwrap();
        let mut at = open(CWD, top).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, "a", OURS).unwrap();
            let file = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&at, ".up-0", file, OURS).unwrap();
            at = open(at.as_fd(), c"a").unwrap();
        }
        at
    }

    #[test]
    fn a_tree_may_be_deeper_than_any_stack() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("top");
        let deepest = dig(&top, 20_000);
        rustix::fs::symlinkat("/", &deepest, "root").unwrap();
        let small = std::thread::Builder::new().stack_size(128 << 10);
        let removed = small.spawn(move || remove_tree(&top).map(|()| top));
        let top = removed.unwrap().join().unwrap().unwrap();
        assert!(!top.exists());
        remove_tree(&top).unwrap();
    }

    #[test]
    fn wide_trees_links_and_closed_directories_go() {
        let directory = tempfile::tempdir().unwrap();
        let (top, kept) = (directory.path().join("top"), directory.path().join("kept"));
        std::fs::write(&kept, "kept").unwrap();
        for path in ["a/b/c", "a/d", "e"] {
            std::fs::create_dir_all(top.join(path)).unwrap();
            for number in 0..300 {
                std::fs::write(top.join(path).join(number.to_string()), "").unwrap();
            }
        }
        std::os::unix::fs::symlink(directory.path(), top.join("a/out")).unwrap();
        for closed in ["a/b", "e"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o0);
            std::fs::set_permissions(top.join(closed), mode).unwrap();
        }
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        std::os::unix::fs::symlink(&kept, &top).unwrap();
        remove_tree(&top).unwrap();
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept");
    }
}

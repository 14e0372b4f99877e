//! A directory that is filled with what strangers wrote. Whatever names and links they chose, nothing outside
//! of it is touched: every path is resolved by the kernel with this directory as its root.
//!
//! Owners, set-uid and set-gid bits and extended attributes are not taken over: the files belong to whoever
//! imports them, and in a zone to its root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::error::{During as _, Fault, LibraryError};
use crate::remove_tree::remove_tree;

const CHUNK_BYTES: usize = 128 * 1024;
const PATH_BYTES_MAX: usize = 4095;

/// What every zone has of its own: the image's directories stay empty.
const NOT_TAKEN: &[&str] = &["dev", "proc", "sys"];

/// A name below the root; that of the root itself is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberPath(PathBuf);

impl MemberPath {
    pub(super) fn parse(name: &[u8]) -> Result<Self, Fault> {
        if name.starts_with(b"/") {
            return Err(Fault::Absolute);
        }
        let mut path = PathBuf::new();
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(Fault::Upwards),
                _ if part.contains(&0) => return Err(Fault::Unnameable),
                _ => path.push(OsStr::from_bytes(part)),
            }
        }
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(Fault::Unnameable);
        }
        Ok(Self(path))
    }

    pub(super) fn join(&self, name: &OsStr) -> Self {
        Self(self.0.join(name))
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.0
    }

    /// Below a directory whose content is not taken.
    pub(super) fn is_left_out(&self) -> bool {
        let mut parts = self.0.components();
        let top = parts.next().and_then(|top| top.as_os_str().to_str());
        parts.next().is_some() && top.is_some_and(|top| NOT_TAKEN.contains(&top))
    }

    pub(super) fn depth(&self) -> usize {
        self.0.components().count()
    }
}

/// How much may still be unpacked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) bytes_max: u64,
    pub(super) entries_max: u64,
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

impl Budget {
    fn charge(&mut self, bytes: u64) -> Result<(), LibraryError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.entries += 1;
        if self.bytes > self.bytes_max {
            let bytes = self.bytes_max;
            return Err(LibraryError::TooLarge { bytes });
        }
        if self.entries > self.entries_max {
            let entries = self.entries_max;
            return Err(LibraryError::TooMany { entries });
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    pub(super) budget: Budget,
}

/// Permissions and seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) modified: i64,
}

impl Tree {
    /// Makes the directory `path`, which is not there yet.
    pub(super) fn make(path: &Path, budget: Budget) -> Result<Self, LibraryError> {
        std::fs::create_dir(path).during("make the image's root")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).during("open the image's root")?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).during("open the image's root")?;
        Ok(Self { root, budget })
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// One that is there keeps what is in it. Its owner may always enter and write, or nobody could go on.
    pub(super) fn directory(&mut self, path: &MemberPath, mode: u32) -> Result<(), LibraryError> {
        self.budget.charge(0)?;
        let Some(place) = self.place(path)? else {
            return Ok(());
        };
        if place.kind()? != Some(FileType::Directory) {
            place.clear()?;
            rustix::fs::mkdirat(&place.above, &place.name, Mode::from_raw_mode(0o700))
                .during("make a directory")?;
        }
        let mode = Mode::from_raw_mode(mode & 0o1777 | 0o700);
        rustix::fs::chmodat(&place.above, &place.name, mode, AtFlags::empty())
            .during("set the mode of a directory")
    }

    /// Errors: [`Fault::Truncated`] when `content` has less than `size` bytes.
    pub(super) fn file(
        &mut self,
        path: &MemberPath,
        attributes: Attributes,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), LibraryError> {
        // Before anything is written: a size is easily claimed.
        self.budget.charge(size)?;
        let place = self
            .place(path)?
            .ok_or_else(|| fault(path, Fault::Unnameable))?;
        place.clear()?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.above, &place.name, flags, Mode::from_raw_mode(0o600))
            .during("make a file")?;
        let mut file = File::from(file);
        let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(size).unwrap_or(CHUNK_BYTES))];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = match content.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(fault(path, Fault::Truncated)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.during("read a file of the image")?,
            };
            file.write_all(&buffer[..count]).during("write a file")?;
            left -= count as u64;
        }
        let mode = Mode::from_raw_mode(attributes.mode & 0o777 | 0o400);
        rustix::fs::fchmod(&file, mode).during("set the mode of a file")?;
        let time = Timespec {
            tv_sec: attributes.modified,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::futimens(&file, &times).during("set the time of a file")
    }

    pub(super) fn symlink(&mut self, path: &MemberPath, target: &[u8]) -> Result<(), LibraryError> {
        self.budget.charge(0)?;
        if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains(&0) {
            return Err(fault(path, Fault::Unnameable));
        }
        let target = OsStr::from_bytes(target);
        if leads_outside(path, target) {
            return Err(fault(path, Fault::Outside(shown(target))));
        }
        let place = self
            .place(path)?
            .ok_or_else(|| fault(path, Fault::Unnameable))?;
        place.clear()?;
        rustix::fs::symlinkat(target, &place.above, &place.name).during("make a link")
    }

    /// A second name for what is there already.
    pub(super) fn hard_link(
        &mut self,
        path: &MemberPath,
        target: &MemberPath,
    ) -> Result<(), LibraryError> {
        let dangling = || fault(path, Fault::Dangling(shown(target.0.as_os_str())));
        let existing = self.existing(target)?.ok_or_else(dangling)?;
        match existing.kind()? {
            Some(FileType::RegularFile) => {}
            // Where it leads depends on where it is.
            Some(FileType::Symlink) => {
                let link = rustix::fs::readlinkat(&existing.above, &existing.name, Vec::new());
                return self.symlink(path, link.during("read a link")?.as_bytes());
            }
            _ => return Err(dangling()),
        }
        self.budget.charge(0)?;
        let place = self
            .place(path)?
            .ok_or_else(|| fault(path, Fault::Unnameable))?;
        if place.identity()? == existing.identity()? {
            return Ok(());
        }
        place.clear()?;
        rustix::fs::linkat(
            &existing.above,
            &existing.name,
            &place.above,
            &place.name,
            AtFlags::empty(),
        )
        .during("make a hard link")
    }

    /// Takes away what is there, if anything.
    pub(super) fn remove(&mut self, path: &MemberPath) -> Result<(), LibraryError> {
        match self.existing(path)? {
            Some(place) => place.clear(),
            None => Ok(()),
        }
    }

    /// Takes away what is in a directory, if it is one; not what a link leads to.
    pub(super) fn empty(&mut self, path: &MemberPath) -> Result<(), LibraryError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(directory) = self.find(path.as_path(), flags)? else {
            return Ok(());
        };
        let inside = through(&directory);
        for entry in std::fs::read_dir(&inside).during("empty a directory")? {
            let entry = entry.during("empty a directory")?;
            remove(&inside.join(entry.file_name())).during("empty a directory")?;
        }
        Ok(())
    }

    /// Opens what is at `path`, following links inside the image. `None` when nothing is.
    pub(super) fn find(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>, LibraryError> {
        match self.open(path, flags) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            opened => opened.map(Some).during("look into the image"),
        }
    }

    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), within)
    }

    /// Where `path` is or will be; directories above it are made. `None` for the root.
    fn place(&self, path: &MemberPath) -> Result<Option<Place>, LibraryError> {
        let Some(name) = path.0.file_name() else {
            return Ok(None);
        };
        let above = path.0.parent().unwrap_or(Path::new(""));
        let above = self.make_above(above).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::EXIST => {
                fault(path, Fault::NotInDirectory)
            }
            Errno::NAMETOOLONG => fault(path, Fault::Unnameable),
            other => LibraryError::Io {
                during: "make a directory",
                source: other.into(),
            },
        })?;
        let name = name.to_owned();
        Ok(Some(Place { above, name }))
    }

    fn make_above(&self, directory: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match (self.open(directory, flags), directory.file_name()) {
            (Err(Errno::NOENT), Some(name)) => {
                let above = self.make_above(directory.parent().unwrap_or(Path::new("")))?;
                // A link that leads nowhere is in the way: "exists".
                rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755))?;
                rustix::fs::chmodat(&above, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
                self.open(directory, flags)
            }
            (opened, _) => opened,
        }
    }

    /// Like [`place`](Self::place), but `None` when the directory above is missing too.
    fn existing(&self, path: &MemberPath) -> Result<Option<Place>, LibraryError> {
        let Some(name) = path.0.file_name() else {
            return Ok(None);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = self.find(path.0.parent().unwrap_or(Path::new("")), flags)?;
        let name = name.to_owned();
        Ok(above.map(|above| Place { above, name }))
    }
}

/// A name in a directory that is part of the tree.
#[derive(Debug)]
struct Place {
    above: OwnedFd,
    name: OsString,
}

impl Place {
    fn stat(&self) -> Result<Option<rustix::fs::Stat>, LibraryError> {
        match rustix::fs::statat(&self.above, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            stat => stat.map(Some).during("look into the image"),
        }
    }

    fn kind(&self) -> Result<Option<FileType>, LibraryError> {
        let stat = self.stat()?;
        Ok(stat.map(|stat| FileType::from_raw_mode(stat.st_mode)))
    }

    fn identity(&self) -> Result<Option<u64>, LibraryError> {
        Ok(self.stat()?.map(|stat| stat.st_ino))
    }

    /// The last one of a name counts.
    fn clear(&self) -> Result<(), LibraryError> {
        remove(&through(&self.above).join(&self.name)).during("replace what is in the image")
    }
}

fn fault(path: &MemberPath, fault: Fault) -> LibraryError {
    let member = shown(path.0.as_os_str());
    LibraryError::Member { member, fault }
}

/// For messages: names may hold anything, escape sequences of terminals too.
pub(super) fn shown(name: &OsStr) -> String {
    name.to_string_lossy().escape_debug().to_string()
}

/// A link with too many `..`. One that begins at the root is fine: it begins at the root of the zone.
fn leads_outside(path: &MemberPath, target: &OsStr) -> bool {
    let target = Path::new(target);
    let mut depth = match target.is_absolute() {
        true => 0,
        false => path.depth().saturating_sub(1),
    };
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    false
}

/// What an open directory is called, wherever it is.
fn through(directory: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()).into()
}

/// What is at `path` itself, never what a link there leads to.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if path.symlink_metadata().is_ok_and(|there| there.is_dir()) => {
            drop(error);
            remove_tree(path)
        }
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let of = |name: &str| MemberPath::parse(name.as_bytes()).map(|path| path.0);
        assert_eq!(of("./a//b/./c/").unwrap(), Path::new("a/b/c"));
        assert_eq!(of("./").unwrap(), Path::new(""));
        assert_eq!(of("/etc/passwd"), Err(Fault::Absolute));
        for name in ["..", "a/../b", "a/..", "../x"] {
            assert_eq!(of(name), Err(Fault::Upwards), "{name}");
        }
        assert_eq!(of("a\0b"), Err(Fault::Unnameable));
        assert_eq!(of(&"x/".repeat(4000)), Err(Fault::Unnameable));
    }

    #[test]
    fn links_may_go_to_the_root_but_not_above() {
        for (path, target, outside) in [
            ("bin", "usr/bin", false),
            ("etc/mtab", "/proc/self/mounts", false),
            ("a/b/c", "../../x", false),
            ("a/b/c", "../../../x", true),
            ("a", "..", true),
            ("a/b", "x/../../..", true),
            ("a", "/../x", true),
            ("a/b", "/x/..", false),
        ] {
            let path = MemberPath::parse(path.as_bytes()).unwrap();
            assert_eq!(
                leads_outside(&path, OsStr::new(target)),
                outside,
                "{path:?} {target}"
            );
        }
    }

    #[test]
    fn devices_and_processes_are_not_taken() {
        let of = |name: &str| MemberPath::parse(name.as_bytes()).unwrap().is_left_out();
        assert!(of("dev/null") && of("proc/1/root") && of("./sys/kernel"));
        assert!(!of("dev") && !of("devices/x") && !of("usr/dev/x"));
    }
}

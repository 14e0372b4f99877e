//! A directory that holds a system, as `debootstrap` makes them, read file by file.
//!
//! Whoever may write there may exchange a directory for a link while we read: everything is opened from the
//! directory above it, and never through a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use super::digest::{Digested, hexadecimal};
use super::error::{During as _, Fault, LibraryError};
use super::tree::{Attributes, MemberPath, Tree, shown};

/// Directories in directories; each is open while those in it are read. No system has half as many.
const DEPTH_MAX: usize = 256;

const NO_LINK: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Copies everything into `tree`. Returns the digest of names, kinds, permissions and content, which is the same for
/// equal directories. File by file: names of one file become files.
pub(super) fn copy(from: &OwnedFd, tree: &mut Tree) -> Result<String, LibraryError> {
    let top = rustix::fs::fstat(from).during("read the directory")?;
    let mut copy = Copy {
        device: top.st_dev,
        digest: Sha256::new(),
        tree,
    };
    copy.directory(
        from,
        &MemberPath::parse(b"").map_err(|_| LibraryError::Source)?,
    )?;
    Ok(hexadecimal(&copy.digest.finalize()))
}

struct Copy<'a> {
    device: u64,
    digest: Sha256,
    tree: &'a mut Tree,
}

impl Copy<'_> {
    fn directory(&mut self, from: &OwnedFd, path: &MemberPath) -> Result<(), LibraryError> {
        for name in sorted_names(from)? {
            let path = path.join(&name);
            if !path.is_left_out() {
                self.entry(from, &name, &path)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        name: &OsStr,
        path: &MemberPath,
    ) -> Result<(), LibraryError> {
        let refuse = |fault| LibraryError::Member {
            member: shown(path.as_path().as_os_str()),
            fault,
        };
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)
            .during("read the directory")?;
        if stat.st_dev != self.device {
            return Err(refuse(Fault::OtherFileSystem));
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if path.depth() > DEPTH_MAX => Err(refuse(Fault::Deep(DEPTH_MAX))),
            FileType::Directory => {
                self.note("directory", path, &stat, b"");
                let inner =
                    rustix::fs::openat(from, name, NO_LINK | OFlags::DIRECTORY, Mode::empty())
                        .during("read the directory")?;
                self.tree.directory(path, stat.st_mode)?;
                self.directory(&inner, path)
            }
            FileType::RegularFile => {
                // Not to wait for what has become a pipe meanwhile.
                let file =
                    rustix::fs::openat(from, name, NO_LINK | OFlags::NONBLOCK, Mode::empty())
                        .during("read a file of the directory")?;
                let stat = rustix::fs::fstat(&file).during("read a file of the directory")?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(refuse(Fault::Changed));
                }
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                self.note("file", path, &stat, size.to_string().as_bytes());
                let attributes = Attributes {
                    mode: stat.st_mode,
                    modified: stat.st_mtime,
                };
                let mut content = Digested {
                    inner: File::from(file),
                    digest: &mut self.digest,
                };
                self.tree.file(path, attributes, size, &mut content)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())
                    .during("read a link of the directory")?;
                self.note("link", path, &stat, target.as_bytes());
                self.tree.symlink(path, target.as_bytes())
            }
            FileType::CharacterDevice | FileType::BlockDevice => Err(refuse(Fault::Device)),
            FileType::Fifo | FileType::Socket | FileType::Unknown => Err(refuse(Fault::Special)),
        }
    }

    /// Zero bytes are in no name, so nothing else reads the same.
    fn note(&mut self, kind: &str, path: &MemberPath, stat: &Stat, rest: &[u8]) {
        let mode = format!("{:o}", stat.st_mode & 0o777);
        let name = path.as_path().as_os_str().as_bytes();
        for part in [kind.as_bytes(), mode.as_bytes(), name, rest] {
            self.digest.update(part);
            self.digest.update([0]);
        }
    }
}

fn sorted_names(directory: &OwnedFd) -> Result<Vec<OsString>, LibraryError> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).during("read the directory")? {
        let name = entry.during("read the directory")?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(OsString::from_vec(name.into_bytes()));
        }
    }
    names.sort();
    Ok(names)
}

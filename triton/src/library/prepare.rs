//! What every zone needs of its image, whatever it is made from.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;

use super::error::LibraryError;
use super::tree::{Attributes, MemberPath, Tree};

/// Zones mount on them or write assets there, and never through a link.
const MOUNT_POINTS: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("proc", 0o555),
    ("manta", 0o755),
    ("assets", 0o755),
    ("opt", 0o755),
    ("opt/marlin", 0o755),
    ("opt/marlin/bin", 0o755),
];

/// Made where they are missing.
const EXPECTED: &[(&str, u32)] = &[
    ("etc", 0o755),
    ("root", 0o700),
    ("home", 0o755),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

const HOSTS: &[u8] = b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

/// Where the shell of every command is.
const SHELL: &str = "bin/bash";

/// Makes what is missing. Errors: what cannot be made good.
pub(super) fn prepare(tree: &mut Tree) -> Result<(), LibraryError> {
    for (path, mode) in MOUNT_POINTS {
        match is_there(tree, path, OFlags::PATH | OFlags::NOFOLLOW)? {
            None => make(tree, path, *mode)?,
            Some(found) if is_directory(&found) => {}
            Some(_) => {
                let path = (*path).to_owned();
                return Err(LibraryError::MountPoint { path });
            }
        }
    }
    for (path, mode) in EXPECTED {
        // A link is fine that leads to a directory. Anything else is in the way.
        if is_there(tree, path, OFlags::PATH | OFlags::DIRECTORY)?.is_none() {
            make(tree, path, *mode)?;
        }
    }
    let hosts = is_there(tree, "etc/hosts", OFlags::PATH)?;
    if hosts.is_none_or(|file| rustix::fs::fstat(file).is_ok_and(|stat| stat.st_size == 0)) {
        let attributes = Attributes {
            mode: 0o644,
            modified: 0,
        };
        let size = HOSTS.len() as u64;
        tree.file(&path_of("etc/hosts")?, attributes, size, &mut &HOSTS[..])?;
    }
    let shell = is_there(tree, SHELL, OFlags::PATH)?.map(rustix::fs::fstat);
    let runs = |mode: u32| rustix::fs::FileType::from_raw_mode(mode).is_file() && mode & 0o100 != 0;
    match shell {
        Some(Ok(stat)) if runs(stat.st_mode) => Ok(()),
        _ => Err(LibraryError::NoShell),
    }
}

fn make(tree: &mut Tree, path: &str, mode: u32) -> Result<(), LibraryError> {
    tree.directory(&path_of(path)?, mode)
}

fn path_of(path: &str) -> Result<MemberPath, LibraryError> {
    MemberPath::parse(path.as_bytes()).map_err(|fault| LibraryError::Member {
        member: path.to_owned(),
        fault,
    })
}

fn is_there(tree: &Tree, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, LibraryError> {
    tree.find(Path::new(path), flags | OFlags::CLOEXEC)
}

fn is_directory(found: &OwnedFd) -> bool {
    rustix::fs::fstat(found)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

//! The mount API: trees of mounts as descriptors, attached only when they are complete.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use super::check;

pub(crate) const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
pub(crate) const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
pub(crate) const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
pub(crate) const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
pub(crate) const NOATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOATIME;

/// A new file system of kind `kind`, mounted nowhere. An option without a value is a flag.
pub(crate) fn new_filesystem(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, *key, *value)?,
            None => rustix::mount::fsconfig_set_flag(&context, *key)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

/// A detached copy of the mount at `path`; `with_below` says whether what is mounted below it comes along.
pub(crate) fn clone_path(path: impl AsRef<Path>, with_below: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, with_below);
    Ok(rustix::mount::open_tree(CWD, path.as_ref(), flags)?)
}

/// A detached copy of the mount `file` was opened through, rooted at the file.
pub(crate) fn clone_file(file: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(file.as_fd(), "", flags)?)
}

/// Adds `attributes` to `mount`; with `idmap`, shows owners through the maps of that user namespace.
pub(crate) fn set_attributes(
    mount: impl AsFd,
    attributes: MountAttrFlags,
    idmap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut set = u64::from(attributes.bits());
    if idmap.is_some() {
        set |= libc::MOUNT_ATTR_IDMAP;
    }
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: the empty path is a static C string, `attr` a live local of the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Attaches a detached mount at `target`.
pub(crate) fn attach(mount: impl AsFd, target: impl AsRef<Path>) -> io::Result<()> {
    attach_at(mount, CWD, target)
}

/// Attaches a detached mount at `target`, which is relative to the directory `at`.
pub(crate) fn attach_at(
    mount: impl AsFd,
    at: impl AsFd,
    target: impl AsRef<Path>,
) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(
        mount.as_fd(),
        "",
        at.as_fd(),
        target.as_ref(),
        flags,
    )?)
}

/// Makes the mount of the current directory the root. The old one goes with what is returned.
pub(crate) fn pivot_here() -> io::Result<OldRoot> {
    // "." on top of ".": the old root ends up mounted over the new one, which needs no directory to put it in.
    rustix::process::pivot_root(".", ".")?;
    Ok(OldRoot(()))
}

/// Lies over the directory we are in, out of the reach of absolute paths.
#[must_use]
#[derive(Debug)]
pub(crate) struct OldRoot(());

impl OldRoot {
    /// Takes it away, and goes to `/`. Takes a millisecond or two, in which the kernel waits for all cores. To be
    /// called in the directory of [`pivot_here`].
    pub(crate) fn detach(self) -> io::Result<()> {
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }
}

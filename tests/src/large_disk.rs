//! A directory that seems to lie on a large disk, whatever the machine has.
//!
//! It lies in memory, and holds only as much as there is of that: good for tests that look at sizes and write little.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use tempfile::TempDir;

/// Seen by the thread that made it, and what that starts. Its directory goes away with it.
#[derive(Debug)]
pub struct LargeDisk {
    path: PathBuf,
    _directory: TempDir,
}

impl LargeDisk {
    /// Needs root.
    pub fn mount(gibibytes: u32) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("manta-test-").tempdir()?;
        let path = directory.path().join("disk");
        std::fs::create_dir(&path)?;
        // SAFETY: mounts of this thread, and of what it starts; no memory or descriptor is touched.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
            .context("get a mount namespace")?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).context("keep mounts to ourselves")?;
        let options = CString::new(format!("size={gibibytes}g,mode=0755"))?;
        rustix::mount::mount(
            "large",
            &path,
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .context("mount a file system in memory")?;
        let _directory = directory;
        Ok(Self { path, _directory })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LargeDisk {
    fn drop(&mut self) {
        // Without this its directory could not be removed. What is not unmounted goes with the thread.
        let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
    }
}

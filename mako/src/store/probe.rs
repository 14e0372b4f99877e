//! Finding out whether a node works and how much fits.
//!
//! A working node is looked at (present, ours, writable, space); one that failed must write and fsync a
//! file before it is trusted again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rustix::fs::{StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;
use tokio::runtime::Handle;

use super::capacity::Usage;
use super::claim::Claim;
use super::{Node, temporaries};
use crate::checksums::ATTRIBUTE;
use crate::error::is_full;

impl Node {
    /// Looks at the node in the background if it was not looked at for a while.
    pub(crate) fn probe_if_due(self: &Arc<Self>) {
        // Outside a runtime nothing can run in the background, and the next call inside one does it.
        if Handle::try_current().is_ok() && self.space.claim_probe() {
            drop(self.blocking(|node| node.probe()));
        }
    }

    /// Blocks.
    pub(crate) fn probe(&self) {
        let failed_before = self.space.fault().is_some();
        let usage = if failed_before {
            self.revive()
        } else {
            self.still_ours()
        }
        .and_then(|()| self.measure());
        match usage {
            Ok(usage) => {
                self.space.measured(usage);
                if failed_before {
                    tracing::info!(storage_id = %self.owner.storage_id, "storage node takes copies");
                }
            }
            Err(error) => {
                if self.space.failed(error.to_string()) {
                    tracing::warn!(
                        storage_id = %self.owner.storage_id,
                        %error,
                        "storage node takes no copies until a probe succeeds"
                    );
                }
            }
        }
    }

    fn still_ours(&self) -> io::Result<()> {
        let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if claim
            .as_ref()
            .map_or(Ok(false), |claim| claim.holds(&self.disk.layout))?
        {
            self.disk.check_present()
        } else {
            Err(io::Error::other("another directory is in its place"))
        }
    }

    /// Makes a node that failed, or was just opened, ready for writing.
    fn revive(&self) -> io::Result<()> {
        let layout = &self.disk.layout;
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if !claim
            .as_ref()
            .map_or(Ok(false), |claim| claim.holds(layout))?
        {
            let again = Claim::take_again(layout, &self.owner).map_err(io::Error::other)?;
            *claim = Some(again);
            self.disk.forget_durable();
        }
        self.disk.check_present()?;
        if !self.purged.load(Ordering::Relaxed) {
            temporaries::purge(layout)?;
            self.purged.store(true, Ordering::Relaxed);
        }
        temporaries::make_top(layout).or_else(unless_full)?;
        self.disk
            .set_attributes(try_file(&layout.temporaries().join("probe")).or_else(unless_full)?);
        Ok(())
    }

    fn measure(&self) -> io::Result<Usage> {
        let stat = rustix::fs::statvfs(self.disk.layout.root())?;
        if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Usage {
            total_bytes: bytes(stat.f_blocks),
            used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
            available_bytes: bytes(stat.f_bavail),
        })
    }
}

/// A full disk works; that nothing fits is told by its numbers.
fn unless_full<T: Default>(error: io::Error) -> io::Result<T> {
    if is_full(&error) {
        Ok(T::default())
    } else {
        Err(error)
    }
}

/// Writes, syncs and removes a file. Returns whether it could have an attribute.
fn try_file(path: &Path) -> io::Result<bool> {
    let result = File::create(path).and_then(|mut file| {
        file.write_all(b"probe")?;
        let attributes = match rustix::fs::fsetxattr(&file, ATTRIBUTE, b"", XattrFlags::empty()) {
            Ok(()) => true,
            Err(Errno::NOTSUP | Errno::NOSPC) => false,
            Err(error) => return Err(error.into()),
        };
        file.sync_all()?;
        Ok(attributes)
    });
    let removed = fs::remove_file(path);
    let attributes = result?;
    removed?;
    Ok(attributes)
}

//! Publishing a copy so that it survives anything: the reason this crate exists.
//!
//! The order, each step only after the one before it succeeded:
//!
//! 1. bytes into a temporary;
//! 2. checksums: an attribute of the temporary, or a temporary of their own (written and fsynced);
//! 3. fsync of the temporary: bytes, size, mode and attribute. Not fdatasync, which need not write
//!    attributes; for a new file both cost the same;
//! 4. rename of the checksum temporary, if any, then of the temporary, to their names;
//! 5. fsync of the directory, and of its parents up to the root unless they are known to be on disk.
//!
//! Only then is the caller told. A crash before 4 leaves temporaries, which the next start removes. A
//! crash between 4 and the answer leaves a whole copy that no metadata names, or a checksum file without
//! a copy; the sweep removes either. A rename before 3 could leave a copy with a hole; an answer before 5
//! could lose the name.
//!
//! An fsync that failed is never repeated: the kernel may have dropped the pages it could not write, and a
//! second call would then report success. The temporary is thrown away and the node counts as failed until
//! a probe succeeds.
//!
//! Everything here blocks and runs off the runtime.

use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use libmanta::{AccountId, ObjectId};
use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::disk::Disk;
use super::fault::Step;
use super::layout::first_byte;
use super::temporaries::make_home;
use crate::checksums::{ATTRIBUTE, Summing};
use crate::error::DiskError;

/// Anybody who is shown the file may read it, and nobody may write it.
const MODE: u32 = 0o444;
/// Until it is complete: an attribute can only be set by who may write the file, however it was opened.
const MODE_UNFINISHED: u32 = 0o600;
/// Buffers in one system call. The kernel takes at most 1,024.
const SLICES_MAX: usize = 256;
/// Bytes between two hints to the disk to begin writing.
const WRITEBACK_BYTES: u64 = 4 * 1024 * 1024;

/// A file being written. Dropping it removes it, unless it was published.
#[derive(Debug)]
pub(crate) struct Temporary {
    disk: Arc<Disk>,
    path: PathBuf,
    file: File,
    sums: Summing,
    published: bool,
}

impl Temporary {
    pub(crate) fn create(disk: &Arc<Disk>) -> Result<Self, DiskError> {
        let failed = DiskError::during("create temporary");
        disk.faults.at(Step::CreateTemporary).map_err(&failed)?;
        let path = disk.temporaries.next(&disk.layout);
        let file = create_file(&path).map_err(&failed)?;
        Ok(Self {
            disk: Arc::clone(disk),
            path,
            file,
            sums: Summing::default(),
            published: false,
        })
    }

    pub(crate) fn append(&mut self, parts: &[Bytes]) -> Result<(), DiskError> {
        let failed = DiskError::during("write");
        self.disk.faults.at(Step::Write).map_err(&failed)?;
        for parts in parts.chunks(SLICES_MAX) {
            let mut slices: Vec<IoSlice<'_>> =
                parts.iter().map(|part| IoSlice::new(part)).collect();
            write_all_vectored(&self.file, &mut slices).map_err(&failed)?;
            for part in parts {
                self.sums.add(part);
            }
        }
        Ok(())
    }

    /// Lets the disk begin with what was written from `offset` on, so that a large copy is not left to
    /// one long fsync at its end.
    fn start_writeback(&self, offset: u64) {
        let length = self.sums.size_bytes().saturating_sub(offset);
        if let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) {
            // SAFETY: the descriptor is open for the length of the call, and no memory is passed.
            // The result does not matter: it is a hint, and the fsync will report any error.
            let _ = unsafe {
                libc::sync_file_range(
                    self.file.as_raw_fd(),
                    offset,
                    length,
                    libc::SYNC_FILE_RANGE_WRITE,
                )
            };
        }
    }

    /// The same for everything up to the last full [`WRITEBACK_BYTES`], when that was passed since the copy
    /// had `before` bytes.
    pub(crate) fn write_back_since(&self, before: u64) {
        let passed = before / WRITEBACK_BYTES;
        if self.size_bytes() / WRITEBACK_BYTES != passed {
            self.start_writeback(passed * WRITEBACK_BYTES);
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.sums.size_bytes()
    }

    /// Steps 2 to 5.
    pub(crate) fn publish(
        mut self,
        creator: AccountId,
        object_id: ObjectId,
    ) -> Result<(), DiskError> {
        let disk = Arc::clone(&self.disk);
        let table = std::mem::take(&mut self.sums).finish(object_id);
        let encoded = table.encode();
        let sidecar = if table.fits_attribute() && self.set_attribute(&encoded)? {
            None
        } else {
            Some(Sidecar::write(&disk, &encoded)?)
        };
        make_readable(&self.file).map_err(DiskError::during("set mode"))?;
        disk.faults
            .at(Step::SyncFile)
            .and_then(|()| disk.sync(&self.file))
            .map_err(DiskError::during("fsync copy"))?;

        // Before it can be listed, or a sweep could see it without knowing how young it is.
        disk.recent.add(object_id);
        let size_bytes = table.size_bytes();
        if let Err(error) = self.give_names(sidecar, creator, object_id) {
            // Names that may or may not be on disk, of which nobody will be told.
            let _ = disk.remove_file(creator, object_id);
            return Err(error);
        }
        disk.stats.copies_written.add(1);
        disk.stats.bytes_in.add(size_bytes);
        Ok(())
    }

    /// Steps 4 and 5.
    fn give_names(
        &mut self,
        sidecar: Option<Sidecar>,
        creator: AccountId,
        object_id: ObjectId,
    ) -> Result<(), DiskError> {
        let disk = Arc::clone(&self.disk);
        if let Some(mut sidecar) = sidecar {
            let target = disk.layout.sidecar(creator, object_id);
            disk.faults
                .at(Step::RenameSidecar)
                .and_then(|()| rename(&disk, &sidecar.path, &target, creator, object_id))
                .map_err(DiskError::during("rename checksums"))?;
            sidecar.published = true;
        }
        let target = disk.layout.copy(creator, object_id);
        disk.faults
            .at(Step::Rename)
            .and_then(|()| rename(&disk, &self.path, &target, creator, object_id))
            .map_err(DiskError::during("rename copy"))?;
        self.published = true;
        disk.sync_name(creator, object_id)
            .and_then(|()| disk.faults.at(Step::Done))
            .map_err(DiskError::during("fsync directory"))
    }

    /// `false` when the file system has no room for it or does not know attributes.
    fn set_attribute(&self, encoded: &[u8]) -> Result<bool, DiskError> {
        if !self.disk.attributes() {
            return Ok(false);
        }
        let failed = DiskError::during("write checksums");
        self.disk.faults.at(Step::SetAttribute).map_err(&failed)?;
        match rustix::fs::fsetxattr(&self.file, ATTRIBUTE, encoded, XattrFlags::empty()) {
            Ok(()) => Ok(true),
            // ext4 also says NOSPC when other attributes left too little of the block. If it is the disk
            // that is full, the file that is written instead will say so.
            Err(Errno::NOTSUP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => Ok(false),
            Err(error) => Err(failed(error.into())),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            remove_temporary(&self.path);
        }
    }
}

/// Checksums on their way to a file of their own.
struct Sidecar {
    path: PathBuf,
    published: bool,
}

impl Sidecar {
    fn write(disk: &Disk, encoded: &[u8]) -> Result<Self, DiskError> {
        let failed = DiskError::during("write checksums");
        disk.faults.at(Step::WriteSidecar).map_err(&failed)?;
        let path = disk.temporaries.next(&disk.layout);
        let mut file = create_file(&path).map_err(&failed)?;
        let sidecar = Self {
            path,
            published: false,
        };
        file.write_all(encoded).map_err(&failed)?;
        make_readable(&file).map_err(&failed)?;
        disk.faults
            .at(Step::SyncSidecar)
            .and_then(|()| disk.sync(&file))
            .map_err(DiskError::during("fsync checksums"))?;
        Ok(sidecar)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if !self.published {
            remove_temporary(&self.path);
        }
    }
}

fn create_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path, flags, Mode::from(MODE_UNFINISHED));
    let file = match open() {
        Err(Errno::NOENT) => {
            make_home(path)?;
            open()?
        }
        other => other?,
    };
    Ok(File::from(file))
}

/// Not by the mode of `open`: the umask of whoever started us must not decide who can read inputs in a zone.
fn make_readable(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from(MODE))?)
}

fn remove_temporary(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        // The next start removes it.
        tracing::debug!(path = %path.display(), %error, "temporary stays");
    }
}

/// Makes the directories above `to` when they are not there.
pub(crate) fn rename(
    disk: &Disk,
    from: &Path,
    to: &Path,
    creator: AccountId,
    object_id: ObjectId,
) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.faults.at(Step::MakeDirectories)?;
            disk.make_directories(creator, first_byte(object_id))?;
            fs::rename(from, to)
        }
        other => other,
    }
}

fn write_all_vectored(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty slices at the front would make a complete write look like one that wrote nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

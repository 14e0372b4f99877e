//! Copies that are put together of others without moving a byte: a directory of links to their files.
//!
//! The order, each step only after the one before it succeeded:
//!
//! 1. a temporary directory;
//! 2. a link to the file of each segment, and to its checksum file if it has one. Those files are durable:
//!    they are copies. What was linked is then looked at, because a segment may be deleted meanwhile;
//! 3. the manifest, fsynced;
//! 4. fsync of the temporary directory, which makes the links durable;
//! 5. rename to its name;
//! 6. fsync of the directory it is in, and of its parents as for any copy.
//!
//! A crash before 5 leaves a temporary, which the next start removes, and after it a whole copy that no
//! metadata names, which the sweep removes. The links keep the bytes whatever becomes of the segments.
//!
//! Small copies are not worth a directory and are written anew, as are those on a file system without links.
//! For a program that wants one file, [`consolidate`] makes it.
//!
//! Everything here blocks.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use libmanta::mako::Segment;
use libmanta::{AccountId, ObjectId};

use super::disk::Disk;
use super::durable_write::{Temporary, rename};
use super::fault::Step;
use super::open_copy::{OpenCopy, Segmented, open_segment};
use super::read::OpenFile;
use super::temporaries::make_home;
use crate::error::{DiskError, ReadError};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};

const MANIFEST: &str = "manifest";

/// Why a copy was not put together.
#[derive(Debug)]
pub(crate) enum AssembleError {
    /// One of those it was to be made of cannot be used.
    Segment(ObjectId, ReadError),
    Disk(DiskError),
}

impl From<DiskError> for AssembleError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Whether links were possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linked {
    Yes,
    /// Nothing was done.
    NotHere,
}

/// Puts a copy together by links.
pub(crate) fn link(
    disk: &Arc<Disk>,
    creator: AccountId,
    manifest: &Manifest,
) -> Result<Linked, AssembleError> {
    let object_id = manifest.object_id();
    let Some(mut building) = Building::new(disk, creator, manifest.segments())? else {
        return Ok(Linked::NotHere);
    };
    building.write_manifest(manifest)?;
    let synced = disk.faults.at(Step::SyncSegments);
    synced
        .and_then(|()| disk.sync(&building.directory))
        .map_err(DiskError::during("fsync segments"))?;
    // Before it can be listed, or a sweep could see it without knowing how young it is.
    disk.recent.add(object_id);
    if let Err(error) = building.give_name(creator, object_id) {
        // A name that may or may not be on disk, of which nobody will be told.
        let _ = disk.remove_segments(creator, object_id);
        return Err(error.into());
    }
    disk.stats.copies_written.add(1);
    Ok(Linked::Yes)
}

/// Writes a copy anew, of the bytes of others.
pub(crate) fn concatenate(
    disk: &Arc<Disk>,
    creator: AccountId,
    manifest: &Manifest,
) -> Result<(), AssembleError> {
    let mut temporary = Temporary::create(disk)?;
    for segment in manifest.segments() {
        let unusable = |error| AssembleError::Segment(segment.object_id, error);
        let file = open_checked(disk, creator, *segment).map_err(unusable)?;
        OpenCopy::Whole(file)
            .read_all(disk, || false, |bytes| append(&mut temporary, bytes))
            .map_err(|error| match error {
                Appending::Read(error) => unusable(error),
                Appending::Write(error) => error.into(),
            })?;
    }
    Ok(temporary.publish(creator, manifest.object_id())?)
}

/// Makes one file of a copy in segments, which disappear. `None` when `give_up` said so. The caller holds
/// whatever keeps others from doing the same.
pub(crate) fn consolidate(
    disk: &Arc<Disk>,
    creator: AccountId,
    object_id: ObjectId,
    give_up: impl Fn() -> bool,
) -> Result<Option<()>, ReadError> {
    let copy = OpenCopy::open(disk, creator, object_id)?;
    if let OpenCopy::Segmented(_) = copy {
        let mut temporary = Temporary::create(disk)?;
        let read = copy.read_all(disk, give_up, |bytes| append(&mut temporary, bytes));
        if read?.is_none() {
            return Ok(None);
        }
        temporary.publish(creator, object_id)?;
    }
    // Also when a crash left both.
    let removed = disk.remove_segments(creator, object_id);
    let removed = removed.map_err(DiskError::during("remove segments"))?;
    if !removed && matches!(copy, OpenCopy::Segmented(_)) {
        // Somebody deleted the copy meanwhile, and did not find the file that is there now.
        let gone = disk.remove_file(creator, object_id);
        gone.map_err(DiskError::during("unlink copy"))?;
        return Err(ReadError::Missing);
    }
    Ok(Some(()))
}

/// Whether segments lie there, perhaps beside the file that was made of them.
pub(crate) fn are_there(disk: &Disk, creator: AccountId, object_id: ObjectId) -> bool {
    fs::symlink_metadata(disk.layout.segments(creator, object_id)).is_ok()
}

/// `None` when there is none.
pub(crate) fn open(
    disk: &Disk,
    creator: AccountId,
    object_id: ObjectId,
) -> Result<Option<Segmented>, ReadError> {
    let failed = DiskError::during("open segments");
    let path = disk.layout.segments(creator, object_id);
    let directory = match File::open(&path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error).into()),
    };
    disk.faults.at(Step::EnterSegments).map_err(&failed)?;
    let Some(reading) = disk.readers.enter(&directory, &path).map_err(&failed)? else {
        return Ok(None);
    };
    let encoded = read_manifest(&directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Damaged(String::from("its manifest is gone")),
        _ => failed(error).into(),
    })?;
    let manifest =
        Manifest::decode(&encoded).map_err(|error| ReadError::Damaged(error.to_string()))?;
    if manifest.object_id() != object_id {
        return Err(ReadError::Damaged(format!(
            "it is a copy of {}",
            manifest.object_id()
        )));
    }
    Ok(Some(Segmented::new(directory, manifest, reading)))
}

/// Size of a copy in segments; zero when that cannot be found out.
pub(crate) fn size_bytes(disk: &Disk, creator: AccountId, object_id: ObjectId) -> u64 {
    File::open(disk.layout.segments(creator, object_id))
        .and_then(|directory| read_manifest(&directory))
        .ok()
        .and_then(|encoded| Manifest::decode(&encoded).ok())
        .map_or(0, |manifest| manifest.size_bytes())
}

fn read_manifest(directory: &File) -> io::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(
        directory,
        MANIFEST,
        flags,
        Mode::empty(),
    )?);
    let mut encoded = Vec::new();
    file.take(MANIFEST_BYTES_MAX).read_to_end(&mut encoded)?;
    Ok(encoded)
}

fn open_checked(disk: &Disk, creator: AccountId, segment: Segment) -> Result<OpenFile, ReadError> {
    let file = OpenFile::open(disk, creator, segment.object_id)?;
    if file.size_bytes() != segment.size_bytes {
        return Err(ReadError::Damaged(format!(
            "it has {} bytes instead of {}",
            file.size_bytes(),
            segment.size_bytes
        )));
    }
    Ok(file)
}

/// What can go wrong when bytes of one file are written to another.
enum Appending {
    Read(ReadError),
    Write(DiskError),
}

impl From<ReadError> for Appending {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Appending> for ReadError {
    fn from(error: Appending) -> Self {
        match error {
            Appending::Read(error) => error,
            Appending::Write(error) => error.into(),
        }
    }
}

fn append(temporary: &mut Temporary, bytes: Bytes) -> Result<(), Appending> {
    let before = temporary.size_bytes();
    temporary.append(&[bytes]).map_err(Appending::Write)?;
    temporary.write_back_since(before);
    Ok(())
}

/// A directory of links that has no name yet. Dropping it removes it, unless it got one.
struct Building {
    disk: Arc<Disk>,
    path: PathBuf,
    directory: File,
    named: bool,
}

impl Building {
    /// `None` where links are not possible.
    fn new(
        disk: &Arc<Disk>,
        creator: AccountId,
        segments: &[Segment],
    ) -> Result<Option<Self>, AssembleError> {
        let failed = DiskError::during("make segments");
        disk.faults.at(Step::MakeSegments).map_err(&failed)?;
        let path = disk.temporaries.next(&disk.layout);
        let directory = make_home(&path)
            .and_then(|()| DirBuilder::new().mode(0o700).create(&path))
            .and_then(|()| File::open(&path).inspect_err(|_| remove_unfinished(&path)))
            .map_err(&failed)?;
        let building = Self {
            disk: Arc::clone(disk),
            path,
            directory,
            named: false,
        };
        for (index, segment) in segments.iter().enumerate() {
            if !building.link_segment(creator, index, *segment)? {
                return Ok(None);
            }
        }
        Ok(Some(building))
    }

    fn link_segment(
        &self,
        creator: AccountId,
        index: usize,
        segment: Segment,
    ) -> Result<bool, AssembleError> {
        let disk = &self.disk;
        let unusable = |error| AssembleError::Segment(segment.object_id, error);
        let failed = DiskError::during("link segment");
        disk.faults.at(Step::LinkSegment).map_err(&failed)?;
        let linked = fs::hard_link(
            disk.layout.copy(creator, segment.object_id),
            self.path.join(index.to_string()),
        );
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A node that is gone has lost nothing yet.
                disk.check_present().map_err(&failed)?;
                return Err(unusable(ReadError::Missing));
            }
            Err(error) if links_are_impossible(&error) => return Ok(false),
            Err(error) => return Err(failed(error).into()),
        }
        disk.faults.at(Step::LinkSidecar).map_err(&failed)?;
        let sidecar = fs::hard_link(
            disk.layout.sidecar(creator, segment.object_id),
            self.path.join(format!("{index}.crc")),
        );
        match sidecar {
            // It has an attribute instead, or was deleted since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(&failed)?,
        }
        match open_segment(&self.directory, index, segment) {
            Ok(_) => Ok(true),
            Err(ReadError::Damaged(_))
                if !disk
                    .layout
                    .copy(creator, segment.object_id)
                    .try_exists()
                    .map_err(failed)? =>
            {
                Err(unusable(ReadError::Missing))
            }
            Err(error) => Err(unusable(error)),
        }
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), DiskError> {
        let failed = DiskError::during("write manifest");
        self.disk.faults.at(Step::WriteManifest).map_err(&failed)?;
        let mut file = File::create_new(self.path.join(MANIFEST)).map_err(&failed)?;
        file.write_all(&manifest.encode()).map_err(&failed)?;
        self.disk
            .faults
            .at(Step::SyncManifest)
            .and_then(|()| self.disk.sync(&file))
            .map_err(DiskError::during("fsync manifest"))
    }

    fn give_name(&mut self, creator: AccountId, object_id: ObjectId) -> Result<(), DiskError> {
        let disk = Arc::clone(&self.disk);
        let failed = DiskError::during("rename segments");
        // A directory is not replaced by rename. Nobody reads one that was never said to be there.
        disk.remove_segments(creator, object_id).map_err(&failed)?;
        let target = disk.layout.segments(creator, object_id);
        disk.faults
            .at(Step::RenameSegments)
            .and_then(|()| rename(&disk, &self.path, &target, creator, object_id))
            .map_err(&failed)?;
        self.named = true;
        disk.sync_name(creator, object_id)
            .and_then(|()| disk.faults.at(Step::Done))
            .map_err(DiskError::during("fsync directory"))
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.named {
            remove_unfinished(&self.path);
        }
    }
}

fn remove_unfinished(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        // The next start removes it.
        tracing::debug!(path = %path.display(), %error, "temporary stays");
    }
}

/// The file system has no links, or not so many to one file.
fn links_are_impossible(error: &io::Error) -> bool {
    [libc::EPERM, libc::EOPNOTSUPP, libc::ENOSYS, libc::EMLINK]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno))
}

//! Reading a file of a copy, block by block against its checksums. Everything here blocks, except
//! [`read_cached`], which gives up instead.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use libmanta::{AccountId, ObjectId};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::disk::Disk;
use super::fault::Step;
use crate::checksums::{ATTRIBUTE, ATTRIBUTE_BYTES_MAX, BLOCK_BYTES, Table};
use crate::error::{DiskError, ReadError};

/// Bytes read at a time, a multiple of the block, as long as the node's budget for reading ahead lasts: then
/// two of them are in memory for each reader, one with the caller, one read ahead.
pub(crate) const CHUNK_BYTES: u64 = 2 * BLOCK_BYTES as u64;

/// A file of a copy that is there, has the size it should have, and has checksums.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    table: Table,
}

impl OpenFile {
    pub(crate) fn open(
        disk: &Disk,
        creator: AccountId,
        object_id: ObjectId,
    ) -> Result<Self, ReadError> {
        let failed = DiskError::during("open copy");
        let file = match File::open(disk.layout.copy(creator, object_id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A node that is gone has lost nothing yet.
                disk.check_present().map_err(&failed)?;
                return Err(ReadError::Missing);
            }
            Err(error) => return Err(failed(error).into()),
        };
        let table = match read_attribute(&file)? {
            Some(encoded) => encoded,
            None => read_sidecar(File::open(disk.layout.sidecar(creator, object_id)))?,
        };
        Self::checked(file, &table, object_id)
    }

    /// The file `name` in a directory of segments, which was once the copy `object_id`.
    pub(crate) fn open_segment(
        directory: &File,
        name: &str,
        object_id: ObjectId,
    ) -> Result<Self, ReadError> {
        let open = |name: &str| -> io::Result<File> {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?.into())
        };
        let file = match open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::Damaged(format!("its segment {name} is gone")));
            }
            Err(error) => return Err(DiskError::during("open segment")(error).into()),
        };
        let table = match read_attribute(&file)? {
            Some(encoded) => encoded,
            None => read_sidecar(open(&format!("{name}.crc")))?,
        };
        Self::checked(file, &table, object_id)
    }

    fn checked(file: File, table: &[u8], object_id: ObjectId) -> Result<Self, ReadError> {
        let table = Table::decode(table).map_err(|error| ReadError::Damaged(error.to_string()))?;
        if table.object_id() != object_id {
            return Err(ReadError::Damaged(format!(
                "it is a copy of {}",
                table.object_id()
            )));
        }
        let size = file
            .metadata()
            .map_err(DiskError::during("look at copy"))?
            .len();
        if size != table.size_bytes() {
            return Err(ReadError::Damaged(format!(
                "it has {size} bytes instead of {}",
                table.size_bytes()
            )));
        }
        Ok(Self { file, table })
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.table.size_bytes()
    }

    pub(crate) fn into_file(self) -> File {
        self.file
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The end of the chunk that `offset` lies in, at most `end`: where the next chunk begins.
    pub(crate) fn chunk_end(offset: u64, end: u64) -> u64 {
        Self::piece_end(offset, end, CHUNK_BYTES)
    }

    /// The same for a single block.
    pub(crate) fn block_end(offset: u64, end: u64) -> u64 {
        Self::piece_end(offset, end, BLOCK_BYTES as u64)
    }

    fn piece_end(offset: u64, end: u64, piece: u64) -> u64 {
        (offset / piece * piece).saturating_add(piece).min(end)
    }

    /// The bytes from `start` to `end`, both within the copy and within one chunk, verified.
    pub(crate) fn read(&self, disk: &Disk, start: u64, end: u64) -> Result<Bytes, ReadError> {
        let failed = DiskError::during("read copy");
        disk.faults.at(Step::Read).map_err(&failed)?;
        let (first, block_range) = self.blocks(start, end);
        let mut buffer = vec![0; block_range.1];
        self.file
            .read_exact_at(&mut buffer, block_range.0)
            .map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    ReadError::Damaged(String::from("it ends early"))
                } else {
                    failed(error).into()
                }
            })?;
        self.verify(first, &buffer)?;
        Ok(cut(buffer, block_range.0, start, end))
    }

    /// The blocks that hold `start..end`: index of the first, offset and length in bytes of all.
    fn blocks(&self, start: u64, end: u64) -> (usize, (u64, usize)) {
        let block = BLOCK_BYTES as u64;
        let first = start / block;
        let stop = end
            .div_ceil(block)
            .saturating_mul(block)
            .min(self.size_bytes());
        let length = usize::try_from(stop - first * block)
            .expect("a chunk fits in memory: its callers stay within CHUNK_BYTES");
        let index = usize::try_from(first).unwrap_or(usize::MAX);
        (index, (first * block, length))
    }

    fn verify(&self, first: usize, blocks: &[u8]) -> Result<(), ReadError> {
        for (index, block) in (first..).zip(blocks.chunks(BLOCK_BYTES)) {
            if !self.table.matches(index, block) {
                return Err(ReadError::Damaged(format!(
                    "block {index} does not match its checksum"
                )));
            }
        }
        Ok(())
    }
}

/// Opens and reads a copy of at most one chunk if the kernel has all of it in memory: a small object that
/// was read a moment ago then costs no trip to another thread. `None` when any of it would wait, or is
/// not as it should be; the ordinary way then finds out.
pub(crate) fn read_cached(
    disk: &Disk,
    creator: AccountId,
    object_id: ObjectId,
) -> Option<(OpenFile, Bytes)> {
    disk.faults.at(Step::Read).ok()?;
    let path = disk.layout.copy(creator, object_id);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(CWD, &path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
    let file = File::from(file);
    let size = file.metadata().ok()?.len();
    if size > CHUNK_BYTES {
        return None;
    }
    let table = read_attribute(&file).ok()??;
    let copy = OpenFile::checked(file, &table, object_id).ok()?;
    let mut buffer = vec![0; usize::try_from(size).ok()?];
    if !buffer.is_empty() {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = ReadWriteFlags::NOWAIT;
        let read = rustix::io::preadv2(copy.file.as_fd(), &mut slices, 0, flags).ok()?;
        if read != buffer.len() {
            return None;
        }
    }
    copy.verify(0, &buffer).ok()?;
    Some((copy, buffer.into()))
}

/// `start..end` out of a buffer that begins at `offset`.
fn cut(buffer: Vec<u8>, offset: u64, start: u64, end: u64) -> Bytes {
    let within = |at: u64| {
        usize::try_from(at - offset).expect("within a buffer: checked by OpenFile::blocks")
    };
    let (from, to) = (within(start), within(end));
    Bytes::from(buffer).slice(from..to)
}

/// `None` when the file has no such attribute.
fn read_attribute(file: &File) -> Result<Option<Vec<u8>>, DiskError> {
    let mut encoded = Vec::with_capacity(ATTRIBUTE_BYTES_MAX);
    match rustix::fs::fgetxattr(
        file,
        ATTRIBUTE,
        rustix::buffer::spare_capacity(&mut encoded),
    ) {
        Ok(_) => Ok(Some(encoded)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        // Longer than any we write: let it fail to decode.
        Err(Errno::RANGE) => Ok(Some(Vec::new())),
        Err(error) => Err(DiskError::during("read checksums")(error.into())),
    }
}

fn read_sidecar(file: io::Result<File>) -> Result<Vec<u8>, ReadError> {
    let read = file.and_then(|mut file| {
        let mut encoded = Vec::new();
        file.read_to_end(&mut encoded)?;
        Ok(encoded)
    });
    read.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            ReadError::Damaged(String::from("its checksums are gone"))
        } else {
            DiskError::during("read checksums")(error).into()
        }
    })
}

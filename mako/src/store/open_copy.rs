//! A copy that is there, whole or in segments: everything behind this reads both alike. Everything here
//! blocks.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use libmanta::mako::Segment;
use libmanta::{AccountId, ObjectId};

use super::disk::Disk;
use super::read::OpenFile;
use super::readers::Reading;
use super::segments;
use crate::error::ReadError;
use crate::manifest::Manifest;

/// Every file has the size it should have, and checksums; of the files of a copy in segments one is open.
#[derive(Debug)]
pub(crate) enum OpenCopy {
    Whole(OpenFile),
    Segmented(Segmented),
}

impl OpenCopy {
    pub(crate) fn open(
        disk: &Disk,
        creator: AccountId,
        object_id: ObjectId,
    ) -> Result<Self, ReadError> {
        // Between the two looks, segments may become one file, which a third look then finds.
        match OpenFile::open(disk, creator, object_id) {
            Err(ReadError::Missing) => {}
            other => return other.map(Self::Whole),
        }
        match segments::open(disk, creator, object_id)? {
            Some(segmented) => Ok(Self::Segmented(segmented)),
            None => OpenFile::open(disk, creator, object_id).map(Self::Whole),
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Whole(file) => file.size_bytes(),
            Self::Segmented(segmented) => segmented.manifest.size_bytes(),
        }
    }

    /// The end of the chunk that `offset` lies in, at most `end`: where the next chunk begins.
    pub(crate) fn chunk_end(&self, offset: u64, end: u64) -> u64 {
        match self {
            Self::Whole(_) => OpenFile::chunk_end(offset, end),
            Self::Segmented(segmented) => segmented.piece_end(offset, end, OpenFile::chunk_end),
        }
    }

    /// The same for a single block.
    pub(crate) fn block_end(&self, offset: u64, end: u64) -> u64 {
        match self {
            Self::Whole(_) => OpenFile::block_end(offset, end),
            Self::Segmented(segmented) => segmented.piece_end(offset, end, OpenFile::block_end),
        }
    }

    /// The bytes from `start` to `end`, both within the copy and within one chunk, verified.
    pub(crate) fn read(&self, disk: &Disk, start: u64, end: u64) -> Result<Bytes, ReadError> {
        match self {
            Self::Whole(file) => file.read(disk, start, end),
            Self::Segmented(segmented) => segmented.read(disk, start, end),
        }
    }

    /// Gives every chunk, verified, to `each`; stops with `None` when `give_up` says so.
    pub(crate) fn read_all<E: From<ReadError>>(
        &self,
        disk: &Disk,
        give_up: impl Fn() -> bool,
        mut each: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<Option<()>, E> {
        let mut start = 0;
        while start < self.size_bytes() {
            if give_up() {
                return Ok(None);
            }
            let end = self.chunk_end(start, self.size_bytes());
            each(self.read(disk, start, end)?)?;
            start = end;
        }
        Ok(Some(()))
    }
}

/// A copy that lies in a directory of segments, which stays as it is for as long as this lives.
#[derive(Debug)]
pub(crate) struct Segmented {
    directory: File,
    manifest: Manifest,
    /// The segment that was read last. There may be ten thousand, too many to have all of them open.
    open: Mutex<Option<(usize, OpenFile)>>,
    _reading: Reading,
}

impl Segmented {
    pub(crate) fn new(directory: File, manifest: Manifest, reading: Reading) -> Self {
        Self {
            directory,
            manifest,
            open: Mutex::new(None),
            _reading: reading,
        }
    }

    /// Pieces are those of the segment's file, so that a piece never lies in two, and blocks are read once.
    fn piece_end(&self, offset: u64, end: u64, of_file: impl Fn(u64, u64) -> u64) -> u64 {
        match self.manifest.find(offset) {
            Some((_, place)) => {
                let within = of_file(offset - place.start, place.end - place.start);
                (place.start + within).min(end)
            }
            None => end,
        }
    }

    fn read(&self, disk: &Disk, start: u64, end: u64) -> Result<Bytes, ReadError> {
        let Some((index, place)) = self.manifest.find(start) else {
            return Ok(Bytes::new());
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match open.take() {
            Some((opened, file)) if opened == index => file,
            _ => self.open_segment(index)?,
        };
        let bytes = file.read(disk, start - place.start, end - place.start);
        *open = Some((index, file));
        bytes
    }

    fn open_segment(&self, index: usize) -> Result<OpenFile, ReadError> {
        let Some(segment) = self.manifest.segments().get(index) else {
            return Err(ReadError::Missing);
        };
        open_segment(&self.directory, index, *segment)
    }
}

/// Opens the segment `index` in a directory of segments and checks that it is `segment`.
pub(crate) fn open_segment(
    directory: &File,
    index: usize,
    segment: Segment,
) -> Result<OpenFile, ReadError> {
    let file = OpenFile::open_segment(directory, &index.to_string(), segment.object_id)?;
    if file.size_bytes() != segment.size_bytes {
        return Err(ReadError::Damaged(format!(
            "its segment {index} has {} bytes instead of {}",
            file.size_bytes(),
            segment.size_bytes
        )));
    }
    Ok(file)
}

//! Listing every copy of a node, page by page, in order of object id.
//!
//! Copies lie by creator first, so the order is made here: all that begin with one byte are read from
//! every creator's directory and sorted. What was read last is kept, so that a walk through the node reads
//! each directory once, however small its pages are. A walk may miss copies that appear while it runs;
//! one that begins at the start sees everything that was there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libmanta::mako::StoredCopy;
use libmanta::{AccountId, ObjectId, Timestamp};

use super::disk::Disk;
use super::layout::{first_byte, parse_creator, parse_name};
use super::segments;

#[derive(Debug, Default)]
pub(crate) struct Listing(Mutex<Option<Share>>);

/// All copies whose object id begins with one byte, sorted.
#[derive(Debug)]
struct Share {
    first: u8,
    copies: Vec<(ObjectId, AccountId)>,
    /// The last object id that was given out from it.
    position: ObjectId,
}

impl Listing {
    /// Blocks. Checksums whose copy is gone are listed as a copy of zero bytes: deleting them is the only
    /// thing to do with them, and whoever deletes copies without metadata does it right.
    pub(crate) fn page(
        &self,
        disk: &Disk,
        after: Option<ObjectId>,
        limit: usize,
    ) -> io::Result<Vec<StoredCopy>> {
        disk.check_present()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = Vec::new();
        let mut creators = None;
        for first in after.map_or(0, first_byte)..=u8::MAX {
            if page.len() >= limit {
                break;
            }
            let share = match kept.take() {
                Some(share) if share.first == first && Some(share.position) == after => share,
                _ => {
                    let creators = match &mut creators {
                        Some(creators) => creators,
                        none => none.insert(creators_of(disk)?),
                    };
                    Share::read(disk, creators, first)?
                }
            };
            let begin = share
                .copies
                .partition_point(|(id, _)| after.is_some_and(|after| *id <= after));
            let mut position = None;
            for &(object_id, creator) in &share.copies[begin..] {
                if page.len() >= limit {
                    break;
                }
                page.extend(look(disk, creator, object_id)?);
                position = Some(object_id);
            }
            if let Some(position) = position {
                *kept = Some(Share { position, ..share });
            }
        }
        Ok(page)
    }
}

impl Share {
    fn read(disk: &Disk, creators: &[AccountId], first: u8) -> io::Result<Self> {
        let mut copies = Vec::new();
        for &creator in creators {
            for name in names_in(&disk.layout.fan_out(creator, first))? {
                if let Some((object_id, _)) = parse_name(&name) {
                    copies.push((object_id, creator));
                }
            }
        }
        copies.sort_unstable();
        // A copy and its checksums are one.
        copies.dedup();
        Ok(Self {
            first,
            copies,
            position: ObjectId::from_uuid(uuid::Uuid::nil()),
        })
    }
}

fn creators_of(disk: &Disk) -> io::Result<Vec<AccountId>> {
    let names = names_in(disk.layout.root())?;
    Ok(names
        .iter()
        .filter_map(|name| parse_creator(name))
        .collect())
}

/// Names that are not text are none of ours. A directory that is not there is empty.
fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// `None` when it was deleted meanwhile.
fn look(disk: &Disk, creator: AccountId, object_id: ObjectId) -> io::Result<Option<StoredCopy>> {
    let layout = &disk.layout;
    let (found, size_bytes) = if let Some(found) = metadata(&layout.copy(creator, object_id))? {
        let size_bytes = found.len();
        (found, size_bytes)
    } else if let Some(found) = metadata(&layout.segments(creator, object_id))? {
        (found, segments::size_bytes(disk, creator, object_id))
    } else if let Some(found) = metadata(&layout.sidecar(creator, object_id))? {
        (found, 0)
    } else {
        return Ok(None);
    };
    // The time of the rename, which no ordinary call can set back.
    let changed = UNIX_EPOCH
        + Duration::new(
            u64::try_from(found.ctime()).unwrap_or(0),
            u32::try_from(found.ctime_nsec()).unwrap_or(0),
        );
    // `store/recent.rs` says why the file's own time is not enough.
    let stored = match disk.recent.age(object_id) {
        Some(age) => changed.max(SystemTime::now() - age),
        None => changed,
    };
    Ok(Some(StoredCopy {
        creator,
        object_id,
        size_bytes,
        stored: Timestamp::from_system(stored),
    }))
}

/// `None` when there is nothing of that name.
fn metadata(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

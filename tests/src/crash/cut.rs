//! One disk that the power failure could have left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::StdRng;

use super::record::{InodeId, Kind, Operation, ROOT, Record, Step};

/// Smallest unit that a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// What becomes of the operations that no sync covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As if the machine had gone on.
    Everything,
    /// The least that was promised.
    Nothing,
    /// Each with this chance in percent.
    Some(u8),
    /// Names as with `Some(50)`; of each write some sectors.
    Torn,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Puts into `target`, which must exist and be empty, what was on the disk when the power went after line
/// `cut`.
pub fn materialise(
    record: &Record,
    cut: usize,
    keep: Keep,
    chance: &mut StdRng,
    target: &Path,
) -> Result<()> {
    let mut files: BTreeMap<InodeId, Content> = BTreeMap::new();
    let mut names: BTreeMap<InodeId, BTreeMap<Vec<u8>, InodeId>> = BTreeMap::new();
    for operation in record
        .operations
        .iter()
        .take_while(|operation| operation.entered <= cut)
    {
        let sectors = surviving(operation, cut, keep, chance);
        if sectors == Sectors::None {
            continue;
        }
        match &operation.step {
            Step::Bytes {
                inode,
                offset,
                bytes,
            } => {
                let file = files.entry(*inode).or_default();
                write(&mut file.bytes, *offset as usize, bytes, sectors, chance);
            }
            Step::Resize { inode, size } => {
                files
                    .entry(*inode)
                    .or_default()
                    .bytes
                    .resize(*size as usize, 0);
            }
            Step::Attribute { inode, name, value } => {
                let attributes = &mut files.entry(*inode).or_default().attributes;
                match value {
                    Some(value) => attributes.insert(name.clone(), value.clone()),
                    None => attributes.remove(name),
                };
            }
            Step::Names(changes) => {
                for (directory, name, inode) in changes {
                    let entries = names.entry(*directory).or_default();
                    match inode {
                        Some(inode) => entries.insert(name.clone(), *inode),
                        None => entries.remove(name),
                    };
                }
            }
        }
    }
    let mut placed = BTreeMap::new();
    place(record, ROOT, target, &files, &names, &mut placed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sectors {
    None,
    Any,
    All,
}

fn surviving(operation: &Operation, cut: usize, keep: Keep, chance: &mut StdRng) -> Sectors {
    if operation.durable.is_some_and(|durable| durable <= cut) {
        return Sectors::All;
    }
    let kept = match keep {
        Keep::Everything => true,
        Keep::Nothing => false,
        Keep::Some(percent) => chance.random_range(0..100) < percent,
        Keep::Torn if matches!(operation.step, Step::Bytes { .. }) => return Sectors::Any,
        Keep::Torn => chance.random(),
    };
    if kept { Sectors::All } else { Sectors::None }
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8], sectors: Sectors, chance: &mut StdRng) {
    let mut done = 0;
    while done < bytes.len() {
        // Sectors lie at multiples of their size in the file, not in the write.
        let room = SECTOR - (offset + done) % SECTOR;
        let length = match sectors {
            Sectors::All => bytes.len(),
            _ => room.min(bytes.len() - done),
        };
        if sectors == Sectors::All || chance.random() {
            let end = offset + done + length;
            if file.len() < end {
                file.resize(end, 0);
            }
            file[offset + done..end].copy_from_slice(&bytes[done..done + length]);
        }
        done += length;
    }
}

fn place(
    record: &Record,
    directory: InodeId,
    path: &Path,
    files: &BTreeMap<InodeId, Content>,
    names: &BTreeMap<InodeId, BTreeMap<Vec<u8>, InodeId>>,
    placed: &mut BTreeMap<InodeId, PathBuf>,
) -> Result<()> {
    for (name, inode) in names.get(&directory).into_iter().flatten() {
        let path = path.join(std::ffi::OsStr::from_bytes(name));
        match &record.inodes[*inode].kind {
            Kind::Directory => {
                // Two names for a directory: a rename of which only the new name survived has none left.
                if placed.insert(*inode, path.clone()).is_none() {
                    fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
                    place(record, *inode, &path, files, names, placed)?;
                }
            }
            Kind::Symlink(target) | Kind::Outside(target) => {
                symlink(std::ffi::OsStr::from_bytes(target), &path)
                    .with_context(|| format!("link {}", path.display()))?;
            }
            Kind::Socket => {
                // The name stays when the socket is closed, as after a crash.
                UnixListener::bind(&path).with_context(|| format!("bind {}", path.display()))?;
            }
            Kind::File => {
                if let Some(other) = placed.get(inode) {
                    fs::hard_link(other, &path)
                        .with_context(|| format!("link {}", path.display()))?;
                    continue;
                }
                let mut out =
                    File::create(&path).with_context(|| format!("create {}", path.display()))?;
                if let Some(file) = files.get(inode) {
                    out.write_all(&file.bytes)?;
                    for (name, value) in &file.attributes {
                        rustix::fs::fsetxattr(
                            &out,
                            name.as_slice(),
                            value,
                            rustix::fs::XattrFlags::empty(),
                        )
                        .with_context(|| format!("set an attribute of {}", path.display()))?;
                    }
                }
                placed.insert(*inode, path);
            }
        }
    }
    Ok(())
}

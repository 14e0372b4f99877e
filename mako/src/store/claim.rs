//! Whose directory this is: the format file and the lock.
//!
//! The format file is text, so that an operator who finds a disk can see what it was:
//!
//! ```text
//! manta storage node
//! format 1
//! storage-id 1.stor.local
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use libmanta::StorageId;
use rustix::fs::{Mode, OFlags};

use super::layout::Layout;
use crate::error::OpenError;

const TITLE: &str = "manta storage node";
const VERSION: &str = "1";

/// The right to serve a directory, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: File,
}

impl Claim {
    /// Locks the directory for `storage_id`. A missing or empty directory becomes a storage node.
    pub(crate) fn take(layout: &Layout, storage_id: &StorageId) -> Result<Self, OpenError> {
        let text = storage_id.as_str();
        if text.is_empty() || text.trim() != text || text.contains(['\n', '\r', '\0']) {
            return Err(OpenError::StorageId(storage_id.clone()));
        }
        make_root(layout).map_err(failed(layout, "make the directory"))?;
        let present = layout
            .format()
            .try_exists()
            .map_err(failed(layout, "look for the format file"))?;
        if !present {
            refuse_foreign(layout)?;
        }
        let claim = Self::lock(layout)?;
        // Looked for again: whoever had the lock a moment ago may have made the format file.
        if layout
            .format()
            .try_exists()
            .map_err(failed(layout, "look for the format file"))?
        {
            check_format(layout, storage_id)?;
        } else {
            write_format(layout, storage_id).map_err(failed(layout, "write the format file"))?;
        }
        Ok(claim)
    }

    /// Locks a directory that is `storage_id`'s already. For a node that was gone and came back: an empty
    /// directory then is a disk that is not mounted, and must not be taken for a new node.
    pub(crate) fn take_again(layout: &Layout, storage_id: &StorageId) -> Result<Self, OpenError> {
        check_format(layout, storage_id)?;
        Self::lock(layout)
    }

    /// Whether the directory is still the one that was locked, and not another one mounted there since.
    pub(crate) fn holds(&self, layout: &Layout) -> io::Result<bool> {
        let (ours, there) = (self.lock.metadata()?, fs::metadata(layout.lock())?);
        Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    }

    fn lock(layout: &Layout) -> Result<Self, OpenError> {
        // Not for writing: a file open for writing would keep the operator from making the file system
        // read-only, and on one that is, this still opens the lock of a node that was there before.
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(layout.lock(), flags, Mode::from(0o600))
            .map(File::from)
            .map_err(io::Error::from);
        let lock = lock.map_err(failed(layout, "open the lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
                path: layout.root().to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(layout, "lock the directory")(source)),
        }
    }
}

fn failed(layout: &Layout, during: &'static str) -> impl Fn(io::Error) -> OpenError {
    let path = layout.root().to_owned();
    move |source| OpenError::Io {
        path: path.clone(),
        during,
        source,
    }
}

fn make_root(layout: &Layout) -> io::Result<()> {
    let root = layout.root();
    if root.try_exists()? {
        return Ok(());
    }
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(root)?;
    match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whatever is in a directory we did not make stays as it is: a mistyped option must not scatter files
/// over somebody's home.
fn refuse_foreign(layout: &Layout) -> Result<(), OpenError> {
    let list = failed(layout, "list the directory");
    for entry in fs::read_dir(layout.root()).map_err(&list)? {
        let name = entry.map_err(&list)?.file_name();
        // The first two are ours, from a start that was cut short; the third is a fresh file system's.
        if name != "lock" && name != "format.new" && name != "lost+found" {
            return Err(OpenError::NotANode {
                path: layout.root().to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

fn write_format(layout: &Layout, storage_id: &StorageId) -> io::Result<()> {
    let new = layout.root().join("format.new");
    fs::write(&new, encode(storage_id))?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, layout.format())?;
    sync_directory(layout.root())
}

fn check_format(layout: &Layout, storage_id: &StorageId) -> Result<(), OpenError> {
    let path = layout.root().to_owned();
    let text =
        fs::read_to_string(layout.format()).map_err(failed(layout, "read the format file"))?;
    match decode(&text) {
        Ok(found) if found == *storage_id => Ok(()),
        Ok(found) => Err(OpenError::OtherNode {
            path,
            found,
            wanted: storage_id.clone(),
        }),
        Err(reason) => Err(OpenError::Format { path, reason }),
    }
}

fn encode(storage_id: &StorageId) -> String {
    format!("{TITLE}\nformat {VERSION}\nstorage-id {storage_id}\n")
}

fn decode(text: &str) -> Result<StorageId, String> {
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(String::from("the format file is not ours"));
    }
    match lines.next().and_then(|line| line.strip_prefix("format ")) {
        Some(VERSION) => {}
        Some(other) => {
            return Err(format!(
                "it has format {other}, and this version of manta knows only {VERSION}"
            ));
        }
        None => return Err(String::from("the format file has no version")),
    }
    match (
        lines
            .next()
            .and_then(|line| line.strip_prefix("storage-id ")),
        lines.next(),
    ) {
        (Some(storage_id), None) if !storage_id.is_empty() => Ok(StorageId::new(storage_id)),
        _ => Err(String::from("the format file has no storage id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1, for ever.
    #[test]
    fn golden_format_file() {
        let golden = "manta storage node\nformat 1\nstorage-id 1.stor.local\n";
        let storage_id = StorageId::new("1.stor.local");
        assert_eq!(encode(&storage_id), golden);
        assert_eq!(decode(golden), Ok(storage_id));
    }

    #[test]
    fn other_format_files_are_refused_with_a_reason() {
        let newer = decode("manta storage node\nformat 2\nstorage-id a\n").unwrap_err();
        assert!(newer.contains("format 2"), "{newer}");
        for text in [
            "",
            "manta storage node\n",
            "manta storage node\nformat 1\n",
            "manta storage node\nformat 1\nstorage-id \n",
            "manta storage node\nformat 1\nstorage-id a\nmore\n",
            "format 1\nstorage-id a\n",
        ] {
            assert!(decode(text).is_err(), "{text:?}");
        }
    }
}

//! What lies in the storage directories. The layout is described in `mako`; only what it promises is used:
//! a copy is a file named by its object's id, and what is being written lies below `tmp`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tests::{Store, machine, wait_for};

/// Copies with their sizes in bytes, of all storage directories, but for what the store has put there itself.
pub(crate) fn copies(store: &Store) -> Result<BTreeMap<PathBuf, u64>> {
    let mut copies = files(store)?;
    copies.retain(|path, size| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let is_copy = name.len() == 36 && name.matches('-').count() == 4;
        is_copy && !is_temporary(path) && !is_the_stores(path, *size)
    });
    Ok(copies)
}

/// The script of `mlogin`, which is an object of the operator's.
fn is_the_stores(path: &Path, size: u64) -> bool {
    const BEGIN: &[u8] = b"#!/bin/bash\n# The zone's end of an mlogin session.\n";
    size < 1024 && std::fs::read(path).is_ok_and(|content| content.starts_with(BEGIN))
}

/// Waits until a start of the store takes all copies for older than itself, by the clock of the file system.
pub(crate) fn wait_until_old(store: &Store) -> Result<()> {
    const OLD: Duration = Duration::from_secs(2);
    wait_for("copies to be old", Duration::from_secs(30), || {
        for path in files(store)?.keys() {
            // What is gone meanwhile is no copy any more.
            let Ok(made) = std::fs::metadata(path).and_then(|file| file.modified()) else {
                continue;
            };
            if made.elapsed().is_ok_and(|age| age < OLD) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// What is being written, or was when the store died.
pub(crate) fn temporaries(store: &Store) -> Result<Vec<PathBuf>> {
    Ok(files(store)?
        .into_keys()
        .filter(|path| is_temporary(path))
        .collect())
}

/// All files with their sizes.
pub(crate) fn files(store: &Store) -> Result<BTreeMap<PathBuf, u64>> {
    let mut files = BTreeMap::new();
    for directory in store.storage_directories()? {
        files.extend(machine::files_below(&directory)?);
    }
    Ok(files)
}

/// The file is below `tmp/XX` of a storage directory: `XX` is what tells it from a system's own `/tmp`.
fn is_temporary(path: &Path) -> bool {
    let parents: Vec<&OsStr> = path.iter().rev().skip(1).take(2).collect();
    matches!(parents[..], [home, tmp] if home.len() == 2 && tmp == "tmp")
}

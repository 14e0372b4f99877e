//! The check of the recorder itself: a disk that lost nothing must be the directory that was recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::record::ZONES;
use super::{Keep, Record, materialise};
use crate::machine::files_below;

/// Fails unless the record of a run that has ended rebuilds `root` byte for byte.
pub fn compare(record: &Record, root: &Path) -> Result<()> {
    let rebuilt = tempfile::tempdir()?;
    // Nothing is left to chance when everything is kept.
    let mut unused = StdRng::seed_from_u64(0);
    materialise(
        record,
        usize::MAX - 1,
        Keep::Everything,
        &mut unused,
        rebuilt.path(),
    )?;
    let (left, right) = (contents(root)?, contents(rebuilt.path())?);
    let names: Vec<&PathBuf> = left.keys().collect();
    let rebuilt_names: Vec<&PathBuf> = right.keys().collect();
    ensure!(
        names == rebuilt_names,
        "the disk has {names:?}, the record {rebuilt_names:?}"
    );
    for (path, content) in &left {
        // What came from elsewhere stands there as a link to it.
        if right
            .get(path)
            .is_some_and(|target| target.starts_with(b"/") && !content.starts_with(b"/"))
        {
            continue;
        }
        ensure!(
            right.get(path) == Some(content),
            "the record has another {} than the disk",
            path.display()
        );
    }
    Ok(())
}

/// Files and links below a directory. The index of SQLite's log is left out, since it is written through a
/// mapping and made anew after a crash; sockets hold nothing.
fn contents(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut contents = BTreeMap::new();
    for path in files_below(root)?.into_keys() {
        if path.starts_with(root.join(ZONES)) {
            continue;
        }
        let metadata = fs::symlink_metadata(&path)?;
        let content = if metadata.is_symlink() {
            fs::read_link(&path)?.into_os_string().into_encoded_bytes()
        } else if metadata.is_file() && !path.to_string_lossy().ends_with("-shm") {
            fs::read(&path).with_context(|| format!("read {}", path.display()))?
        } else {
            continue;
        };
        contents.insert(path.strip_prefix(root)?.to_path_buf(), content);
    }
    Ok(contents)
}

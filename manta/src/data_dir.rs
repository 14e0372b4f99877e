//! The data directory of an all-in-one store: what lies where, its lock and its format version.
//!
//! Surprise: the storage directories named by `--storage` may lie elsewhere, and may be missing when the
//! store starts. `storage.json` remembers which storage id each one carries, so that a disk that was not
//! mounted is treated as a node that is down and never as a new, empty one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// Longer than a dying process takes, shorter than a person waits.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// Changes when an older binary could no longer read what a newer one wrote.
const FORMAT_VERSION: u32 = 1;

/// A locked data directory. The lock goes with the value, and with the process.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes or opens the directory. Refuses one that another process holds, one of a newer format, and one
    /// that holds something else.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)
            .with_context(|| format!("create data directory {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("open {}", path.display()))?;
        if let Some(parent) = path.parent() {
            // So that the name of a new data directory outlives a power cut.
            match File::open(parent).and_then(|parent| parent.sync_all()) {
                // A directory that somebody else made, and syncs.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                other => other.with_context(|| format!("sync {}", parent.display()))?,
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o700))
            .with_context(|| format!("make {} private", path.display()))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(|| format!("open the lock of {}", path.display()))?;
        lock_or_explain(&lock, &path)?;
        let dir = Self { path, _lock: lock };
        dir.check_format()?;
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the data directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn check_format(&self) -> Result<()> {
        let file = self.join("format");
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(version) if version <= FORMAT_VERSION => Ok(()),
                Ok(version) => bail!(
                    "{} was written by a newer manta (format {version}, this one knows {FORMAT_VERSION})",
                    self.path.display()
                ),
                Err(_) => bail!(
                    "{} is not the data directory of a manta store",
                    self.path.display()
                ),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.holds_something_else()? {
                    bail!(
                        "{} is not empty and not the data directory of a manta store; name another --data-dir",
                        self.path.display()
                    );
                }
                publish(&file, format!("{FORMAT_VERSION}\n").as_bytes(), 0o600)
            }
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    fn holds_something_else(&self) -> Result<bool> {
        let names = fs::read_dir(&self.path)?
            .map(|entry| entry.map(|e| e.file_name()))
            .collect::<Result<Vec<_>, _>>()?;
        // Both may be all that a first start came to.
        let ours = ["lock", ".format.new"];
        Ok(names
            .iter()
            .any(|name| ours.iter().all(|ours| name != ours)))
    }

    /// The store's own name, made at the first start. Storage directories and shards carry it, so that those
    /// of another store are refused instead of being taken for a damaged part of this one.
    pub(crate) fn store_id(&self) -> Result<Uuid> {
        let path = self.join("store");
        match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .with_context(|| format!("{} does not hold a uuid", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let id = Uuid::new_v4();
                publish(&path, format!("{id}\n").as_bytes(), 0o600)?;
                Ok(id)
            }
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Whether every metadata shard was made at an earlier start. One that is missing now must not be made
    /// anew: its names would be gone, and the sweep would take the copies they refer to.
    pub(crate) fn shards_made(&self) -> Result<bool> {
        let path = self.join("shards-made");
        path.try_exists()
            .with_context(|| format!("look for {}", path.display()))
    }

    /// Notes that every shard is made.
    pub(crate) fn note_shards_made(&self) -> Result<()> {
        publish(&self.join("shards-made"), b"", 0o600)
    }

    /// MD5 fingerprints of the keys that starts have registered by themselves. A key is registered once: one
    /// that the operator took away must not come back.
    pub(crate) fn registered_keys(&self) -> Result<BTreeSet<String>> {
        let path = self.join("keys-registered");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    pub(crate) fn note_registered_keys(
        &self,
        before: BTreeSet<String>,
        new: impl Iterator<Item = String>,
    ) -> Result<()> {
        let mut all = before.clone();
        all.extend(new);
        if all == before {
            return Ok(());
        }
        let text: String = all.iter().map(|key| format!("{key}\n")).collect();
        publish(&self.join("keys-registered"), text.as_bytes(), 0o600)
    }

    /// 32 random bytes, made at the first start: seals the tokens that jobs carry.
    pub(crate) fn secret(&self) -> Result<[u8; 32]> {
        let path = self.join("secret");
        match fs::read(&path) {
            Ok(bytes) => <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
                anyhow::anyhow!("{} is damaged: it must hold 32 bytes", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut secret = [0; 32];
                File::open("/dev/urandom")
                    .and_then(|mut random| random.read_exact(&mut secret))
                    .context("read random bytes")?;
                publish(&path, &secret, 0o600)?;
                Ok(secret)
            }
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// The number of each storage directory, in the order given; new ones get the next free number, which
    /// is recorded before it is used.
    pub(crate) fn storage_dirs(&self, directories: &[PathBuf]) -> Result<Vec<StorageDir>> {
        let mut known = self.known_storage()?;
        let mut next = known
            .values()
            .map(|known| known.number)
            .max()
            .map_or(1, |n| n + 1);
        let mut found: Vec<StorageDir> = Vec::with_capacity(directories.len());
        for directory in directories {
            let path = absolute(directory)?;
            let known = known.entry(self.name_of(&path)?).or_insert_with(|| {
                next += 1;
                Known {
                    number: next - 1,
                    opened: false,
                }
            });
            if found.iter().any(|other| other.number == known.number) {
                bail!("{} is named twice", path.display());
            }
            found.push(StorageDir {
                path,
                number: known.number,
                opened_before: known.opened,
            });
        }
        self.write_known_storage(&known)?;
        Ok(found)
    }

    /// Notes that these directories are storage nodes now.
    pub(crate) fn storage_opened(&self, directories: &[StorageDir]) -> Result<()> {
        let mut known = self.known_storage()?;
        for directory in directories {
            if let Some(known) = known.get_mut(&self.name_of(&directory.path)?) {
                known.opened = true;
            }
        }
        self.write_known_storage(&known)
    }

    /// Relative to the data directory where it lies below it, so that the whole can be moved.
    fn name_of(&self, path: &Path) -> Result<String> {
        let name = path.strip_prefix(&self.path).unwrap_or(path);
        Ok(name
            .to_str()
            .context("a storage directory's name must be UTF-8")?
            .to_owned())
    }

    fn known_storage(&self) -> Result<BTreeMap<String, Known>> {
        let file = self.join("storage.json");
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("understand {}", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    fn write_known_storage(&self, known: &BTreeMap<String, Known>) -> Result<()> {
        if self.known_storage()? == *known {
            return Ok(());
        }
        publish(
            &self.join("storage.json"),
            &serde_json::to_vec_pretty(known)?,
            0o600,
        )
    }
}

/// What `storage.json` says of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Known {
    number: u32,
    opened: bool,
}

/// A storage directory and the number in its storage id.
#[derive(Debug)]
pub(crate) struct StorageDir {
    pub(crate) path: PathBuf,
    pub(crate) number: u32,
    /// It was a storage node before, so if it is empty or missing now, its disk is.
    pub(crate) opened_before: bool,
}

fn absolute(path: &Path) -> Result<PathBuf> {
    // A directory that is gone cannot be canonicalised, but must still be found under the same name.
    let path = std::path::absolute(path).with_context(|| format!("resolve {}", path.display()))?;
    Ok(path.canonicalize().unwrap_or(path))
}

/// A process that was killed keeps its lock until its last write to the disk has ended, so a lock that is held
/// is tried again for a moment.
fn lock_or_explain(lock: &File, path: &Path) -> Result<()> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                bail!("{} is in use by another manta process", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }
}

/// Writes a small file so that a crash leaves the old one or the new one, never a part.
pub(crate) fn publish(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let directory = path.parent().context("a file has a directory")?;
    let name = path
        .file_name()
        .context("a file has a name")?
        .to_string_lossy();
    let temporary = directory.join(format!(".{name}.new"));
    let write = || -> std::io::Result<()> {
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(&temporary)?;
        // The mode of `open` does not apply to a temporary that a crash left behind.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        let directory = File::open(directory)?;
        // A file may tell of what was made beside it, so that has to be durable before its name can be.
        directory.sync_all()?;
        fs::rename(&temporary, path)?;
        directory.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("manta-data-dir-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::create_dir_all(&path).unwrap();
        for left in ["lock", ".format.new"] {
            fs::write(path.join(left), "").unwrap();
        }
        DataDir::open(&path).unwrap();
        let other = parent.path().join("other");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("format.new"), "").unwrap();
        assert!(DataDir::open(&other).is_err());
    }

    #[test]
    fn a_data_directory_opens_once_at_a_time_and_again_later() {
        let path = scratch("lock");
        let first = DataDir::open(&path).unwrap();
        let secret = first.secret().unwrap();
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(
            refused.contains("in use by another manta process"),
            "{refused}"
        );
        drop(first);
        assert_eq!(DataDir::open(&path).unwrap().secret().unwrap(), secret);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn foreign_and_newer_directories_are_refused() {
        let path = scratch("foreign");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("letter.txt"), "dear").unwrap();
        assert!(
            DataDir::open(&path)
                .unwrap_err()
                .to_string()
                .contains("not empty")
        );
        fs::remove_file(path.join("letter.txt")).unwrap();
        fs::write(path.join("format"), "99\n").unwrap();
        assert!(
            DataDir::open(&path)
                .unwrap_err()
                .to_string()
                .contains("newer manta")
        );
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn storage_numbers_follow_the_directories() {
        let path = scratch("storage");
        let dir = DataDir::open(&path).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| path.join(name));
        let numbers = |dirs: &[StorageDir]| {
            dirs.iter()
                .map(|s| (s.number, s.opened_before))
                .collect::<Vec<_>>()
        };
        let first = dir.storage_dirs(&[a.clone(), b.clone()]).unwrap();
        assert_eq!(numbers(&first), [(1, false), (2, false)]);
        dir.storage_opened(&first[1..]).unwrap();
        let again = dir.storage_dirs(&[b.clone(), c, a]).unwrap();
        assert_eq!(numbers(&again), [(2, true), (3, false), (1, false)]);
        let twice = dir.storage_dirs(&[b.clone(), b]).unwrap_err().to_string();
        assert!(twice.contains("named twice"), "{twice}");
        fs::remove_dir_all(&path).unwrap();
    }
}

//! Whose directory this is: the format file and the lock.
//!
//! The format file is text, so that an operator who finds a disk can see what it was:
//!
//! ```text
//! manta storage node
//! format 2
//! storage-id 1.stor.local
//! store 7d444840-9dc0-11d1-b245-5ffdce74fad2
//! ```
//!
//! Format 1 is the same without copies in segments; a directory in it is taken over, and says 2 from then on,
//! so that a program which does not know of them leaves it alone.
//!
//! The last line is there when the store has an id, see [`Config::store_id`](crate::Config::store_id).

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use libmanta::StorageId;
use rustix::fs::{Mode, OFlags};
use uuid::Uuid;

use super::layout::Layout;
use crate::error::OpenError;

const TITLE: &str = "manta storage node";
const VERSION: &str = "2";
/// What is read besides.
const VERSION_BEFORE: &str = "1";

/// Whose a directory is, or should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) storage_id: StorageId,
    /// `None` when whoever opens the directory has no store id, or the directory was made by such a one.
    pub(crate) store_id: Option<Uuid>,
}

/// The right to serve a directory, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: File,
}

impl Claim {
    /// Locks the directory for `owner`. A missing or empty directory becomes a storage node.
    pub(crate) fn take(layout: &Layout, owner: &Owner) -> Result<Self, OpenError> {
        let text = owner.storage_id.as_str();
        if text.is_empty() || text.trim() != text || text.contains(['\n', '\r', '\0']) {
            return Err(OpenError::StorageId(owner.storage_id.clone()));
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
            take_over(layout, &check_format(layout, owner)?);
        } else {
            write_format(layout, owner).map_err(failed(layout, "write the format file"))?;
        }
        Ok(claim)
    }

    /// Locks a directory that is `owner`'s already. For a node that was gone and came back: an empty
    /// directory then is a disk that is not mounted, and must not be taken for a new node.
    pub(crate) fn take_again(layout: &Layout, owner: &Owner) -> Result<Self, OpenError> {
        let found = check_format(layout, owner)?;
        let claim = Self::lock(layout)?;
        take_over(layout, &found);
        Ok(claim)
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

fn write_format(layout: &Layout, owner: &Owner) -> io::Result<()> {
    let new = layout.root().join("format.new");
    fs::write(&new, encode(owner))?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, layout.format())?;
    sync_directory(layout.root())
}

/// Writes the version of now into a format file of the version before.
fn take_over(layout: &Layout, found: &Found) {
    // Fails on a file system that is read-only, where nothing new comes to be either.
    if found.old
        && let Err(error) = write_format(layout, &found.owner)
    {
        tracing::debug!(%error, "the format file stays as it is");
    }
}

fn check_format(layout: &Layout, owner: &Owner) -> Result<Found, OpenError> {
    let path = layout.root().to_owned();
    let text =
        fs::read_to_string(layout.format()).map_err(failed(layout, "read the format file"))?;
    let Found { owner: found, old } = match decode(&text) {
        Ok(found) => found,
        Err(reason) => return Err(OpenError::Format { path, reason }),
    };
    // The store comes first: all stores give their nodes the same few names.
    match (found.store_id, owner.store_id) {
        (Some(found), Some(wanted)) if found != wanted => {
            return Err(OpenError::OtherStore {
                path,
                found,
                wanted,
            });
        }
        (None, Some(wanted)) => return Err(OpenError::NoStore { path, wanted }),
        _ => {}
    }
    if found.storage_id != owner.storage_id {
        return Err(OpenError::OtherNode {
            path,
            found: found.storage_id,
            wanted: owner.storage_id.clone(),
        });
    }
    Ok(Found { owner: found, old })
}

fn encode(owner: &Owner) -> String {
    let mut text = format!(
        "{TITLE}\nformat {VERSION}\nstorage-id {}\n",
        owner.storage_id
    );
    if let Some(store_id) = owner.store_id {
        text.push_str(&format!("store {store_id}\n"));
    }
    text
}

/// What a format file says.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    owner: Owner,
    /// It is of the version before.
    old: bool,
}

fn decode(text: &str) -> Result<Found, String> {
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(String::from("the format file is not ours"));
    }
    let old = match lines.next().and_then(|line| line.strip_prefix("format ")) {
        Some(VERSION) => false,
        Some(VERSION_BEFORE) => true,
        Some(other) => {
            return Err(format!(
                "it has format {other}, and this version of manta knows only {VERSION}"
            ));
        }
        None => return Err(String::from("the format file has no version")),
    };
    let storage_id = lines
        .next()
        .and_then(|line| line.strip_prefix("storage-id "))
        .filter(|storage_id| !storage_id.is_empty())
        .map(StorageId::new)
        .ok_or_else(|| String::from("the format file has no storage id"))?;
    let store_id = match lines.next() {
        None => None,
        Some(line) => Some(
            line.strip_prefix("store ")
                .and_then(|store_id| store_id.parse().ok())
                .ok_or_else(|| format!("the format file has the line \"{line}\""))?,
        ),
    };
    match lines.next() {
        None => Ok(Found {
            owner: Owner {
                storage_id,
                store_id,
            },
            old,
        }),
        Some(line) => Err(format!("the format file goes on with \"{line}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "7d444840-9dc0-11d1-b245-5ffdce74fad2";

    fn owner(storage_id: &str, store_id: Option<&str>) -> Owner {
        Owner {
            storage_id: StorageId::new(storage_id),
            store_id: store_id.map(|id| id.parse().unwrap()),
        }
    }

    /// Versions 1 and 2, for ever.
    #[test]
    fn golden_format_file() {
        for (version, old) in [(1, true), (2, false)] {
            let plain = format!("manta storage node\nformat {version}\nstorage-id 1.stor.local\n");
            let with_store = format!("{plain}store {STORE}\n");
            for (golden, store_id) in [(&plain, None), (&with_store, Some(STORE))] {
                let owner = owner("1.stor.local", store_id);
                if !old {
                    assert_eq!(&encode(&owner), golden);
                }
                assert_eq!(decode(golden), Ok(Found { owner, old }));
            }
        }
    }

    #[test]
    fn a_directory_of_the_version_before_is_taken_over_with_all_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("shark"));
        drop(Claim::take(&layout, &owner("1.stor.local", Some(STORE))).unwrap());
        let text = fs::read_to_string(layout.format()).unwrap();
        fs::write(layout.format(), text.replace("format 2", "format 1")).unwrap();
        drop(Claim::take(&layout, &owner("1.stor.local", None)).unwrap());
        assert_eq!(fs::read_to_string(layout.format()).unwrap(), text);
    }

    #[test]
    fn other_format_files_are_refused_with_a_reason() {
        let newer = decode("manta storage node\nformat 3\nstorage-id a\n").unwrap_err();
        assert!(newer.contains("format 3"), "{newer}");
        let more = format!("manta storage node\nformat 1\nstorage-id a\nstore {STORE}\nmore\n");
        for text in [
            "",
            "manta storage node\n",
            "manta storage node\nformat 1\n",
            "manta storage node\nformat 1\nstorage-id \n",
            "manta storage node\nformat 1\nstorage-id a\nmore\n",
            "manta storage node\nformat 1\nstorage-id a\nstore \n",
            "manta storage node\nformat 1\nstorage-id a\nstore b\n",
            "format 1\nstorage-id a\n",
            &more,
        ] {
            assert!(decode(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_directory_is_its_stores_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("shark"));
        let mine = owner("1.stor.local", Some(STORE));
        let other = owner("1.stor.local", Some("00000000-0000-4000-8000-000000000001"));
        drop(Claim::take(&layout, &mine).unwrap());
        for take in [Claim::take, Claim::take_again] {
            drop(take(&layout, &mine).unwrap());
            // Whoever has no store id does not ask.
            drop(take(&layout, &owner("1.stor.local", None)).unwrap());
            let refused = take(&layout, &other).unwrap_err();
            assert!(
                matches!(refused, OpenError::OtherStore { .. }),
                "{refused:?}"
            );
            let text = refused.to_string();
            assert!(text.contains(STORE), "{text}");
            assert!(
                text.contains("00000000-0000-4000-8000-000000000001"),
                "{text}"
            );
            let refused = take(&layout, &owner("2.stor.local", Some(STORE))).unwrap_err();
            assert!(
                matches!(refused, OpenError::OtherNode { .. }),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_directory_of_no_store_is_taken_after_somebody_says_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("shark"));
        let mine = owner("1.stor.local", Some(STORE));
        drop(Claim::take(&layout, &owner("1.stor.local", None)).unwrap());
        for take in [Claim::take, Claim::take_again] {
            let refused = take(&layout, &mine).unwrap_err();
            assert!(matches!(refused, OpenError::NoStore { .. }), "{refused:?}");
            let text = refused.to_string();
            assert!(text.contains(STORE) && text.contains("shark"), "{text}");
        }
        let text = fs::read_to_string(layout.format()).unwrap();
        fs::write(layout.format(), format!("{text}store {STORE}\n")).unwrap();
        drop(Claim::take(&layout, &mine).unwrap());
    }
}

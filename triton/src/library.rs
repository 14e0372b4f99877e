//! The images that were imported: `IMAGES/NAME/VERSION`, each with its files (`rootfs`) and what is known of
//! them (`manifest.json`). Source: zones.md section 5.1.
//!
//! Programs share the directory without talking to each other: whoever makes zones of an image holds a shared
//! lock on its directory, and who removes it an exclusive one. Kernels let go of locks when their holder dies,
//! so that nothing has to be cleaned up after a crash but directories whose name begins with a dot.

mod archive;
mod compression;
mod copy;
mod digest;
mod error;
mod import;
mod manifest;
mod oci;
mod prepare;
mod tree;

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use libmanta::{Version, VersionRange};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

pub use error::{Fault, LibraryError};
pub use import::{Import, Limits, Source};
pub use manifest::Manifest;

use crate::remove_tree::remove_tree;
use error::During as _;

const ROOT: &str = "rootfs";
const MANIFEST: &str = "manifest.json";
/// Held while a name comes or goes.
const LOCK: &str = "lock";
/// Names below begin so while they are being filled, and once they are only being removed.
const TEMPORARY: &str = ".tmp-";

/// What an image is called. Jobs ask for versions; the name is for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageId {
    name: String,
    version: Version,
}

impl ImageId {
    /// Names are a letter or digit, then up to 63 letters, digits, `-`, `_` and dots.
    pub fn new(name: &str, version: Version) -> Result<Self, LibraryError> {
        match is_name(name) {
            true => Ok(Self {
                name: name.to_owned(),
                version,
            }),
            false => Err(LibraryError::Name(name.to_owned())),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

impl std::fmt::Display for ImageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// A directory of images, which need not exist yet.
#[derive(Clone, Debug)]
pub struct Library {
    directory: PathBuf,
}

/// An image, and what is known of it unless that is damaged.
pub type Listed = (ImageId, Result<Manifest, LibraryError>);

/// An image that is in use: it cannot be removed while this exists.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) root: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
    _lock: File,
}

impl Library {
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { directory }
    }

    /// By version, then by name.
    pub fn ids(&self) -> Result<Vec<ImageId>, LibraryError> {
        let mut ids = Vec::new();
        for name in names(&self.directory).during("list the images")? {
            // Whatever else somebody has put there, or a file system has, is not ours to look into.
            if !is_name(&name) {
                continue;
            }
            let versions = match names(&self.directory.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::debug!(name, "images of another user passed over");
                    continue;
                }
                versions => versions.during("list the images")?,
            };
            let versions = versions.iter().filter_map(|text| Version::parse(text));
            ids.extend(versions.filter_map(|version| ImageId::new(&name, version).ok()));
        }
        ids.sort_by(|a, b| (a.version, &a.name).cmp(&(b.version, &b.name)));
        Ok(ids)
    }

    /// What is known of each image, in the order of [`ids`](Self::ids).
    pub fn list(&self) -> Result<Vec<Listed>, LibraryError> {
        let listed = self.ids()?.into_iter().map(|id| {
            let manifest = self.manifest(&id);
            (id, manifest)
        });
        Ok(listed.collect())
    }

    /// The newest image whose version is in `range`, but none of `passed` and none that nothing is known of.
    pub(crate) fn choose(
        &self,
        range: &VersionRange,
        passed: &[ImageId],
    ) -> Result<Option<ImageId>, LibraryError> {
        let newest_first = self.ids()?.into_iter().rev();
        let mut asked =
            newest_first.filter(|id| range.contains(id.version) && !passed.contains(id));
        Ok(asked.find(|id| {
            let manifest = self.manifest(id).inspect_err(|error| {
                tracing::warn!(image = %id, %error, "image without a manifest passed over");
            });
            manifest.is_ok()
        }))
    }

    fn manifest(&self, id: &ImageId) -> Result<Manifest, LibraryError> {
        Manifest::read(&self.path(id).join(MANIFEST))
    }

    /// `None` when it is being removed, or was.
    pub(crate) fn hold(&self, id: &ImageId) -> Result<Option<Held>, LibraryError> {
        let directory = self.path(id);
        let Some(lock) = open_directory(&directory).during("open the image")? else {
            return Ok(None);
        };
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked.during("lock the image")?,
        }
        // Between opening and locking it may have been removed.
        if !is_at(&lock, &directory).during("look at the image")? {
            return Ok(None);
        }
        let manifest = self.manifest(id)?;
        Ok(Some(Held {
            root: directory.join(ROOT),
            environment: manifest.environment,
            _lock: lock,
        }))
    }

    /// Takes an image away. Errors: [`LibraryError::InUse`] while zones are made of it.
    pub fn remove(&self, id: &ImageId) -> Result<(), LibraryError> {
        self.sweep()?;
        // Its lock is held to the end, so that nobody sweeps what is going already.
        let (doomed, _lock) = self.unpublish(id)?;
        remove_tree(&doomed).during("remove the image's files")
    }

    /// Takes an image's name away. Returns what it is called from now on, and the lock on it.
    fn unpublish(&self, id: &ImageId) -> Result<(PathBuf, File), LibraryError> {
        let _lock = self.lock()?;
        let directory = self.path(id);
        let Some(lock) = open_directory(&directory).during("open the image")? else {
            return Err(LibraryError::Missing(id.clone()));
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(LibraryError::InUse(id.clone())),
            locked => locked.during("lock the image")?,
        }
        let doomed = self.temporary();
        std::fs::rename(&directory, &doomed).during("remove the image")?;
        let above = self.directory.join(&id.name);
        // Refused while there are other versions.
        if std::fs::remove_dir(&above).is_err() {
            sync(&above).during("remove the image")?;
        }
        sync(&self.directory).during("remove the image")?;
        Ok((doomed, lock))
    }

    /// Jobs ask for versions, so two images cannot have the same.
    fn refuse_taken(&self, id: &ImageId) -> Result<(), LibraryError> {
        let taken = self
            .ids()?
            .into_iter()
            .find(|known| known.version == id.version);
        match taken {
            Some(known) if known == *id => Err(LibraryError::Exists(known)),
            Some(known) => Err(LibraryError::VersionTaken(known)),
            None => Ok(()),
        }
    }

    /// Only while a name comes or goes: imports go on side by side.
    fn lock(&self) -> Result<File, LibraryError> {
        make_private(&self.directory).during("make the directory of images")?;
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.directory.join(LOCK))
            .during("open the lock of the images")?;
        flock(&lock, FlockOperation::LockExclusive).during("lock the images")?;
        Ok(lock)
    }

    /// Removes what crashes left behind: temporary directories that nobody holds.
    fn sweep(&self) -> Result<(), LibraryError> {
        for (remains, _lock) in self.remains()? {
            if let Err(error) = remove_tree(&remains) {
                tracing::warn!(path = %remains.display(), %error, "remains of an image not removed");
            }
        }
        Ok(())
    }

    /// What is to be swept, each with the lock on it.
    fn remains(&self) -> Result<Vec<(PathBuf, File)>, LibraryError> {
        // Whoever makes a temporary directory holds this until he holds that.
        let _lock = self.lock()?;
        let mut remains = Vec::new();
        for entry in std::fs::read_dir(&self.directory).during("look for remains")? {
            let entry = entry.during("look for remains")?;
            if !entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY.as_bytes())
            {
                continue;
            }
            let Some(lock) = open_directory(&entry.path()).during("look for remains")? else {
                continue;
            };
            // He who has just removed it himself may give its name to the next one.
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
                && is_at(&lock, &entry.path()).during("look for remains")?
            {
                remains.push((entry.path(), lock));
            }
        }
        Ok(remains)
    }

    /// A name that nothing has. Under the lock: in another container somebody may have the same process number.
    fn temporary(&self) -> PathBuf {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{TEMPORARY}{}-{number}", std::process::id());
            let path = self.directory.join(name);
            if path.symlink_metadata().is_err() {
                return path;
            }
        }
    }

    fn path(&self, id: &ImageId) -> PathBuf {
        self.directory.join(&id.name).join(id.version.to_string())
    }
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric());
    let rest = characters.all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    first && rest && name.len() <= 64 && name != LOCK
}

/// Names in a directory that may be missing, without those of ours that are no images.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        // The lock.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

fn make_private(directory: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// `None` when there is none.
fn open_directory(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => Ok(Some(opened?.into())),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let there = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata?,
    };
    let ours = file.metadata()?;
    Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;

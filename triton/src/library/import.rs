//! How an image comes in: filled under a temporary name, made durable, then given its name. A refusal leaves
//! nothing behind, a crash only what the next import or removal takes away.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, RenameFlags, flock};
use sha2::{Digest as _, Sha256};

use super::copy::copy;
use super::digest::{Digested, hexadecimal};
use super::error::{During as _, LibraryError};
use super::manifest::{Manifest, check_environment};
use super::oci::Layout;
use super::prepare::prepare;
use super::tree::{Budget, Tree};
use super::{ImageId, Library, ROOT, archive, compression, make_private, open_directory, sync};
use crate::remove_tree::remove_tree;

/// An image that is to be.
#[derive(Clone, Debug)]
pub struct Import {
    pub id: ImageId,
    /// Added to what the image itself says, or in its place.
    pub environment: Vec<(String, String)>,
    pub limits: Limits,
}

/// Of what is unpacked. Of an archive everything counts, of a directory the files.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

impl Default for Limits {
    /// Three times what a large distribution has.
    fn default() -> Self {
        Self {
            bytes: 32 << 30,
            entries: 2_000_000,
        }
    }
}

/// An archive (tar, also packed with gzip or zstd; of a root or of an OCI image layout), or a directory with either.
pub enum Source<'a> {
    Path(&'a Path),
    Stream(&'a mut dyn Read),
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Library {
    /// Unpacks and publishes an image. Blocks; memory does not grow with the image.
    ///
    /// Errors: whatever is wrong with the image; nothing of it is left then. But [`LibraryError::Unsynced`]: it is
    /// there.
    pub fn import(&self, import: &Import, source: Source<'_>) -> Result<Manifest, LibraryError> {
        check_environment(&import.environment)?;
        make_private(&self.directory).during("make the directory of images")?;
        self.refuse_taken(&import.id)?;
        let mut staging = self.stage()?;
        let shown = match &source {
            Source::Path(path) => path.display().to_string(),
            Source::Stream(_) => "-".to_owned(),
        };
        let budget = Budget {
            bytes_max: import.limits.bytes,
            entries_max: import.limits.entries,
            bytes: 0,
            entries: 0,
        };
        let filled = staging.fill(source, budget)?;
        let mut tree = filled.tree;
        prepare(&mut tree)?;
        let mut manifest = Manifest::new(&import.id, filled.digest, shown);
        manifest.environment = merged(filled.environment, &import.environment);
        check_environment(&manifest.environment)?;
        (manifest.bytes, manifest.entries) = (tree.budget.bytes, tree.budget.entries);
        manifest.write(&staging.directory)?;
        self.publish(&mut staging, &import.id)?;
        Ok(manifest)
    }

    pub(super) fn stage(&self) -> Result<Staging, LibraryError> {
        self.sweep()?;
        let _lock = self.lock()?;
        let directory = self.temporary();
        make_private(&directory).during("make a temporary directory")?;
        let lock = File::open(&directory).during("open a temporary directory")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .during("lock a temporary directory")?;
        Ok(Staging {
            directory,
            published: false,
            lock,
        })
    }

    /// Gives a finished image its name. All of it is durable when this returns.
    ///
    /// Errors: [`LibraryError::Unsynced`] when it has its name; after any other it has none.
    pub(super) fn publish(&self, staging: &mut Staging, id: &ImageId) -> Result<(), LibraryError> {
        // Through what was opened before anything was written: it is told of every write that failed since.
        rustix::fs::syncfs(&staging.lock).during("write the image to disk")?;
        let _lock = self.lock()?;
        self.refuse_taken(id)?;
        let above = self.directory.join(&id.name);
        make_private(&above).during("make the image's directory")?;
        // Zones may be made of it as soon as it has its name. Nobody sweeps it in between, for want of the lock of
        // the images.
        flock(&staging.lock, FlockOperation::NonBlockingLockShared).during("name the image")?;
        let (cwd, from, to) = (rustix::fs::CWD, &staging.directory, self.path(id));
        rustix::fs::renameat_with(cwd, from, cwd, &to, RenameFlags::NOREPLACE)
            .during("name the image")?;
        staging.published = true;
        let synced = sync(&above).and_then(|()| sync(&self.directory));
        synced.map_err(|source| LibraryError::Unsynced {
            id: id.clone(),
            source,
        })
    }
}

/// Later ones count.
fn merged(own: Vec<(String, String)>, added: &[(String, String)]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, value) in own.into_iter().chain(added.iter().cloned()) {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    all
}

/// Removed with everything in it unless it was published.
pub(super) struct Staging {
    pub(super) directory: PathBuf,
    published: bool,
    lock: File,
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = remove_tree(&self.directory)
        {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "remains of an image not removed");
        }
    }
}

struct Filled {
    tree: Tree,
    digest: String,
    environment: Vec<(String, String)>,
}

impl Staging {
    fn fill(&self, source: Source<'_>, budget: Budget) -> Result<Filled, LibraryError> {
        match source {
            Source::Path(path) => {
                let metadata = path.metadata().during("find what to import")?;
                if metadata.is_dir() {
                    return self.fill_from_directory(path, budget);
                }
                if !metadata.is_file() {
                    return Err(LibraryError::Source);
                }
                let mut file = File::open(path).during("open the archive")?;
                self.fill_from_archive(&mut file, budget)
            }
            Source::Stream(stream) => self.fill_from_archive(stream, budget),
        }
    }

    fn fill_from_directory(&self, path: &Path, budget: Budget) -> Result<Filled, LibraryError> {
        let directory = open_directory(path).during("open the directory")?;
        let directory = directory.ok_or(LibraryError::Source)?.into();
        let mut tree = Tree::make(&self.directory.join(ROOT), budget)?;
        if let Some(layout) = Layout::find(&directory)? {
            let about = layout.unpack(&mut tree)?;
            return Ok(Filled {
                tree,
                digest: about.digest,
                environment: about.environment,
            });
        }
        let digest = copy(&directory, &mut tree)?;
        Ok(Filled {
            tree,
            digest,
            environment: Vec::new(),
        })
    }

    fn fill_from_archive(
        &self,
        packed: &mut dyn Read,
        budget: Budget,
    ) -> Result<Filled, LibraryError> {
        let root = self.directory.join(ROOT);
        let mut tree = Tree::make(&root, budget)?;
        let mut digest = Sha256::new();
        let mut packed = Digested {
            inner: packed,
            digest: &mut digest,
        };
        archive::unpack(compression::unpack(&mut packed)?, &mut tree)?;
        if Layout::find(tree.root())?.is_some() {
            let layout = self.directory.join("layout");
            std::fs::rename(&root, &layout).during("set the image layout aside")?;
            let filled = self.fill_from_directory(&layout, budget)?;
            remove_tree(&layout).during("remove the image layout")?;
            return Ok(filled);
        }
        Ok(Filled {
            tree,
            digest: hexadecimal(&digest.finalize()),
            environment: Vec::new(),
        })
    }
}

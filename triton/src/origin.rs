//! Where zones come from: this machine's own programs, or an image that was imported. Each origin has a zygote,
//! which lives in the image; those of imported images are started when the first task wants them.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use libmanta::triton::ZoneError;
use libmanta::{Version, VersionRange};

use crate::config::ZygoteProgram;
use crate::library::{Held, ImageId, Library, LibraryError};
use crate::nursery::{Keeper, Nursery};
use crate::wire::{Image, Tree};

#[derive(Debug)]
pub(crate) struct Origin {
    /// `None`: this machine's own programs.
    pub(crate) image: Option<ImageId>,
    pub(crate) nursery: Nursery,
    /// What commands find in their environment.
    pub(crate) environment: Vec<(String, String)>,
    keeper: Mutex<Option<Keeper>>,
    /// So that nobody removes the image.
    _held: Option<Held>,
}

impl Origin {
    pub(crate) fn host(nursery: Nursery, keeper: Keeper) -> Self {
        Self {
            image: None,
            nursery,
            environment: Vec::new(),
            keeper: Mutex::new(Some(keeper)),
            _held: None,
        }
    }

    /// Ends the zygote and every zone that came from it. Blocks.
    pub(crate) fn stop(&self) {
        let keeper = self.keeper.lock();
        if let Some(keeper) = keeper.unwrap_or_else(PoisonError::into_inner).take() {
            keeper.stop();
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The images there are, and how origins are made of them.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) host_version: Version,
    /// `None` where commands see the machine's own files whatever they ask for.
    pub(crate) library: Option<Library>,
    pub(crate) program: ZygoteProgram,
    /// The host's image, whose tools every image has.
    pub(crate) host: Image,
    pub(crate) tools: Option<PathBuf>,
}

/// What a task asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Host,
    Imported(ImageId),
}

impl Images {
    /// The newest that is in `range` and not in `passed`; of equals the one that was imported, or importing it would
    /// do nothing. Reads the directory of images.
    ///
    /// Errors: [`ZoneError::NoImage`] when there is none, or `range` is no range.
    pub(crate) fn choose(&self, range: &str, passed: &[ImageId]) -> Result<Choice, ZoneError> {
        let range = VersionRange::parse(range).ok_or(ZoneError::NoImage)?;
        let imported = match &self.library {
            Some(library) => library.choose(&range, passed).map_err(failed)?,
            None => None,
        };
        let host = range.contains(self.host_version);
        match imported {
            Some(id) if !host || id.version() >= self.host_version => Ok(Choice::Imported(id)),
            _ if host => Ok(Choice::Host),
            _ => Err(ZoneError::NoImage),
        }
    }

    /// Versions that can be had, oldest first; this machine's own at any rate. Reads the directory of images.
    pub(crate) fn versions(&self) -> Vec<String> {
        let ids = self.library.as_ref().map_or(Ok(Vec::new()), Library::ids);
        let ids = ids.unwrap_or_else(|error| {
            tracing::error!(%error, source = error.source(), "images not listed");
            Vec::new()
        });
        let mut versions: Vec<Version> = ids.iter().map(ImageId::version).collect();
        versions.push(self.host_version);
        versions.sort_unstable();
        versions.dedup();
        versions.iter().map(ToString::to_string).collect()
    }

    /// Starts a zygote in an image. Blocks.
    ///
    /// Errors: [`ZoneError::NoImage`] when it is being removed, or was.
    pub(crate) fn start(&self, id: &ImageId) -> Result<Origin, ZoneError> {
        let library = self.library.as_ref().ok_or(ZoneError::NoImage)?;
        let held = library
            .hold(id)
            .map_err(failed)?
            .ok_or(ZoneError::NoImage)?;
        let tools = self.tools.iter().map(|tools| Tree::tools(tools));
        let image = Image {
            flavour: self.host.flavour,
            mount_point: self.host.mount_point.clone(),
            base: held.root.clone(),
            trees: tools.collect(),
        };
        let started = Nursery::start(self.program.clone(), image, Vec::new());
        let (nursery, keeper, _) = started.map_err(|source| ZoneError::Io {
            during: "start the zygote of an image",
            source,
        })?;
        Ok(Origin {
            image: Some(id.clone()),
            nursery,
            environment: held.environment.clone(),
            keeper: Mutex::new(Some(keeper)),
            _held: Some(held),
        })
    }
}

fn failed(error: LibraryError) -> ZoneError {
    ZoneError::Io {
        during: "read the images",
        source: io::Error::other(error),
    }
}

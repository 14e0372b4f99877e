//! An OCI image layout: `index.json` names manifests, a manifest names a configuration and layers, and all of
//! these lie below `blobs` under their digests. Source: the OCI image specification, version 1.
//!
//! Layers are unpacked over each other. A whiteout is only about the layers below its own, so each layer is
//! read twice: for its whiteouts, then for its files.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::archive::{self, Member};
use super::compression;
use super::digest::{Digested, hexadecimal};
use super::error::{During as _, Fault, LibraryError};
use super::tree::{Budget, MemberPath, Tree, shown};

const MARK: &str = "oci-layout";
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Indexes may name indexes; nobody needs more than one below the other.
const INDEXES_MAX: usize = 3;
const LAYERS_MAX: usize = 512;
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct ImageManifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Execution,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    env: Option<Vec<String>>,
}

/// An image layout.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    directory: &'a OwnedFd,
}

/// What an image says about itself.
#[derive(Debug)]
pub(super) struct About {
    pub(super) digest: String,
    pub(super) environment: Vec<(String, String)>,
}

impl<'a> Layout<'a> {
    /// `None` when the directory is something else.
    pub(super) fn find(directory: &'a OwnedFd) -> Result<Option<Self>, LibraryError> {
        let layout = Self { directory };
        let mark = layout.open(MARK)?;
        let index = layout.open("index.json")?;
        Ok((mark.is_some() && index.is_some()).then_some(layout))
    }

    /// Unpacks the only image for this machine.
    pub(super) fn unpack(&self, tree: &mut Tree) -> Result<About, LibraryError> {
        let chosen = self.choose()?;
        let manifest: ImageManifest = self.document(&chosen)?;
        if manifest.layers.len() > LAYERS_MAX {
            return Err(wrong(format!("more than {LAYERS_MAX} layers")));
        }
        let configuration: Configuration = self.document(&manifest.config)?;
        for layer in &manifest.layers {
            self.apply(layer, tree)?;
        }
        let variables = configuration.config.env.unwrap_or_default();
        let environment = variables.iter().map(|variable| {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            (name.to_owned(), value.to_owned())
        });
        Ok(About {
            digest: chosen.digest,
            environment: environment.collect(),
        })
    }

    fn choose(&self) -> Result<Descriptor, LibraryError> {
        let file = self
            .open("index.json")?
            .ok_or_else(|| missing("index.json"))?;
        let mut index: Index = parse("index.json", &read(file)?)?;
        for _ in 0..INDEXES_MAX {
            let ours = index.manifests.into_iter().filter(is_ours);
            let mut ours: Vec<_> = ours.collect();
            let Some(chosen) = ours.pop() else {
                return Err(wrong("no image for this machine".to_owned()));
            };
            if ours.iter().any(|other| other.digest != chosen.digest) {
                ours.push(chosen);
                let names: Vec<_> = ours.iter().map(name_of).collect();
                let names = names.join(", ");
                return Err(wrong(format!("several images ({names}): keep one of them")));
            }
            if !chosen.media_type.contains("index") && !chosen.media_type.contains("list") {
                return Ok(chosen);
            }
            index = self.document(&chosen)?;
        }
        Err(wrong("indexes in indexes in indexes".to_owned()))
    }

    /// Takes away what the layer marks, then adds what it has.
    fn apply(&self, layer: &Descriptor, tree: &mut Tree) -> Result<(), LibraryError> {
        let budget = tree.budget;
        self.each_member(layer, budget, &mut |member| take_away(&member, tree))?;
        self.each_member(layer, budget, &mut |member| match mark(&member.path) {
            Some(_) => Ok(()),
            None => archive::put(member, tree),
        })
    }

    /// Each time the whole layer must be what its digest says: somebody may change it meanwhile.
    fn each_member(
        &self,
        layer: &Descriptor,
        budget: Budget,
        visit: &mut dyn FnMut(Member<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), LibraryError> {
        let mut digest = Sha256::new();
        let mut packed = Digested {
            inner: self.blob(layer)?,
            digest: &mut digest,
        };
        // Not all tools mark the end of a layer, which is found out by its digest.
        archive::each_member(compression::unpack(&mut packed)?, budget, visit)?;
        check_digest(layer, &digest.finalize())
    }

    fn document<T: DeserializeOwned>(&self, of: &Descriptor) -> Result<T, LibraryError> {
        if of.size > DOCUMENT_BYTES_MAX {
            return Err(wrong(format!(
                "{} is too large for a document",
                shown(of.digest.as_ref())
            )));
        }
        let text = read(self.blob(of)?)?;
        check_digest(of, &Sha256::digest(&text))?;
        parse(&of.digest, &text)
    }

    fn blob(&self, of: &Descriptor) -> Result<File, LibraryError> {
        let hash = of.digest.strip_prefix("sha256:").filter(|hash| {
            hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        let Some(hash) = hash else {
            let digest = shown(of.digest.as_ref());
            return Err(wrong(format!("{digest} is no SHA-256 digest")));
        };
        let path = format!("blobs/sha256/{hash}");
        let file = self.open(&path)?.ok_or_else(|| missing(&path))?;
        let size = file.metadata().during("look at a blob")?.len();
        if size != of.size {
            return Err(wrong(format!(
                "{path} has {size} bytes and not {}",
                of.size
            )));
        }
        Ok(file)
    }

    /// A regular file of the layout, never through a link.
    fn open(&self, path: &str) -> Result<Option<File>, LibraryError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(self.directory, path, flags, Mode::empty(), within);
        let file = match opened {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            opened => opened.during("open the image layout")?,
        };
        let stat = rustix::fs::fstat(&file).during("open the image layout")?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_file.then(|| file.into()))
    }
}

/// What a whiteout is about.
enum Mark {
    /// Everything that lower layers have in its directory.
    Opaque(MemberPath),
    One(MemberPath),
    Nothing,
}

fn mark(path: &MemberPath) -> Option<Mark> {
    let name = path.as_path().file_name()?.to_str()?;
    let marked = name.strip_prefix(WHITEOUT)?;
    let above = path.as_path().parent()?.as_os_str().as_encoded_bytes();
    let Ok(above) = MemberPath::parse(above) else {
        return Some(Mark::Nothing);
    };
    Some(match marked {
        _ if name == OPAQUE => Mark::Opaque(above),
        "" | "." | ".." => Mark::Nothing,
        // Other marks of file systems that nobody uses any more.
        _ if marked.starts_with(WHITEOUT) => Mark::Nothing,
        _ => Mark::One(above.join(marked.as_ref())),
    })
}

fn take_away(member: &Member<'_>, tree: &mut Tree) -> Result<(), LibraryError> {
    match mark(&member.path) {
        None => Ok(()),
        Some(Mark::Opaque(directory)) => tree.empty(&directory),
        Some(Mark::One(path)) => tree.remove(&path),
        Some(Mark::Nothing) => Err(LibraryError::Member {
            member: shown(member.path.as_path().as_os_str()),
            fault: Fault::Whiteout,
        }),
    }
}

fn is_ours(descriptor: &Descriptor) -> bool {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    descriptor
        .platform
        .as_ref()
        .is_none_or(|platform| platform.os == "linux" && platform.architecture == architecture)
}

fn name_of(descriptor: &Descriptor) -> String {
    let name = descriptor
        .annotations
        .get("org.opencontainers.image.ref.name");
    shown(name.unwrap_or(&descriptor.digest).as_ref())
}

fn read(file: File) -> Result<Vec<u8>, LibraryError> {
    let mut text = Vec::new();
    let mut bounded = file.take(DOCUMENT_BYTES_MAX);
    bounded
        .read_to_end(&mut text)
        .during("read the image layout")?;
    Ok(text)
}

fn parse<T: DeserializeOwned>(name: &str, text: &[u8]) -> Result<T, LibraryError> {
    let name = shown(name.as_ref());
    serde_json::from_slice(text).map_err(|error| wrong(format!("{name}: {error}")))
}

fn check_digest(of: &Descriptor, found: &[u8]) -> Result<(), LibraryError> {
    if hexadecimal(found) == of.digest {
        return Ok(());
    }
    Err(wrong(format!(
        "{} does not have the digest that it is named by",
        shown(of.digest.as_ref())
    )))
}

fn wrong(what: String) -> LibraryError {
    LibraryError::Layout(what)
}

fn missing(path: &str) -> LibraryError {
    wrong(format!("{path} is missing"))
}

//! `manta adm image`: what jobs run on besides this machine's own programs. No store needs to be running:
//! one that is finds out by itself.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libmanta::Version;
use triton::{ImageId, Import, Library, Limits, Listed, Manifest, Source};

/// Where images are in a data directory.
pub(crate) const DIRECTORY: &str = "images";

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm image import --name debian --version 12.5.0 debian.tar.gz
  manta adm image list
  manta adm image remove debian 12.5.0")]
pub(crate) enum Command {
    /// Take an image over; nothing is left of one that is refused
    #[command(after_help = "Examples:
  manta adm image import --name debian --version 12.5.0 debian.tar.gz
  manta adm image import --name python --version 3.12.2 --env PYTHONHASHSEED=0 ./oci-layout
  debootstrap --variant=minbase stable root && manta adm image import --name deb --version 13.0.0 root
  skopeo copy docker://r-base oci-archive:/dev/stdout | manta adm image import --name r --version 4.4.0 -")]
    Import(Arguments),
    /// Print the images, a line each: name, version, bytes, entries, digest, source; of a damaged one, what is wrong
    #[command(after_help = "Examples:
  manta adm image list")]
    List,
    /// Take an image away
    #[command(after_help = "Examples:
  manta adm image remove debian 12.5.0")]
    Remove { name: String, version: String },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What people call it
    #[arg(long)]
    name: String,
    /// What jobs ask for: three numbers, which no other image has
    #[arg(long, value_name = "X.Y.Z")]
    version: String,
    /// A variable that commands find in their environment; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Most gibibytes that are unpacked
    #[arg(long, value_name = "GIB", default_value_t = Limits::default().bytes >> 30)]
    gib_max: u64,
    /// Most files, directories and links
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries)]
    entries_max: u64,
    /// A root file system or an OCI image layout, as a directory or a tar archive (also with gzip or zstd); - is
    /// standard input
    #[arg(value_name = "FILE|DIRECTORY|-")]
    source: PathBuf,
}

pub(crate) fn run(data_dir: &Path, command: Command) -> Result<()> {
    // A directory with images and nothing else would be taken for one of somebody else's by the first start.
    if !data_dir.join("format").exists() {
        bail!(
            "{} is not the data directory of a manta store; start one there first",
            data_dir.display()
        );
    }
    let library = Library::new(data_dir.join(DIRECTORY));
    match command {
        Command::Import(arguments) => {
            let manifest = arguments.import(&library)?;
            println!(
                "{}\t{}\t{}",
                manifest.name, manifest.version, manifest.digest
            );
        }
        Command::List => library.list()?.iter().for_each(print_line),
        Command::Remove { name, version } => library.remove(&id(&name, &version)?)?,
    }
    Ok(())
}

impl Arguments {
    fn import(self, library: &Library) -> Result<Manifest> {
        let import = Import {
            id: id(&self.name, &self.version)?,
            environment: self
                .env
                .iter()
                .map(|text| variable(text))
                .collect::<Result<_>>()?,
            limits: Limits {
                bytes: self.gib_max.saturating_mul(1 << 30),
                entries: self.entries_max,
            },
        };
        let imported = if self.source == Path::new("-") {
            library.import(&import, Source::Stream(&mut io::stdin().lock()))
        } else {
            library.import(&import, Source::Path(&self.source))
        };
        imported.with_context(|| format!("import {}", self.source.display()))
    }
}

fn id(name: &str, version: &str) -> Result<ImageId> {
    let version = Version::parse(version).with_context(|| {
        format!("{version:?} is no version of an image: three numbers, as in 1.0.0")
    })?;
    Ok(ImageId::new(name, version)?)
}

fn variable(text: &str) -> Result<(String, String)> {
    let (name, value) = text
        .split_once('=')
        .with_context(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A damaged one too, so that it can be removed.
fn print_line((id, image): &Listed) {
    let (name, version) = (id.name(), id.version());
    match image {
        Ok(image) => {
            let Manifest {
                bytes,
                entries,
                digest,
                source,
                ..
            } = image;
            println!("{name}\t{version}\t{bytes}\t{entries}\t{digest}\t{source}");
        }
        Err(error) => println!("{name}\t{version}\t-\t-\t-\t{error}"),
    }
}

//! Large files go up in parts: which ones they are, and what the files of one run share.

use std::num::NonZeroUsize;
use std::path::Path;

use clap::Args;
use manta_client::{Client, Error, MissingDirectories, PutOptions};
use tokio::sync::Semaphore;

use super::multipart::{Begun, Multipart, Outcome};
use super::progress::Meter;
use super::size::parse_size;
use super::upload::{parent_of, put_file_into};

/// The options of every command that uploads files.
#[derive(Args, Clone, Debug)]
pub(super) struct PartOptions {
    /// Upload files of this size or more in parts; 0 never does
    #[arg(
        long,
        value_name = "SIZE",
        env = "MANTA_MULTIPART_THRESHOLD",
        hide_env_values = true,
        default_value = "256M",
        value_parser = parse_size
    )]
    multipart_threshold: u64,
    /// Size of a part, at least 5M; larger where a file would have more than 800
    #[arg(
        long,
        value_name = "SIZE",
        env = "MANTA_PART_SIZE",
        hide_env_values = true,
        default_value = "64M",
        value_parser = parse_size
    )]
    part_size: u64,
    /// Parts to upload at once, of all files together
    #[arg(long, value_name = "NUM", default_value = "4")]
    parts_at_once: NonZeroUsize,
}

/// How the large files of one run are uploaded.
#[derive(Debug)]
pub(super) struct LargeFiles {
    options: PartOptions,
    slots: Semaphore,
    begun: Begun,
}

impl LargeFiles {
    pub(super) fn new(options: PartOptions) -> LargeFiles {
        LargeFiles {
            slots: Semaphore::new(options.parts_at_once.get()),
            begun: Begun::default(),
            options,
        }
    }

    /// Whether a file of so many bytes goes up in parts with these headers.
    pub(super) fn include(&self, bytes: u64, options: &PutOptions) -> bool {
        let least = self.options.multipart_threshold;
        least > 0 && bytes >= least && Multipart::can_carry(options)
    }

    /// Uploads a file in parts, going on where an earlier run stopped.
    ///
    /// The server looks for the directory only when all parts are there: see before that it exists.
    pub(super) async fn put(
        &self,
        client: &Client,
        path: &str,
        file: &Path,
        options: &PutOptions,
        meter: &Meter,
    ) -> Result<Outcome, Error> {
        let upload = Multipart {
            client,
            path,
            file,
            options,
            part_bytes: self.options.part_size,
            parts_at_once: self.options.parts_at_once.get(),
            slots: &self.slots,
            begun: &self.begun,
            meter,
        };
        upload.run().await
    }

    /// Stores a file in a tree whose directories may be missing: whole, or in parts if it is large.
    pub(super) async fn put_file_into(
        &self,
        client: &Client,
        directories: &MissingDirectories,
        path: &str,
        file: &Path,
        options: &PutOptions,
        meter: &Meter,
    ) -> Result<(), Error> {
        let metadata = tokio::fs::metadata(file).await.map_err(Error::Source)?;
        if self.include(metadata.len(), options) {
            directories.ensure(parent_of(path)).await?;
            if self.put(client, path, file, options, meter).await? == Outcome::Stored {
                return Ok(());
            }
        }
        put_file_into(client, directories, path, file, options, meter).await
    }
}

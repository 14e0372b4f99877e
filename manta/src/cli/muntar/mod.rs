//! `muntar`: the members of a tar file as objects.
//!
//! Directories of the archive become directories, regular files objects, empty ones too. Links and devices
//! have no counterpart in the store: they are named on stderr and left out.

mod members;

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use manta_client::{Client, Error, MissingDirectories, Payload, PutOptions, resolve_path};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;

use super::command::Command;
use super::connection::{Connection, headers};
use super::failure::Failure;
use super::output::Output;
use super::upload::{content_type, making_directory, parent_of, patiently, role_tag_of};
use members::{Content, Kind, Member};

/// Members that were read and not begun; each holds at most what `members` buffers for it.
const QUEUE_MEMBERS: usize = 4;

/// Store the members of a tar file as objects below a directory.
///
/// Deprecated by its makers in favour of msync, which does not need the archive.
#[derive(Debug, Parser)]
#[command(
    name = "muntar",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  muntar -f books.tar ~~/stor/books
  zcat books.tar.gz | muntar ~~/stor/books"
)]
pub(super) struct Arguments {
    /// Number of copies to make
    #[arg(short = 'c', long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    copies: u32,
    /// The tar file; without it the archive is read from stdin
    #[arg(short = 'f', long)]
    file: Option<PathBuf>,
    /// HTTP headers to include
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        allow_hyphen_values = true
    )]
    headers: Vec<String>,
    /// Limit concurrent operations
    #[arg(short = 'p', long, value_name = "NUM", default_value = "20")]
    parallel: NonZeroUsize,
    /// Number of retries on error
    #[arg(short = 'r', long, value_name = "RETRIES", default_value = "3")]
    retries: u32,
    /// Role tags for the new objects and directories
    #[arg(long = "role-tag", value_name = "TAG,TAG...")]
    role_tags: Vec<String>,
    /// The directory that receives the members
    path: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        let Some(path) = &self.path else {
            return Err(Failure::Usage("path required".to_owned()));
        };
        if self.file.is_none() && io::stdin().is_terminal() {
            let text = "file is a required argument";
            return Err(Failure::Usage(text.to_owned()));
        }
        let headers = headers(&self.headers, &self.role_tags)?;
        let client = self.connection.client().await?;
        let path = resolve_path(path, client.account())?;
        let target = Target {
            directories: MissingDirectories::new(client.clone(), role_tag_of(&headers)),
            client,
            path,
            file: self.file.clone(),
            options: PutOptions {
                headers,
                copies: Some(self.copies),
                ..PutOptions::default()
            },
            retries: self.retries,
        };
        self.store_all(&target).await
    }
}

impl Arguments {
    /// Stores several members at once while the next are being read. The first failure ends it.
    async fn store_all(&self, target: &Target) -> Result<(), Failure> {
        let (sender, mut members) = mpsc::channel(QUEUE_MEMBERS);
        let file = self.file.clone();
        // Waited for below, except after a failure: then a stdin that does not end must not hold us.
        let reader = tokio::task::spawn_blocking(move || members::read(file.as_deref(), &sender));
        let mut output = Output::new();
        let mut under_way = FuturesUnordered::new();
        let mut reading = true;
        while reading || !under_way.is_empty() {
            let may_begin = reading && under_way.len() < self.parallel.get();
            tokio::select! {
                member = members.recv(), if may_begin => match member {
                    Some(member) => under_way.push(target.store(member)),
                    None => reading = false,
                },
                Some(stored) = under_way.next() => {
                    if let Some(path) = stored? {
                        output.line(&path)?;
                        output.finish()?;
                    }
                }
            }
        }
        match reader.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Message(format!("Error: {error}"))),
            Err(error) => Err(Failure::Message(format!("Error: {error}"))),
        }
    }
}

/// Where members go, and how.
struct Target {
    client: Client,
    directories: MissingDirectories,
    path: String,
    /// The archive, if it can be read at any place.
    file: Option<PathBuf>,
    options: PutOptions,
    retries: u32,
}

impl Target {
    /// The path of the object, if the member is one.
    async fn store(&self, member: Member) -> Result<Option<String>, Failure> {
        let path = if member.name.is_empty() {
            self.path.clone()
        } else {
            format!("{}/{}", self.path, member.name)
        };
        let content = match member.kind {
            Kind::Directory => {
                self.directories.ensure(&path).await?;
                return Ok(None);
            }
            Kind::Other(what) => {
                eprintln!("muntar: {}: left out, {what}", member.name);
                return Ok(None);
            }
            Kind::Object(content) => content,
        };
        let mut options = self.options.clone();
        options.content_type = Some(content_type(&path));
        match content {
            Content::Stream { size, chunks } => {
                // It cannot be sent twice, so the directory is looked for first.
                self.directories.ensure(parent_of(&path)).await?;
                let stream = futures_util::stream::unfold(chunks, async |mut chunks| {
                    chunks.recv().await.map(|chunk| (chunk, chunks))
                });
                let payload = Payload::stream(stream, Some(size));
                self.client.put(&path, payload, options).await?;
            }
            again => {
                let put = async || {
                    let payload = self.payload(&again).await.map_err(Error::Source)?;
                    self.client
                        .put(&path, payload, options.clone())
                        .await
                        .map(drop)
                };
                patiently(self.retries, async || {
                    making_directory(&self.directories, &path, &put).await
                })
                .await?;
            }
        }
        Ok(Some(path))
    }

    async fn payload(&self, content: &Content) -> io::Result<Payload> {
        match (content, &self.file) {
            (Content::Bytes(bytes), _) => Ok(Payload::Bytes(bytes.clone())),
            (Content::InFile { offset, size }, Some(file)) => {
                let mut source = tokio::fs::File::open(file).await?;
                source.seek(io::SeekFrom::Start(*offset)).await?;
                Ok(Payload::reader(source.take(*size), Some(*size)))
            }
            (Content::InFile { .. } | Content::Stream { .. }, _) => {
                Err(io::Error::other("this member cannot be read again"))
            }
        }
    }
}

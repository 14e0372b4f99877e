//! `mput`: a file or stdin into an object.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use clap::Parser;
use futures_util::StreamExt as _;
use http::StatusCode;
use manta_client::{Client, Error, Payload, PutOptions, resolve_path};
use md5::{Digest as _, Md5};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::command::Command;
use super::connection::{Connection, at_least_one, headers};
use super::failure::Failure;
use super::progress::{Progress, Wish};
use super::stdin::stdin;

/// A file can be read again, so its upload is worth some patience.
const TRIES: u32 = 4;
const RETRY_DELAY_MIN: Duration = Duration::from_secs(1);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 * 1024;

/// Upload an object
#[derive(Debug, Parser)]
#[command(name = "mput", version, disable_version_flag = true)]
pub(super) struct Arguments {
    /// Number of copies to make
    #[arg(short = 'c', long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    copies: u32,
    /// Local file to upload
    #[arg(short = 'f', long)]
    file: Option<PathBuf>,
    /// HTTP headers to include
    #[arg(short = 'H', long = "header", allow_hyphen_values = true)]
    headers: Vec<String>,
    /// Calculate the MD5 first, then upload (requires --file)
    #[arg(short = 'm', long)]
    md5: bool,
    /// Create parent directories as needed
    #[arg(short = 'p', long)]
    parents: bool,
    /// Disable the progress bar
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Force the progress bar, even when stderr is redirected
    #[arg(long)]
    progress: bool,
    /// Role tags for the new object
    #[arg(long = "role-tag")]
    role_tags: Vec<String>,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        if self.md5 && self.file.is_none() {
            return Err(Failure::Usage("--md5 requires --file".to_owned()));
        }
        let mut options = PutOptions {
            headers: headers(&self.headers, &self.role_tags)?,
            copies: Some(self.copies),
            parents: self.parents,
            ..PutOptions::default()
        };
        let client = self.connection.client().await?;
        let path = resolve_path(&self.path[0], client.account())?;
        if let Some(file) = &self.file {
            let metadata = tokio::fs::metadata(file)
                .await
                .map_err(|error| Failure::Message(format!("Error: {}: {error}", file.display())))?;
            if !metadata.is_file() {
                return Err(Failure::Bare(format!("{} is not a file", file.display())));
            }
            if self.md5 {
                options.content_md5 = Some(digest_of(file).await?);
            }
        }
        let path = self.target(&client, path).await?;
        options.content_type = Some(content_type(&path));
        let stored = match &self.file {
            Some(file) => self.put_file(&client, &path, file, options).await,
            None => {
                let payload = self.payload(stdin()?, &path, None);
                client.put(&path, payload, options).await.map(drop)
            }
        };
        stored.map_err(explain)
    }
}

impl Arguments {
    /// Where it goes: into a directory under the file's name, otherwise to the path itself.
    async fn target(&self, client: &Client, path: String) -> Result<String, Failure> {
        let info = client.info(&path).await?;
        if info.status == StatusCode::NOT_FOUND {
            return Ok(path);
        }
        if info.status.is_client_error() || info.status.is_server_error() {
            client.head(&path).await?;
        }
        if !info.is_directory() {
            return Ok(path);
        }
        let name = self.file.as_deref().and_then(Path::file_name);
        match name {
            Some(name) => Ok(format!("{path}/{}", name.to_string_lossy())),
            None => Err(Failure::Bare("cannot infer name without -f".to_owned())),
        }
    }

    async fn put_file(
        &self,
        client: &Client,
        path: &str,
        file: &Path,
        options: PutOptions,
    ) -> Result<(), Error> {
        let mut delay = RETRY_DELAY_MIN;
        let mut tries = 1;
        loop {
            let source = tokio::fs::File::open(file).await.map_err(Error::Source)?;
            let size = source.metadata().await.map_err(Error::Source)?.len();
            let payload = self.payload(source.take(size), path, Some(size));
            match client.put(path, payload, options.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if tries >= TRIES || !is_worth_retrying(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, tries, "upload failed, will try again");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                    tries += 1;
                }
            }
        }
    }

    /// The bytes, counted by the progress bar as they go.
    fn payload(
        &self,
        source: impl tokio::io::AsyncRead + Send + 'static,
        path: &str,
        size: Option<u64>,
    ) -> Payload {
        let wish = Wish::from_flags(self.quiet, self.progress);
        let mut progress = Progress::new(wish, path, size);
        let stream = ReaderStream::with_capacity(source, READ_BYTES);
        let stream = stream.inspect(move |chunk| match chunk {
            Ok(chunk) => progress.advance(chunk.len()),
            Err(_) => progress.finish(),
        });
        Payload::stream(stream, size)
    }
}

/// The server refusing is an answer; a server that could not, or a broken connection, may do better.
fn is_worth_retrying(error: &Error) -> bool {
    match error {
        Error::Reply(reply) => reply.status.is_server_error(),
        Error::Connect { .. } | Error::Broken(_) => true,
        _ => false,
    }
}

/// Two refusals have words of their own here.
fn explain(error: Error) -> Failure {
    if error.is_code("OperationNotAllowedOnRootDirectory")
        || error.is_code("OperationNotAllowedOnDirectory")
    {
        let text = "Cannot write to a directory; specify full object path";
        return Failure::Message(text.to_owned());
    }
    if error.is_code("PreconditionFailed") {
        let text = "Cannot write because HTTP precondition not met.";
        return Failure::Message(text.to_owned());
    }
    error.into()
}

/// The media type that the name of the target suggests.
fn content_type(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match mime_guess::from_path(name).first_raw() {
        Some(kind) => kind.to_owned(),
        None => std::env::var("MANTA_DEFAULT_CONTENT_TYPE")
            .ok()
            .filter(|kind| !kind.is_empty())
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
    }
}

async fn digest_of(file: &Path) -> Result<String, io::Error> {
    let mut source = tokio::fs::File::open(file).await?;
    let mut digest = Md5::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = source.read(&mut buffer).await?;
        if count == 0 {
            return Ok(base64::engine::general_purpose::STANDARD.encode(digest.finalize()));
        }
        digest.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_extension_says_the_type() {
        assert_eq!(content_type("/a/stor/x.txt"), "text/plain");
        assert_eq!(content_type("/a/stor/x.JSON"), "application/json");
        assert_eq!(content_type("/a/stor.txt/x"), "application/octet-stream");
    }

    #[test]
    fn copies_are_at_least_one() {
        assert!(Arguments::try_parse_from(["mput", "-c", "0", "/a/stor/x"]).is_err());
        let parsed = Arguments::try_parse_from(["mput", "-H", "m-a: b", "/a/stor/x"]).unwrap();
        assert_eq!(parsed.copies, 2);
    }
}

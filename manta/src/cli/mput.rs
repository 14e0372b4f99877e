//! `mput`: a file or stdin into an object.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Parser;
use http::StatusCode;
use manta_client::{Client, Error, MissingDirectories, PutOptions, resolve_path};

use super::command::Command;
use super::connection::{Connection, at_least_one, headers};
use super::failure::Failure;
use super::large_files::{LargeFiles, PartOptions};
use super::local_tree::Links;
use super::multipart::Outcome;
use super::progress::{Meter, Wish};
use super::stdin::stdin;
use super::tree_upload::TreeUpload;
use super::upload::{content_type, counted, digest_of, parent_of, put_file, role_tag_of};

/// Upload an object.
///
/// A large file (see --multipart-threshold) goes up in parts, several at once. Interrupted, it goes on where
/// it stopped when the same command is run again: parts that are there already, and have the bytes that the
/// file has now, are not sent a second time. The same holds for the files of a tree (-r).
#[derive(Debug, Parser)]
#[command(
    name = "mput",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mput -f book.txt ~~/stor/book.txt
  mput -p -f book.txt -H 'm-author: Austen' ~~/stor/new/directory/book.txt
  mput -r -f ./books ~~/stor/books
  mput --multipart-threshold 1G --part-size 128M -f disk.img ~~/stor/disk.img
  grep -v '^#' list | mput ~~/stor/list"
)]
pub(super) struct Arguments {
    /// Number of copies to make
    #[arg(short = 'c', long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    copies: u32,
    /// Local file to upload; with -r a directory
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
    /// Upload what is in the directory given by -f into PATH, except what is there already with the
    /// same MD5
    #[arg(short = 'r', long)]
    recursive: bool,
    /// Limit concurrent operations (with -r)
    #[arg(long, value_name = "NUM", default_value = "20")]
    parallel: NonZeroUsize,
    /// Ignore symbolic links instead of following them (with -r)
    #[arg(long)]
    ignore_links: bool,
    #[command(flatten)]
    parts: PartOptions,
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
        if self.recursive && self.file.is_none() {
            return Err(Failure::Usage("--recursive requires --file".to_owned()));
        }
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
        if self.recursive {
            return self.put_tree(client, path, options).await;
        }
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
        let wish = Wish::from_flags(self.quiet, self.progress);
        if let Some(file) = &self.file {
            let outcome = self.put_in_parts(&client, &path, file, &options, wish);
            if outcome.await? == Outcome::Stored {
                return Ok(());
            }
        }
        let meter = Meter::new(wish);
        let stored = match &self.file {
            Some(file) => put_file(&client, &path, file, &options, &meter).await,
            None => {
                let payload = counted(stdin()?, &path, None, &meter);
                client.put(&path, payload, options).await.map(drop)
            }
        };
        stored.map_err(explain)
    }
}

impl Arguments {
    async fn put_tree(
        &self,
        client: Client,
        path: String,
        options: PutOptions,
    ) -> Result<(), Failure> {
        let local = self.file.clone().unwrap_or_default();
        if !local.is_dir() {
            let local = local.display();
            return Err(Failure::Bare(format!("{local} is not a directory")));
        }
        match client.head(&path).await {
            Ok(info) if info.is_directory() => {}
            Ok(_) => return Err(Failure::Bare(format!("{path} is not a directory"))),
            Err(error) if error.is_not_found() => {
                let directory = role_tag_of(&options.headers);
                if self.parents {
                    let directories = MissingDirectories::new(client.clone(), directory);
                    directories.make(&path).await?;
                } else {
                    client.mkdir(&path, directory).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let wish = Wish::from_flags(self.quiet, self.progress);
        let upload = TreeUpload {
            meter: Meter::together(wish, &path),
            client,
            local,
            remote: path,
            options,
            send_md5: self.md5,
            large: LargeFiles::new(self.parts.clone()),
            links: if self.ignore_links {
                Links::Ignore
            } else {
                Links::Follow
            },
            parallel: self.parallel.get(),
        };
        upload.run().await
    }

    /// Uploads a large file in parts, if that is wanted and the server can.
    async fn put_in_parts(
        &self,
        client: &Client,
        path: &str,
        file: &Path,
        options: &PutOptions,
        wish: Wish,
    ) -> Result<Outcome, Failure> {
        let size = tokio::fs::metadata(file).await?.len();
        let large = LargeFiles::new(self.parts.clone());
        if !large.include(size, options) {
            return Ok(Outcome::Unavailable);
        }
        self.look_for_parent(client, path, options).await?;
        let meter = Meter::together(wish, path);
        meter.expect(size);
        let outcome = large.put(client, path, file, options, &meter).await;
        let outcome = outcome.map_err(explain)?;
        meter.finish();
        Ok(outcome)
    }

    /// The server looks for the directory only when all parts are there: too late to learn that it is
    /// missing.
    async fn look_for_parent(
        &self,
        client: &Client,
        path: &str,
        options: &PutOptions,
    ) -> Result<(), Failure> {
        let parent = parent_of(path);
        // `/account/area` is always there.
        if parent.matches('/').count() < 3 {
            return Ok(());
        }
        if self.parents {
            let headers = role_tag_of(&options.headers);
            let directories = MissingDirectories::new(client.clone(), headers);
            return Ok(directories.ensure(parent).await?);
        }
        match client.head(parent).await {
            Err(error) if error.is_not_found() => {
                let message = format!("DirectoryDoesNotExistError: {parent} does not exist");
                Err(Failure::Message(message))
            }
            // Whoever may not look at it may still write into it.
            _ => Ok(()),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_at_least_one() {
        assert!(Arguments::try_parse_from(["mput", "-c", "0", "/a/stor/x"]).is_err());
        let parsed = Arguments::try_parse_from(["mput", "-H", "m-a: b", "/a/stor/x"]).unwrap();
        assert_eq!(parsed.copies, 2);
    }
}

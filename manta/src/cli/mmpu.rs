//! `mmpu`: multipart uploads by hand, one step to a call.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use manta_client::{Client, Error, Upload, UploadOptions};
use tokio::io::AsyncReadExt as _;

use super::command::Command;
use super::connection::{Connection, headers};
use super::failure::Failure;
use super::json_text;
use super::output::Output;
use super::progress::{Meter, Wish};
use super::stdin::stdin;
use super::upload::counted;

/// What any server may allow; one that allows fewer says so.
const PART_NUMBER_MAX: u32 = 9999;

/// Manage multipart uploads.
///
/// Create one, upload its parts in any order and as often as needed, and commit it with the etags of the
/// parts in their order. Every part but the last must have at least 5 MiB. To store a large file, mput does
/// all of this by itself.
#[derive(Debug, Parser)]
#[command(
    name = "mmpu",
    version,
    disable_version_flag = true,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:
  id=$(mmpu create -H 'm-author: Austen' ~~/stor/book.txt)
  a=$(mmpu upload -f part0 $id 0)
  b=$(mmpu upload -f part1 $id 1)
  mmpu commit $id $a $b"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
    /// Print version
    #[arg(long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Begin an upload and print its id
    #[command(after_help = "Examples:
  mmpu create -s 10485760 -H 'm-author: Austen' ~~/stor/book.txt")]
    Create(Box<Create>),
    /// Upload a part from a file or from stdin and print its etag
    #[command(after_help = "Examples:
  mmpu upload -f part0 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53 0
  gzip -c part1 | mmpu upload $id 1")]
    Upload(UploadPart),
    /// Make the object out of the parts with these etags, in this order
    #[command(after_help = "Examples:
  mmpu commit $id $a $b")]
    Commit(Commit),
    /// Give an upload up
    #[command(after_help = "Examples:
  mmpu abort 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Abort(OneUpload),
    /// Print what is known of an upload
    #[command(after_help = "Examples:
  mmpu get 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Get(OneUpload),
    /// List the account's uploads
    #[command(after_help = "Examples:
  mmpu list
  mmpu list -p")]
    List(List),
    /// List the parts of an upload
    #[command(after_help = "Examples:
  mmpu parts 71c2a5b3-5f0f-4c1e-9d3a-0d1c2e6a4b53")]
    Parts(OneUpload),
}

#[derive(Args, Debug)]
struct Create {
    /// Number of copies to make
    #[arg(short = 'c', long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    copies: u32,
    /// Size of the object in bytes; a commit of another size is refused
    #[arg(short = 's', long)]
    size: Option<u64>,
    /// MD5 of the object in base64; a commit of other bytes is refused
    #[arg(short = 'm', long)]
    md5: Option<String>,
    /// HTTP header of the object
    #[arg(short = 'H', long = "header", allow_hyphen_values = true)]
    headers: Vec<String>,
    /// Path of the object
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct UploadPart {
    /// Local file to upload
    #[arg(short = 'f', long)]
    file: Option<PathBuf>,
    /// Disable the progress bar
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Force the progress bar, even when stderr is redirected
    #[arg(long)]
    progress: bool,
    #[arg(value_names = ["UPLOAD_ID", "PART_NUMBER"], num_args = 0..)]
    arguments: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct Commit {
    /// The upload, then the etags of its parts
    #[arg(value_names = ["UPLOAD_ID", "ETAG"], num_args = 0..)]
    arguments: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct OneUpload {
    #[arg(value_name = "UPLOAD_ID")]
    id: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
struct List {
    /// List uploaded parts in addition to uploads
    #[arg(short = 'p', long = "includeParts", visible_alias = "include-parts")]
    include_parts: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        let (name, outcome) = match self.command {
            Subcommands::Create(arguments) => ("create", arguments.run().await),
            Subcommands::Upload(arguments) => ("upload", arguments.run().await),
            Subcommands::Commit(arguments) => ("commit", arguments.run().await),
            Subcommands::Abort(arguments) => ("abort", arguments.abort().await),
            Subcommands::Get(arguments) => ("get", arguments.get().await),
            Subcommands::List(arguments) => ("list", arguments.run().await),
            Subcommands::Parts(arguments) => ("parts", arguments.parts().await),
        };
        outcome.map_err(|failure| explain(name, failure))
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let path = match self.path.as_slice() {
            [path] => path,
            [] => return Err(Failure::Message("Object path must be specified".to_owned())),
            _ => {
                return Err(Failure::Message(
                    "Only one object path can be specified".to_owned(),
                ));
            }
        };
        let options = UploadOptions {
            headers: headers(&self.headers, &[])?,
            copies: Some(self.copies),
            size: self.size,
            md5: self.md5,
        };
        let client = self.connection.client().await?;
        let upload = client.create_upload(path, &options).await?;
        print(&upload.id)
    }
}

impl UploadPart {
    async fn run(self) -> Result<(), Failure> {
        let [id, number] = self.arguments.as_slice() else {
            let message = "An upload ID and part number are required";
            return Err(Failure::Message(message.to_owned()));
        };
        let number = part_number(number).ok_or_else(|| {
            Failure::Message(format!(
                "Part number must be in the range: [0, {PART_NUMBER_MAX}]"
            ))
        })?;
        let client = self.connection.client().await?;
        let meter = Meter::new(Wish::from_flags(self.quiet, self.progress));
        let payload = match &self.file {
            None => counted(stdin()?, id, None, &meter),
            Some(file) => {
                let named = |error| Failure::Message(format!("{}: {error}", file.display()));
                let source = tokio::fs::File::open(file).await.map_err(named)?;
                let metadata = source.metadata().await.map_err(named)?;
                if !metadata.is_file() {
                    return Err(Failure::Message(format!(
                        "{} is not a file",
                        file.display()
                    )));
                }
                let size = metadata.len();
                let name = file.to_string_lossy();
                counted(source.take(size), &name, Some(size), &meter)
            }
        };
        let upload = find(&client, id).await?;
        let stored = client.put_part(&upload, number, payload, None).await?;
        print(&stored.etag.unwrap_or_default())
    }
}

impl Commit {
    async fn run(self) -> Result<(), Failure> {
        let Some((id, etags)) = self.arguments.split_first() else {
            return Err(no_id());
        };
        let client = self.connection.client().await?;
        let upload = find(&client, id).await?;
        client.commit_upload(&upload, etags).await?;
        Ok(())
    }
}

impl OneUpload {
    async fn find(&self) -> Result<(Client, Upload), Failure> {
        let id = self.id.as_deref().ok_or_else(no_id)?;
        let client = self.connection.client().await?;
        let upload = find(&client, id).await?;
        Ok((client, upload))
    }

    async fn abort(self) -> Result<(), Failure> {
        let (client, upload) = self.find().await?;
        Ok(client.abort_upload(&upload).await?)
    }

    async fn get(self) -> Result<(), Failure> {
        let (client, upload) = self.find().await?;
        let state = client.upload_state(&upload).await?;
        print(&json_text::pretty(&state.text, 2))
    }

    async fn parts(self) -> Result<(), Failure> {
        let (client, upload) = self.find().await?;
        let mut output = Output::new();
        print_parts(&client, &upload, &mut output).await?;
        output.finish()
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let client = self.connection.client().await?;
        let mut output = Output::new();
        for upload in client.list_uploads().await? {
            output.line(&upload.parts_directory)?;
            if self.include_parts {
                print_parts(&client, &upload, &mut output).await?;
            }
        }
        output.finish()
    }
}

async fn print_parts(client: &Client, upload: &Upload, output: &mut Output) -> Result<(), Failure> {
    for part in client.upload_parts(upload).await? {
        output.line(&format!("{}/{}", upload.parts_directory, part.number))?;
    }
    Ok(())
}

/// An id is part of a path, so it must be an id.
async fn find(client: &Client, id: &str) -> Result<Upload, Failure> {
    if uuid::Uuid::try_parse(id).is_err() {
        return Err(Failure::Message(format!("\"{id}\" is not an upload ID")));
    }
    Ok(client.find_upload(&id.to_ascii_lowercase()).await?)
}

/// As it is written in a path: no sign, no zeros in front.
fn part_number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number <= PART_NUMBER_MAX && number.to_string() == text).then_some(number)
}

fn no_id() -> Failure {
    Failure::Message("An upload ID is required".to_owned())
}

fn print(text: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(text)?;
    output.finish()
}

/// `mmpu <sub>: error: <message>`. What is not found is put down to a server without uploads, as it has
/// always been: the answer does not tell it from an unknown id.
fn explain(subcommand: &str, failure: Failure) -> Failure {
    let message = match failure {
        Failure::Client(error) if error.is_not_found() => {
            Error::NotSupported("multipart upload").to_string()
        }
        Failure::Client(error @ (Error::Reply(_) | Error::NotSupported(_))) => error.to_string(),
        Failure::Client(error) => error.line(),
        Failure::Message(message) | Failure::Bare(message) => message,
        other => return other,
    };
    Failure::Bare(format!("mmpu {subcommand}: error: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_are_plain() {
        assert_eq!(part_number("0"), Some(0));
        assert_eq!(part_number("9999"), Some(9999));
        for text in ["", "00", "+1", "-1", "1.5", "10000", "x"] {
            assert_eq!(part_number(text), None, "{text}");
        }
    }
}

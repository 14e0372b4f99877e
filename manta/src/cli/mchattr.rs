//! `mchattr`: replace the metadata headers of objects and directories.
//!
//! Surprise: the server replaces, it does not merge. Whatever is not among the headers given is gone
//! afterwards, role tags included.

use clap::Parser;
use manta_client::resolve_path;

use super::command::Command;
use super::connection::{Connection, at_least_one, headers};
use super::failure::Failure;
use super::kept_metadata::kept_with;
use super::mrm::look_at;

/// Replace the metadata of objects and directories.
///
/// Headers and role tags that are not given again are removed, unless --keep-metadata is given.
#[derive(Debug, Parser)]
#[command(
    name = "mchattr",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mchattr -H 'm-author: Austen' ~~/stor/pride.txt
  mchattr -H 'content-type: text/html' -H 'cache-control: max-age=60' ~~/public/a ~~/public/b
  mchattr --keep-metadata -H 'm-author: Jane Austen' ~~/stor/pride.txt"
)]
pub(super) struct Arguments {
    /// HTTP header to store, at least one
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        allow_hyphen_values = true
    )]
    headers: Vec<String>,
    /// Leave metadata that is not given as it is
    #[arg(long)]
    keep_metadata: bool,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        if self.headers.is_empty() {
            // Without any it would remove all of them, which nobody means by this.
            return Err(Failure::Usage("header required".to_owned()));
        }
        let headers = headers(&self.headers, &[])?;
        let client = self.connection.client().await?;
        for path in &self.path {
            let path = resolve_path(path, client.account())?;
            let headers = if self.keep_metadata {
                kept_with(&look_at(&client, &path).await?, &headers)
            } else {
                headers.clone()
            };
            client.put_metadata(&path, headers).await?;
        }
        Ok(())
    }
}

//! `mmkdir`: create directories. One that exists is no error, with `-p` or without.

use clap::Parser;
use manta_client::resolve_path;

use super::command::Command;
use super::connection::{Connection, at_least_one, headers};
use super::failure::Failure;

/// Make directories
#[derive(Debug, Parser)]
#[command(
    name = "mmkdir",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mmkdir ~~/stor/books
  mmkdir -p ~~/stor/books/old/rare"
)]
pub(super) struct Arguments {
    /// HTTP headers to include
    #[arg(short = 'H', long = "header", allow_hyphen_values = true)]
    headers: Vec<String>,
    /// Make parent directories as needed
    #[arg(short = 'p', long)]
    parents: bool,
    /// Role tags for the new directories
    #[arg(long = "role-tag")]
    role_tags: Vec<String>,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        let headers = headers(&self.headers, &self.role_tags)?;
        let client = self.connection.client().await?;
        for path in &self.path {
            let path = resolve_path(path, client.account())?;
            if self.parents {
                client.mkdirp(&path, headers.clone()).await?;
            } else {
                client.mkdir(&path, headers.clone()).await?;
            }
        }
        Ok(())
    }
}

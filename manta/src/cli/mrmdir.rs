//! `mrmdir`: delete empty directories.

use clap::Parser;
use manta_client::resolve_path;

use super::command::Command;
use super::connection::{Connection, at_least_one};
use super::failure::Failure;
use super::mrm::look_at;
use super::output::{check_can_ask, confirm};

/// Remove empty directories
#[derive(Debug, Parser)]
#[command(
    name = "mrmdir",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mrmdir ~~/stor/books"
)]
pub(super) struct Arguments {
    /// Confirm before deleting
    #[arg(short = 'I', long)]
    interactive: bool,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        let client = self.connection.client().await?;
        if self.interactive {
            check_can_ask()?;
        }
        for path in &self.path {
            let path = resolve_path(path, client.account())?;
            if !look_at(&client, &path).await?.is_directory() {
                return Err(Failure::Bare(format!("{path} is not a directory")));
            }
            if !self.interactive || confirm(&format!("remove directory `{path}` [y/N]?: "))? {
                client.delete(&path).await?;
            }
        }
        Ok(())
    }
}

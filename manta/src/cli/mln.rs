//! `mln`: another name for an object, a SnapLink. Both names are equal afterwards, and deleting or
//! overwriting one leaves the other as it is.

use clap::Parser;

use super::command::Command;
use super::connection::{Connection, headers};
use super::failure::Failure;

/// Make links between objects
#[derive(Debug, Parser)]
#[command(
    name = "mln",
    version,
    disable_version_flag = true,
    override_usage = "mln [OPTIONS] SOURCE DESTINATION",
    after_help = "Examples:
  mln ~~/stor/book.txt ~~/public/book.txt"
)]
pub(super) struct Arguments {
    /// HTTP headers to include: conditions on the source
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        allow_hyphen_values = true
    )]
    headers: Vec<String>,
    /// Role tags for the new name
    #[arg(long = "role-tag", value_name = "TAG,TAG...")]
    role_tags: Vec<String>,
    #[arg(value_name = "SOURCE DESTINATION")]
    operands: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        let (source, target) = match self.operands.as_slice() {
            [source, target] => (source, target),
            [] => return Err(Failure::Usage("path required".to_owned())),
            [_] => return Err(Failure::Usage("dest required".to_owned())),
            _ => return Err(Failure::Usage("too many paths".to_owned())),
        };
        let headers = headers(&self.headers, &self.role_tags)?;
        let client = self.connection.client().await?;
        client.link(source, target, headers).await?;
        Ok(())
    }
}

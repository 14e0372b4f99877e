//! `mmv`: another name for an object instead of the one it has, in one instant. Manta never had it; its
//! users made a link and deleted the old name.

use clap::Parser;
use http::{HeaderValue, StatusCode};
use manta_client::{Client, resolve_path};

use super::command::Command;
use super::connection::{Connection, headers};
use super::failure::Failure;

/// Rename objects.
///
/// Nobody ever sees both names, or none. What has the new name already is replaced.
#[derive(Debug, Parser)]
#[command(
    name = "mmv",
    version,
    disable_version_flag = true,
    override_usage = "mmv [OPTIONS] OLD NEW\n       mmv [OPTIONS] OLD... DIRECTORY",
    after_help = "Examples:
  mmv -n ~~/stor/draft.txt ~~/stor/book.txt
  mmv ~~/stor/a ~~/stor/b ~~/stor/books
  mmv -H 'if-match: 9253bed5-6f7f-4b13-8b25-21392bfa6426' ~~/stor/draft ~~/stor/final"
)]
pub(super) struct Arguments {
    /// HTTP headers to include: conditions on the object that is renamed
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        allow_hyphen_values = true
    )]
    headers: Vec<String>,
    /// Fail where the new name exists already, instead of replacing what has it
    #[arg(short = 'n', long)]
    no_clobber: bool,
    /// Role tags for the new names, instead of those that the objects have
    #[arg(long = "role-tag", value_name = "TAG,TAG...")]
    role_tags: Vec<String>,
    #[arg(value_name = "OLD... NEW")]
    operands: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        let (target, sources) = match self.operands.split_last() {
            None => return Err(Failure::Usage("path required".to_owned())),
            Some((_, [])) => return Err(Failure::Usage("dest required".to_owned())),
            Some(operands) => operands,
        };
        let mut headers = headers(&self.headers, &self.role_tags)?;
        if self.no_clobber {
            let anything = HeaderValue::from_static("*");
            headers.insert("x-target-if-none-match", anything);
        }
        let client = self.connection.client().await?;
        let target = resolve_path(target, client.account())?;
        let into_directory = is_directory(&client, &target).await?;
        if sources.len() > 1 && !into_directory {
            return Err(Failure::Bare(format!("{target} is not a directory")));
        }
        for source in sources {
            let source = resolve_path(source, client.account())?;
            let target = match source.rsplit_once('/') {
                Some((_, name)) if into_directory => format!("{target}/{name}"),
                _ => target.clone(),
            };
            client.rename(&source, &target, headers.clone()).await?;
        }
        Ok(())
    }
}

async fn is_directory(client: &Client, path: &str) -> Result<bool, Failure> {
    let info = client.info(path).await?;
    match info.status {
        StatusCode::NOT_FOUND => Ok(false),
        status if status.is_client_error() || status.is_server_error() => {
            client.head(path).await?;
            Ok(false)
        }
        _ => Ok(info.is_directory()),
    }
}

//! `mget`: objects to stdout or into a file, one behind the other.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};

use clap::Parser;
use http::HeaderMap;
use manta_client::{Client, Download, resolve_path};

use super::command::Command;
use super::connection::{Connection, at_least_one, headers};
use super::failure::Failure;
use super::progress::{Progress, Wish};

/// Download objects
#[derive(Debug, Parser)]
#[command(
    name = "mget",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mget ~~/stor/book.txt
  mget -O ~~/stor/book.txt
  mget -q ~~/stor/part1 ~~/stor/part2 > whole"
)]
pub(super) struct Arguments {
    /// HTTP headers to include
    #[arg(short = 'H', long = "header", allow_hyphen_values = true)]
    headers: Vec<String>,
    /// Disable the progress bar
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Force the progress bar, even when stderr is redirected
    #[arg(long)]
    progress: bool,
    /// Write to a file instead of stdout
    #[arg(short = 'o', long)]
    output: Option<String>,
    /// Write to a file that is named as the object
    #[arg(short = 'O', long)]
    remote_name: bool,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        let headers = headers(&self.headers, &[])?;
        if self.remote_name && self.path.len() != 1 {
            let message = "--remote-name only works with a single object path";
            return Err(Failure::Usage(message.to_owned()));
        }
        let client = self.connection.client().await?;
        let paths: Vec<String> = self
            .path
            .iter()
            .map(|path| resolve_path(path, client.account()))
            .collect::<Result<_, _>>()?;
        let file = if self.remote_name {
            paths[0].rsplit('/').next().map(str::to_owned)
        } else {
            self.output.clone()
        };
        let mut wish = Wish::from_flags(self.quiet, self.progress);
        match file {
            Some(name) => {
                let named = |error| Failure::Message(format!("Error: {name}: {error}"));
                let mut file = File::create(&name).map_err(named)?;
                copy_all(&client, &paths, &headers, wish, &mut file).await
            }
            None => {
                let mut stdout = io::stdout();
                if stdout.is_terminal() && wish == Wish::Auto {
                    // Content and bar would overwrite each other.
                    wish = Wish::Never;
                }
                copy_all(&client, &paths, &headers, wish, &mut stdout).await
            }
        }
    }
}

async fn copy_all(
    client: &Client,
    paths: &[String],
    headers: &HeaderMap,
    wish: Wish,
    to: &mut impl Write,
) -> Result<(), Failure> {
    for path in paths {
        let mut download = client.get(path, headers.clone()).await?;
        let mut progress = Progress::new(wish, path, download.length());
        let copied = copy(&mut download, &mut progress, to).await;
        progress.finish();
        copied?;
    }
    Ok(to.flush()?)
}

async fn copy(
    download: &mut Download,
    progress: &mut Progress,
    to: &mut impl Write,
) -> Result<(), Failure> {
    while let Some(chunk) = download.chunk().await? {
        to.write_all(&chunk)?;
        progress.advance(chunk.len());
    }
    Ok(())
}

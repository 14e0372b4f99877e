//! `mrm`: delete objects, or directories with everything in them.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;

use clap::Parser;
use http::HeaderMap;
use manta_client::{Client, Info, RemovalReport, Removed, resolve_path};

use super::command::Command;
use super::connection::{Connection, at_least_one};
use super::failure::Failure;
use super::output::{check_can_ask, confirm};

/// Remove objects
#[derive(Debug, Parser)]
#[command(
    name = "mrm",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mrm ~~/stor/book.txt
  mrm -r ~~/stor/books"
)]
pub(super) struct Arguments {
    /// Confirm before deleting
    #[arg(short = 'I', long)]
    interactive: bool,
    /// Limit concurrent operations
    #[arg(short = 'p', long, default_value = "50")]
    parallel: NonZeroUsize,
    /// Remove directories and their contents
    #[arg(short = 'r', long)]
    recursive: bool,
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
            if look_at(&client, &path).await?.is_directory() {
                if !self.recursive {
                    return Err(Failure::Bare(format!("{path} is not an object")));
                }
                let question = format!("recursively remove directory `{path}` [y/N]?: ");
                if !self.interactive || confirm(&question)? {
                    let mut kept = false;
                    let mut counter = Counter::new();
                    let outcome = client.remove_tree(&path, self.parallel.get(), |report| {
                        kept |= counter.show(&report);
                    });
                    outcome.await?;
                    if kept {
                        return Err(Failure::Reported);
                    }
                }
            } else if !self.interactive || confirm(&format!("remove object `{path}` [y/N]?: "))? {
                client.delete(&path).await?;
            }
        }
        Ok(())
    }
}

/// How far the server is with a tree, for a person who waits for it.
struct Counter {
    to_person: bool,
}

impl Counter {
    fn new() -> Counter {
        Counter {
            to_person: io::stderr().is_terminal(),
        }
    }

    /// Says it on stderr; whether something was kept.
    fn show(&mut self, report: &RemovalReport) -> bool {
        // The line is written over again and again, and is gone at the end.
        let clear = if self.to_person { "\r\x1b[K" } else { "" };
        match report {
            RemovalReport::Progress(removed) if self.to_person => {
                let Removed {
                    objects,
                    directories,
                    ..
                } = removed;
                eprint!("{clear}{objects} objects and {directories} directories removed");
            }
            RemovalReport::Progress(_) => {}
            RemovalReport::End(_) => eprint!("{clear}"),
            RemovalReport::Kept { error, .. } => {
                eprintln!("{clear}mrm: {}", error.line());
                return true;
            }
        }
        false
    }
}

/// The headers of what is there. The message of a failure comes from a GET: HEAD has none.
pub(super) async fn look_at(client: &Client, path: &str) -> Result<Info, Failure> {
    match client.head(path).await {
        Ok(info) => Ok(info),
        Err(error) if error.status().is_some() => {
            client.get(path, HeaderMap::new()).await?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

//! Inputs from stdin: one object name to a line, posted in batches.

use std::num::NonZeroUsize;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use manta_client::{Client, resolve_path};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::stdin::stdin;

/// Add inputs from stdin to jobs, then end their input.
#[derive(Debug, Args)]
pub(super) struct AddInputs {
    #[command(flatten)]
    batching: Batching,
    /// Leave the input open for more
    #[arg(short = 'o', long)]
    open: bool,
    #[arg(value_name = "JOBID")]
    ids: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Batching {
    /// Number of inputs to add with one request
    #[arg(short = 'b', long, default_value = "1000")]
    batch: NonZeroUsize,
    /// Limit concurrent requests
    #[arg(short = 'p', long, default_value = "25")]
    parallel: NonZeroUsize,
}

impl AddInputs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        super::report::at_least_one_job(&self.ids)?;
        let client = self.connection.client().await?;
        add_from_stdin(&client, &self.ids, &self.batching, false).await?;
        if !self.open {
            for id in &self.ids {
                client.end_job_input(id).await?;
            }
        }
        Ok(())
    }
}

/// Adds every line of stdin to each of the jobs. The order of batches is open, as the jobs' inputs have
/// none.
pub(super) async fn add_from_stdin(
    client: &Client,
    ids: &[String],
    batching: &Batching,
    quiet: bool,
) -> Result<(), Failure> {
    let mut lines = BufReader::new(stdin()?);
    let mut under_way: FuturesUnordered<BoxFuture<'_, Result<(), Failure>>> =
        FuturesUnordered::new();
    loop {
        let batch = read_batch(&mut lines, batching.batch.get(), client.account()).await?;
        if batch.is_empty() {
            break;
        }
        for id in ids {
            let batch = batch.clone();
            under_way.push(Box::pin(async move {
                client.add_job_inputs(id, &batch).await?;
                if !quiet {
                    let plural = if batch.len() > 1 { "s" } else { "" };
                    eprintln!("added {} input{plural} to {id}", batch.len());
                }
                Ok(())
            }));
        }
        while under_way.len() >= batching.parallel.get()
            && let Some(done) = under_way.next().await
        {
            done?;
        }
    }
    while let Some(done) = under_way.next().await {
        done?;
    }
    Ok(())
}

/// The next names, resolved as any path on a command line. Empty at the end of the input.
async fn read_batch(
    lines: &mut (impl AsyncBufRead + Unpin),
    count: usize,
    account: &str,
) -> Result<Vec<String>, Failure> {
    let mut batch = Vec::new();
    let mut line = String::new();
    while batch.len() < count {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            break;
        }
        let name = line.trim_end_matches(['\n', '\r']);
        if !name.is_empty() {
            batch.push(resolve_path(name, account)?);
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_resolved_and_empty_ones_left_out() {
        let mut lines = &b"~~/stor/a\r\n\n/b/stor//c\n/d/stor/last"[..];
        assert_eq!(
            read_batch(&mut lines, 2, "alice").await.unwrap(),
            ["/alice/stor/a", "/b/stor/c"]
        );
        assert_eq!(
            read_batch(&mut lines, 2, "alice").await.unwrap(),
            ["/d/stor/last"]
        );
        assert!(read_batch(&mut lines, 2, "alice").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_line_that_is_no_path_ends_it() {
        let mut lines = &b"stor/a\n"[..];
        assert!(matches!(
            read_batch(&mut lines, 2, "a").await,
            Err(Failure::Client(_))
        ));
    }
}

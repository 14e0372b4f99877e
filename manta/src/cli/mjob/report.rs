//! The subcommands that look at jobs, and the two that only say one word to them.

use std::num::NonZeroUsize;
use std::time::SystemTime;

use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use manta_client::{Client, Error, LiveList};
use serde::Deserialize;

use super::bar::Bars;
use super::wait::wait;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::json_text;
use crate::cli::listing_line::LongFormat;
use crate::cli::output::Output;

#[derive(Debug, Args)]
pub(super) struct ManyJobs {
    /// Limit concurrent requests
    #[arg(short = 'p', long, default_value = "100")]
    parallel: NonZeroUsize,
    #[arg(value_name = "JOBID")]
    ids: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Use a long listing format
    #[arg(short = 'l', long)]
    long: bool,
    /// Only jobs with this name
    #[arg(short = 'n', long)]
    name: Option<String>,
    /// Only jobs in this state
    #[arg(short = 's', long)]
    state: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn at_least_one_job(ids: &[String]) -> Result<(), Failure> {
    if ids.is_empty() {
        return Err(Failure::Message(
            "At least one JobId must be specified".to_owned(),
        ));
    }
    Ok(())
}

impl ManyJobs {
    async fn client(&self) -> Result<Client, Failure> {
        at_least_one_job(&self.ids)?;
        self.connection.client().await
    }

    pub(super) async fn cancel(self) -> Result<(), Failure> {
        let client = self.client().await?;
        self.each(async |id| Ok(client.cancel_job(id).await?))
            .await
            .map(drop)
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        let client = self.client().await?;
        self.each(async |id| Ok(client.end_job_input(id).await?))
            .await
            .map(drop)
    }

    pub(super) async fn get(self) -> Result<(), Failure> {
        let client = self.client().await?;
        let texts = self.each(async |id| Ok(client.job(id).await?)).await?;
        print_indented(&texts)
    }

    /// Waits for every job. Errors of their tasks are in what is printed, not in the exit code.
    pub(super) async fn watch(self) -> Result<(), Failure> {
        let client = self.client().await?;
        let bars = Bars::new(false);
        let texts = self
            .each(async |id| Ok(wait(&client, id, bars.job(id)).await?.text))
            .await?;
        print_indented(&texts)
    }

    /// Prints one list of each job, streamed: a job can have millions of outputs.
    pub(super) async fn print_list(self, list: LiveList) -> Result<(), Failure> {
        let client = self.client().await?;
        let mut output = Output::new();
        for id in &self.ids {
            let mut lines = client.job_list(id, list).await?;
            while let Some(line) = lines.next().await? {
                output.line(&line)?;
            }
        }
        output.finish()
    }

    /// Does the same with every job, several at a time; the results are in the order of the ids.
    async fn each<T>(
        &self,
        work: impl AsyncFn(&str) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        futures_util::stream::iter(&self.ids)
            .map(|id| work(id))
            .buffered(self.parallel.get())
            .try_collect()
            .await
    }
}

fn print_indented(texts: &[String]) -> Result<(), Failure> {
    let mut output = Output::new();
    for text in texts {
        output.line(&json_text::pretty(text, 2))?;
    }
    output.finish()
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Row {
            name: String,
            mtime: String,
        }
        let client = self.connection.client().await?;
        let mut rows = client
            .list_jobs(self.name.as_deref(), self.state.as_deref())
            .await?;
        let format = LongFormat::new(SystemTime::now(), TimeZone::system(), false);
        let mut output = Output::new();
        while let Some(line) = rows.next().await? {
            let row: Row = serde_json::from_str(&line)
                .map_err(|error| Error::Malformed(format!("a job: {error}")))?;
            if self.long {
                let mtime = row.mtime.parse().unwrap_or(Timestamp::UNIX_EPOCH);
                output.line(&format.job_line(client.account(), mtime, &row.name))?;
            } else {
                output.line(&format!("{}/", row.name))?;
            }
        }
        output.finish()
    }
}

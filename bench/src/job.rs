//! Runs jobs over the public API, as a client would, and times them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::connection::{Connection, Request};
use crate::metrics;
use crate::store::Store;

const DONE: &str = "marlin_jobs_done_total";
const ARCHIVED: &str = "marlin_jobs_archived_total";
/// How long the store may take to archive jobs that are done.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(30);

/// A phase of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase<'a> {
    Map(&'a str),
    Reduce { exec: &'a str, reducers: usize },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) phases: &'a [Phase<'a>],
    /// Full paths, one task each.
    pub(crate) inputs: &'a [String],
    pub(crate) between_polls: Duration,
}

#[derive(Debug)]
pub(crate) struct Done {
    /// From the first byte of `POST /jobs` until an answer said that the job was done.
    pub(crate) took: Duration,
    /// Path of the job's directory.
    pub(crate) location: String,
}

impl Job<'_> {
    /// Fails unless the job ends without errors, with one output for each task of its last phase. When dropped
    /// early the job goes on.
    pub(crate) async fn run(&self, store: &Store, connection: &mut Connection) -> Result<Done> {
        let expected = match self.phases.last() {
            Some(Phase::Reduce { reducers, .. }) => *reducers,
            _ => self.inputs.len(),
        };
        let started = Instant::now();
        let location = self.start(store, connection).await?;
        let target = format!("{location}/live/status");
        let mut polls = interval(self.between_polls);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            polls.tick().await;
            let answer = connection
                .call(store.signer(), &Request::new("GET", &target))
                .await?
                .expect(200)?;
            let status: Value =
                serde_json::from_slice(answer.body).context("understand a status")?;
            if status["state"] == "done" {
                let took = started.elapsed();
                let stats = &status["stats"];
                ensure!(stats["errors"] == 0, "the job failed: {status}");
                let outputs = stats["outputs"].as_u64();
                ensure!(
                    outputs == Some(expected as u64),
                    "outputs are missing: {status}"
                );
                return Ok(Done { took, location });
            }
        }
    }

    /// Gives the job all of its inputs and returns the path of its directory, without waiting for its end.
    pub(crate) async fn start(&self, store: &Store, connection: &mut Connection) -> Result<String> {
        let phases: Vec<Value> = self.phases.iter().map(|phase| phase.to_json()).collect();
        let definition = json!({"name": "bench", "phases": phases}).to_string();
        let inputs = self.inputs.join("\n");
        let jobs = store.path("jobs");
        let create = Request::new("POST", &jobs)
            .body(Some("application/json; type=job"), definition.as_bytes());
        let created = connection
            .call(store.signer(), &create)
            .await?
            .expect(201)?;
        let location = created
            .header("location")
            .context("a job has a location")?
            .to_owned();
        let target = format!("{location}/live/in?end=true");
        let add = Request::new("POST", &target).body(Some("text/plain"), inputs.as_bytes());
        connection.call(store.signer(), &add).await?.expect(204)?;
        Ok(location)
    }
}

impl Phase<'_> {
    fn to_json(self) -> Value {
        match self {
            Self::Map(exec) => json!({"type": "map", "exec": exec}),
            Self::Reduce { exec, reducers } => {
                json!({"type": "reduce", "exec": exec, "count": reducers})
            }
        }
    }
}

/// The content of each output of a job, in no order.
pub(crate) async fn outputs(
    done: &Done,
    store: &Store,
    connection: &mut Connection,
) -> Result<Vec<String>> {
    let target = format!("{}/live/out", done.location);
    let list = connection
        .call(store.signer(), &Request::new("GET", &target))
        .await?
        .expect(200)?;
    let list = String::from_utf8(list.body.to_vec()).context("read the list of outputs")?;
    let mut outputs = Vec::new();
    for path in list.lines() {
        let answer = connection
            .call(store.signer(), &Request::new("GET", path))
            .await?
            .expect(200)?;
        outputs.push(String::from_utf8_lossy(answer.body).into_owned());
    }
    Ok(outputs)
}

/// Waits until every job that is done has been archived too, and returns the metrics of that moment: only
/// then has a job cost what it costs.
pub(crate) async fn all_archived(store: &Store) -> Result<String> {
    let started = Instant::now();
    loop {
        let text = store.metrics().await?;
        if metrics::sum(&text, DONE)? == metrics::sum(&text, ARCHIVED)? {
            return Ok(text);
        }
        if started.elapsed() > ARCHIVE_PATIENCE {
            bail!("jobs are done, but not archived after {ARCHIVE_PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

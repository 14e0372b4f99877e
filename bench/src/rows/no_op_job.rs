//! The shortest job there is: how long it takes, and how many commits it costs.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::connection::Request;
use crate::job::{Job, Phase, all_archived};
use crate::metrics;
use crate::report::{Floor, Sample, median};
use crate::store::Store;

pub(crate) const METHOD: &str = "`true` on one object of a byte. The clock runs from the first byte of \
    `POST /jobs` over `POST live/in?end=true` until an answer to `GET live/status`, asked every millisecond on \
    the same connection, says `done`. A run is 100 jobs after 3 that are not counted. Commits are counted from \
    before the first to after the archive of the last of them: those that the job's own records cost, and all \
    of the shards, with the directories, outputs and lists of the job.";

const WARM_UP: usize = 3;
const JOBS: usize = 100;
/// Transactions of the metadata shards.
const SHARD_COMMITS: &str = "moray_commits_total";
/// Those of them that made entries of jobs' logs durable.
const LOG_COMMITS: &str = "marlin_log_commits_total";

pub(crate) async fn run(store: &Store) -> Result<Vec<Sample>> {
    let mut connection = store.connect().await?;
    let object = store.path("stor/tiny");
    let put = Request::new("PUT", &object).body(None, b"x");
    connection.call(store.signer(), &put).await?.expect(204)?;
    let inputs = [object];
    let job = Job {
        phases: &[Phase::Map("true")],
        inputs: &inputs,
        between_polls: Duration::from_millis(1),
    };
    for _ in 0..WARM_UP {
        job.run(store, &mut connection).await?;
    }
    let before = all_archived(store).await?;
    let mut times_ms = Vec::new();
    for _ in 0..JOBS {
        times_ms.push(job.run(store, &mut connection).await?.took.as_secs_f64() * 1000.0);
    }
    let after = all_archived(store).await?;
    let per_job = |name: &str| -> Result<f64> {
        Ok((metrics::sum(&after, name)? - metrics::sum(&before, name)?) / JOBS as f64)
    };
    let middle = median(&times_ms);
    times_ms.sort_by(f64::total_cmp);
    let slow = times_ms.get(JOBS * 99 / 100 - 1).copied();
    Ok(vec![
        Sample::new("no-op job, POST to done", "ms", Floor::AtMost(20.0), middle),
        Sample::new(
            "no-op job, 99 of 100 within",
            "ms",
            Floor::AtMost(60.0),
            slow.context("there were jobs")?,
        ),
        Sample::new(
            "commits of a no-op job's records",
            "",
            Floor::AtMost(6.0),
            per_job(LOG_COMMITS)?,
        ),
        Sample::new(
            "commits per no-op job, all shards",
            "",
            Floor::Nothing,
            per_job(SHARD_COMMITS)?,
        ),
    ])
}

//! What is recorded of the resources that tasks use. That it adds up is checked after every scenario.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::metering::{self, Attempt};
use tests::{Job, wait_for};

use super::{PATIENCE, Stage, map};

const ONE: &str = "/%u/stor/obj1";

fn the_only(attempts: Vec<Attempt>) -> Result<Attempt> {
    ensure!(attempts.len() == 1, "{attempts:#?}");
    attempts.into_iter().next().context("one")
}

/// What a task uses is seen in its records, one every five seconds.
#[test]
fn jobMmeterCheckpoints() -> Result<()> {
    let stage = Stage::open()?;
    let account = stage.store.account();
    let operator = json!({"operator": true});
    stage
        .store
        .administer("PATCH", &format!("/accounts/{account}"), &operator)?;
    let exec =
        "head -c 4M /dev/zero > /var/tmp/x; mget -q $MANTA_INPUT_OBJECT > /dev/null; sleep 7";
    let scenario = map(exec).options(json!({"frequentCheckpoint": true}));
    let done = stage.play(scenario.inputs(&[ONE]).an_output_each().contents(&[""]))?;
    let job = done.status["id"].as_str().context("a job has an id")?;
    let attempt = the_only(metering::attempts(&stage.store, job)?)?;
    ensure!(attempt.checkpoints() >= 1, "{attempt:#?}");
    let seconds = attempt.seconds()?;
    ensure!((7.0..60.0).contains(&seconds), "{seconds}");
    let used = &attempt.records[attempt.records.len() - 1]["metricsCumul"];
    let number = |path: &str| {
        used.pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    ensure!(number("/cpu/user") + number("/cpu/system") > 0, "{used}");
    ensure!(number("/vfs/nwritten") >= 4 << 20, "{used}");
    // The head of the answer, and the object itself.
    ensure!(
        number("/vnic0/rbytes64") > 50 && number("/vnic0/obytes64") > 50,
        "{used}"
    );
    ensure!(
        number("/memory/limit") == 1 << 30 && number("/memory/peak") > 0,
        "{used}"
    );
    ensure!(number("/memory/byteSeconds") >= 7 << 30, "{used}");
    stage.store.finish()
}

/// A reducer that ends early waits for the end of its input before it counts, but holds no zone meanwhile, and is
/// not metered for what it does not have.
#[test]
fn jobMmeterExitsEarly() -> Result<()> {
    let stage = Stage::open()?;
    let store = &stage.store;
    let mut client = store.client()?;
    let input = stage.name(ONE);
    client.put(&input, "x")?.expect(204)?;
    let began = Instant::now();
    let phases = json!([{"type": "reduce", "exec": "exit 1"}]);
    let job = Job::create(&mut client, store, &phases)?;
    job.add(&mut client, &[input])?;
    let early = wait_for("the reducer to end", Duration::from_secs(30), || {
        let attempts = metering::attempts(store, job.id())?;
        Ok(attempts
            .into_iter()
            .find(|attempt| attempt.done().is_some()))
    })?;
    ensure!(job.status(&mut client)?["state"] == "running");
    ensure!(early.seconds()? <= began.elapsed().as_secs_f64());
    job.end(&mut client)?;
    let done = job.wait(&mut client, PATIENCE)?;
    let error = done.only_error("UserTaskError")?;
    ensure!(
        error["message"] == "user command exited with code 1",
        "{error}"
    );
    let attempt = the_only(metering::attempts(store, job.id())?)?;
    attempt.check()?;
    ensure!(attempt.records == early.records, "{attempt:#?}");
    stage.store.finish()
}

/// However a task ends, it is metered to its end: one whose job is cancelled while it runs, too.
#[test]
fn a_task_that_is_cancelled_is_metered() -> Result<()> {
    let stage = Stage::open()?;
    let store = &stage.store;
    let mut client = store.client()?;
    let input = stage.name(ONE);
    client.put(&input, "x")?.expect(204)?;
    let job = Job::create(&mut client, store, &json!([{"exec": "sleep 100000"}]))?;
    job.add(&mut client, &[input])?;
    wait_for("the task to start", Duration::from_secs(30), || {
        Ok(metering::attempts(store, job.id())?.pop())
    })?;
    job.cancel(&mut client)?;
    job.wait(&mut client, PATIENCE)?
        .only_error("JobCancelledError")?;
    let attempt = wait_for("the task to be metered", Duration::from_secs(30), || {
        let attempts = metering::attempts(store, job.id())?;
        Ok(attempts
            .into_iter()
            .find(|attempt| attempt.done().is_some()))
    })?;
    attempt.check()?;
    stage.store.finish()
}

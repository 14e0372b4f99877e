//! Inputs that change under a job. What was added is a name: the old content, the new one and an error are all
//! right, a mixture is not. Source: marlin.md section 8.4.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::job::{Finished, url};
use tests::{Client, Job, Launch, Store, wait_for};

use crate::on_disk;

const PATIENCE: Duration = Duration::from_secs(60);
const INPUTS: usize = 3;
const OLD: &str = "old ";
const NEW: &str = "new ";
const WORDS: usize = 50_000;

/// Changes every input while the first task runs and the others wait, and lets them go on when the old bytes are
/// gone. Returns the content of each output, and each error.
fn with_changes(change: impl Fn(&mut Client, &str) -> Result<()>) -> Result<(Store, Vec<Value>)> {
    let store = Launch::new()
        .setting("jobs.zones = 1")
        .setting("housekeeping.delete_grace_ms = 50")
        .setting("housekeeping.collect_interval_ms = 50")
        .expecting(&["copy cannot be opened for a task"])
        .start()?;
    let mut client = store.client()?;
    let inputs: Vec<String> = (0..INPUTS)
        .map(|n| store.path(&format!("stor/in{n}")))
        .collect();
    for input in &inputs {
        client.put(input, OLD.repeat(WORDS))?.expect(204)?;
    }
    let before = on_disk::copies(&store)?;
    let gate = "until mget -q ~~/stor/go > /dev/null 2>&1; do sleep 0.02; done";
    let phases = json!([{"exec": format!("{gate}; cat")}]);
    let job = Job::create(&mut client, &store, &phases)?;
    job.add(&mut client, &inputs)?;
    job.end(&mut client)?;
    wait_for("the first task", PATIENCE, || {
        Ok((store.metric("marlin_tasks_started_total")? >= 1.0).then_some(()))
    })?;
    for input in &inputs {
        change(&mut client, input)?;
    }
    wait_for("the old bytes to be gone", PATIENCE, || {
        let now = on_disk::copies(&store)?;
        let gone = before.keys().all(|copy| !now.contains_key(copy));
        Ok(gone.then_some(()))
    })?;
    client.put(&store.path("stor/go"), "")?.expect(204)?;
    let done = job.wait(&mut client, PATIENCE)?;
    let ends = ends(&mut client, &done)?;
    ensure!(ends.len() == INPUTS, "one end for each input: {done:?}");
    Ok((store, ends))
}

fn ends(client: &mut Client, done: &Finished) -> Result<Vec<Value>> {
    let mut ends = done.errors.clone();
    for name in &done.outputs {
        ends.push(client.get(&url(name))?.expect(200)?.text().into());
    }
    Ok(ends)
}

fn is_missing(end: &Value) -> bool {
    let message = end["message"].as_str().unwrap_or_default();
    end["code"] == "ResourceNotFoundError"
        && (message == "failed to load object" || message.starts_with("no such object"))
}

fn count(ends: &[Value], content: &str) -> usize {
    ends.iter().filter(|end| **end == content).count()
}

#[test]
fn inputs_that_are_deleted() -> Result<()> {
    let (store, ends) = with_changes(|client, input| {
        client.delete(input)?.expect(204)?;
        Ok(())
    })?;
    let missing = ends.iter().filter(|end| is_missing(end)).count();
    let old = count(&ends, &OLD.repeat(WORDS));
    ensure!(missing + old == INPUTS, "{missing} missing, {old} old");
    store.finish()
}

#[test]
fn inputs_that_are_overwritten() -> Result<()> {
    let (store, ends) = with_changes(|client, input| {
        client.put(input, NEW.repeat(WORDS))?.expect(204)?;
        Ok(())
    })?;
    let missing = ends.iter().filter(|end| is_missing(end)).count();
    let [old, new] = [OLD, NEW].map(|word| count(&ends, &word.repeat(WORDS)));
    ensure!(
        missing + old + new == INPUTS,
        "{missing} missing, {old} old, {new} new"
    );
    store.finish()
}

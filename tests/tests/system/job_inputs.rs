//! Inputs that change under a job. What was added is a name: the old content, the new one and an error are all
//! right, a mixture is not. Nor does it help to lock an input: the store uses no locks. Source: marlin.md section
//! 8.4, zones.md section 10, row 24.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde_json::{Value, json};
use tests::job::{Finished, url};
use tests::{Client, Job, Launch, Store, wait_for};

use crate::on_disk;

const PATIENCE: Duration = Duration::from_secs(60);
const INPUTS: usize = 3;
const OLD: &str = "old ";
const NEW: &str = "new ";
const WORDS: usize = 50_000;

/// Changes every input while the first task runs, which has locked its own, and the others wait; lets them go on
/// when the old bytes are gone. By then every input has been looked up, and one is open. Returns the content of
/// each output, and each error.
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
    ensure!(locked(&before)? == 0, "nobody has locked a copy");
    let lock = "flock --nonblock --exclusive 0 || exit 8; mput -q ~~/stor/locked < /dev/null";
    let gate = "until mget -q ~~/stor/go > /dev/null 2>&1; do sleep 0.02; done";
    let phases = json!([{"exec": format!("{lock}; {gate}; cat")}]);
    let job = Job::create(&mut client, &store, &phases)?;
    job.add(&mut client, &inputs)?;
    job.end(&mut client)?;
    wait_for("the first task, and its lock", PATIENCE, || {
        let found = job.status(&mut client)?["stats"]["tasks"] == INPUTS;
        let has_lock = client.head(&store.path("stor/locked"))?.status == 200;
        Ok((found && has_lock).then_some(()))
    })?;
    ensure!(locked(&before)? == 1, "the command has locked a copy");
    for input in &inputs {
        let read = client.get(input)?.expect(200)?.text();
        ensure!(read == OLD.repeat(WORDS), "{input} is read");
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

/// How many of the copies somebody holds a lock on.
fn locked(copies: &BTreeMap<PathBuf, u64>) -> Result<usize> {
    let mut locked = 0;
    for path in copies.keys() {
        let file = File::open(path).context("open a copy")?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => locked += 1,
            Err(error) => return Err(error).context("lock a copy"),
        }
    }
    Ok(locked)
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

fn errors(ends: &[Value]) -> Vec<&Value> {
    ends.iter().filter(|end| end.is_object()).collect()
}

#[test]
fn inputs_that_are_deleted() -> Result<()> {
    let (store, ends) = with_changes(|client, input| {
        client.delete(input)?.expect(204)?;
        Ok(())
    })?;
    let missing = ends.iter().filter(|end| is_missing(end)).count();
    let old = count(&ends, &OLD.repeat(WORDS));
    // What one task held open is read to its end; the others come too late.
    ensure!(
        (missing, old) == (INPUTS - 1, 1),
        "{missing} missing, {old} old: {:?}",
        errors(&ends)
    );
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
        old == 1 && missing >= 1 && missing + old + new == INPUTS,
        "{missing} missing, {old} old, {new} new: {:?}",
        errors(&ends)
    );
    store.finish()
}

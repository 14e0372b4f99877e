//! Commands that harm: each ends with its documented error while another job beside it goes on, and the zone
//! it ran in serves the next task.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::job::{Finished, url};
use tests::{Job, Launch, Store, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a harmful phase next to a harmless job; afterwards both zones must still work. Returns what became
/// of the harmful one.
fn beside_others(phase: &Value, cancel: bool) -> Result<(Store, Finished)> {
    let store = Launch::new().setting("jobs.zones = 2").start()?;
    let mut client = store.client()?;
    let input = store.path("stor/x");
    client.put(&input, "innocent\n")?.expect(204)?;

    let harmful = Job::create(&mut client, &store, &json!([phase]))?;
    harmful.add(&mut client, std::slice::from_ref(&input))?;
    harmful.end(&mut client)?;
    let harmless = Job::create(
        &mut client,
        &store,
        &json!([{"exec": "for i in 1 2 3 4 5; do sleep 0.1; done; cat"}]),
    )?;
    harmless.add(&mut client, &vec![input.clone(); 3])?;
    harmless.end(&mut client)?;

    let done = harmless
        .wait(&mut client, PATIENCE)
        .context("the job beside it")?;
    ensure!(
        done.contents(&mut client)? == vec!["innocent\n"; 3],
        "the job beside it is unharmed"
    );
    if cancel {
        harmful.cancel(&mut client)?;
    }
    let harm = harmful
        .wait(&mut client, PATIENCE)
        .context("the harmful job")?;

    // More tasks at once than zones, so that each zone has its turn.
    let (_, after) = Job::run(
        &mut client,
        &store,
        &json!([{"exec": "cat"}]),
        &vec![input; 6],
        PATIENCE,
    )?;
    ensure!(
        after.contents(&mut client)? == vec!["innocent\n"; 6],
        "the zones still work"
    );
    Ok((store, harm))
}

fn message(harm: &Finished, code: &str) -> Result<String> {
    Ok(harm.only_error(code)?["message"]
        .as_str()
        .context("an error has a message")?
        .to_owned())
}

#[test]
fn a_fork_bomb() -> Result<()> {
    let exec = "bomb() { bomb | bomb & }; bomb; sleep 2; exit 9";
    let (store, harm) = beside_others(&json!({"exec": exec}), false)?;
    let message = message(&harm, "UserTaskError")?;
    ensure!(message.starts_with("user command"), "{message}");
    store.finish()
}

#[test]
fn a_fork_bomb_that_never_ends() -> Result<()> {
    let exec = "while :; do (while :; do sleep 1000 & done) & done";
    let (store, harm) = beside_others(&json!({"exec": exec}), true)?;
    let code = harm.errors[0]["code"].as_str().unwrap_or_default();
    ensure!(
        matches!(code, "JobCancelledError" | "UserTaskError"),
        "{:?}",
        harm.errors
    );
    store.finish()
}

#[test]
fn a_command_that_fills_its_disk() -> Result<()> {
    let exec = "head -c 5G /dev/zero > /var/tmp/fill; exit 1";
    let (store, harm) = beside_others(&json!({"exec": exec, "disk": 2}), false)?;
    let message = message(&harm, "UserTaskError")?;
    ensure!(
        message.contains("exited with code 1") || message.contains("out of local disk space"),
        "{message}"
    );
    let stderr = harm.errors[0]["stderr"].as_str().map(str::to_owned);
    if let Some(stderr) = stderr {
        let said = store.client()?.get(&url(&stderr))?.expect(200)?.text();
        ensure!(said.is_empty() || said.contains("No space left"), "{said}");
    }
    store.finish()
}

/// What a command prints lies on the disk of its zone.
#[test]
fn a_command_that_fills_its_disk_with_what_it_prints() -> Result<()> {
    let exec = "fallocate -l 1800M /var/tmp/fill && head -c 1G /dev/zero";
    let (store, harm) = beside_others(&json!({"exec": exec, "disk": 2}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user task ran out of local disk space",
        "{:?}",
        harm.errors
    );
    ensure!(harm.outputs.is_empty(), "{:?}", harm.outputs);
    store.finish()
}

#[test]
fn a_command_with_ten_thousand_children() -> Result<()> {
    let exec = "perl -e 'for (1..10000) { my $child = fork; \
         defined $child or print STDERR $! and exit 7; $child or sleep 100000 }'";
    let (store, harm) = beside_others(&json!({"exec": exec}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user command exited with code 7",
        "{:?}",
        harm.errors
    );
    let stderr = harm.errors[0]["stderr"]
        .as_str()
        .context("stderr is kept")?;
    let said = store.client()?.get(&url(stderr))?.expect(200)?.text();
    ensure!(said == "Resource temporarily unavailable", "{said}");
    store.finish()
}

#[test]
fn a_command_that_eats_its_memory() -> Result<()> {
    let exec = "x=$(head -c 1G /dev/zero | tr '\\0' x); echo ${#x}";
    let (store, harm) = beside_others(&json!({"exec": exec, "memory": 128}), false)?;
    let message = message(&harm, "UserTaskError")?;
    ensure!(message.contains("ran out of memory"), "{message}");
    store.finish()
}

#[test]
fn a_command_that_never_ends() -> Result<()> {
    let exec = "trap '' TERM INT HUP; setsid sleep 100000 & while :; do sleep 1000; done";
    let (store, harm) = beside_others(&json!({"exec": exec}), true)?;
    ensure!(
        message(&harm, "JobCancelledError")? == "job was cancelled",
        "{:?}",
        harm.errors
    );
    store.finish()
}

#[test]
fn a_command_that_dumps_core() -> Result<()> {
    let (store, harm) = beside_others(
        &json!({"exec": "ulimit -c unlimited; sh -c 'kill -SEGV $$'; exit 0"}),
        false,
    )?;
    ensure!(
        message(&harm, "UserTaskError")? == "user command or child process dumped core",
        "{:?}",
        harm.errors
    );
    store.finish()
}

#[test]
fn a_command_that_is_killed() -> Result<()> {
    let (store, harm) = beside_others(&json!({"exec": "kill -KILL $$"}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user command terminated by SIGKILL",
        "{:?}",
        harm.errors
    );
    store.finish()
}

#[test]
fn a_command_that_closes_its_output() -> Result<()> {
    let (store, done) = beside_others(&json!({"exec": "exec >&- 2>&-; true"}), false)?;
    ensure!(
        done.contents(&mut store.client()?)? == [""],
        "an output that nothing was written to"
    );
    store.finish()
}

#[test]
fn a_command_that_says_too_much() -> Result<()> {
    let (store, harm) = beside_others(&json!({"exec": "head -c 1G /dev/zero >&2; exit 4"}), false)?;
    ensure!(
        message(&harm, "UserTaskError")? == "user command exited with code 4",
        "{:?}",
        harm.errors
    );
    let stderr = harm.errors[0]["stderr"]
        .as_str()
        .context("stderr is kept")?;
    let size = store
        .client()?
        .head(&url(stderr))?
        .header("content-length")
        .map(str::to_owned);
    ensure!(size.as_deref() == Some("1073741824"), "all of it: {size:?}");
    store.finish()
}

#[test]
fn a_job_that_sleeps_in_every_zone_gives_one_up() -> Result<()> {
    let store = Launch::new()
        .setting("jobs.zones = 2")
        .setting("jobs.hog_grace_ms = 300")
        .setting("jobs.hog_kill_ms = 100")
        .start()?;
    let mut client = store.client()?;
    let input = store.path("stor/x");
    client.put(&input, "innocent\n")?.expect(204)?;
    let sleeper = Job::create(&mut client, &store, &json!([{"exec": "sleep 100000"}]))?;
    sleeper.add(&mut client, &vec![input.clone(); 2])?;
    sleeper.end(&mut client)?;
    wait_for("both zones to be taken", Duration::from_secs(30), || {
        Ok((store.metric("marlin_tasks_started_total")? >= 2.0).then_some(()))
    })?;
    let phases = json!([{"exec": "cat"}]);
    let (_, done) = Job::run(&mut client, &store, &phases, &[input], PATIENCE)?;
    ensure!(done.contents(&mut client)? == ["innocent\n"]);
    let status = sleeper.status(&mut client)?;
    ensure!(status["state"] == "running", "{status}");
    wait_for("another attempt", Duration::from_secs(30), || {
        let status = sleeper.status(&mut client)?;
        Ok((status["stats"]["retries"] == 1 && status["stats"]["errors"] == 0).then_some(()))
    })?;
    ensure!(store.metric("marlin_tasks_killed_total")? == 1.0);
    sleeper.cancel(&mut client)?;
    sleeper.wait(&mut client, PATIENCE)?;
    store.finish()
}

#[test]
fn what_a_command_leaves_running_ends_with_it() -> Result<()> {
    let exec = "(setsid sleep 100000 &) ; nohup sleep 100000 & echo started";
    let (store, done) = beside_others(&json!({"exec": exec}), false)?;
    ensure!(
        done.contents(&mut store.client()?)? == ["started\n"],
        "{:?}",
        done.outputs
    );
    let pid = store.pid();
    wait_for("the sleepers to end", Duration::from_secs(10), || {
        let left = tests::machine::process_tree(pid).into_iter().any(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|words| words.starts_with(b"sleep"))
        });
        Ok((!left).then_some(()))
    })?;
    store.finish()
}

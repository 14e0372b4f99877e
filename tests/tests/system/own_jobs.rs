//! `mjob`, where it does more than the command of the npm package.

use anyhow::{Context, Result, ensure};
use tests::home::{outcome, run};
use tests::{Launch, Store};

use crate::own_commands::shell;

fn store() -> Result<Store> {
    Launch::new().setting("jobs.zones = 2").start()
}

/// Questions about the states of jobs that were answered so far: those that wait, and those that do not.
fn questions(store: &Store) -> Result<(u64, u64)> {
    let text = store.anonymous().get("/metrics")?.expect(200)?.text();
    let of = |operation: &str| {
        let labels = format!("operation=\"{operation}\",method=\"GET\",statusCode=\"200\"");
        let line = text
            .lines()
            .find(|line| line.starts_with("http_requests_completed{") && line.contains(&labels));
        let count = line.and_then(|line| line.rsplit(' ').next());
        count.map_or(Ok(0), str::parse)
    };
    Ok((of("waitforjob")?, of("getjob")?))
}

#[test]
fn whoever_waits_for_a_job_asks_once() -> Result<()> {
    let store = store()?;
    let sh = |script: &str| run(&mut shell(&store, script));
    // More than a second, in which asking again and again would be some ten questions.
    let printed = sh("mjob create --close -or 'sleep 1.5; echo hello'")?;
    ensure!(printed == "hello\n", "{printed:?}");
    let (waiting, asking) = questions(&store)?;
    ensure!(
        waiting == 1 && asking == 0,
        "{waiting} questions that wait, {asking} that do not"
    );
    store.finish()
}

#[test]
fn a_job_that_fails_says_which_tasks_and_where_their_stderr_is() -> Result<()> {
    let store = store()?;
    let sh = |script: &str| run(&mut shell(&store, script));
    sh("printf good | mput ~~/stor/good; printf bad | mput ~~/stor/bad")?;
    let script = "mfind -t o ~~/stor | mjob create -q -o -m 'grep bad >&2 && exit 7; echo fine'";
    let failed = outcome(&mut shell(&store, script))?;
    ensure!(
        failed.status.code() == Some(1) && failed.stdout.is_empty(),
        "as the npm package ends it: {failed:?}"
    );
    let said = String::from_utf8(failed.stderr)?;
    let lines: Vec<&str> = said.lines().collect();
    let id = lines
        .first()
        .and_then(|line| {
            line.strip_prefix("mjob: job ")?
                .strip_suffix(" had 1 error")
        })
        .with_context(|| said.clone())?;
    let bad = store.path("stor/bad");
    ensure!(
        lines[1]
            == format!(
                "  phase 0: input \"{bad}\": UserTaskError: user command exited with code 7"
            ),
        "{said}"
    );
    let name = lines[2]
        .strip_prefix("    stderr: ")
        .with_context(|| said.clone())?;
    ensure!(
        name.starts_with(&format!(
            "{}{bad}.0.err.",
            store.path(&format!("jobs/{id}/stor"))
        )),
        "{name}"
    );
    ensure!(sh(&format!("mget -q {name}"))? == "bad\n", "what it wrote");
    ensure!(lines.len() == 3, "{said}");
    store.finish()
}

/// A person sees a bar that goes away; a pipe gets the job and nothing else.
#[test]
fn a_job_that_is_watched_has_a_bar_on_a_terminal_only() -> Result<()> {
    let store = store()?;
    let sh = |script: &str| run(&mut shell(&store, script));
    sh("printf x | mput ~~/stor/x")?;
    let create = "mjob create -q -m 'sleep 3'";
    let id = sh(&format!("mfind -t o ~~/stor | {create}"))?;
    let id = id.trim();
    let terminal = format!("TERM=xterm script -qec 'mjob watch {id}' /dev/null </dev/null");
    let seen = sh(&terminal)?;
    let bar = format!("{} [", &id[..8]);
    ensure!(
        seen.contains(&bar) && seen.contains("0/1 tasks"),
        "a bar: {seen:?}"
    );
    ensure!(
        seen.contains("\"state\": \"done\"") && seen.contains("\"tasksDone\": 1"),
        "{seen:?}"
    );
    let piped = outcome(&mut shell(&store, &format!("mjob watch {id}")))?;
    ensure!(piped.stderr.is_empty(), "{piped:?}");
    let job: serde_json::Value = serde_json::from_slice(&piped.stdout)?;
    ensure!(job["id"] == id && job["state"] == "done", "{job}");
    store.finish()
}

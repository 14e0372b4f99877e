//! `mjob`, where it does more than the command of the npm package.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::home::{outcome, outcome_with, run};
use tests::{Launch, Store, wait_for};

use crate::own_commands::shell;
use crate::said::said;

const PATIENCE: Duration = Duration::from_secs(60);

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
    let create = "mjob create -q -m 'until mget -q ~~/stor/go; do sleep 0.1; done'";
    let id = sh(&format!("mfind -t o ~~/stor | {create}"))?;
    let id = id.trim();
    // The task goes on when the bar has been seen.
    let seen = sh(&format!(
        "TERM=xterm script -qec 'mjob watch {id}' /dev/null </dev/null >seen & \
         i=0; until grep -q '0/1 tasks' seen 2>/dev/null || [ $i -ge 300 ]; do i=$((i+1)); sleep 0.1; done; \
         printf x | mput -q ~~/stor/go; wait; cat seen"
    ))?;
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
    let job: Value = serde_json::from_slice(&piped.stdout)?;
    ensure!(job["id"] == id && job["state"] == "done", "{job}");
    store.finish()
}

/// The same address and the same end as with the npm package, and a page that is safe to open.
#[test]
fn a_shared_job_is_a_page_in_which_nothing_runs() -> Result<()> {
    let store = store()?;
    let sh = |script: &str| run(&mut shell(&store, script));
    let home = store.user()?;
    std::fs::write(
        store.scratch().join("README.md"),
        "# Why\n\nSee <script>alert(1)</script> and [here](https://example.com/).\n",
    )?;
    sh("printf '<script>alert(2)</script>' | mput ~~/stor/in; \
        printf 'x\\0y' | mput ~~/stor/binary; yes abcdefg | head -c 30000 | mput ~~/stor/long; \
        printf '' | mput ~~/stor/empty; mput -f README.md '~~/stor/<script>alert(3)'")?;
    let id = sh(
        "mfind -t o ~~/stor | mjob create -q -w -n '<script>alert(4)</script>' \
        -m 'cat; case $MANTA_INPUT_OBJECT in */binary) echo \"<script>alert(5)</script>\" >&2; exit 3;; esac' || true",
    )?;
    let id = id.trim();
    let job = store.path(&format!("jobs/{id}/job.json"));
    let mut client = store.client()?;
    wait_for("the archive", PATIENCE, || {
        Ok((client.get(&job)?.status == 200).then_some(()))
    })?;

    let url = sh(&format!("mjob share -r README.md {id}"))?;
    let npm = said(
        home.npm("mjob")?
            .args(["share", id])
            .env("NODE_NO_WARNINGS", "1"),
    )?;
    ensure!(
        npm.code == Some(0) && npm.stdout == url,
        "{npm:?} is not {url}"
    );
    let path = store.path(&format!("public/jobshares/{id}/index.html"));
    ensure!(url.trim().ends_with(&path), "{url}");

    // Ours is the later one again, and as anybody sees it.
    sh(&format!("mjob share -r README.md {id}"))?;
    let page = store.anonymous().get(&path)?.expect(200)?;
    ensure!(
        page.header("content-type") == Some("text/html; charset=utf-8"),
        "{page:?}"
    );
    let html = page.text();
    ensure!(!html.contains("<script"), "{html}");
    for number in 1..=5 {
        let shown = format!("&lt;script&gt;alert({number})");
        ensure!(html.contains(&shown), "{shown} is not in {html}");
    }
    for words in [
        "Content-Security-Policy",
        "<h1>Why</h1>",
        "<a href=\"https://example.com/\">here</a>",
        "<th>tasks</th><td>5</td>",
        "<th>took</th>",
        "<th>run</th>",
        "<td>failed</td>",
        "Phase 0: map",
        "UserTaskError: user command exited with code 3",
        "not text",
        "and so on",
        "empty",
    ] {
        ensure!(html.contains(words), "{words} is not in {html}");
    }
    ensure!(html.len() < 100_000, "contents are cut: {}", html.len());
    let printed = sh(&format!("mjob share -s -r README.md {id}"))?;
    ensure!(printed.trim_end() == html, "the same on stdout");

    let open = sh("mjob create --open -m cat </dev/null")?;
    let open = open.trim();
    for script in [
        format!("mjob share {open}"),
        format!("mjob cancel {open}; mjob watch {open} >&2; mjob share {open}"),
        "mjob share b19e0925-4c85-4fe9-ab47-8cc9dcfec81a".to_owned(),
        "mjob share".to_owned(),
        format!("mjob share -r none {id}"),
    ] {
        let refused = outcome(&mut shell(&store, &script))?;
        ensure!(
            refused.status.code() == Some(1) && refused.stdout.is_empty(),
            "{script}: {refused:?}"
        );
    }
    for words in [&["share", open][..], &["share"]] {
        let npm = said(home.npm("mjob")?.args(words))?;
        ensure!(npm.code == Some(1), "{words:?}: {npm:?}");
    }
    store.finish()
}

/// What every task did, from the first to the last, and the command line that does it again.
#[test]
fn a_job_is_explained_task_by_task() -> Result<()> {
    let store = store()?;
    let sh = |script: &str| run(&mut shell(&store, script));
    sh("printf good | mput ~~/stor/good; printf bad | mput ~~/stor/bad")?;
    let create =
        "mjob create -q -w -m 'grep -q bad && exit 7; sleep 0.2; echo fine' -r 'cat >/dev/null'";
    let names = format!(
        "{}\n{}\n~~/stor/none\n",
        store.path("stor/good"),
        store.path("stor/bad")
    );
    let created = outcome_with(&mut shell(&store, create), names.as_bytes())?;
    let id = String::from_utf8(created.stdout)?;
    let id = id.trim();

    let lines = sh(&format!("mjob explain -j {id}"))?;
    let tasks: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(tasks.len() == 4, "three inputs and a reducer: {lines}");
    let of = |name: &str| {
        let path = store.path(&format!("stor/{name}"));
        let task = tasks.iter().find(|task| task["input"] == path.as_str());
        task.with_context(|| format!("{name} in {lines}"))
    };
    let (good, bad, none) = (of("good")?, of("bad")?, of("none")?);
    let reducer = tasks.last().context("a reducer")?;
    ensure!(
        good["state"] == "done" && good["exitCode"] == 0 && good["attempts"] == 1,
        "{good}"
    );
    let number = |task: &Value, name: &str| {
        task[name]
            .as_u64()
            .with_context(|| format!("{name}: {task}"))
    };
    ensure!((200..60_000).contains(&number(good, "runMs")?), "{good}");
    for name in [
        "waitMs",
        "commitMs",
        "cpuMs",
        "peakMemoryBytes",
        "readBytes",
        "writtenBytes",
    ] {
        number(good, name)?;
    }
    let run_ms = number(good, "runMs")?;
    ensure!(good["gbSeconds"] == run_ms as f64 / 1000.0, "{good}");
    ensure!(
        good["node"].as_str().is_some_and(|node| !node.is_empty()),
        "{good}"
    );
    ensure!(
        good["zone"].as_str().is_some_and(|zone| !zone.is_empty()),
        "{good}"
    );
    let times = ["timeQueued", "timeStarted", "timeEnded", "timeCommitted"];
    let times: Vec<&str> = times
        .iter()
        .filter_map(|name| good[*name].as_str())
        .collect();
    ensure!(times.len() == 4 && times.is_sorted(), "{good}");
    ensure!(
        bad["state"] == "failed"
            && bad["exitCode"] == 7
            && bad["code"] == "UserTaskError"
            && bad["stderr"]
                .as_str()
                .is_some_and(|name| name.contains("/bad.0.err.")),
        "{bad}"
    );
    let path = store.path("stor/bad");
    ensure!(
        bad["repeat"]
            == format!(
                "mlogin -c 'exec < \"$MANTA_INPUT_FILE\"; grep -q bad && exit 7; sleep 0.2; echo fine' {path}"
            ),
        "{bad}"
    );
    ensure!(
        none["state"] == "refused" && none["attempts"] == 0 && none.get("zone").is_none(),
        "{none}"
    );
    ensure!(
        reducer["phase"] == 1 && reducer["reducer"] == 0 && reducer["state"] == "done",
        "{reducer}"
    );

    let table = sh(&format!("mjob explain {id}"))?;
    ensure!(
        table.starts_with(&format!(
            "job {id}: done, 3 of 3 tasks done, 0 retried, 1 outputs, 2 errors\nPHASE TASK"
        )),
        "{table}"
    );
    ensure!(
        table.contains("    UserTaskError: user command exited with code 7\n    stderr: /")
            && table.matches("    repeat: mlogin -c ").count() == 1
            && table.contains("(reducer 0)"),
        "{table}"
    );
    let long = sh(&format!("mjob explain -l {id}"))?;
    ensure!(
        long.matches("    repeat: mlogin -c ").count() == 4
            && long.matches(" GB-seconds; disk: ").count() == 3,
        "{long}"
    );
    let unknown = outcome(&mut shell(
        &store,
        "mjob explain b19e0925-4c85-4fe9-ab47-8cc9dcfec81a",
    ))?;
    ensure!(
        unknown.status.code() == Some(1) && unknown.stdout.is_empty(),
        "{unknown:?}"
    );
    store.finish()
}

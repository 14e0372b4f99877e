//! Jobs, over the public API.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::home::{outcome, run};
use tests::job::url;
use tests::{Client, Job, Launch, Store, machine, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

fn store() -> Result<Store> {
    Launch::new().setting("jobs.zones = 2").start()
}

fn put(client: &mut Client, store: &Store, name: &str, content: &str) -> Result<String> {
    let path = store.path(&format!("stor/{name}"));
    client.put(&path, content)?.expect(204)?;
    Ok(path)
}

#[test]
fn words_are_counted() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let texts = [
        "the cat and the dog\n",
        "the end\nof the cat\n",
        "and\n",
        "",
    ];
    let mut inputs = Vec::new();
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for (number, text) in texts.iter().enumerate() {
        inputs.push(put(&mut client, &store, &format!("text{number}"), text)?);
        text.split_whitespace()
            .for_each(|word| *expected.entry(word).or_default() += 1);
    }
    let phases = json!([
        {"type": "map", "exec": "tr -cs A-Za-z '\\n' | sed '/^$/d' | sort | uniq -c"},
        {"type": "reduce", "exec": "awk '{ n[$2] += $1 } END { for (w in n) print w, n[w] }' | sort"},
    ]);
    let (job, done) = Job::run(&mut client, &store, &phases, &inputs, PATIENCE)?;
    let counts = done.contents(&mut client)?;
    ensure!(
        counts.len() == 1,
        "one reducer, one output: {:?}",
        done.outputs
    );
    let expected: String = expected
        .iter()
        .map(|(word, count)| format!("{word} {count}\n"))
        .collect();
    ensure!(counts[0] == expected, "{} is not {expected}", counts[0]);
    ensure!(
        done.outputs[0].starts_with(&format!("{}/stor/reduce.1.", job.path())),
        "{:?}",
        done.outputs
    );
    ensure!(
        done.status["stats"]["tasks"] == 5 && done.status["inputDone"] == true,
        "{}",
        done.status
    );

    // Kept for later: the definition and the lists, as objects.
    let archived = wait_for("the archive", PATIENCE, || {
        let response = client.get(&format!("{}/job.json", job.path()))?;
        Ok((response.status == 200).then_some(response))
    })?;
    let archived: serde_json::Value = serde_json::from_slice(&archived.body)?;
    ensure!(
        archived["state"] == "done" && archived["phases"][1]["type"] == "reduce",
        "{archived}"
    );
    let list = |client: &mut Client, name: &str| -> Result<Vec<String>> {
        let text = client
            .get(&format!("{}/{name}", job.path()))?
            .expect(200)?
            .text();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    };
    ensure!(list(&mut client, "in.txt")? == inputs, "in.txt");
    ensure!(list(&mut client, "out.txt")? == done.outputs, "out.txt");
    ensure!(
        list(&mut client, "err.txt")?.is_empty() && list(&mut client, "fail.txt")?.is_empty(),
        "err.txt"
    );
    store.finish()
}

#[test]
fn outputs_are_named_after_their_inputs() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let input = put(&mut client, &store, "one", "some words\n")?;
    let empty = put(&mut client, &store, "empty", "")?;
    let twice = [input.clone(), input.clone(), empty.clone()];
    let (job, done) = Job::run(
        &mut client,
        &store,
        &json!([{"exec": "wc"}]),
        &twice,
        PATIENCE,
    )?;
    let base = |name: &str| format!("{}/stor{name}.0.", job.path());
    ensure!(
        done.outputs
            .iter()
            .filter(|name| name.starts_with(&base(&input)))
            .count()
            == 2,
        "{:?}",
        done.outputs
    );
    ensure!(
        done.outputs
            .iter()
            .filter(|name| name.starts_with(&base(&empty)))
            .count()
            == 1,
        "{:?}",
        done.outputs
    );

    let (_, done) = Job::run(
        &mut client,
        &store,
        &json!([{"type": "reduce", "exec": "wc -c"}]),
        &[],
        PATIENCE,
    )?;
    ensure!(
        done.contents(&mut client)? == ["0\n"],
        "a reducer without inputs runs once"
    );
    let (_, done) = Job::run(&mut client, &store, &json!([{"exec": "wc"}]), &[], PATIENCE)?;
    ensure!(
        done.outputs.is_empty() && done.errors.is_empty(),
        "a map without inputs does nothing"
    );

    let named = store.path("stor/made/by/a-job");
    let exec = format!("echo dropped; echo piped | mpipe; echo named | mpipe -p {named}");
    let (_, done) = Job::run(
        &mut client,
        &store,
        &json!([{"exec": exec}]),
        &[input],
        PATIENCE,
    )?;
    ensure!(done.outputs.contains(&named), "{:?}", done.outputs);
    let mut contents = done.contents(&mut client)?;
    contents.sort();
    ensure!(contents == ["named\n", "piped\n"], "{contents:?}");
    ensure!(done.outputs.len() == 2, "{:?}", done.outputs);
    store.finish()
}

#[test]
fn commands_find_what_they_were_promised() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let name = "odd %41 'name' é";
    client
        .put(
            &store.path(&format!("stor/{}", tests::wire::escape(name))),
            "content\n",
        )?
        .expect(204)?;
    let input = store.path(&format!("stor/{name}"));
    let asset = put(
        &mut client,
        &store,
        "tool.sh",
        "#!/bin/bash\necho asset $1\n",
    )?;
    let exec = format!(
        "pwd; id -u; cmp \"$MANTA_INPUT_FILE\" - && echo same; echo $MANTA_USER $HOME $MANTA_NO_AUTH $MANTA_URL; \
         echo \"$MANTA_INPUT_OBJECT\"; /assets{asset} 17; mget \"$MANTA_INPUT_OBJECT\"; mls ~~/stor | wc -l; cat /init"
    );
    let phases = json!([{"exec": exec, "assets": [asset], "init": "echo once >> /init"}]);
    let (_, done) = Job::run(
        &mut client,
        &store,
        &phases,
        std::slice::from_ref(&input),
        PATIENCE,
    )?;
    let contents = done.contents(&mut client)?;
    let expected = format!(
        "/\n0\nsame\n{} /root true http://localhost:80/\n{input}\nasset 17\ncontent\n2\nonce\n",
        store.account()
    );
    ensure!(
        contents == [expected.clone()],
        "{contents:?} is not {expected:?}"
    );
    store.finish()
}

#[test]
fn errors_say_what_and_why() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let good = put(&mut client, &store, "good", "x")?;
    client.mkdir(&store.path("stor/dir"))?.expect(204)?;
    let missing = store.path("stor/missing");
    let directory = store.path("stor/dir");
    let inputs = [
        good.clone(),
        missing.clone(),
        directory.clone(),
        "/nobodyatall/stor/x".to_owned(),
    ];
    let phases = json!([{"exec": "echo out; echo trouble >&2; exit 3"}]);
    let (job, done) = Job::run(&mut client, &store, &phases, &inputs, PATIENCE)?;
    ensure!(done.outputs.is_empty(), "{:?}", done.outputs);
    let of = |input: &str| {
        done.errors
            .iter()
            .find(|error| error["input"] == input)
            .with_context(|| format!("no error for {input}"))
    };
    let failed = of(&good)?;
    ensure!(failed["code"] == "UserTaskError", "{failed}");
    ensure!(
        failed["message"] == "user command exited with code 3",
        "{failed}"
    );
    ensure!(
        failed["what"] == format!("phase 0: input \"{good}\""),
        "{failed}"
    );
    let stderr = failed["stderr"]
        .as_str()
        .context("a failed command's stderr is kept")?;
    ensure!(
        stderr.starts_with(&format!("{}/stor{good}.0.err.", job.path())),
        "{stderr}"
    );
    ensure!(
        client.get(&url(stderr))?.expect(200)?.text() == "trouble\n",
        "stderr"
    );
    ensure!(
        of(&missing)?["code"] == "ResourceNotFoundError",
        "{:?}",
        of(&missing)
    );
    ensure!(
        of(&missing)?["message"] == format!("no such object: \"{missing}\""),
        "{:?}",
        of(&missing)
    );
    ensure!(
        of(&directory)?["code"] == "InvalidArgumentError",
        "{:?}",
        of(&directory)
    );
    ensure!(
        of("/nobodyatall/stor/x")?["code"] == "ResourceNotFoundError",
        "{:?}",
        done.errors
    );
    let mut failures = done.failures.clone();
    failures.sort();
    let mut expected = inputs.to_vec();
    expected.sort();
    ensure!(failures == expected, "{failures:?}");
    store.finish()
}

#[test]
fn a_job_can_be_cancelled_and_closed_only_once() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let input = put(&mut client, &store, "x", "x")?;
    let job = Job::create(&mut client, &store, &json!([{"exec": "sleep 100000"}]))?;
    job.add(&mut client, &[input.clone(), input.clone(), input])?;
    wait_for("the first task", PATIENCE, || {
        Ok((job.status(&mut client)?["stats"]["tasks"].as_u64() > Some(0)).then_some(()))
    })?;
    job.cancel(&mut client)?;
    let done = job.wait(&mut client, PATIENCE)?;
    ensure!(
        done.status["cancelled"] == true && done.status["inputDone"] == true,
        "{}",
        done.status
    );
    ensure!(!done.errors.is_empty(), "what was under way is reported");
    ensure!(
        done.errors
            .iter()
            .all(|error| error["code"] == "JobCancelledError"),
        "{:?}",
        done.errors
    );
    for path in ["live/cancel", "live/in/end"] {
        let request = tests::Request::new("POST", &format!("{}/{path}", job.path())).claiming(0);
        client
            .call(&request)?
            .expect_error(409, "InvalidJobState")?;
    }
    store.finish()
}

/// Jobs are in the store like everything else: one that was under way goes on after `kill -9`.
#[test]
fn a_job_outlives_the_store_that_ran_it() -> Result<()> {
    let mut store = Launch::new()
        .setting("jobs.zones = 2")
        .expecting(&["task lost with its zone, trying again"])
        .start()?;
    let mut client = store.client()?;
    let inputs: Vec<String> = (0..20)
        .map(|number| {
            put(
                &mut client,
                &store,
                &format!("i{number}"),
                &format!("{number}\n"),
            )
        })
        .collect::<Result<_>>()?;
    let phases = json!([{"exec": "sleep 0.2; cat"}, {"type": "reduce", "exec": "sort -n"}]);
    let job = Job::create(&mut client, &store, &phases)?;
    job.add(&mut client, &inputs)?;
    job.end(&mut client)?;
    wait_for("a few tasks to be done", PATIENCE, || {
        Ok((job.status(&mut client)?["stats"]["tasksDone"].as_u64() >= Some(4)).then_some(()))
    })?;
    store.kill()?;
    store.start()?;
    let mut client = store.client()?;
    let done = job.wait(&mut client, PATIENCE)?;
    let expected: String = (0..20).map(|number| format!("{number}\n")).collect();
    ensure!(
        done.contents(&mut client)? == [expected],
        "each input counts once: {:?}",
        done.outputs
    );
    store.finish()
}

/// By the operator, while tasks run: they run again, which is no attempt of theirs.
#[test]
fn a_job_outlives_what_runs_and_looks_after_it() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let inputs = [put(&mut client, &store, "x", "content\n")?];
    let adm = |words: &[&str]| -> Result<Command> {
        let mut command = Command::new(tests::manta()?);
        command.args(["adm", "--data-dir"]).arg(store.data_dir());
        command.arg("restart").args(words);
        Ok(command)
    };
    let phases = json!([{"exec": "sleep 0.5; cat"}, {"type": "reduce", "exec": "cat"}]);
    let job = Job::create(&mut client, &store, &phases)?;
    job.add(&mut client, &inputs)?;
    job.end(&mut client)?;
    for (restarts, words) in [["agent"].as_slice(), &["supervisor", job.id()]]
        .iter()
        .enumerate()
    {
        let started = (restarts + 1) as f64;
        wait_for("the task to run", PATIENCE, || {
            Ok((store.metric("marlin_tasks_started_total")? >= started).then_some(()))
        })?;
        run(&mut adm(words)?)?;
    }
    let done = job.wait(&mut client, PATIENCE)?;
    ensure!(done.contents(&mut client)? == ["content\n"], "{done:?}");
    ensure!(done.status["stats"]["retries"] == 0, "{}", done.status);
    let none = "6f3fda8c-0e0c-4f0b-9d55-1d3a0f2b7c11";
    let refused = outcome(&mut adm(&["supervisor", none])?)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("no such job is under way"),
        "{said}"
    );
    store.finish()
}

#[test]
fn a_reducer_that_ends_early_does_not_keep_its_zone() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let input = put(&mut client, &store, "x", "content")?;
    let open = Job::create(
        &mut client,
        &store,
        &json!([{"type": "reduce", "exec": "true"}]),
    )?;
    open.add(&mut client, std::slice::from_ref(&input))?;
    wait_for("the reducer", PATIENCE, || {
        Ok((store.metric("marlin_tasks_started_total")? >= 1.0).then_some(()))
    })?;
    // Both zones at once: each task waits for the other.
    let together = "mput -q -f /etc/passwd ~~/stor/here-$RANDOM$RANDOM; \
         until [ $(mls ~~/stor | grep -c here-) = 2 ]; do sleep 0.05; done; echo together";
    let phases = json!([{"exec": together}]);
    let inputs = vec![input; 2];
    let (_, done) = Job::run(&mut client, &store, &phases, &inputs, PATIENCE)?;
    ensure!(done.contents(&mut client)? == ["together\n"; 2]);
    ensure!(open.status(&mut client)?["state"] == "running");
    open.end(&mut client)?;
    let done = open.wait(&mut client, PATIENCE)?;
    ensure!(done.contents(&mut client)? == [""]);
    store.finish()
}

#[test]
fn zones_leave_nothing_behind() -> Result<()> {
    let mut store = store()?;
    // The log names the control groups of this store's zones.
    let log = store.log()?;
    let group = log
        .split_once("zones (")
        .and_then(|(_, rest)| rest.split_once(')'));
    let group = group.context("the log names the zones")?.0.to_owned();
    if machine::is_root() {
        let running = machine::Holdings::of(store.data_dir(), Some(&group))?;
        ensure!(
            !running.control_groups.is_empty(),
            "the zones of {group} are not found: {running:#?}"
        );
    }
    for end in ["kill", "stop"] {
        let mut client = store.client()?;
        let input = put(&mut client, &store, "x", "x")?;
        Job::run(
            &mut client,
            &store,
            &json!([{"exec": "cat"}]),
            std::slice::from_ref(&input),
            PATIENCE,
        )?;
        let job = Job::create(&mut client, &store, &json!([{"exec": "sleep 100000"}]))?;
        job.add(&mut client, &[input])?;
        wait_for("the task", PATIENCE, || {
            Ok((job.status(&mut client)?["stats"]["tasks"].as_u64() > Some(0)).then_some(()))
        })?;
        if end == "kill" {
            store.kill()?;
            // What SIGKILL left is cleared away by the next start.
            store.start()?;
        } else {
            job.cancel(&mut client)?;
            store.stop()?;
        }
    }
    let left = machine::Holdings::of(store.data_dir(), Some(&group))?;
    ensure!(left.is_empty(), "left behind: {left:#?}");
    store.finish()
}

#[test]
fn every_tool_works_in_a_zone() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let lines: String = (1..=10)
        .map(|number| format!("{{\"n\": {number}}}\n"))
        .collect();
    let input = put(&mut client, &store, "lines", &lines)?;
    let copy = store.path("stor/copy");
    let phases = json!([
        {"type": "map", "exec": format!("mtee {copy} | msplit -n 2 -j -i -e 'this.n % 2'")},
        {"type": "reduce", "count": 2, "exec": "tr -dc '0-9\\n' | maggr -T %.1f sum,mean | mpipe"},
        {"type": "map", "exec": "mcat $MANTA_INPUT_OBJECT"},
    ]);
    let (_, done) = Job::run(&mut client, &store, &phases, &[input], PATIENCE)?;
    let mut contents = done.contents(&mut client)?;
    contents.sort();
    ensure!(contents == ["25.0,5.0\n", "30.0,6.0\n"], "{contents:?}");
    let copied = client.get(&copy)?.expect(200)?.text();
    ensure!(copied == lines, "{copied}");

    let phases = json!([{"exec": "msplit -n 2 -e 'line.x.y'"}]);
    let input = put(&mut client, &store, "line", "x\n")?;
    let (_, done) = Job::run(&mut client, &store, &phases, &[input], PATIENCE)?;
    let error = done.only_error("UserTaskError")?;
    ensure!(
        error["message"] == "user command exited with code 1",
        "{error}"
    );
    let stderr = error["stderr"].as_str().context("what it said is kept")?;
    let said = client.get(&url(stderr))?.expect(200)?.text();
    ensure!(said.starts_with("msplit: TypeError: "), "{said}");
    store.finish()
}

//! What clients test for, jobs: the lines of rest-api.md section 15.7 that take jobs that run. The others are
//! tested with `muskie`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::job::url;
use tests::{Job, Launch, Request, Store, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

fn store() -> Result<Store> {
    Launch::new().setting("jobs.zones = 1").start()
}

fn put(store: &Store, name: &str, content: &str, tags: &str) -> Result<String> {
    let path = store.path(&format!("stor/{name}"));
    let request = Request::new("PUT", &path).header("role-tag", tags);
    store.client()?.call(&request.body(content))?.expect(204)?;
    Ok(path)
}

#[test]
fn m1_create_status_and_end() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let job = Job::create(&mut client, &store, &json!([{"exec": "cat"}]))?;
    let id = job.id();
    let status = job.status(&mut client)?;
    ensure!(status["id"] == id, "{status}");
    ensure!(
        status["state"] == "queued" || status["state"] == "running",
        "{status}"
    );
    ensure!(
        status["cancelled"] == false && status["inputDone"] == false,
        "{status}"
    );
    job.end(&mut client)?;
    let status = job.status(&mut client)?;
    ensure!(status["inputDone"] == true, "{status}");
    let done = job.wait(&mut client, PATIENCE)?;
    ensure!(done.status["cancelled"] == false, "{}", done.status);
    store.finish()
}

#[test]
fn m1_grep_of_one_object_and_failures_by_name() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let text = put(&store, "text", "hay\na needle in hay\nhay\n", "")?;
    let phases = json!([{"exec": "grep needle"}]);
    let (_, done) = Job::run(&mut client, &store, &phases, &[text], PATIENCE)?;
    ensure!(done.contents(&mut client)? == ["a needle in hay\n"]);
    ensure!(done.failures.is_empty(), "{:?}", done.failures);

    let missing = ["one", "two"].map(|name| store.path(&format!("stor/none/{name}")));
    let (_, done) = Job::run(&mut client, &store, &phases, &missing, PATIENCE)?;
    let mut failures = done.failures;
    failures.sort();
    ensure!(failures == missing, "{failures:?}");
    ensure!(done.outputs.is_empty(), "{:?}", done.outputs);
    store.finish()
}

/// What a subuser may create and manage is tested with `muskie`; this is what its job may read.
#[test]
fn m1_assets_and_inputs_are_read_in_the_roles_of_the_maker() -> Result<()> {
    let store = store()?;
    let mut jo = store.add_user("jo")?;
    let rules = [
        ("create", format!("CAN createjob {}", store.path("jobs"))),
        (
            "work",
            "CAN getobject, putobject, putdirectory, getdirectory, getjob AND managejob".to_owned(),
        ),
    ];
    for (name, rule) in rules {
        store.add_role(name, &rule)?;
        store.give_role(name, &json!({ "user": "jo" }), true)?;
    }
    let ours = put(&store, "ours", "ours\n", "work")?;
    let theirs = put(&store, "theirs", "theirs\n", "")?;
    let tool = put(&store, "tool", "#!/bin/sh\nsed s/^/seen:/\n", "work")?;
    let hidden = put(&store, "hidden", "#!/bin/sh\ncat\n", "")?;

    let phase = |asset: &str| json!([{"exec": format!("/assets{asset}"), "assets": [asset]}]);
    let inputs = [ours.clone(), theirs.clone()];
    let (_, done) = Job::run(&mut jo, &store, &phase(&tool), &inputs, PATIENCE)?;
    ensure!(done.only_error("AuthorizationError")?["input"] == theirs);
    ensure!(done.failures == [theirs], "{:?}", done.failures);
    let [output] = &done.outputs[..] else {
        anyhow::bail!("one output: {:?}", done.outputs);
    };
    ensure!(jo.get(&url(output))?.expect(200)?.text() == "seen:ours\n");

    let (_, done) = Job::run(&mut jo, &store, &phase(&hidden), &[ours], PATIENCE)?;
    let error = done.only_error("TaskInitError")?;
    let message = format!("error retrieving asset \"{hidden}\" (status code 403)");
    let said = error["message"].as_str().unwrap_or_default();
    ensure!(said.ends_with(&message), "{error}");
    ensure!(done.outputs.is_empty(), "{:?}", done.outputs);
    store.finish()
}

/// What java-manta's job builder sends and its streams read.
#[test]
fn jm_wait_streams_cancel_and_lists() -> Result<()> {
    let store = store()?;
    let mut client = store.client()?;
    let good = put(&store, "good", "good\n", "")?;
    let bad = store.path("stor/bad");
    let definition = json!({"name": "built", "phases": [
        {"type": "map", "exec": "cat"},
        {"type": "reduce", "exec": "cat", "count": 1},
    ]});
    let create = Request::new("POST", &store.path("jobs"))
        .header("content-type", "application/json")
        .header("accept", "application/json, */*");
    let created = client.call(&create.body(definition.to_string()))?;
    let location = created.expect(201)?;
    let location = location
        .header("location")
        .context("a location")?
        .to_owned();
    let id = location.rsplit('/').next().context("an id")?.to_owned();
    let listed = |query: &str| -> Result<Vec<String>> {
        let listed = store
            .client()?
            .get(&format!("{}?{query}", store.path("jobs")))?;
        let rows = listed.expect(200)?.text();
        let name = |row: &str| -> Result<String> {
            let row: Value = serde_json::from_str(row)?;
            Ok(row["name"].as_str().context("a name")?.to_owned())
        };
        rows.lines().map(name).collect()
    };
    ensure!(listed("state=running")? == std::slice::from_ref(&id));
    ensure!(listed("name=built")? == std::slice::from_ref(&id));
    ensure!(listed("name=other")?.is_empty());
    let add = Request::new("POST", &format!("{location}/live/in?end=true"))
        .header("content-type", "text/plain; charset=utf-8");
    let inputs = format!("{good}\r\n{bad}\r\n");
    client.call(&add.body(inputs))?.expect(204)?;
    let done = wait_for("the job", PATIENCE, || {
        let status = client
            .get(&format!("{location}/live/status"))?
            .expect(200)?;
        let status: Value = serde_json::from_slice(&status.body)?;
        Ok((status["state"] == "done").then_some(status))
    })?;
    ensure!(
        done["inputDone"] == true && done["name"] == "built",
        "{done}"
    );
    let mut lines = |what: &str| -> Result<Vec<String>> {
        let list = client
            .get(&format!("{location}/live/{what}"))?
            .expect(200)?;
        let mut lines: Vec<String> = list.text().lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    };
    let mut inputs = vec![good, bad.clone()];
    inputs.sort();
    ensure!(lines("in")? == inputs);
    ensure!(lines("fail")? == std::slice::from_ref(&bad));
    let errors = lines("err")?;
    let error: Value = serde_json::from_str(errors.first().context("an error")?)?;
    ensure!(errors.len() == 1 && error["input"] == bad, "{errors:?}");
    let outputs = lines("out")?;
    ensure!(outputs.len() == 1, "{outputs:?}");
    let output = client.get(&url(&outputs[0]))?.expect(200)?;
    ensure!(output.text() == "good\n");
    ensure!(listed("state=running")?.is_empty());

    let job = Job::create(&mut client, &store, &json!([{"exec": "cat"}]))?;
    job.cancel(&mut client)?;
    let cancelled = job.wait(&mut client, PATIENCE)?.status;
    ensure!(cancelled["cancelled"] == true, "{cancelled}");
    ensure!(cancelled["inputDone"] == true, "{cancelled}");
    store.finish()
}

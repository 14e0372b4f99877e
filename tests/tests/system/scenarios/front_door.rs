//! What the reference's front door is tested for and no other test here covers: marlin.md, appendix A.5.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{Client, Job, Launch, Request, Store};

const PATIENCE: Duration = Duration::from_secs(60);

/// jo, with roles that are active when they are named.
fn with_jo(launch: Launch, roles: &[(&str, &str)]) -> Result<(Store, Client)> {
    let store = launch.start()?;
    let jo = store.add_user("jo")?;
    for (name, rule) in roles {
        store.add_role(name, &rule.replace("%jobs", &store.path("jobs")))?;
        store.give_role(name, &json!({ "user": "jo" }), false)?;
    }
    Ok((store, jo))
}

/// A request to create a job in these roles.
fn creation(store: &Store, roles: &str, phases: &Value) -> Request {
    Request::new("POST", &store.path("jobs"))
        .header("content-type", "application/json; type=job")
        .header("role", roles)
        .body(json!({ "phases": phases }).to_string())
}

#[test]
fn create_and_get_job() -> Result<()> {
    let store = Store::launch()?;
    let mut client = store.client()?;
    let asset = store.path("stor/asset");
    client.put(&asset, "x")?.expect(204)?;
    let phase = json!({
        "type": "reduce", "exec": "cat", "assets": [asset], "memory": 256, "count": 1,
    });
    let phases = json!([phase, phase]);
    let job = Job::create(&mut client, &store, &phases)?;
    let status = job.status(&mut client)?;
    let id = job.id();
    ensure!(status["id"] == id && status["name"] == "test", "{status}");
    ensure!(
        matches!(status["state"].as_str(), Some("queued" | "running")),
        "{status}"
    );
    ensure!(status["timeCreated"].is_string(), "{status}");
    ensure!(
        status["cancelled"] == false && status["inputDone"] == false,
        "{status}"
    );
    ensure!(status["phases"] == phases, "{status}");
    job.cancel(&mut client)?;
    job.wait(&mut client, PATIENCE)?;
    store.finish()
}

#[test]
fn no_putdirectory_on_job_creation() -> Result<()> {
    let roles = [
        ("creator", "CAN createjob %jobs"),
        ("outputs", "CAN putobject"),
    ];
    let (store, mut jo) = with_jo(Launch::new(), &roles)?;
    let phases = json!([{"exec": "cat"}]);
    let refused = jo.call(&creation(&store, "creator, outputs", &phases))?;
    let refused = refused.expect_error(403, "MissingPermission")?;
    ensure!(
        refused.text().contains("putdirectory"),
        "{}",
        refused.text()
    );
    let jobs = store.client()?.names(&store.path("jobs"))?;
    ensure!(jobs.is_empty(), "nothing was made: {jobs:?}");
    store.finish()
}

/// The roles of a job are those in which it was made, whoever feeds it in whatever roles; and what they allow
/// from outside only is not allowed from inside.
#[test]
fn job_inputs_context_change_after_creation() -> Result<()> {
    let launch = Launch::new().expecting(&[
        "output of a task not stored",
        "job not archived, trying again",
    ]);
    let roles = [
        ("creator", "CAN createjob %jobs"),
        (
            "manager",
            "CAN getobject, getdirectory, getjob AND managejob",
        ),
        (
            "outside",
            "CAN putobject AND putdirectory WHEN fromjob = false",
        ),
        ("anywhere", "CAN putobject AND putdirectory"),
    ];
    let (store, mut jo) = with_jo(launch, &roles)?;
    let input = store.path("stor/input");
    let put = Request::new("PUT", &input).header("role-tag", "manager");
    store.client()?.call(&put.body("x"))?.expect(204)?;
    let phases = json!([{"exec": "cat"}]);
    for (roles, saved) in [
        ("creator, manager, outside", false),
        ("creator, manager, anywhere", true),
    ] {
        let created = jo.call(&creation(&store, roles, &phases))?.expect(201)?;
        let location = created.header("location").context("a location")?.to_owned();
        let live = format!("{location}/live");
        // Somebody who may store everywhere gives it its work, or somebody who may not.
        let other = "manager, anywhere, outside, creator";
        for (path, body, status) in [("in", &*input, 204), ("in/end", "", 202)] {
            let request = Request::new("POST", &format!("{live}/{path}"))
                .header("role", other)
                .header("content-type", "text/plain")
                .body(body);
            jo.call(&request)?.expect(status)?;
        }
        let done = Job::at(location).wait(&mut store.client()?, PATIENCE)?;
        if saved {
            ensure!(done.contents(&mut store.client()?)? == ["x"], "{done:?}");
        } else {
            let error = done.only_error("InternalError")?;
            ensure!(
                error["input"] == input && done.outputs.is_empty(),
                "{done:?}"
            );
        }
    }
    store.finish()
}

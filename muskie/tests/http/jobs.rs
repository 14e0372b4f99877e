//! Jobs over HTTP, with a fake behind them. `m1_…` are lines of rest-api.md section 15.7.

use std::time::{Duration, Instant};

use libmanta::JobId;
use libmanta::mahi::Identity as _;
use libmanta::marlin::JobList;
use serde_json::json;

use crate::client::{Request, Response};
use crate::store::{Store, start, start_with};

async fn create(store: &Store, definition: &serde_json::Value) -> Response {
    let request = Request::new("POST", "/alice/jobs")
        .header("content-type", "application/json; type=job")
        .body(definition.to_string());
    store.send(request).await
}

async fn job(store: &Store) -> JobId {
    let definition = json!({"name": "my-job", "phases": [{"exec": "wc"}]});
    let created = create(store, &definition).await.is(201).complete();
    assert_eq!(
        (created.header("content-length"), created.body.len()),
        ("0", 0)
    );
    created
        .header("location")
        .strip_prefix("/alice/jobs/")
        .unwrap()
        .parse()
        .unwrap()
}

async fn post(store: &Store, path: &str, body: &str) -> Response {
    let request = Request::new("POST", path)
        .header("content-type", "text/plain")
        .body(body);
    store.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_created_with_its_directories() {
    let store = start().await;
    let id = job(&store).await;
    assert_eq!(store.get("/alice/jobs").await.names(), [id.to_string()]);
    assert_eq!(
        store.get(&format!("/alice/jobs/{id}")).await.names(),
        ["live", "stor"]
    );
    let status = store
        .get(&format!("/alice/jobs/{id}/live/status"))
        .await
        .is(200)
        .complete();
    assert_eq!(status.header("content-type"), "application/json; type=job");
    status.header("content-md5");
    let status: serde_json::Value = serde_json::from_str(&status.text()).unwrap();
    assert_eq!(
        (&status["id"], &status["name"]),
        (&json!(id.to_string()), &json!("my-job"))
    );
    assert_eq!(status["phases"], json!([{"type": "map", "exec": "wc"}]));
    assert_eq!(
        (&status["cancelled"], &status["inputDone"]),
        (&json!(false), &json!(false))
    );
    let given = store.jobs.job(id).unwrap().new;
    assert!(given.principal.from_job && given.principal.login.as_str() == "alice");
    let bearer = store.identity.open_token(&given.token).unwrap();
    assert_eq!(bearer.principal, given.principal);
    store
        .put(&format!("/alice/jobs/{id}/stor/out"), "x")
        .await
        .is(204);
    store
        .delete(&format!("/alice/jobs/{id}/stor/out"))
        .await
        .is(204);
    for name in ["/stor", "/live", ""] {
        store
            .delete(&format!("/alice/jobs/{id}{name}"))
            .await
            .is(204);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_create_without_phases() {
    let store = start().await;
    for (definition, message) in [
        (
            json!({}),
            "property \"phases\": is missing and it is required",
        ),
        (
            json!({"phases": []}),
            "property \"phases\": must have at least 1 item",
        ),
    ] {
        let refused = create(&store, &definition).await;
        refused.refused(400, "InvalidJob", message);
    }
    assert_eq!(store.get("/alice/jobs").await.names(), [""; 0]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_have_options() {
    let store = start().await;
    let request = |body: &str| {
        Request::new("POST", "/alice/jobs")
            .header("content-type", "application/json")
            .body(body)
    };
    let operator = request(&json!({"phases": [{"exec": "x"}], "options": {}}).to_string());
    operator
        .signed_by(&store.poseidon)
        .send(store.address)
        .await
        .is(201);
    let bob = request("{}")
        .signed_by(&store.bob)
        .send(store.address)
        .await;
    bob.refused(
        403,
        "AuthorizationFailed",
        "bob is not allowed to access /alice/jobs",
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_arrive_in_order_in_bounded_batches() {
    let store = start().await;
    let id = job(&store).await;
    let path = format!("/alice/jobs/{id}/live/in");
    post(
        &store,
        &path,
        "/alice/stor/a\r\n/alice/stor/b\r\n\r\n/alice/stor/c",
    )
    .await
    .is(204);
    post(&store, &path, "").await.is(204);
    let many: Vec<String> = (0..5000).map(|n| format!("/alice/stor/{n}")).collect();
    let body = many.join("\n");
    let pieces: Vec<&[u8]> = body.as_bytes().chunks(7001).collect();
    let request = Request::new("POST", &format!("{path}?end=true"));
    store
        .send(
            request
                .header("content-type", "text/plain")
                .chunked(&pieces),
        )
        .await
        .is(204);
    let seen = store.jobs.job(id).unwrap();
    let mut expected: Vec<String> = ["a", "b", "c"].map(|n| format!("/alice/stor/{n}")).into();
    expected.extend(many);
    assert_eq!(seen.inputs, expected);
    assert!(
        seen.batches.iter().all(|size| *size <= 1000),
        "{:?}",
        seen.batches
    );
    assert!(seen.status.input_done);
    assert_eq!(
        store.get(&path).await.is(200).text(),
        expected.join("\n") + "\n"
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_inputs_are_handed_on_at_once() {
    use crate::client::Connection;
    let store = start().await;
    let id = job(&store).await;
    let request = Request::new("POST", &format!("/alice/jobs/{id}/live/in"))
        .header("transfer-encoding", "chunked")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    for (n, chunk) in ["5\r\n/a/b\n\r\n", "5\r\n/a/c\n\r\n"]
        .into_iter()
        .enumerate()
    {
        connection.write(chunk.as_bytes()).await;
        while store.jobs.job(id).unwrap().inputs.len() <= n {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the input is held back"
            );
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
    connection.write(b"0\r\n\r\n").await;
    connection.read_response().await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_add_end_and_cancel_in_the_wrong_order() {
    let store = start().await;
    let at = |id: JobId, what: &str| format!("/alice/jobs/{id}/live/{what}");
    let refused = |id: JobId, state: &str| format!("job {id} is in state '{state}'");

    let id = job(&store).await;
    post(&store, &at(id, "in/end"), "").await.is(202);
    post(&store, &at(id, "in/end"), "").await.is(202);
    let late = post(&store, &at(id, "in"), "/a\n").await;
    late.refused(409, "InvalidJobState", &refused(id, "inputDone"));
    post(&store, &at(id, "cancel"), "").await.is(202);
    for what in ["cancel", "in/end", "in"] {
        let late = post(&store, &at(id, what), "/a\n").await;
        late.refused(409, "InvalidJobState", &refused(id, "cancelled"));
    }
    let id = job(&store).await;
    store.jobs.finish(id);
    for what in ["cancel", "in/end", "in"] {
        let late = post(&store, &at(id, what), "/a\n").await;
        late.refused(409, "InvalidJobState", &refused(id, "done"));
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_complete() {
    let store = start().await;
    let id = job(&store).await;
    let outputs: Vec<String> = (0..20_000)
        .map(|n| format!("/alice/jobs/{id}/stor/{n}"))
        .collect();
    store.jobs.emit(id, JobList::Outputs, outputs.clone());
    store
        .jobs
        .emit(id, JobList::Errors, [r#"{"phase":"0"}"#.to_owned()]);
    store
        .jobs
        .emit(id, JobList::Failures, ["/alice/stor/x".to_owned()]);
    store
        .jobs
        .emit(id, JobList::Tasks, [r#"{"phase":0}"#.to_owned()]);
    let get = |what: &str| {
        let path = format!("/alice/jobs/{id}/live/{what}");
        // As the npm client asks.
        store.send(Request::new("GET", &path).header("accept", "application/x-json-stream"))
    };
    let out = get("out").await.is(200);
    assert_eq!(out.header("content-type"), "text/plain");
    assert!(out.text() == outputs.join("\n") + "\n");
    let err = get("err").await.is(200);
    assert_eq!(
        err.header("content-type"),
        "application/x-json-stream; type=job-error"
    );
    assert_eq!(err.text(), "{\"phase\":\"0\"}\n");
    let tasks = get("tasks").await.is(200);
    assert_eq!(
        tasks.header("content-type"),
        "application/x-json-stream; type=job-task"
    );
    assert_eq!(tasks.text(), "{\"phase\":0}\n");
    let fail = get("fail").await.is(200).complete();
    assert_eq!(
        (fail.text().as_str(), fail.header("content-length")),
        ("/alice/stor/x\n", "14")
    );
    assert_eq!(get("in").await.is(200).header("content-length"), "0");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_list_by_state_and_name() {
    let store = start().await;
    let id = job(&store).await;
    let done = job(&store).await;
    store.jobs.finish(done);
    for query in [
        "state=live",
        "status=running",
        "name=my-job",
        "state=running&name=my-job&limit=9999",
    ] {
        let list = store.get(&format!("/alice/jobs?{query}")).await.is(200);
        assert_eq!(
            list.header("content-type"),
            "application/x-json-stream; type=job"
        );
        assert_eq!(list.names(), [id.to_string()], "{query}");
        assert_eq!(list.rows()[0]["type"], "directory");
    }
    assert_eq!(store.get("/alice/jobs?name=other").await.is(200).body, b"");
    for (name, value) in [
        ("state", "nonsense"),
        ("state", "done"),
        ("name", "bad@bad"),
    ] {
        let message = format!("\"{value}\" is invalid for \"{name}\"");
        let refused = store.get(&format!("/alice/jobs?{name}={value}")).await;
        refused.refused(400, "InvalidParameter", &message);
    }
    assert_eq!(
        store.get("/alice/jobs?limit=1").await.is(200).names().len(),
        1
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_unknown_and_foreign_jobs() {
    let store = start().await;
    let id = job(&store).await;
    let own = format!("/bob/jobs/{id}/live/status");
    let message = format!("{own} was not found");
    let request = Request::new("GET", &own).signed_by(&store.bob);
    request
        .send(store.address)
        .await
        .refused(404, "ResourceNotFound", &message);
    let theirs = format!("/alice/jobs/{id}/live/status");
    let request = Request::new("GET", &theirs).signed_by(&store.bob);
    let message = format!("bob is not allowed to access {theirs}");
    request
        .send(store.address)
        .await
        .refused(403, "AuthorizationFailed", &message);
    let anonymous = Request::new("GET", &theirs).send(store.address).await;
    let message = format!("anonymous is not allowed to access {theirs}");
    anonymous.refused(403, "AuthorizationFailed", &message);
    for unknown in [JobId::random().to_string(), "nonsense".into()] {
        for what in ["status", "status?wait=300", "out", "in", "err", "tasks"] {
            let path = format!("/alice/jobs/{unknown}/live/{what}");
            let message = format!("{path} was not found").replace("?wait=300", "");
            store
                .get(&path)
                .await
                .refused(404, "ResourceNotFound", &message);
        }
        post(&store, &format!("/alice/jobs/{unknown}/live/cancel"), "")
            .await
            .is(404);
        post(&store, &format!("/alice/jobs/{unknown}/live/in"), "/a\n")
            .await
            .is(404);
    }
    store.stop().await;
}

/// Returns once so many requests wait for a job.
async fn wait_for_waiting(store: &Store, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.jobs.waiting() != count {
        assert!(Instant::now() < deadline, "{}", store.jobs.waiting());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn status_of(answer: &Response) -> serde_json::Value {
    serde_json::from_str(&answer.text()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_job_hears_of_its_end_and_takes_no_turn() {
    const WAITING: usize = 50;
    let store = start_with(|config| {
        config.throttle.concurrency = 1;
        config.throttle.queue_max = WAITING;
    })
    .await;
    let id = job(&store).await;
    let status = format!("/alice/jobs/{id}/live/status");
    let path = format!("{status}?wait=300");
    let gets = (0..WAITING).map(|_| store.get(&path));
    let (answers, ()) = tokio::join!(futures_util::future::join_all(gets), async {
        wait_for_waiting(&store, WAITING).await;
        // What happens to a job without changing its state is no news, and others are served meanwhile.
        store
            .jobs
            .emit(id, JobList::Outputs, ["/alice/x".to_owned()]);
        let running = status_of(&store.get(&status).await.is(200));
        assert_eq!(running["state"], "running");
        assert_eq!(store.jobs.waiting(), WAITING);
        store.jobs.finish(id);
    });
    for answer in answers {
        let done = status_of(&answer.is(200));
        assert_eq!(
            (&done["state"], &done["id"]),
            (&json!("done"), &json!(id.to_string()))
        );
    }
    assert_eq!(store.jobs.waiting(), 0);
    // There is nothing to wait for any more.
    assert_eq!(status_of(&store.get(&path).await.is(200))["state"], "done");
    let counted = store.get("/metrics").await.text();
    let expected = format!(
        "http_requests_completed{{operation=\"waitforjob\",method=\"GET\",statusCode=\"200\"}} {}",
        WAITING + 1
    );
    assert!(counted.contains(&expected), "{counted}");
    store.stop().await;
}

/// A wait holds a connection, also when its client has left.
#[tokio::test(flavor = "multi_thread")]
async fn more_waits_than_an_account_may_have_are_answered_at_once() {
    let store = start_with(|config| config.job_waits_max = 8).await;
    let id = job(&store).await;
    let path = format!("/alice/jobs/{id}/live/status?wait=300");
    let (first, second, ()) = tokio::join!(store.get(&path), store.get(&path), async {
        wait_for_waiting(&store, 2).await;
        let third = status_of(&store.get(&path).await.is(200));
        assert_eq!(third["state"], "running");
        store.jobs.finish(id);
    });
    for answer in [first, second] {
        assert_eq!(status_of(&answer.is(200))["state"], "done");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_time_with_the_input_and_with_the_store() {
    let store = start().await;
    let id = job(&store).await;
    let status = format!("/alice/jobs/{id}/live/status");
    let begun = Instant::now();
    let nothing_new = store.get(&format!("{status}?wait=1")).await.is(200);
    assert_eq!(status_of(&nothing_new)["state"], "running");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let long = format!("{status}?wait=300");
    let (ended, ()) = tokio::join!(store.get(&long), async {
        wait_for_waiting(&store, 1).await;
        let end = format!("/alice/jobs/{id}/live/in/end");
        post(&store, &end, "").await.is(202);
    });
    let ended = status_of(&ended.is(200));
    assert_eq!(
        (&ended["state"], &ended["inputDone"]),
        (&json!("running"), &json!(true))
    );
    for value in ["", "x", "-1", "1.5"] {
        let refused = store.get(&format!("{status}?wait={value}")).await;
        let message = format!("\"{value}\" is invalid for \"wait\"");
        refused.refused(400, "InvalidParameter", &message);
    }
    let begun = Instant::now();
    let (cut, ()) = tokio::join!(store.get(&long), async {
        wait_for_waiting(&store, 1).await;
        store.handle.shutdown().await;
    });
    assert_eq!(status_of(&cut.is(200))["state"], "running");
    assert!(begun.elapsed() < Duration::from_secs(20), "{begun:?}");
    store.stop().await;
}

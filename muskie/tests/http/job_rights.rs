//! Jobs of subusers: which actions they take, and what a job keeps of its maker's roles.

use serde_json::json;

use crate::client::{Request, Response};
use crate::rights::with_jo;
use crate::store::{Store, User};

async fn send(store: &Store, user: &User, method: &str, path: &str, role: &str) -> Response {
    let mut request = Request::new(method, path).header("role", role);
    if method == "POST" && path.ends_with("/jobs") {
        let definition = json!({"phases": [{"exec": "wc"}]}).to_string();
        request = request
            .header("content-type", "application/json")
            .body(definition);
    } else if method == "POST" {
        request = request
            .header("content-type", "text/plain")
            .body("/alice/stor/o\n");
    }
    request.signed_by(user).send(store.address).await
}

async fn with_roles() -> (Store, User) {
    let (store, jo) = with_jo().await;
    for (name, rule) in [
        ("creator", "CAN createjob /alice/jobs"),
        ("lister", "CAN listjobs /alice/jobs"),
        (
            "outputs",
            "CAN putobject, putdirectory, getobject AND getdirectory",
        ),
        ("objects", "CAN putobject"),
        ("getter", "CAN getjob /alice/jobs/*"),
        ("manager", "CAN managejob /alice/jobs/*"),
        ("owner", "CAN getjob AND managejob"),
    ] {
        store.people.add_role("alice", name, &[rule]).await;
        store.people.give("alice", name, "alice/jo", false).await;
    }
    (store, jo)
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_job_takes_a_role_for_it_and_for_its_outputs() {
    let (store, jo) = with_roles().await;
    let no_tag = "None of your active roles are present on the resource.";
    let denied = "alice/jo is not allowed to access /alice/jobs";
    for (role, status, code, message) in [
        ("outputs", 403, "NoMatchingRoleTag", no_tag),
        ("lister, outputs", 403, "AuthorizationFailed", denied),
    ] {
        let refused = send(&store, &jo, "POST", "/alice/jobs", role).await;
        refused.refused(status, code, message);
    }
    assert!(store.get("/alice/jobs").await.names().is_empty());
    let made = send(&store, &jo, "POST", "/alice/jobs", "creator, outputs")
        .await
        .is(201);
    let location = made.header("location").to_owned();
    for path in ["", "/stor", "/live"] {
        let directory = store.get(&format!("{location}{path}")).await.is(200);
        assert_eq!(directory.header("role-tag"), "creator, outputs", "{path}");
    }
    // The job acts as the subuser in these roles, from now on.
    let id = location.rsplit('/').next().unwrap().parse().unwrap();
    let job = store.jobs.job(id).unwrap().new;
    let user = job.principal.user.clone().unwrap();
    assert_eq!((user.login.as_str(), job.principal.from_job), ("jo", true));
    assert_eq!(job.principal.roles.len(), 2);
    let token = format!("Token {}", job.token);
    let output = Request::new("PUT", &format!("{location}/stor/out"))
        .header("authorization", token.clone())
        .body("x");
    output.send(store.address).await.is(204);
    let got = store.get(&format!("{location}/stor/out")).await;
    assert_eq!(got.header("role-tag"), "creator, outputs");
    let elsewhere = Request::new("PUT", "/alice/stor/out").header("authorization", token);
    elsewhere.body("x").send(store.address).await.is(403);
    // The account itself needs none of this, and tags nothing.
    let made = send(&store, &store.alice, "POST", "/alice/jobs", "")
        .await
        .is(201);
    assert_eq!(
        store.get(made.header("location")).await.get("role-tag"),
        None
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_job_and_managing_it_are_two_things() {
    let (store, jo) = with_roles().await;
    let by_owner = send(&store, &store.alice, "POST", "/alice/jobs", "")
        .await
        .is(201);
    let others = by_owner.header("location").to_owned();
    let tagged = Request::new("PUT", &format!("{others}?metadata=true"))
        .header("role-tag", "owner")
        .chunked(&[]);
    store.send(tagged).await.is(204);
    let live = format!("{others}/live");
    for (method, path, role, status) in [
        ("GET", "/status", "getter", 200),
        ("GET", "/in", "getter", 200),
        ("GET", "/out", "getter", 200),
        ("GET", "/fail", "getter", 200),
        ("GET", "/err", "getter", 200),
        ("GET", "/status", "owner", 200),
        ("GET", "/status", "manager", 403),
        ("GET", "/status", "lister", 403),
        ("GET", "/err", "outputs", 403),
        ("POST", "/in", "getter", 403),
        ("POST", "/in/end", "getter", 403),
        ("POST", "/cancel", "getter", 403),
        ("POST", "/cancel", "outputs", 403),
        ("POST", "/in", "manager", 204),
        ("POST", "/in", "owner", 204),
        ("POST", "/in/end", "owner", 202),
        ("POST", "/cancel", "manager", 202),
    ] {
        let response = send(&store, &jo, method, &format!("{live}{path}"), role).await;
        assert_eq!(response.status, status, "{method} {path} as {role}");
    }
    for (role, status) in [("lister", 200), ("getter", 403), ("owner", 403)] {
        let response = send(&store, &jo, "GET", "/alice/jobs?state=running", role).await;
        assert_eq!(response.status, status, "{role}");
    }
    let refused = send(&store, &store.bob, "GET", &format!("{live}/status"), "").await;
    let message = format!("bob is not allowed to access {live}/status");
    refused.refused(403, "AuthorizationFailed", &message);
    store.stop().await;
}

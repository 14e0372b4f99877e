//! What clients look at to tell one version of Manta from another, and what each version has.

use muskie::Surface;

use crate::client::Request;
use crate::store::{Store, start, start_with};

async fn second() -> Store {
    start_with(|config| config.surface = Surface::Manta2).await
}

fn uuid(text: &str) -> bool {
    text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_header_says_which() {
    for (store, server) in [(start().await, "Manta"), (second().await, "Manta/2")] {
        for path in [
            "/alice/stor",
            "/alice/stor/missing",
            "/ping",
            "/9bad",
            "/crossdomain.xml",
        ] {
            assert_eq!(store.get(path).await.header("server"), server, "{path}");
        }
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_version_has_neither_jobs_nor_links() {
    let store = second().await;
    let root = store.get("/alice").await.is(200);
    assert_eq!(root.header("result-set-size"), "4");
    assert!(!root.text().contains("jobs"));
    for (method, path) in [
        ("GET", "/alice/jobs"),
        ("POST", "/alice/jobs"),
        ("PUT", "/alice/jobs/x"),
        ("GET", "/alice/jobs/x/live/status"),
    ] {
        let answer = store.send(Request::new(method, path)).await;
        answer.refused(404, "ResourceNotFound", &format!("{path} does not exist"));
    }
    store.put("/alice/stor/o", "x").await.is(204);
    let link = Request::new("PUT", "/alice/stor/l")
        .header("content-type", "application/json; type=link")
        .header("location", "/alice/stor/o");
    let message = "Manta v2 does not support SnapLinks.";
    store
        .send(link)
        .await
        .refused(403, "SnaplinksDisabledError", message);
    store.get("/alice/stor/l").await.is(404);
    let range = Request::new("GET", "/alice/stor/o").header("range", "bytes=9-");
    store
        .send(range)
        .await
        .refused(416, "RangeNotSatisfiable", "");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_echoed_by_the_first_version_only() {
    let ask = |name: &str, id: &str| Request::new("GET", "/alice/stor").header(name, id);
    let (first, second) = (start().await, second().await);
    for name in ["x-request-id", "request-id"] {
        let echoed = first.send(ask(name, "mine-1")).await;
        assert_eq!(echoed.header("x-request-id"), "mine-1");
        let fresh = second.send(ask(name, "mine-1")).await;
        assert!(uuid(fresh.header("x-request-id")));
    }
    for unfit in ["a b", "{}", &"x".repeat(129)] {
        let fresh = first.send(ask("x-request-id", unfit)).await;
        assert!(uuid(fresh.header("x-request-id")), "{unfit}");
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_concern_no_account() {
    let store = start().await;
    let policy = Request::new("GET", "/crossdomain.xml")
        .send(store.address)
        .await
        .is(200);
    assert_eq!(policy.header("content-type"), "text/xml");
    assert!(policy.text().contains("<allow-access-from domain=\"*\""));
    // There is no icon, and other methods mean an account of that name.
    for (method, path) in [
        ("GET", "/favicon.ico"),
        ("POST", "/crossdomain.xml"),
        ("POST", "/ping"),
    ] {
        let answer = Request::new(method, path).send(store.address).await;
        let message = format!("{} does not exist", &path[1..]);
        answer.refused(403, "AccountDoesNotExist", &message);
    }
    for path in ["/", "/docs", "/docs/api"] {
        let answer = Request::new("POST", path).send(store.address).await;
        assert_eq!(answer.header("allow"), "GET");
        answer.refused(405, "MethodNotAllowed", "POST is not allowed");
    }
    store.stop().await;
}

//! What clients look at to tell one version of Manta from another, and what each version has.

use crate::client::{Request, Response};
use crate::store::{start, start_m2};

fn uuid(text: &str) -> bool {
    text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// What the suites of muskie look at in every answer (rest-api.md section 0.6); m1: the other server.
#[tokio::test(flavor = "multi_thread")]
async fn m2_every_response_says_when_who_and_which() {
    fn check(response: &Response, server: &str, case: &str) {
        assert_eq!(response.header("server"), server, "{case}");
        let date = response.header("date");
        assert!(date.ends_with(" GMT") && date.len() == 29, "{case}: {date}");
        assert!(uuid(response.header("x-request-id")), "{case}");
        assert_eq!(response.header("x-server-name"), "front.test", "{case}");
        if !matches!(response.status, 200..=202) {
            return;
        }
        let content_type = response.header("content-type");
        if !content_type.starts_with("application/x-json-stream") {
            let length = response.header("content-length");
            assert!(
                length == "0" || response.get("content-md5").is_some(),
                "{case}"
            );
        }
    }
    for (store, server) in [(start().await, "Manta"), (start_m2().await, "Manta/2")] {
        let directory = ("content-type", "application/json; type=directory");
        let put = |path: &str| Request::new("PUT", path);
        for (request, status) in [
            (put("/alice/stor/o").body("x"), 204),
            (
                put("/alice/stor/d")
                    .header(directory.0, directory.1)
                    .body(""),
                204,
            ),
            (
                put("/alice/stor/o?metadata=true")
                    .header("m-x", "y")
                    .chunked(&[]),
                204,
            ),
            (Request::new("GET", "/alice/stor/o"), 200),
            (Request::new("HEAD", "/alice/stor/o"), 200),
            (Request::new("GET", "/alice/stor"), 200),
            (Request::new("HEAD", "/alice/stor"), 200),
            (Request::new("GET", "/alice"), 200),
            (Request::new("POST", "/alice/tokens"), 201),
            (
                Request::new("GET", "/alice/stor/o").header("range", "bytes=0-0"),
                206,
            ),
            (
                Request::new("GET", "/alice/stor/o").header("if-none-match", "*"),
                304,
            ),
            (Request::new("GET", "/alice/stor/missing"), 404),
            (Request::new("GET", "/9bad"), 404),
            (Request::new("POST", "/alice/stor"), 405),
            (put("/alice/stor/no/o").body("x"), 404),
            (Request::new("DELETE", "/alice/stor"), 400),
            (Request::new("DELETE", "/alice/stor/o"), 204),
        ] {
            let case = format!("{request:?}");
            let response = store.send(request).await;
            assert_eq!(response.status, status, "{case}");
            check(&response, server, &case);
        }
        for path in ["/ping", "/crossdomain.xml"] {
            assert_eq!(store.get(path).await.header("server"), server, "{path}");
        }
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_version_has_no_jobs() {
    let store = start_m2().await;
    for (method, path) in [
        ("GET", "/alice/jobs"),
        ("POST", "/alice/jobs"),
        ("PUT", "/alice/jobs/x"),
        ("GET", "/alice/jobs/x/live/status"),
    ] {
        let answer = store.send(Request::new(method, path)).await;
        answer.refused(404, "ResourceNotFound", &format!("{path} does not exist"));
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_echoed_by_the_first_version_only() {
    let ask = |name: &str, id: &str| Request::new("GET", "/alice/stor").header(name, id);
    let (first, second) = (start().await, start_m2().await);
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

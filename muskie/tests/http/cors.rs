//! Requests of web pages: stored rules, what a read shows of them, and preflights.

use crate::client::{Request, Response};
use crate::store::{Store, start, start_with};

const RULES: [(&str, &str); 5] = [
    ("access-control-allow-origin", "http://a,http://b"),
    ("access-control-allow-methods", "GET,PUT,OPTIONS"),
    ("access-control-allow-headers", "x-one, x-two"),
    ("access-control-expose-headers", "x-three"),
    ("access-control-max-age", "600"),
];

fn with(mut request: Request, headers: &[(&str, &str)]) -> Request {
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request
}

async fn put(store: &Store, path: &str, headers: &[(&str, &str)]) {
    let request = with(Request::new("PUT", path), headers).body("x");
    store.send(request).await.is(204);
}

/// The CORS headers of a response, in order of their names.
fn rules(response: &Response) -> Vec<String> {
    let mut all: Vec<_> = response
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("access-control-")?;
            Some(format!("{name}: {value}"))
        })
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_show_rules_to_owners_and_answers_to_browsers() {
    let store = start().await;
    let directory = with(Request::new("PUT", "/alice/stor/d"), &RULES)
        .header("content-type", "application/json; type=directory")
        .header("access-control-allow-credentials", "true");
    store.send(directory.body("")).await.is(204);
    put(&store, "/alice/stor/o", &RULES).await;
    for path in ["/alice/stor/o", "/alice/stor/d"] {
        let raw = store.get(path).await.is(200);
        assert_eq!(
            rules(&raw),
            [
                "allow-headers: x-one, x-two",
                "allow-methods: GET,PUT,OPTIONS",
                "allow-origin: http://a,http://b",
                "expose-headers: x-three",
                "max-age: 600",
            ]
        );
        for (method, origin, expected) in [
            (
                "GET",
                "http://b",
                &[
                    "allow-methods: GET,PUT,OPTIONS",
                    "allow-origin: http://b",
                    "expose-headers: x-three",
                ][..],
            ),
            (
                "GET",
                "http://c",
                &["allow-methods: GET,PUT,OPTIONS", "expose-headers: x-three"],
            ),
            ("HEAD", "http://b", &[]),
        ] {
            let request = Request::new(method, path).header("origin", origin);
            let response = store.send(request).await.is(200);
            assert_eq!(rules(&response), expected, "{method} {path} {origin}");
        }
    }
    // What is written with another set of rules has only that.
    let metadata = Request::new("PUT", "/alice/stor/o?metadata=true")
        .header("origin", "http://z")
        .header("access-control-max-age", "7")
        .chunked(&[]);
    let changed = store.send(metadata).await.is(204);
    assert_eq!(rules(&changed), ["allow-origin: http://z"]);
    let raw = store.get("/alice/stor/o").await;
    assert_eq!(rules(&raw), ["max-age: 7"]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_objects_are_open_to_every_page_unless_they_say_otherwise() {
    let store = start().await;
    put(&store, "/alice/public/open", &[]).await;
    let own = [("access-control-allow-origin", "http://a")];
    put(&store, "/alice/public/own", &own).await;
    put(&store, "/alice/stor/private", &[]).await;
    for (path, origin, expected) in [
        ("/alice/public/open", None, Some("*")),
        ("/alice/public/open", Some("http://z"), Some("http://z")),
        ("/alice/public/own", None, Some("http://a")),
        ("/alice/public/own", Some("http://a"), Some("http://a")),
        ("/alice/public/own", Some("http://z"), None),
        ("/alice/stor/private", None, None),
    ] {
        let mut request = Request::new("GET", path);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let response = store.send(request).await.is(200);
        let allowed = response.get("access-control-allow-origin");
        assert_eq!(allowed, expected, "{path} {origin:?}");
    }
    store.stop().await;
}

fn preflight(path: &str, headers: &[(&str, &str)]) -> Request {
    with(Request::new("OPTIONS", path), headers)
}

const ORIGIN: (&str, &str) = ("origin", "http://b");

fn asks(method: &'static str) -> (&'static str, &'static str) {
    ("access-control-request-method", method)
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_answered_from_the_entry_or_for_put_from_its_directory() {
    let store = start().await;
    let directory = with(Request::new("PUT", "/alice/stor/d"), &RULES)
        .header("content-type", "application/json; type=directory");
    store.send(directory.body("")).await.is(204);
    put(&store, "/alice/stor/d/o", &[]).await;
    put(&store, "/alice/stor/o", &RULES).await;
    let granted = [
        "allow-headers: x-one, x-two",
        "allow-methods: GET,PUT,OPTIONS",
        "allow-origin: http://b",
        "max-age: 600",
    ];
    let wanted = ("access-control-request-headers", "x-one");
    for (path, headers, expected) in [
        (
            "/alice/stor/o",
            &[ORIGIN, asks("GET"), wanted][..],
            &granted[..],
        ),
        ("/alice/stor/o", &[ORIGIN, asks("DELETE")], &[]),
        ("/alice/stor/o", &[ORIGIN], &[]),
        ("/alice/stor/o", &[], &[]),
        // That of `/alice/stor` counts, which has no rules.
        ("/alice/stor/o", &[ORIGIN, asks("PUT")], &[]),
        ("/alice/stor/new", &[ORIGIN, asks("PUT")], &[]),
        ("/alice/stor/d", &[ORIGIN, asks("GET")], &granted),
        ("/alice/stor/d/o", &[ORIGIN, asks("GET")], &[]),
        ("/alice/stor/d/o", &[ORIGIN, asks("PUT")], &granted),
        (
            "/alice/stor/d/new",
            &[ORIGIN, asks("PUT"), wanted],
            &granted,
        ),
        ("/alice/stor", &[ORIGIN, asks("GET")], &[]),
        ("/alice/stor", &[ORIGIN, asks("PUT")], &[]),
        ("/alice/reports", &[ORIGIN, asks("GET")], &[]),
        ("/alice/jobs", &[ORIGIN, asks("GET")], &[]),
    ] {
        let response = store
            .send(preflight(path, headers))
            .await
            .is(200)
            .complete();
        assert_eq!(rules(&response), expected, "{path} {headers:?}");
        assert!(response.body.is_empty());
        assert_eq!(response.get("transfer-encoding"), Some("chunked"));
    }
    for (path, method, status, code, message) in [
        (
            "/alice/stor/none",
            "GET",
            404,
            "ResourceNotFound",
            "/alice/stor/none was not found",
        ),
        (
            "/alice/stor/none/x",
            "PUT",
            404,
            "DirectoryDoesNotExist",
            "/alice/stor/none does not exist",
        ),
        (
            "/alice/stor/o/x",
            "PUT",
            400,
            "ParentNotDirectory",
            "/alice/stor/o is not a directory",
        ),
    ] {
        let request = preflight(path, &[ORIGIN, asks(method)]);
        store.send(request).await.refused(status, code, message);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_preflights_are_refused_unless_the_operator_allows_them() {
    let store = start().await;
    put(&store, "/alice/public/o", &RULES).await;
    for path in ["/alice/public/o", "/alice/stor/o", "/alice/stor/none"] {
        let message = format!("anonymous is not allowed to access {path}");
        let refused = preflight(path, &[ORIGIN, asks("GET")])
            .send(store.address)
            .await;
        refused.refused(403, "AuthorizationFailed", &message);
    }
    let stranger = preflight("/alice/public/o", &[ORIGIN, asks("GET")]).signed_by(&store.bob);
    stranger.send(store.address).await.is(403);
    store.stop().await;

    let store = start_with(|config| config.cors_unsigned_preflight = true).await;
    put(&store, "/alice/stor/o", &RULES).await;
    put(&store, "/alice/stor/plain", &[]).await;
    let unsigned = |path: &str| {
        let request = preflight(path, &[ORIGIN, asks("GET")]);
        let address = store.address;
        async move { request.send(address).await.is(200) }
    };
    let granted = unsigned("/alice/stor/o").await;
    assert_eq!(granted.get("access-control-allow-origin"), Some("http://b"));
    // Nothing tells an entry without rules from one that is not there.
    let shape = |response: &Response| {
        let names = response.headers.iter().map(|(name, _)| name.clone());
        names.collect::<Vec<_>>()
    };
    let (plain, none) = (
        unsigned("/alice/stor/plain").await,
        unsigned("/alice/stor/none/none").await,
    );
    assert_eq!(shape(&plain), shape(&none));
    assert_eq!(plain.get("etag"), None);
    // Only preflights: the object stays private, and a signed stranger is one who was refused.
    let get = Request::new("GET", "/alice/stor/o").header("origin", "http://b");
    get.send(store.address).await.is(403);
    store.stop().await;
}

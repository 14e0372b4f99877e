//! What clients test for, CORS: rest-api.md section 15.6, a test for each of its cases, on the surface on
//! which they test it.

use anyhow::{Result, ensure};
use tests::signed_url::SignedUrl;
use tests::{Launch, Request, Response, Store};

fn store() -> Result<Store> {
    Launch::new()
        .setting("surface = \"manta2\"")
        .setting("jobs.isolation = \"off\"")
        .start()
}

fn put(store: &Store, rules: &[(&str, &str)]) -> Result<String> {
    let path = store.path("stor/o");
    let mut request = Request::new("PUT", &path).body("x");
    for (name, value) in rules {
        request = request.header(&format!("access-control-{name}"), value);
    }
    store.client()?.call(&request)?.expect(204)?;
    Ok(path)
}

fn from(store: &Store, path: &str, origin: &str) -> Result<Response> {
    let request = Request::new("GET", path).header("origin", origin);
    store.client()?.call(&request)?.expect(200)
}

/// The CORS headers, in order of their names.
fn shown(response: &Response) -> Vec<String> {
    let mut shown: Vec<_> = response
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("access-control-")?;
            Some(format!("{name}: {value}"))
        })
        .collect();
    shown.sort();
    shown
}

#[test]
fn origin_star() -> Result<()> {
    let store = store()?;
    let path = put(&store, &[("allow-origin", "*")])?;
    let response = from(&store, &path, "http://example.com")?;
    ensure!(shown(&response) == ["allow-origin: http://example.com"]);
    store.finish()
}

#[test]
fn origin_list_match_and_mismatch() -> Result<()> {
    let store = store()?;
    let list = "http://foo.com, http://bar.com, http://baz.com";
    let path = put(&store, &[("allow-origin", list)])?;
    let response = from(&store, &path, "http://bar.com")?;
    ensure!(shown(&response) == ["allow-origin: http://bar.com"]);
    for origin in [
        "http://ba.com",
        "http://bar.com.evil.org",
        "http://other.com",
    ] {
        ensure!(shown(&from(&store, &path, origin)?).is_empty(), "{origin}");
    }
    store.finish()
}

#[test]
fn method_allowed_and_not_allowed() -> Result<()> {
    let store = store()?;
    let origin = ("allow-origin", "http://foo.com");
    let path = put(&store, &[origin, ("allow-methods", "GET, PUT")])?;
    let response = from(&store, &path, "http://foo.com")?;
    ensure!(shown(&response) == ["allow-methods: GET, PUT", "allow-origin: http://foo.com"]);
    let path = put(&store, &[origin, ("allow-methods", "PUT")])?;
    ensure!(shown(&from(&store, &path, "http://foo.com")?).is_empty());
    store.finish()
}

#[test]
fn everything_on_a_plain_get_and_only_what_matters_on_one_with_an_origin() -> Result<()> {
    let store = store()?;
    let rules = [
        ("allow-headers", "x-foo, x-bar"),
        ("allow-origin", "http://foo.com"),
        ("expose-headers", "x-baz"),
        ("max-age", "3600"),
    ];
    let path = put(&store, &rules)?;
    let plain = store.client()?.get(&path)?.expect(200)?;
    let stored = rules.map(|(name, value)| format!("{name}: {value}"));
    ensure!(shown(&plain) == stored);
    let response = from(&store, &path, "http://foo.com")?;
    ensure!(shown(&response) == ["allow-origin: http://foo.com", "expose-headers: x-baz"]);
    store.finish()
}

#[test]
fn options_on_a_signed_url() -> Result<()> {
    let store = store()?;
    let path = put(&store, &[])?;
    let signer = store.signer()?;
    let url = SignedUrl::new("OPTIONS", &path, &signer).signed(&signer);
    store
        .anonymous()
        .call(&Request::new("OPTIONS", &url))?
        .expect(200)?;
    // Without a signature it is refused, unless the operator wants it otherwise.
    let preflight = |path: &str| {
        Request::new("OPTIONS", path)
            .header("origin", "http://foo.com")
            .header("access-control-request-method", "GET")
    };
    let public = store.path("public");
    let refused = store.anonymous().call(&preflight(&public))?;
    refused.expect_error(403, "AuthorizationFailed")?;
    store.finish()?;

    let open = Launch::new()
        .setting("jobs.isolation = \"off\"")
        .setting("http.cors_unsigned_preflight = true");
    let store = open.start()?;
    let rules = [("allow-origin", "*"), ("allow-methods", "GET")];
    let path = put(&store, &rules)?;
    let answer = store.anonymous().call(&preflight(&path))?.expect(200)?;
    ensure!(shown(&answer) == ["allow-methods: GET", "allow-origin: http://foo.com"]);
    store.finish()
}

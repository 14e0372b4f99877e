//! Who asks: signatures, keys, tokens, anonymous readers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libmanta::mahi::{Identity as _, Principal};

use crate::client::{Request, http_date};
use crate::store::{User, start, start_with};

pub(crate) fn signature(user: &User, text: &str) -> String {
    STANDARD.encode(
        user.key
            .sign(user.key.public().default_algorithm(), text.as_bytes())
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_have_several_names() {
    let store = start().await;
    let address = store.address;
    let date = http_date(0);
    let good = signature(&store.alice, &format!("date: {date}"));
    let md5 = store.alice.key.public().md5_fingerprint();
    let sha256 = store.alice.key.public().sha256_fingerprint();
    let get = |key_id: String, algorithm: &str, signature: &str| {
        let header = format!(
            "Signature keyId=\"{key_id}\",algorithm=\"{algorithm}\",signature=\"{signature}\""
        );
        let request = Request::new("GET", "/alice/stor").header("date", date.clone());
        let request = request.header("authorization", header);
        async move { request.send(address).await }
    };
    let ed = "ed25519-sha512";
    get(format!("/alice/keys/{md5}"), ed, &good).await.is(200);
    get(format!("/alice/keys/{sha256}"), ed, &good)
        .await
        .is(200);
    get(format!("/%61lice/keys/{md5}"), "ED25519-SHA512", &good)
        .await
        .is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_must_be_near_ours() {
    let store = start().await;
    let address = store.address;
    let get = |date: String| {
        let request = Request::new("GET", "/alice/stor").signed_at(&store.alice, &date);
        async move { request.send(address).await }
    };
    for offset in [-290, 290] {
        get(http_date(offset)).await.is(200);
    }
    for offset in [-310, 310, 100_000] {
        let refused = get(http_date(offset)).await.is(400);
        let text = refused.text();
        assert!(
            text.contains("InvalidHeader") && text.contains("clock skew of "),
            "{text}"
        );
        assert!(text.contains("s was greater than 300s"), "{text}");
    }
    for nonsense in ["", "Sat, 99 Nov 2026 04:10:01 GMT"] {
        let refused = get(nonsense.into()).await.is(400);
        assert!(
            refused.text().contains("InvalidHeader"),
            "{}",
            refused.text()
        );
    }
    Request::new("GET", "/alice/public")
        .header("date", "nonsense")
        .send(store.address)
        .await
        .is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_was_signed_counts() {
    let store = start().await;
    let address = store.address;
    let date = http_date(0);
    let send = |method: &str, path: &str, covered: &str| {
        let key_id = store.alice.key_id();
        let signature = signature(&store.alice, covered);
        let header = format!(
            "Signature keyId=\"{key_id}\",algorithm=\"ed25519-sha512\",\
             headers=\"date (request-target) host\",signature=\"{signature}\""
        );
        let request = Request::new(method, path).header("date", date.clone());
        let request = request.header("authorization", header);
        async move { request.send(address).await }
    };
    let covered =
        format!("date: {date}\n(request-target): get /alice/stor?limit=2\nhost: localhost");
    send("GET", "/alice/stor?limit=2", &covered).await.is(200);
    send("GET", "/alice/stor?limit=2", &covered).await.is(200);
    send("GET", "/alice/stor?limit=3", &covered).await.is(403);
    send("HEAD", "/alice/stor?limit=2", &covered).await.is(403);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_covered_headers_are_remembered_to_the_last_byte() {
    let store = start().await;
    let date = http_date(0);
    let long = "x".repeat(100_000);
    let covered = format!("date: {date}\nm-long: {long}");
    let key_id = store.alice.key_id();
    let signature = signature(&store.alice, &covered);
    let header = format!(
        "Signature keyId=\"{key_id}\",algorithm=\"ed25519-sha512\",\
         headers=\"date m-long\",signature=\"{signature}\""
    );
    let send = |long: &str| {
        let request = Request::new("GET", "/alice/stor").header("date", date.clone());
        let request = request.header("authorization", header.clone());
        let request = request.header("m-long", long);
        let address = store.address;
        async move { request.send(address).await }
    };
    send(&long).await.is(200);
    send(&long).await.is(200);
    assert_eq!(store.metric("muskie_signatures_verified_total").await, 1);
    assert_eq!(store.metric("muskie_signatures_from_cache_total").await, 1);
    send(&format!("{}y", &long[1..])).await.is(403);
    // The same signature in another account's name, whose key is the same.
    let in_bobs_name = header.replace("/alice/", "/bob/");
    let request = Request::new("GET", "/bob/stor").header("date", date.clone());
    let request = request.header("authorization", in_bobs_name);
    let request = request.header("m-long", long.clone());
    request.send(store.address).await.is(200);
    assert_eq!(store.metric("muskie_signatures_verified_total").await, 2);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_verified_once_and_keys_stop_at_once() {
    let store = start().await;
    let request = Request::new("GET", "/alice/stor").signed_by(&store.alice);
    for _ in 0..5 {
        request.send(store.address).await.is(200);
    }
    assert_eq!(store.metric("muskie_signatures_verified_total").await, 1);
    assert_eq!(store.metric("muskie_signatures_from_cache_total").await, 4);
    let fingerprint = store.alice.key.public().md5_fingerprint();
    store
        .identity
        .remove_key("alice", &fingerprint)
        .await
        .unwrap();
    let refused = request.send(store.address).await;
    let message = format!("/alice/keys/{fingerprint} does not exist");
    refused.refused(403, "KeyDoesNotExist", &message);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_stays_in_their_own_tree() {
    let store = start().await;
    let address = store.address;
    store.put("/alice/stor/o", "x").await.is(204);
    store.put("/alice/public/o", "x").await.is(204);
    let by = |user: &User, method: &str, path: &str| {
        let request = Request::new(method, path).signed_by(user);
        async move { request.send(address).await }
    };
    for (method, path) in [
        ("GET", "/alice/stor/o"),
        ("DELETE", "/alice/stor/o"),
        ("GET", "/alice/stor"),
    ] {
        let message = format!("bob is not allowed to access {path}");
        by(&store.bob, method, path)
            .await
            .refused(403, "AuthorizationFailed", &message);
        by(
            &store.poseidon,
            if method == "DELETE" { "GET" } else { method },
            path,
        )
        .await
        .is(200);
    }
    // Existence is no secret to those who sign, and comes first.
    by(&store.bob, "GET", "/alice/stor/missing").await.is(404);
    by(&store.bob, "GET", "/alice/public/o").await.is(200);
    by(&store.bob, "DELETE", "/alice/public/o").await.is(403);
    let put = Request::new("PUT", "/alice/stor/by-operator")
        .body("x")
        .signed_by(&store.poseidon);
    put.send(store.address).await.is(204);
    assert_eq!(store.get("/alice/stor/by-operator").await.text(), "x");

    let anonymous = |method: &str, path: &str| {
        let request = Request::new(method, path);
        async move { request.send(address).await }
    };
    anonymous("GET", "/alice/public/o").await.is(200);
    anonymous("GET", "/alice/public").await.is(200);
    anonymous("HEAD", "/alice/public/missing").await.is(404);
    for (method, path) in [
        ("GET", "/alice/stor/o"),
        ("GET", "/alice/stor/missing"),
        ("PUT", "/alice/public/new"),
        ("DELETE", "/alice/public/o"),
        ("GET", "/alice/jobs"),
    ] {
        let message = format!("anonymous is not allowed to access {path}");
        anonymous(method, path)
            .await
            .refused(403, "AuthorizationFailed", &message);
    }
    for path in ["/nosuch/public", "/badpath", "/alice%2Fstor"] {
        let refused = anonymous("GET", path).await.is(403);
        assert!(
            refused.text().contains("AccountDoesNotExist"),
            "{}",
            refused.text()
        );
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_let_jobs_act() {
    let store = start().await;
    let address = store.address;
    let account = store.identity.account("alice").await.unwrap().unwrap();
    let principal = Principal {
        // Not an operator, whatever the token says.
        operator: true,
        from_job: true,
        ..Principal::of(&account)
    };
    let token = store.identity.mint_token(&principal, None);
    let by = |method: &str, path: &str, token: &str| {
        let request = Request::new(method, path).header("authorization", format!("Token {token}"));
        let request = if method == "PUT" {
            request.body("x")
        } else {
            request
        };
        async move { request.send(address).await }
    };
    by("PUT", "/alice/stor/o", &token).await.is(204);
    by("GET", "/alice/stor/o", &token).await.is(200);
    by("GET", "/bob/stor", &token).await.is(403);
    for bad in ["x", "", &token[1..]] {
        let message = "the authentication token you provided is malformed";
        let refused = by("GET", "/alice/stor/o", bad).await;
        refused.refused(403, "InvalidAuthenticationToken", message);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_settings() {
    let store = start_with(|config| {
        config.clock_skew_max = Duration::from_secs(10);
        config.request_age_max = Duration::from_secs(20);
    })
    .await;
    let address = store.address;
    let get = |offset| {
        let request =
            Request::new("GET", "/alice/stor").signed_at(&store.alice, &http_date(offset));
        async move { request.send(address).await }
    };
    get(-5).await.is(200);
    assert!(
        get(-15)
            .await
            .is(400)
            .text()
            .contains("was greater than 10s")
    );
    assert!(get(-30).await.is(400).text().contains("RequestExpired"));
    store.stop().await;
}

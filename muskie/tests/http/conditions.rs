//! Conditional requests. `m2_…` and `jm_…` are lines of rest-api.md section 15.2, the first on the surface on
//! which they are tested.

use crate::client::{Request, Response, http_date};
use crate::store::{Store, start, start_m2};

const OTHER: &str = "45702256-fecb-11e1-bd8a-bb6f54b49808";

async fn with(store: &Store, method: &str, name: &str, value: &str) -> Response {
    let mut request = Request::new(method, "/alice/stor/o").header(name, value);
    if method == "PUT" {
        request = request.body("new");
    }
    store.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_get_under_conditions() {
    let store = start_m2().await;
    let put = store.put("/alice/stor/o", "x").await;
    let etag = put.header("etag");
    let (past, future) = (http_date(-3600), http_date(3600));
    for method in ["GET", "HEAD"] {
        for (name, value, status) in [
            ("if-match", etag, 200),
            ("if-match", &format!("\"{etag}\""), 200),
            ("if-match", &format!("x, W/\"{etag}\""), 200),
            ("if-match", "*", 200),
            ("if-match", OTHER, 412),
            ("if-none-match", etag, 304),
            ("if-none-match", &format!("\"{etag}\""), 304),
            ("if-none-match", "*", 304),
            ("if-none-match", OTHER, 200),
            ("if-modified-since", &past, 200),
            ("if-modified-since", &future, 304),
            ("if-unmodified-since", &future, 200),
            ("if-unmodified-since", &past, 412),
            ("if-modified-since", "nonsense", 200),
            ("if-unmodified-since", "nonsense", 200),
        ] {
            let request = Request::new(method, "/alice/stor/o").header(name, value);
            let response = store.send(request).await;
            assert_eq!(response.status, status, "{method} {name}: {value}");
            assert_eq!(response.header("etag"), etag);
            response.header("last-modified");
            if status == 304 {
                assert!(response.body.is_empty() && response.get("content-length").is_none());
            }
        }
    }
    let message = format!("if-match '{OTHER}' didn't match etag '{etag}'");
    with(&store, "GET", "if-match", OTHER)
        .await
        .refused(412, "PreconditionFailed", &message);
    store.stop().await;
}

/// What does not hold of an object with `etag` that was written just now.
fn wrong(etag: &str) -> [(&'static str, String); 5] {
    [
        ("if-match", OTHER.to_owned()),
        ("if-none-match", etag.to_owned()),
        ("if-none-match", "*".to_owned()),
        ("if-modified-since", http_date(3600)),
        ("if-unmodified-since", http_date(-3600)),
    ]
}

/// What does. Tags come without quotes.
fn right(etag: &str) -> [(&'static str, String); 4] {
    [
        ("if-match", etag.to_owned()),
        ("if-none-match", OTHER.to_owned()),
        ("if-modified-since", http_date(-3600)),
        ("if-unmodified-since", http_date(3600)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_put_under_conditions() {
    let store = start_m2().await;
    let old = store.put("/alice/stor/o", "old").await;
    let etag = old.header("etag").to_owned();
    for (name, value) in wrong(&etag) {
        let refused = with(&store, "PUT", name, &value).await.is(412);
        assert_eq!(refused.header("etag"), etag);
        assert_eq!(refused.code(), "PreconditionFailed");
        let update = Request::new("PUT", "/alice/stor/o?metadata=true").header(name, value);
        store.send(update.chunked(&[])).await.is(412);
    }
    let message = format!("if-none-match '{etag}' matched etag '{etag}'");
    let refused = with(&store, "PUT", "if-none-match", &etag).await;
    refused.refused(412, "PreconditionFailed", &message);
    assert_eq!(store.get("/alice/stor/o").await.text(), "old");
    let mut etag = etag;
    for turn in 0..right(&etag).len() {
        let (name, value) = right(&etag).into_iter().nth(turn).unwrap();
        let put = with(&store, "PUT", name, &value).await.is(204);
        etag = put.header("etag").to_owned();
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "new");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_delete_under_conditions() {
    let store = start_m2().await;
    for turn in 0..4 {
        let put = store.put("/alice/stor/o", "x").await;
        let etag = put.header("etag").to_owned();
        for (name, value) in wrong(&etag) {
            with(&store, "DELETE", name, &value).await.is(412);
        }
        let (name, value) = right(&etag).into_iter().nth(turn).unwrap();
        with(&store, "DELETE", name, &value).await.is(204);
        with(&store, "DELETE", name, &value).await.is(404);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_delete_with_a_wrong_if_match_leaves_the_entry() {
    let store = start().await;
    let put = store.put("/alice/stor/o", "x").await;
    let refused = with(&store, "DELETE", "if-match", OTHER).await.is(412);
    assert_eq!(refused.header("etag"), put.header("etag"));
    let get = store.get("/alice/stor/o").await.is(200);
    assert_eq!(
        (get.text().as_str(), get.header("etag")),
        ("x", put.header("etag"))
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_new_names_see_the_empty_etag() {
    let store = start().await;
    let refused = with(&store, "PUT", "if-match", OTHER).await;
    let message = format!("if-match '{OTHER}' didn't match etag ''");
    refused.refused(412, "PreconditionFailed", &message);
    with(&store, "PUT", "if-none-match", "*").await.is(204);
    store.delete("/alice/stor/o").await.is(204);
    with(&store, "PUT", "if-match", "*").await.is(204);
    store.delete("/alice/stor/o").await.is(204);
    with(&store, "PUT", "if-unmodified-since", &http_date(-99))
        .await
        .is(204);
    store.delete("/alice/stor/o").await.is(204);
    with(&store, "GET", "if-match", "*").await.is(404);
    store.stop().await;
}

/// All of three without a condition, and of three with the same one: that of the first.
#[tokio::test(flavor = "multi_thread")]
async fn m2_three_writers() {
    let store = start_m2().await;
    for _ in 0..5 {
        let free = (0..3).map(|_| store.put("/alice/stor/o", "x"));
        let all = futures_util::future::join_all(free).await;
        assert!(all.iter().all(|put| put.status == 204), "{all:?}");
        let now = store.head("/alice/stor/o").await;
        let etag = now.header("etag").to_owned();
        let racers = (0..3).map(|_| with(&store, "PUT", "if-match", &etag));
        let all = futures_util::future::join_all(racers).await;
        let (winners, losers): (Vec<_>, Vec<_>) = all.iter().partition(|put| put.status == 204);
        assert_eq!(winners.len(), 1, "{all:?}");
        for loser in losers {
            let lost = (loser.status, loser.code());
            let may = [(412, "PreconditionFailed"), (409, "ConcurrentRequest")];
            assert!(may.contains(&(lost.0, lost.1.as_str())), "{lost:?}");
        }
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_creators_one_wins() {
    let store = start().await;
    for _ in 0..5 {
        let racers = (0..4).map(|_| with(&store, "PUT", "if-none-match", "*"));
        let created = futures_util::future::join_all(racers).await;
        assert_eq!(created.iter().filter(|r| r.status == 204).count(), 1);
        store.delete("/alice/stor/o").await.is(204);
    }
    store.stop().await;
}

//! Conditional requests.

use crate::client::{Request, Response, http_date};
use crate::store::{Store, start};

const OTHER: &str = "45702256-fecb-11e1-bd8a-bb6f54b49808";

async fn with(store: &Store, method: &str, name: &str, value: &str) -> Response {
    let mut request = Request::new(method, "/alice/stor/o").header(name, value);
    if method == "PUT" {
        request = request.body("new");
    }
    store.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_answer_not_modified() {
    let store = start().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_and_change_nothing() {
    let store = start().await;
    let put = store.put("/alice/stor/o", "old").await;
    let etag = put.header("etag").to_owned();
    let past = http_date(-3600);
    let future = http_date(3600);
    for method in ["PUT", "DELETE"] {
        for (name, value) in [
            ("if-match", OTHER),
            ("if-none-match", etag.as_str()),
            ("if-none-match", "*"),
            ("if-modified-since", &future),
            ("if-unmodified-since", &past),
        ] {
            let refused = with(&store, method, name, value).await.is(412);
            assert_eq!(refused.header("etag"), etag);
        }
    }
    let message = format!("if-none-match '{etag}' matched etag '{etag}'");
    let refused = with(&store, "PUT", "if-none-match", &etag).await;
    refused.refused(412, "PreconditionFailed", &message);
    assert_eq!(store.get("/alice/stor/o").await.text(), "old");
    let update = Request::new("PUT", "/alice/stor/o?metadata=true").header("if-match", OTHER);
    store.send(update.chunked(&[])).await.is(412);
    let put = with(&store, "PUT", "if-match", &etag).await.is(204);
    assert_eq!(store.get("/alice/stor/o").await.text(), "new");
    with(&store, "DELETE", "if-match", put.header("etag"))
        .await
        .is(204);
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

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_writers_with_one_condition_one_wins() {
    let store = start().await;
    for _ in 0..5 {
        let etag = store
            .put("/alice/stor/o", "0")
            .await
            .header("etag")
            .to_owned();
        let racers = (0..4).map(|_| with(&store, "PUT", "if-match", &etag));
        let statuses: Vec<u16> = futures_util::future::join_all(racers)
            .await
            .iter()
            .map(|r| r.status)
            .collect();
        assert_eq!(
            statuses.iter().filter(|s| **s == 204).count(),
            1,
            "{statuses:?}"
        );
        assert!(
            statuses.iter().all(|s| [204, 412, 409].contains(s)),
            "{statuses:?}"
        );
        let create = store.delete("/alice/stor/o").await;
        create.is(204);
        let racers = (0..4).map(|_| with(&store, "PUT", "if-none-match", "*"));
        let created = futures_util::future::join_all(racers).await;
        assert_eq!(created.iter().filter(|r| r.status == 204).count(), 1);
        let unconditional = (0..4).map(|_| store.put("/alice/stor/o", "x"));
        let all = futures_util::future::join_all(unconditional).await;
        assert!(all.iter().all(|r| r.status == 204));
    }
    store.stop().await;
}

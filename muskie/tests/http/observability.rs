//! Audit records, metrics, liveness.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span;

use crate::client::{Request, Response};
use crate::store::{Door, Store, start, start_between};
use crate::stumbling::{Stumble, StumblingMoray, When};

#[tokio::test(flavor = "multi_thread")]
async fn ping_and_redirects_are_bare() {
    let store = start().await;
    let ping = Request::new("GET", "/ping")
        .send(store.address)
        .await
        .is(200);
    assert_eq!(
        (ping.header("content-length"), ping.header("connection")),
        ("0", "close")
    );
    assert!(ping.headers.iter().all(|(name, _)| !name.starts_with("x-")));
    for path in ["/", "/docs", "/docs/x"] {
        let redirect = Request::new("GET", path).send(store.address).await.is(302);
        assert_eq!(
            redirect.header("location"),
            "http://apidocs.tritondatacenter.com/manta/"
        );
        assert_eq!(redirect.header("content-length"), "0");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_says_when_the_metadata_tier_is_down_and_when_it_is_back() {
    let stumble = Arc::new(Stumble::default());
    let down = stumble.clone();
    let store = start_between(
        Door::Plain,
        |_| {},
        |shark| shark,
        |inner| Arc::new(StumblingMoray { inner, stumble }),
    )
    .await;
    let ping = async || Request::new("GET", "/ping").send(store.address).await;
    ping().await.is(200);
    for (is_down, status) in [(true, 503), (false, 200)] {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let answer = loop {
            if is_down {
                down.at(0, When::Before);
            } else {
                down.happened();
            }
            let answer = ping().await;
            if answer.status == status {
                break answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "{}", answer.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(
            (answer.header("content-length"), answer.header("connection")),
            ("0", "close")
        );
        let has_extras = answer
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("x-"));
        assert!(!has_extras, "{answer:?}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests_and_bytes() {
    let store = start().await;
    store.put("/alice/stor/o", "12345").await.is(204);
    store.get("/alice/stor/o").await.is(200);
    store.delete("/alice/stor/o").await.is(204);
    store.get("/alice/stor").await.is(200);
    let metrics = Request::new("GET", "/metrics")
        .send(store.address)
        .await
        .is(200);
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4");
    let text = metrics.text();
    for line in [
        "http_requests_completed{operation=\"putobject\",method=\"PUT\",statusCode=\"204\"} 1",
        "http_requests_completed{operation=\"getstorage\",method=\"GET\",statusCode=\"200\"} 1",
        "http_requests_completed{operation=\"getstorage\",method=\"LIST\",statusCode=\"200\"} 1",
        "http_requests_completed{operation=\"deletestorage\",method=\"DELETE\",statusCode=\"204\"} 1",
        "muskie_inbound_streamed_bytes 5",
        "muskie_outbound_streamed_bytes 5",
        "muskie_deleted_objects_total 1",
        "muskie_deleted_bytes 5",
        "extra_total 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    store.stop().await;
}

/// Keeps the messages of events with target `audit`.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "audit"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Hears all tests of the program, so requests are marked.
static HEARD: LazyLock<Collector> = LazyLock::new(|| {
    let collector = Collector::default();
    tracing::subscriber::set_global_default(collector.clone()).unwrap();
    collector
});

const MARK: (&str, &str) = ("x-test", "audited");

fn records(mark: &str) -> Vec<serde_json::Value> {
    let heard = HEARD.0.lock().unwrap().clone();
    heard
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["req"]["headers"][MARK.0] == mark)
        .collect()
}

/// Sends a request and waits for its record.
pub(crate) async fn audited(store: &Store, request: Request) -> (Response, serde_json::Value) {
    LazyLock::force(&HEARD);
    let mark = uuid::Uuid::new_v4().to_string();
    let response = request.header(MARK.0, &mark).send(store.address).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(record) = records(&mark).pop() {
            return (response, record);
        }
        assert!(tokio::time::Instant::now() < deadline, "it is not audited");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_audited() {
    LazyLock::force(&HEARD);
    let store = start().await;
    let request = |method: &str, path: &str| Request::new(method, path).header(MARK.0, MARK.1);
    let put = request("PUT", "/alice/stor/o?x=y").header("x-request-id", "one");
    let put = put
        .header("x-forwarded-for", "10.1.2.3, 10.0.0.1")
        .body("12345");
    let etag = store.send(put).await.is(204).header("etag").to_owned();
    store.send(request("GET", "/alice/stor/o")).await.is(200);
    store.send(request("GET", "/alice/stor")).await.is(200);
    store
        .send(request("GET", "/alice/stor/missing"))
        .await
        .is(404);
    request("GET", "/ping").send(store.address).await.is(200);
    request("GET", "/nowhere/at/all")
        .send(store.address)
        .await
        .is(404);
    store.handle.shutdown().await;
    let lines = records(MARK.1);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let put = &lines[0];
    assert_eq!(put["_audit"], true);
    assert_eq!(
        (&put["operation"], &put["billable_operation"]),
        (&"putobject".into(), &"PUT".into())
    );
    assert_eq!(
        (&put["bytesTransferred"], &put["objectId"]),
        (&5.into(), &etag.as_str().into())
    );
    assert_eq!(
        (&put["req_id"], &put["logicalRemoteAddress"]),
        (&"one".into(), &"127.0.0.1".into())
    );
    assert_eq!(put["req"]["url"], "/alice/stor/o?x=y");
    assert_eq!(put["req"]["caller"]["login"], "alice");
    assert_eq!(put["req"]["owner"], "alice");
    assert_eq!(put["res"]["statusCode"], 204);
    assert_eq!(put["sharksContacted"].as_array().unwrap().len(), 2);
    assert!(put["latency"].is_u64() && put["err"].is_null());
    assert!(
        put["req"]["headers"]["authorization"].is_null(),
        "secrets stay out"
    );
    assert_eq!(lines[1]["bytesTransferred"], 5);
    assert_eq!(lines[2]["billable_operation"], "LIST");
    assert_eq!(lines[3]["err"]["code"], "ResourceNotFound");
    assert_eq!(lines[4]["operation"], "unrouted");
    store.stop().await;
}

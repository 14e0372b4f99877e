//! What happens to connections: keep-alive, refusals, clients that go away.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::client::{Connection, Request};
use crate::store::{start, start_with};

fn put(path: &str) -> Request {
    Request::new("PUT", path)
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_is_said_once_everything_is_checked() {
    let store = start().await;
    let mut connection = Connection::open(store.address).await;
    let request = put("/alice/stor/o").header("expect", "100-continue");
    let request = request.body("hello").signed_by(&store.alice);
    connection.write(&request.head_bytes()).await;
    assert_eq!(connection.read_response().await.status, 100);
    connection.write(&request.body_bytes()).await;
    let done = connection.read_response().await.is(204);
    assert_eq!(done.header("connection"), "keep-alive");
    let get = Request::new("GET", "/alice/stor/o").signed_by(&store.alice);
    assert_eq!(connection.exchange(&get).await.text(), "hello");
    // Anything else in the header is ignored.
    let other = put("/alice/stor/o")
        .header("expect", "application/json")
        .body("x");
    store.send(other).await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_instead_of_continue() {
    let store = start().await;
    store.mkdir("/alice/stor/d").await.is(204);
    let expecting = |path: &str| put(path).header("expect", "100-continue").body("hello");
    for (request, status) in [
        (expecting("/alice/stor/o"), 403),
        (expecting("/alice/stor/no/o").signed_by(&store.alice), 404),
        (expecting("/alice/stor/d").signed_by(&store.alice), 400),
        (expecting("/bob/stor/o").signed_by(&store.alice), 403),
        (
            expecting("/alice/stor/o")
                .header("durability-level", "x")
                .signed_by(&store.alice),
            400,
        ),
        (
            expecting("/alice/stor/o")
                .header("if-match", "x")
                .signed_by(&store.alice),
            412,
        ),
    ] {
        let mut connection = Connection::open(store.address).await;
        connection.write(&request.head_bytes()).await;
        let refused = connection.read_response().await.is(status).complete();
        assert_eq!(refused.header("connection"), "close");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_everything_first_still_read_the_refusal() {
    let store = start().await;
    let body = vec![7; 20 << 20];
    for chunked in [false, true] {
        let request = put("/alice/stor/no/o");
        let request = if chunked {
            request.chunked(&body.chunks(100_000).collect::<Vec<_>>())
        } else {
            request.body(body.clone())
        };
        let request = request.signed_by(&store.alice);
        let mut connection = Connection::open(store.address).await;
        connection.write(&request.head_bytes()).await;
        connection.write(&request.body_bytes()).await;
        let refused = connection.read_response().await;
        assert_eq!(refused.header("connection"), "close");
        refused.refused(
            404,
            "DirectoryDoesNotExist",
            "/alice/stor/no does not exist",
        );
        let (rest, orderly) = connection.read_to_end().await;
        assert!(rest.is_empty() && orderly);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_not_read_for_ever() {
    let store = start_with(|config| {
        config.drain_bytes_max = 1 << 20;
        config.drain = Duration::from_secs(20);
    })
    .await;
    let head = put("/alice/stor/no/o")
        .header("content-length", "1000000000000")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&head.head_bytes()).await;
    connection.read_response().await.is(404);
    let piece = vec![0; 64 << 10];
    let mut sent = 0;
    while connection.stream.write_all(&piece).await.is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "nobody stops us");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_unless_somebody_wants_otherwise() {
    let store = start().await;
    let get = || Request::new("GET", "/alice/stor").signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    for _ in 0..3 {
        let response = connection.exchange(&get()).await.is(200);
        assert_eq!(response.header("connection"), "keep-alive");
    }
    // A refusal of a request without body costs nothing.
    let missing = Request::new("GET", "/alice/stor/x").signed_by(&store.alice);
    assert_eq!(
        connection
            .exchange(&missing)
            .await
            .is(404)
            .header("connection"),
        "keep-alive"
    );
    for (name, value) in [("user-agent", "curl/8.0"), ("connection", "close")] {
        let mut connection = Connection::open(store.address).await;
        let response = connection
            .exchange(&get().header(name, value))
            .await
            .is(200);
        assert_eq!(response.header("connection"), "close");
        assert!(connection.read_to_end().await.1);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_uploads_leave_nothing() {
    let store = start().await;
    store.put("/alice/stor/o", "old").await.is(204);
    let before = store.copy_files().len();
    for (n, body) in [(1u64, &b"hel"[..]), (2, b"")] {
        let request = put("/alice/stor/o")
            .header("content-length", "100")
            .signed_by(&store.alice);
        let mut connection = Connection::open(store.address).await;
        connection.write(&request.head_bytes()).await;
        connection.write(body).await;
        drop(connection);
        let name =
            "http_requests_completed{operation=\"putobject\",method=\"PUT\",statusCode=\"499\"}";
        store.wait_metric(name, n).await;
    }
    let chunked = put("/alice/stor/o")
        .header("transfer-encoding", "chunked")
        .signed_by(&store.alice);
    for garbage in ["5\r\nhel", "zz\r\n", "5\r\nhelloX"] {
        let mut connection = Connection::open(store.address).await;
        connection.write(&chunked.head_bytes()).await;
        connection.write(garbage.as_bytes()).await;
        connection.stream.shutdown().await.unwrap();
        connection.read_to_end().await;
    }
    store.wait_metric("muskie_uploads", 0).await;
    assert_eq!(store.get("/alice/stor/o").await.text(), "old");
    assert_eq!(store.copy_files().len(), before);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_an_upload_that_stops_sending() {
    // That it is 45 seconds where nobody says otherwise need not be waited for.
    assert_eq!(
        muskie::Config::default().upload_stall,
        Duration::from_secs(45)
    );
    let store = start_with(|config| {
        config.surface = muskie::Surface::Manta2;
        config.upload_stall = Duration::from_millis(200);
    })
    .await;
    let request = put("/alice/stor/o")
        .header("content-length", "10")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    connection.write(b"hello").await;
    let refused = connection.read_response().await;
    assert_eq!(refused.header("connection"), "close");
    refused.refused(408, "UploadTimeout", "request took too long to send data");
    store.get("/alice/stor/o").await.is(404);
    assert_eq!(store.copy_files().len(), 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_with_silent_clients_ends() {
    let store = start_with(|config| {
        config.idle = Duration::from_millis(200);
        config.head_timeout = Duration::from_millis(200);
    })
    .await;
    let mut silent = Connection::open(store.address).await;
    assert!(silent.read_to_end().await.0.is_empty());
    let mut slow = Connection::open(store.address).await;
    slow.write(b"GET /alice/stor HT").await;
    slow.read_to_end().await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_rest_between_requests_but_not_for_ever() {
    let idle = Duration::from_secs(2);
    let store = start_with(|config| {
        config.idle = idle;
        config.head_timeout = idle;
    })
    .await;
    let mut resting = Connection::open(store.address).await;
    let get = Request::new("GET", "/alice/stor").signed_by(&store.alice);
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < idle + idle / 4 {
        resting.exchange(&get).await.is(200);
        tokio::time::sleep(idle / 40).await;
    }
    assert!(resting.read_to_end().await.0.is_empty());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_given_up() {
    let store = start_with(|config| config.response_stall = Duration::from_millis(200)).await;
    store
        .put("/alice/stor/big", vec![1; 32 << 20])
        .await
        .is(204);
    let mut deaf = Connection::open(store.address).await;
    let big = Request::new("GET", "/alice/stor/big").signed_by(&store.alice);
    deaf.write(&big.head_bytes()).await;
    let given_up =
        "http_requests_completed{operation=\"getstorage\",method=\"GET\",statusCode=\"499\"}";
    store.wait_metric(given_up, 1).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_http_1_0_are_served_and_let_go() {
    let store = start().await;
    store.put("/alice/public/o", "x").await.is(204);
    for path in ["/alice/public/o", "/alice/public"] {
        let mut connection = Connection::open(store.address).await;
        connection
            .write(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .await;
        let (answer, orderly) = connection.read_to_end().await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(orderly && answer.contains(" 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("connection: close\r\n") && !answer.contains("chunked"),
            "{answer}"
        );
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_told_to_come_back() {
    let store = start_with(|config| config.connections_max = 2).await;
    let get = Request::new("GET", "/alice/stor").signed_by(&store.alice);
    let mut first = Connection::open(store.address).await;
    let mut second = Connection::open(store.address).await;
    first.exchange(&get).await.is(200);
    second.exchange(&get).await.is(200);
    let mut third = Connection::open(store.address).await;
    let refused = third.exchange(&get).await;
    assert_eq!(refused.header("connection"), "close");
    let refused = refused.refused(503, "ThrottledError", "manta throttled this request");
    refused.header("retry-after");
    drop(first);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while Connection::open(store.address)
        .await
        .exchange(&get)
        .await
        .status
        != 200
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the place is never free again"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop((second, third));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_uploads_are_told_to_come_back() {
    let store = start_with(|config| config.uploads_max = 1).await;
    let slow = put("/alice/stor/slow")
        .header("content-length", "10")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&slow.head_bytes()).await;
    connection.write(b"hello").await;
    store.wait_metric("muskie_uploads", 1).await;
    let refused = store.put("/alice/stor/o", "x").await;
    let refused = refused.refused(503, "ThrottledError", "manta throttled this request");
    refused.header("retry-after");
    store.put("/alice/stor/empty", "").await.is(204);
    connection.write(b"world").await;
    connection.read_response().await.is(204);
    store.put("/alice/stor/o", "x").await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_requests_end_and_takes_no_more() {
    let store = start().await;
    let mut idle = Connection::open(store.address).await;
    let get = Request::new("GET", "/alice/stor").signed_by(&store.alice);
    idle.exchange(&get).await.is(200);
    let upload = put("/alice/stor/o")
        .header("content-length", "10")
        .signed_by(&store.alice);
    let mut uploading = Connection::open(store.address).await;
    uploading.write(&upload.head_bytes()).await;
    uploading.write(b"hello").await;
    store.wait_metric("muskie_uploads", 1).await;
    let stopped = store.handle.shutdown();
    let ended = async {
        assert!(idle.read_to_end().await.0.is_empty());
        uploading.write(b"world").await;
        let done = uploading.read_response().await.is(204);
        assert_eq!(done.header("connection"), "close");
    };
    tokio::join!(stopped, ended);
    assert!(tokio::net::TcpStream::connect(store.address).await.is_err());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_cuts_what_does_not_end() {
    let store = start_with(|config| config.shutdown_grace = Duration::from_millis(100)).await;
    let upload = put("/alice/stor/o")
        .header("content-length", "10")
        .signed_by(&store.alice);
    let mut uploading = Connection::open(store.address).await;
    uploading.write(&upload.head_bytes()).await;
    uploading.write(b"hello").await;
    store.wait_metric("muskie_uploads", 1).await;
    store.handle.shutdown().await;
    uploading.read_to_end().await;
    assert_eq!(store.copy_files().len(), 0);
    store.stop().await;
}

//! Nonsense in every place, and the documented error for it.

use tokio::io::AsyncWriteExt as _;

use crate::client::{Connection, Request, http_date};
use crate::store::start;

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_every_header_leaves_the_server_up() {
    let store = start().await;
    store.put("/alice/stor/o", "x").await.is(204);
    let headers = [
        "accept",
        "accept-version",
        "authorization",
        "content-disposition",
        "content-md5",
        "content-type",
        "date",
        "x-date",
        "durability-level",
        "x-durability-level",
        "expect",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "max-content-length",
        "origin",
        "range",
        "role",
        "role-tag",
        "x-request-id",
        "connection",
        "cache-control",
        "m-x",
        "user-agent",
        "x-forwarded-for",
        "location",
    ];
    let long = "x".repeat(8000);
    let values = [
        "",
        " ",
        "\u{ff}\u{fe}",
        "%00",
        "\"",
        ",,,;;;===",
        "-1",
        "99999999999999999999999",
        &long,
    ];
    for name in headers {
        for value in values {
            for method in ["GET", "HEAD", "PUT", "DELETE"] {
                let mut request = Request::new(method, "/alice/stor/n");
                if method == "PUT" {
                    request = request.body("y");
                }
                // The header first: where it is also one of the signature's, both are there.
                let response = store.send(request.header(name, value)).await;
                let status = response.status;
                assert!(
                    matches!(status, 200 | 204 | 304 | 400..=499),
                    "{method} {name}: {value:?}: {status}"
                );
            }
        }
    }
    assert_eq!(store.metric("muskie_panics_total").await, 0);
    assert_eq!(store.get("/alice/stor/o").await.text(), "x");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_turned_away() {
    let store = start().await;
    for (bytes, statuses) in [
        (&b"nonsense\r\n\r\n"[..], &[400][..]),
        (b"\0\0\0\0\r\n\r\n", &[400]),
        (b"GET /alice/stor HTTP/1.1\r\nbad header\r\n\r\n", &[400]),
        (b"GET /alice/stor HTTP/1.1\r\nm-x y: 1\r\n\r\n", &[400]),
        (
            b"PUT /alice/stor/o HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            &[400],
        ),
        (
            b"PUT /alice/stor/o HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            &[400],
        ),
        (b"GET /alice/<> HTTP/1.1\r\n\r\n", &[400]),
    ] {
        let mut connection = Connection::open(store.address).await;
        connection.write(bytes).await;
        let response = connection.read_response().await;
        assert!(
            statuses.contains(&response.status),
            "{bytes:?}: {response:?}"
        );
    }
    let mut connection = Connection::open(store.address).await;
    let head = format!(
        "GET /alice/stor HTTP/1.1\r\nm-x: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    // It may be cut while we still write.
    let _ = connection.stream.write_all(head.as_bytes()).await;
    let (answer, _) = connection.read_to_end().await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{answer:?}"
    );
    store.get("/alice/stor").await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_headers_are_bounded() {
    let store = start().await;
    let mut request = Request::new("PUT", "/alice/stor/o");
    for n in 0..10 {
        request = request.header(&format!("m-{n}"), "v".repeat(500));
    }
    store
        .send(request.header("m-", "x").body("x"))
        .await
        .is(204);
    let head = store.head("/alice/stor/o").await;
    let kept: Vec<_> = head
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("m-"))
        .collect();
    assert_eq!(kept.len(), 8, "values stay below 4096 bytes");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_echoed_if_they_are_plain() {
    let store = start().await;
    let id = |id: &str| {
        let request = Request::new("GET", "/alice/public").header("x-request-id", id);
        request.header("date", http_date(0))
    };
    let get = id("abc-123").send(store.address).await.is(200);
    assert_eq!(get.header("x-request-id"), "abc-123");
    for bad in ["a b", "", &"x".repeat(200), "\"<script>\""] {
        let fresh = id(bad).send(store.address).await.is(200);
        assert!(
            fresh
                .header("x-request-id")
                .parse::<libmanta::ObjectId>()
                .is_ok()
        );
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_chunks_are_taken_apart() {
    let store = start().await;
    // Where chunks are not the last of it, nobody knows where the body ends.
    let request = Request::new("PUT", "/alice/stor/o").header("transfer-encoding", "chunked, gzip");
    store.send(request).await.is(400);
    store.get("/alice/stor/o").await.is(404);
    let mixed_case = Request::new("PUT", "/alice/stor/o").header("transfer-encoding", "Chunked");
    let mixed_case = mixed_case.signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&mixed_case.head_bytes()).await;
    connection.write(b"5\r\nhello\r\n0\r\n\r\n").await;
    connection.read_response().await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lengths_smuggle_nothing() {
    let store = start().await;
    store.put("/alice/public/victim", "x").await.is(204);
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
    ] {
        let request = Request::new("PUT", "/alice/stor/o").signed_by(&store.alice);
        let head = String::from_utf8(request.head_bytes()).unwrap();
        let head = head.replacen("\r\n", &format!("\r\n{framing}\r\n"), 1);
        let mut connection = Connection::open(store.address).await;
        connection.write(head.as_bytes()).await;
        connection
            .write(b"5\r\nhello\r\n0\r\n\r\nGET /alice/public/victim HTTP/1.1\r\n\r\n")
            .await;
        // HTTP drops the length before we see it. The chunks are the body, and nothing follows.
        connection.read_response().await.is(204);
        assert!(connection.read_to_end().await.0.is_empty(), "{framing}");
        assert_eq!(store.get("/alice/stor/o").await.text(), "hello");
    }
    store.stop().await;
}

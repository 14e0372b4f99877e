//! Clients that take, or have us keep, as much as they can get.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::client::{Connection, Request};
use crate::store::{Store, start, start_with};

fn put(path: &str) -> Request {
    Request::new("PUT", path)
}

/// The head of an upload of ten bytes, and the first five.
async fn begin(store: &Store, request: Request) -> Connection {
    let request = request.header("content-length", "10");
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    connection.write(b"hello").await;
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_keeps_no_more_than_a_listing_can_hold() {
    let store = start().await;
    store.mkdir("/alice/stor/d").await.is(204);
    store.put("/alice/stor/o", "x").await.is(204);
    let together = "cache-control, surrogate-key and access-control headers together";
    let names = "the names of m- headers together";
    // The longest that is kept, and the message for one more.
    for (header, length, refusal) in [
        (
            "content-type",
            1024,
            "content-type cannot exceed 1024 bytes",
        ),
        (
            "content-disposition",
            4096,
            "content-disposition cannot exceed 4096 bytes",
        ),
        (
            "surrogate-key",
            8192,
            &format!("{together} cannot exceed 8192 bytes"),
        ),
        (
            "cache-control",
            8192,
            &format!("{together} cannot exceed 8192 bytes"),
        ),
        (
            "access-control-expose-headers",
            8192,
            &format!("{together} cannot exceed 8192 bytes"),
        ),
    ] {
        let value = |length: usize| match header {
            "content-type" => format!("text/{}", "x".repeat(length - 5)),
            "content-disposition" => {
                format!("attachment; filename=\"{}\"", "x".repeat(length - 23))
            }
            _ => "x".repeat(length),
        };
        for path in ["/alice/stor/o", "/alice/stor/o?metadata=true"] {
            let send = |length: usize| {
                let request = put(path).header(header, value(length));
                // There is no length in a change of headers alone.
                let request = if path.contains('?') {
                    request
                } else {
                    request.body("x")
                };
                store.send(request)
            };
            send(length).await.is(204);
            send(length + 1).await.refused(400, "BadRequest", refusal);
            send(110_000).await.refused(400, "BadRequest", refusal);
        }
        assert_eq!(
            store.head("/alice/stor/o").await.header(header),
            value(length)
        );
    }
    // Neither several headers, nor directories, nor names without values are a way around.
    let half = "x".repeat(5000);
    let refusal = format!("{together} cannot exceed 8192 bytes");
    for (first, second) in [
        ("surrogate-key", "cache-control"),
        ("surrogate-key", "surrogate-key"),
    ] {
        let request = put("/alice/stor/n").header(first, half.clone());
        let request = request.header(second, half.clone()).body("x");
        let refused = store.send(request).await;
        refused.refused(400, "BadRequest", &refusal);
    }
    let directory = put("/alice/stor/d").header("content-type", "application/json; type=directory");
    let refused = store
        .send(directory.header("surrogate-key", "x".repeat(8193)).body(""))
        .await;
    refused.refused(400, "BadRequest", &refusal);
    let named = put("/alice/stor/n").header(&format!("m-{}", "x".repeat(8191)), "");
    let refused = store.send(named.body("x")).await;
    refused.refused(
        400,
        "BadRequest",
        &format!("{names} cannot exceed 8192 bytes"),
    );
    // A file name that grows when it is escaped.
    let grows = format!("attachment; filename=\"{}\"", "%41".repeat(1000));
    let refused = store
        .send(
            put("/alice/stor/n")
                .header("content-disposition", grows)
                .body("x"),
        )
        .await;
    refused.refused(
        400,
        "BadRequest",
        "content-disposition cannot exceed 4096 bytes",
    );
    store.get("/alice/stor/n").await.is(404);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_to_keep_is_refused_before_the_body_is_asked_for() {
    let store = start().await;
    let request = put("/alice/stor/o")
        .header("expect", "100-continue")
        .header("surrogate-key", "x".repeat(100_000))
        .body("hello")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    connection.read_response().await.is(400);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_now_and_then_does_not_hold_a_place() {
    let store = start_with(|config| config.upload_stall = Duration::from_millis(800)).await;
    let request = put("/alice/stor/o")
        .header("content-length", "1000000")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    let (mut reader, mut writer) = connection.stream.split();
    let drip = async {
        // Never silent for long: only the rate is too low. Ends when the server has closed.
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = async {
        let mut answer = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        answer.truncate(read.expect("the place is held").unwrap());
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::select! {
        answer = answer => answer,
        () = drip => panic!("cut without an answer"),
    };
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drop(connection);
    store.wait_metric("muskie_uploads", 0).await;
    assert_eq!(store.copy_files().len(), 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_that_keeps_the_rate_is_served() {
    let stall = Duration::from_secs(2);
    let store = start_with(|config| {
        config.upload_stall = stall;
        config.upload_rate_min_bytes_per_s = 1;
    })
    .await;
    let request = put("/alice/stor/o")
        .header("transfer-encoding", "chunked")
        .signed_by(&store.alice);
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < 2 * stall {
        connection.write(b"1\r\nx\r\n").await;
        sent += 1;
        tokio::time::sleep(stall / 40).await;
    }
    connection.write(b"0\r\n\r\n").await;
    connection.read_response().await.is(204);
    assert_eq!(store.get("/alice/stor/o").await.body.len(), sent);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_never_has_all_places_for_uploads() {
    let store = start_with(|config| config.uploads_max = 4).await;
    let mut hers = Vec::new();
    for n in 0..2 {
        let request = put(&format!("/alice/stor/slow{n}")).signed_by(&store.alice);
        hers.push(begin(&store, request).await);
        store.wait_metric("muskie_uploads", n + 1).await;
    }
    let refused = store.put("/alice/stor/o", "x").await;
    let refused = refused.refused(503, "ThrottledError", "manta throttled this request");
    refused.header("retry-after");
    let his = put("/bob/stor/o").body("x").signed_by(&store.bob);
    his.send(store.address).await.is(204);
    for connection in &mut hers {
        connection.write(b"world").await;
        connection.read_response().await.is(204);
    }
    store.put("/alice/stor/o", "x").await.is(204);
    // Who hangs up gives the place back too.
    for _ in 0..2 {
        hers.push(begin(&store, put("/alice/stor/o").signed_by(&store.alice)).await);
    }
    store.wait_metric("muskie_uploads", 2).await;
    drop(hers);
    store.wait_metric("muskie_uploads", 0).await;
    store.put("/alice/stor/o", "x").await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_descriptors_for_the_rest() {
    // Enough for two connections.
    let store = start_with(|config| config.descriptors_max = Some(128 + 3 * 2)).await;
    let get = Request::new("GET", "/alice/stor").signed_by(&store.alice);
    let mut first = Connection::open(store.address).await;
    let mut second = Connection::open(store.address).await;
    first.exchange(&get).await.is(200);
    second.exchange(&get).await.is(200);
    get.send(store.address).await.is(503);
    first.exchange(&get).await.is(200);
    drop((first, second));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_half_closes_gets_the_answer() {
    let store = start().await;
    let requests = [
        put("/alice/stor/o").body("hello"),
        put("/alice/stor/c").chunked(&[b"hello"]),
        put("/alice/stor/big").body(vec![7; 4 << 20]),
        Request::new("GET", "/alice/stor/o"),
        Request::new("DELETE", "/alice/stor/c"),
    ];
    for (request, status) in requests.into_iter().zip([204, 204, 204, 200, 204]) {
        let request = request.signed_by(&store.alice);
        let mut connection = Connection::open(store.address).await;
        connection.write(&request.head_bytes()).await;
        connection.write(&request.body_bytes()).await;
        connection.stream.shutdown().await.unwrap();
        connection.read_response().await.is(status);
        // And then the connection is over, without waiting for the idle limit.
        let (rest, orderly) = connection.read_to_end().await;
        assert!(rest.is_empty() && orderly);
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "hello");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_the_middle_leaves_no_copies() {
    let store = start().await;
    let begun = Instant::now();
    for reset in [false, true] {
        let request = put("/alice/stor/o").signed_by(&store.alice);
        let connection = begin(&store, request).await;
        store.wait_metric("muskie_uploads", 1).await;
        if reset {
            connection.stream.set_zero_linger().unwrap();
        }
        drop(connection);
        store.wait_metric("muskie_uploads", 0).await;
    }
    // Far below what a silent client is allowed: its end was noticed.
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(store.copy_files().len(), 0);
    store.get("/alice/stor/o").await.is(404);
    store.stop().await;
}

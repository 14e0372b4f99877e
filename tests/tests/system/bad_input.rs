//! Requests that no decent client sends: each gets the documented error, and leaves nothing behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::wire::{Client, Connection, Request};
use tests::{Launch, Store, wait_for};

use crate::on_disk;

/// After anything bad: the store serves, nothing of `path` is to be seen, nothing is left on the disk.
fn unharmed(store: &Store, path: &str) -> Result<()> {
    let mut client = store.client()?;
    ensure!(client.head(path)?.status == 404, "{path} must not exist");
    wait_for("temporaries to be removed", Duration::from_secs(10), || {
        Ok(
            (on_disk::temporaries(store)?.is_empty() && on_disk::copies(store)?.is_empty())
                .then_some(()),
        )
    })
}

#[test]
fn signatures_that_are_wrong() -> Result<()> {
    let store = Store::launch()?;
    let signer = store.signer()?;
    let path = store.path("stor");
    let [(_, date), (_, good)] = signer.headers();
    let mut client = store.anonymous();
    let mut ask = |date: &str, authorization: &str| {
        let request = Request::new("GET", &path)
            .header("date", date)
            .header("authorization", authorization);
        client.call(&request)
    };
    ask(&date, &good)?.expect(200)?;
    let fingerprint = signer
        .key_id()
        .rsplit('/')
        .next()
        .context("a fingerprint")?;
    let unknown = "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff";
    for (authorization, status, code) in [
        (
            good.replace("signature=\"", "signature=\"AAAA"),
            403,
            "InvalidSignature",
        ),
        (
            good.replace("rsa-sha256", "rsa-sha512"),
            403,
            "InvalidSignature",
        ),
        (
            good.replace("rsa-sha256", "ecdsa-sha256"),
            403,
            "InvalidSignature",
        ),
        (good.replace("rsa-sha256", "rsa-md5"), 400, "InvalidHeader"),
        (
            good.replace("rsa-sha256", "hmac-sha256"),
            401,
            "InvalidAlgorithm",
        ),
        (good.replace(fingerprint, unknown), 403, "KeyDoesNotExist"),
        (
            good.replace(&format!("/{}/", store.account()), "/nobodyatall/"),
            403,
            "AccountDoesNotExist",
        ),
        (good.replace("keyId=\"/", "keyId=\""), 403, "InvalidKeyId"),
        (
            good.replace("Signature ", "signature "),
            400,
            "InvalidHeader",
        ),
        ("Signature".to_owned(), 400, "InvalidHeader"),
        ("Signature keyId=\"".to_owned(), 400, "InvalidHeader"),
        ("Signature keyId=x,,,=\"\\".to_owned(), 400, "InvalidHeader"),
        (
            good.replace("algorithm=", "headers=\"date x-missing\",algorithm="),
            400,
            "InvalidHeader",
        ),
        (
            good.split(",signature")
                .next()
                .unwrap_or_default()
                .to_owned(),
            400,
            "InvalidHeader",
        ),
        (
            "Basic eDp5".to_owned(),
            403,
            "AuthorizationSchemeNotAllowed",
        ),
        ("Token AAAA".to_owned(), 403, "InvalidAuthenticationToken"),
        (
            "Token \u{e9}\u{e9}".to_owned(),
            403,
            "InvalidAuthenticationToken",
        ),
    ] {
        ask(&date, &authorization)?
            .expect_error(status, code)
            .with_context(|| format!("authorization: {authorization}"))?;
    }
    // The bytes that were signed are not those that were sent.
    ask(&httpdate_before(&date), &good)?.expect_error(403, "InvalidSignature")?;
    for (age, code) in [(400, "InvalidHeader"), (700, "RequestExpired")] {
        let [(_, date), (_, authorization)] = signer.headers_aged(Duration::from_secs(age));
        ask(&date, &authorization)?.expect_error(400, code)?;
    }
    let never = "yesterday, more or less";
    ask(never, &signer.authorization(&format!("date: {never}")))?
        .expect_error(400, "InvalidHeader")?;
    store.finish()
}

/// The date in a form that is as good, but other bytes: another second would do as well.
fn httpdate_before(date: &str) -> String {
    let (head, zone) = date.split_at(date.len() - " GMT".len());
    let second: u32 = head[head.len() - 1..].parse().unwrap_or(0);
    format!("{}{}{zone}", &head[..head.len() - 1], (second + 1) % 10)
}

#[test]
fn paths_that_are_wrong() -> Result<()> {
    let store = Launch::new()
        .setting("housekeeping.delete_grace_ms = 100")
        .setting("housekeeping.collect_interval_ms = 100")
        .start()?;
    let mut client = store.client()?;
    let long = "n".repeat(1025);
    let deep = "/d".repeat(2100);
    for (path, status, code) in [
        ("stor/a%00b".to_owned(), 400, "InvalidResource"),
        ("stor/%zz".to_owned(), 400, "InvalidResource"),
        ("stor/%".to_owned(), 400, "InvalidResource"),
        ("stor/%e".to_owned(), 400, "InvalidResource"),
        ("stor/%ff%fe".to_owned(), 400, "InvalidResource"),
        (format!("stor/{long}"), 400, "InvalidResource"),
        (format!("stor{deep}"), 400, "InvalidResource"),
    ] {
        let path = store.path(&path);
        let shown = &path[..path.len().min(60)];
        client
            .put(&path, "x")?
            .expect_error(status, code)
            .with_context(|| format!("PUT {shown}"))?;
        client
            .get(&path)?
            .expect_error(status, code)
            .with_context(|| format!("GET {shown}"))?;
    }
    // Names, not steps: nothing above is reached.
    for path in [
        "stor/../../etc/passwd",
        "stor/..%2f..%2fetc%2fpasswd",
        "stor/./x/.",
    ] {
        client
            .put(&store.path(path), "x")?
            .expect_error(404, "DirectoryDoesNotExist")?;
        client
            .get(&store.path(path))?
            .expect_error(404, "ResourceNotFound")?;
    }
    client.put(&store.path("stor/.."), "dots")?.expect(204)?;
    ensure!(
        client.names(&store.path("stor"))? == [".."],
        "two dots are a name like any other"
    );
    client.delete(&store.path("stor/.."))?.expect(204)?;
    client
        .get("/9lives/stor")?
        .expect_error(404, "ResourceNotFound")?;
    client
        .get("/nobodyatall/stor")?
        .expect_error(403, "AccountDoesNotExist")?;
    client
        .get(&store.path("nowhere"))?
        .expect_error(404, "ResourceNotFound")?;
    client
        .call(&Request::new("PATCH", &store.path("stor/x")))?
        .expect_error(405, "MethodNotAllowed")?;
    unharmed(&store, &store.path("stor/x"))?;
    store.finish()
}

#[test]
fn parameters_and_headers_that_are_nonsense() -> Result<()> {
    let store = Store::launch()?;
    let mut client = store.client()?;
    let directory = store.path("stor");
    for limit in [
        "0",
        "1025",
        "-1",
        "abc",
        "",
        "99999999999999999999",
        "1.5",
        "%00",
    ] {
        client
            .get(&format!("{directory}?limit={limit}"))?
            .expect_error(400, "InvalidArgumentError")
            .with_context(|| format!("limit={limit}"))?;
    }
    client
        .get(&format!("{directory}?sort=mtime&marker=whenever"))?
        .expect_error(400, "InvalidParameter")?;
    client
        .get(&format!("{directory}?sort=none"))?
        .expect_error(403, "QueryParameterForbidden")?;
    for harmless in [
        "sort=backwards",
        "sort_order=up",
        "marker=",
        "marker=%ff",
        "x=%zz&&&=&%",
        "limit=5&limit=6",
    ] {
        let status = client.get(&format!("{directory}?{harmless}"))?.status;
        ensure!(
            matches!(status, 200 | 400),
            "{harmless} is answered {status}"
        );
    }
    let jobs = store.path("jobs");
    client
        .get(&format!("{jobs}?state=odd"))?
        .expect_error(400, "InvalidParameter")?;
    client
        .get(&format!("{jobs}?name=a%20b"))?
        .expect_error(400, "InvalidParameter")?;

    let path = store.path("stor/x");
    for (header, value, status, code) in [
        ("durability-level", "foo", 400, "InvalidDurabilityLevel"),
        ("durability-level", "0", 400, "InvalidDurabilityLevel"),
        ("durability-level", "10", 400, "InvalidDurabilityLevel"),
        ("x-durability-level", "-1", 400, "InvalidDurabilityLevel"),
        ("content-md5", "aGVsbG8=", 400, "BadRequest"),
        (
            "content-md5",
            "5d41402abc4b2a76b9719d911017c592",
            400,
            "BadRequest",
        ),
        (
            "content-md5",
            "AAAAAAAAAAAAAAAAAAAAAA==",
            400,
            "ContentMD5Mismatch",
        ),
        ("content-disposition", "attachment;", 400, "BadRequest"),
        ("accept-version", "~9", 400, "InvalidVersion"),
        (
            "if-match",
            "4b5a7d14-0000-0000-0000-000000000000",
            412,
            "PreconditionFailed",
        ),
    ] {
        let request = Request::new("PUT", &path)
            .header(header, value)
            .body("some bytes");
        client
            .call(&request)?
            .expect_error(status, code)
            .with_context(|| format!("{header}: {value}"))?;
    }
    let chunked = |limit: &str| {
        let head = Request::new("PUT", &path)
            .header("transfer-encoding", "chunked")
            .header("max-content-length", limit);
        let mut bytes = head.bytes(store.signer().ok().as_ref());
        bytes.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n");
        bytes
    };
    for (limit, status, code) in [
        ("4", 413, "MaxContentLengthExceeded"),
        ("-1", 400, "InvalidMaxContentLength"),
        ("x", 400, "InvalidMaxContentLength"),
    ] {
        let mut connection = Connection::open(store.address())?;
        connection.send(&chunked(limit))?;
        connection.receive("PUT")?.expect_error(status, code)?;
    }
    unharmed(&store, &path)?;

    // Ranges of ten bytes.
    client.put(&path, "0123456789")?.expect(204)?;
    for (range, status) in [
        ("bytes=10-", 416),
        ("bytes=5-3", 416),
        ("bytes=foo", 416),
        ("bytes=-", 416),
        ("bytes=18446744073709551615-", 416),
        ("bytes=0-1,3-4", 501),
        ("lines=0-1", 200),
        ("bytes=0-99999999999", 206),
        ("bytes=9-9", 206),
        ("bytes=-3", 206),
    ] {
        let response = client.call(&Request::new("GET", &path).header("range", range))?;
        ensure!(
            response.status == status,
            "{range} is answered {}",
            response.status
        );
        if status == 416 {
            ensure!(
                response.header("content-range") == Some("bytes */10"),
                "{range}: {response:?}"
            );
        }
    }
    let huge = Request::new("PUT", &store.path("stor/huge")).header("expect", "100-continue");
    client
        .call(&huge.claiming(1_000_000_000_000_000))?
        .expect_error(507, "NotEnoughSpace")?;
    store.finish()
}

#[test]
fn jobs_that_are_nonsense() -> Result<()> {
    let store = Store::launch()?;
    let mut client = store.client()?;
    for body in [
        "",
        "null",
        "{",
        "[]",
        "{}",
        "{\"phases\":[]}",
        "{\"phases\":[null]}",
        "{\"phases\":[{}]}",
        "{\"phases\":[{\"exec\":\"\"}]}",
        "{\"phases\":[{\"exec\":1}]}",
        "{\"phases\":[{\"exec\":\"x\",\"type\":\"sort\"}]}",
        "{\"phases\":[{\"exec\":\"x\",\"memory\":1}]}",
        "{\"phases\":[{\"exec\":\"x\",\"count\":129,\"type\":\"reduce\"}]}",
        "{\"phases\":[{\"exec\":\"x\",\"disk\":3}]}",
        "{\"phases\":[{\"exec\":\"x\",\"image\":\"x.y\"}]}",
        "{\"phases\":[{\"exec\":\"x\"}],\"junk\":1}",
        "{\"phases\":[{\"exec\":\"x\"}],\"options\":{}}",
    ] {
        let request = Request::new("POST", &store.path("jobs"))
            .header("content-type", "application/json; type=job");
        let response = client.call(&request.body(body))?;
        ensure!(
            response.status == 400,
            "{body} is answered {}: {}",
            response.status,
            response.text()
        );
        ensure!(
            matches!(response.code().as_str(), "InvalidJob" | "InvalidContent"),
            "{body}: {}",
            response.text()
        );
    }
    let nothing = store.path("jobs/00000000-0000-4000-8000-000000000000/live/status");
    client
        .get(&nothing)?
        .expect_error(404, "ResourceNotFound")?;
    store.finish()
}

#[test]
fn uploads_that_end_early() -> Result<()> {
    let store = Launch::new()
        .setting("http.upload_stall_ms = 500")
        .start()?;
    let path = store.path("stor/cut");
    let head = |request: Request| request.bytes(store.signer().ok().as_ref());
    // Gone in the middle of the body: with a length, and in chunks.
    for bytes in [
        head(
            Request::new("PUT", &path)
                .body(vec![1; 300_000])
                .claiming(1_000_000),
        ),
        [
            head(Request::new("PUT", &path).header("transfer-encoding", "chunked")),
            b"4000\r\nxxxx".to_vec(),
        ]
        .concat(),
        head(
            Request::new("PUT", &path)
                .header("expect", "100-continue")
                .claiming(10),
        ),
    ] {
        let mut connection = Connection::open(store.address())?;
        connection.send(&bytes)?;
        drop(connection);
        unharmed(&store, &path)?;
    }
    // Ended in the middle, but waiting for an answer: there may be none, but no success.
    let mut connection = Connection::open(store.address())?;
    connection.send(&head(Request::new("PUT", &path).body("four").claiming(5)))?;
    connection.end_of_sending()?;
    if let Ok(response) = connection.receive("PUT") {
        ensure!(response.status >= 400, "{response:?}");
    }
    // Stalled.
    let mut connection = Connection::open(store.address())?;
    connection.send(&head(Request::new("PUT", &path).body("four").claiming(5)))?;
    connection
        .receive("PUT")?
        .expect_error(408, "UploadTimeout")?;
    ensure!(
        connection.is_closed()?,
        "a stalled upload's connection is closed"
    );
    unharmed(&store, &path)?;
    // The old object stays while a new one fails.
    let mut client = store.client()?;
    client.put(&path, "old")?.expect(204)?;
    let mut connection = Connection::open(store.address())?;
    connection.send(&head(Request::new("PUT", &path).body("new").claiming(4)))?;
    connection
        .receive("PUT")?
        .expect_error(408, "UploadTimeout")?;
    ensure!(
        client.get(&path)?.expect(200)?.body == b"old",
        "the old object stays"
    );
    store.finish()
}

/// What was refused is still read for a while, so that a client that sends before it reads finds the answer.
#[test]
fn refusals_are_heard_by_clients_that_send_first() -> Result<()> {
    let store = Store::launch()?;
    let path = store.path("stor/none/x");
    let mut connection = Connection::open(store.address())?;
    let body = vec![7; 20 << 20];
    connection.send(
        &Request::new("PUT", &path)
            .body(body)
            .bytes(Some(&store.signer()?)),
    )?;
    let refused = connection
        .receive("PUT")?
        .expect_error(404, "DirectoryDoesNotExist")?;
    ensure!(
        refused.header("connection") == Some("close"),
        "{:?}",
        refused.headers
    );
    ensure!(connection.is_closed()?, "the connection is closed");
    // With Expect nothing is sent, and nothing is waited for.
    let mut connection = Connection::open(store.address())?;
    let request = Request::new("PUT", &path)
        .header("expect", "100-continue")
        .claiming(1 << 40);
    connection.send(&request.bytes(Some(&store.signer()?)))?;
    connection
        .receive("PUT")?
        .expect_error(404, "DirectoryDoesNotExist")?;
    store.finish()
}

#[test]
fn what_is_not_http_is_refused_and_forgotten() -> Result<()> {
    let store = Store::launch()?;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(200_000));
    let many = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "a: b\r\n".repeat(20_000)
    );
    let smuggled =
        "PUT /a/stor/x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd";
    for bytes in [
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "GET / HTTP/1.1\r\nhost x\r\n\r\n",
        "GET / HTTP/1.1\r\nm-a b: c\r\n\r\n",
        smuggled,
        "PUT / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "PUT / HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        &long,
        &many,
    ] {
        let shown = &bytes[..bytes.len().min(40)];
        let mut connection = Connection::open(store.address())?;
        // The store may hang up before it has read all of it.
        let _ = connection.send(bytes.as_bytes());
        let _ = connection.end_of_sending();
        if let Ok(response) = connection.receive("GET") {
            ensure!(
                matches!(response.status, 400..=499 | 505 | 302),
                "{shown:?} is answered {}",
                response.status
            );
        }
    }
    ensure!(
        store.anonymous().get("/ping")?.status == 200,
        "the store still serves"
    );
    store.finish()
}

/// Half open connections, half sent requests: others are served, and a stop is not held up.
#[test]
fn clients_that_say_nothing_hold_nobody_up() -> Result<()> {
    let mut store = Store::launch()?;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut connection = Connection::open(store.address())?;
        if number % 2 == 0 {
            connection.send(b"GET /ping HTTP/1.1\r\nho")?;
        }
        silent.push(connection);
    }
    let mut client: Client = store.client()?;
    client.put(&store.path("stor/x"), "served")?.expect(204)?;
    store.stop()?;
    drop(silent);
    store.finish()
}

//! Objects: put, get, head, delete, metadata. `m2_…` and `jm_…` are lines of rest-api.md section 15.2, the
//! first on the surface on which they are tested.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use crate::client::{Connection, Request, http_date};
use crate::store::{start, start_m2};

fn md5(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_back_as_it_went_in() {
    let store = start().await;
    let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    for size in [1, 6, 4096, 65_536, 65_537, 300_000] {
        let body = &body[..size];
        let request = Request::new("PUT", "/alice/stor/o")
            .header("content-type", "text/plain; charset=utf-8")
            .header("content-md5", md5(body))
            .header("m-one", "1")
            .header("M-Two", "zw\u{f6}lf")
            .header("content-encoding", "lost")
            .body(body);
        let put = store.send(request).await.is(204).complete();
        assert_eq!(put.header("computed-md5"), md5(body));
        assert!(put.get("content-length").is_none() && put.get("durability-level").is_none());
        let etag = put.header("etag").to_owned();
        assert!(etag.parse::<libmanta::ObjectId>().is_ok() && !etag.contains('"'));

        let get = store.get("/alice/stor/o").await.is(200).complete();
        assert_eq!(get.body, body);
        let head = store.head("/alice/stor/o").await.is(200).complete();
        for response in [&get, &head] {
            assert_eq!(response.header("etag"), etag);
            assert_eq!(
                response.header("last-modified"),
                put.header("last-modified")
            );
            assert_eq!(response.header("durability-level"), "2");
            assert_eq!(response.header("content-length"), size.to_string());
            assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(response.header("content-md5"), md5(body));
            assert_eq!(response.header("m-one"), "1");
            assert_eq!(response.header("m-two"), "zw\u{f6}lf");
            assert!(response.get("content-encoding").is_none());
        }
        assert_eq!(get.header("accept-ranges"), "bytes");
        assert!(head.get("accept-ranges").is_none());
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_put_and_overwrite() {
    let store = start_m2().await;
    let mut etags = std::collections::BTreeSet::new();
    for body in ["one", "two", "two"] {
        let put = store.put("/alice/stor/o", body).await.is(204);
        assert_eq!(put.header("computed-md5"), md5(body.as_bytes()));
        put.header("last-modified");
        assert!(etags.insert(put.header("etag").to_owned()));
        assert_eq!(store.get("/alice/stor/o").await.is(200).text(), body);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_custom_headers() {
    let store = start_m2().await;
    let custom = [
        ("cache-control", "max-age=5, private"),
        ("surrogate-key", "a b c"),
    ];
    let mut request = Request::new("PUT", "/alice/stor/o");
    for (name, value) in custom {
        request = request.header(name, value);
    }
    store.send(request.body("x")).await.is(204);
    for response in [
        store.get("/alice/stor/o").await,
        store.head("/alice/stor/o").await,
    ] {
        for (name, value) in custom {
            assert_eq!(response.header(name), value);
        }
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_chunked_uploads_up_to_their_limit() {
    let store = start_m2().await;
    let put = |path: &str, max: &str| {
        let request = Request::new("PUT", path).header("max-content-length", max);
        store.send(request.chunked(&[b"hello ", b"chunked ", b"world"]))
    };
    put("/alice/stor/fits", "19").await.is(204);
    assert_eq!(
        store.get("/alice/stor/fits").await.text(),
        "hello chunked world"
    );
    let refused = put("/alice/stor/not", "18").await;
    refused.refused(
        413,
        "MaxContentLengthExceeded",
        "request has exceeded 19 bytes",
    );
    let refused = put("/alice/stor/not", "0").await;
    refused.refused(
        413,
        "MaxContentLengthExceeded",
        "request has exceeded 6 bytes",
    );
    for nonsense in ["-5", "x", "1e3", ""] {
        let message = format!("{nonsense} is an invalid max-content-length value");
        put("/alice/stor/not", nonsense)
            .await
            .refused(400, "InvalidMaxContentLength", &message);
    }
    store.get("/alice/stor/not").await.is(404);
    let unlimited = Request::new("PUT", "/alice/stor/free").chunked(&[b"abc"]);
    store.send(unlimited).await.is(204);
    assert_eq!(store.get("/alice/stor/free").await.text(), "abc");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_zero_bytes() {
    let store = start_m2().await;
    let requests = [
        Request::new("PUT", "/alice/stor/sized").body(""),
        Request::new("PUT", "/alice/stor/bodyless"),
        Request::new("PUT", "/alice/stor/chunked").chunked(&[]),
        Request::new("PUT", "/alice/stor/expected")
            .header("expect", "100-continue")
            .body(""),
    ];
    for request in requests {
        let put = store
            .send(request.header("durability-level", "3"))
            .await
            .is(204);
        assert_eq!(put.header("computed-md5"), "1B2M2Y8AsgTpgAmY7PhCfg==");
    }
    for name in ["sized", "bodyless", "chunked", "expected"] {
        let get = store.get(&format!("/alice/stor/{name}")).await.is(200);
        assert_eq!(get.header("content-length"), "0");
        assert_eq!(get.header("durability-level"), "0");
        assert_eq!(get.header("content-md5"), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(get.body, b"");
    }
    let rows = store.get("/alice/stor").await.rows();
    assert!(
        rows.iter()
            .all(|row| row["durability"] == 0 && row["size"] == 0),
        "{rows:?}"
    );
    assert_eq!(store.copy_files().len(), 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_durability_levels() {
    let store = start_m2().await;
    for (header, level) in [("durability-level", 1), ("x-durability-level", 3)] {
        let before = store.copy_files().len();
        let path = format!("/alice/stor/{level}");
        let request = Request::new("PUT", &path)
            .header(header, level.to_string())
            .body("x");
        store.send(request).await.is(204);
        assert_eq!(
            store.get(&path).await.header("durability-level"),
            level.to_string()
        );
        assert_eq!(store.copy_files().len() - before, level);
    }
    let both = Request::new("PUT", "/alice/stor/both")
        .header("x-durability-level", "1")
        .header("durability-level", "3");
    store.send(both.body("x")).await.is(204);
    assert_eq!(
        store
            .get("/alice/stor/both")
            .await
            .header("durability-level"),
        "3"
    );
    for nonsense in ["0", "10", "foo", "-1", "2.5", "", "99999999999999999999"] {
        let request = Request::new("PUT", "/alice/stor/n").header("durability-level", nonsense);
        let message = "durability-level must be between 1 and 9";
        store
            .send(request.body("x"))
            .await
            .refused(400, "InvalidDurabilityLevel", message);
    }
    let request = Request::new("PUT", "/alice/stor/n")
        .header("durability-level", "9")
        .body("x");
    let refused = store.send(request).await;
    let refused = refused.refused(
        503,
        "InternalError",
        "No storage nodes available for this request",
    );
    assert_eq!(refused.header("retry-after"), "30");
    store.get("/alice/stor/n").await.is(404);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_wrong_and_malformed_content_md5() {
    let store = start_m2().await;
    store.put("/alice/stor/o", "old").await.is(204);
    let put = |md5: &str| {
        let request = Request::new("PUT", "/alice/stor/o").header("content-md5", md5);
        store.send(request.body("new"))
    };
    let (right, wrong) = (md5(b"new"), md5(b"neu"));
    let message = format!("Content-MD5 expected {right}, but was {wrong}");
    put(&wrong)
        .await
        .refused(400, "ContentMD5Mismatch", &message);
    for malformed in [
        "",
        "x",
        "d41d8cd98f00b204e9800998ecf8427e",
        "AAAA",
        "====",
        "\u{e9}",
    ] {
        put(malformed)
            .await
            .refused(400, "BadRequest", "Content-MD5 invalid");
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "old");
    put(&right).await.is(204);
    assert_eq!(store.get("/alice/stor/o").await.text(), "new");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_content_types() {
    let store = start_m2().await;
    let put = |content_type: Option<&str>| {
        let mut request = Request::new("PUT", "/alice/stor/o");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        store.send(request.body("x"))
    };
    put(None).await.is(204);
    let stored = || async {
        store
            .head("/alice/stor/o")
            .await
            .header("content-type")
            .to_owned()
    };
    assert_eq!(stored().await, "application/octet-stream");
    for (sent, kept) in [
        ("audio/mpeg", "audio/mpeg"),
        ("application/json", "application/json"),
        ("jpg", "image/jpeg"),
        ("argle/", "application/octet-stream"),
        ("/*", "application/octet-stream"),
        ("\u{c3}\u{a9}t\u{c3}\u{a9}", "application/octet-stream"),
        ("text/plain", "text/plain"),
        (
            "application/x-json-stream; type=directory",
            "application/x-json-stream; type=directory",
        ),
    ] {
        put(Some(sent)).await.is(204);
        assert_eq!(stored().await, kept);
    }
    put(Some("text/css")).await.is(204);
    put(None).await.is(204);
    assert_eq!(
        stored().await,
        "text/css",
        "an overwrite without type keeps the old one"
    );
    put(Some("")).await.is(204);
    assert_eq!(stored().await, "text/css", "an empty type is none");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_content_dispositions() {
    let store = start_m2().await;
    let put = |value: &str| {
        let request = Request::new("PUT", "/alice/stor/o").header("content-disposition", value);
        store.send(request.body("x"))
    };
    put("inline; filename=\"/root/a b.txt\"").await.is(204);
    let expected = "attachment; filename=\"a b.txt\"";
    assert_eq!(
        store
            .get("/alice/stor/o")
            .await
            .header("content-disposition"),
        expected
    );
    put("attachment; filename=\"a.txt\"").await.is(204);
    let valid = store.head("/alice/stor/o").await;
    assert_eq!(
        valid.header("content-disposition"),
        "attachment; filename=\"a.txt\""
    );
    for bad in ["attachment;", "bad/;;"] {
        let message = format!("invalid content-disposition header: {bad}");
        put(bad).await.refused(400, "BadRequest", &message);
        for request in [
            Request::new("PUT", "/alice/stor/o").chunked(&[b"y"]),
            Request::new("PUT", "/alice/stor/o?metadata=true").chunked(&[]),
        ] {
            let refused = store.send(request.header("content-disposition", bad)).await;
            refused.refused(400, "BadRequest", &message);
        }
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "x");
    store.put("/alice/stor/o", "x").await.is(204);
    assert!(
        store
            .get("/alice/stor/o")
            .await
            .get("content-disposition")
            .is_none()
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_metadata_update() {
    let store = start_m2().await;
    let put = Request::new("PUT", "/alice/stor/o")
        .header("m-old", "1")
        .header("content-type", "text/plain")
        .header("content-disposition", "attachment; filename=x")
        .body("bytes");
    let etag = store.send(put).await.is(204).header("etag").to_owned();
    let update = |path: &str| Request::new("PUT", &format!("{path}?metadata=true"));
    let request = update("/alice/stor/o").header("m-new", "2").chunked(&[]);
    let updated = store.send(request).await.is(204);
    assert_eq!(updated.header("etag"), etag);
    let get = store.get("/alice/stor/o").await;
    assert_eq!(get.text(), "bytes");
    assert_eq!((get.header("m-new"), get.get("m-old")), ("2", None));
    assert_eq!(
        (get.header("content-type"), get.get("content-disposition")),
        ("text/plain", None)
    );
    assert_eq!(get.header("etag"), etag);
    let request = update("/alice/stor/o")
        .header("content-type", "text/css")
        .chunked(&[]);
    store.send(request).await.is(204);
    assert_eq!(
        store.head("/alice/stor/o").await.header("content-type"),
        "text/css"
    );
    assert!(store.head("/alice/stor/o").await.get("m-new").is_none());

    for (header, value) in [("content-md5", "x"), ("durability-level", "2")] {
        let request = update("/alice/stor/o").header(header, value).chunked(&[]);
        let message = format!("overwrite of \"{header}\" forbidden");
        store
            .send(request)
            .await
            .refused(400, "InvalidUpdate", &message);
    }
    for path in ["/alice/stor/o", "/alice/stor/missing"] {
        let message = "overwrite of \"content-length\" forbidden";
        store
            .send(update(path).body(""))
            .await
            .refused(400, "InvalidUpdate", message);
    }
    let missing = store.send(update("/alice/stor/missing").chunked(&[])).await;
    missing.refused(404, "ResourceNotFound", "/alice/stor/missing was not found");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_get_of_what_is_missing_or_not_accepted() {
    let store = start_m2().await;
    let missing = store.get("/alice/stor/missing").await;
    missing.refused(404, "ResourceNotFound", "/alice/stor/missing was not found");
    let text = Request::new("PUT", "/alice/stor/o").header("content-type", "text/plain");
    store.send(text.body("x")).await.is(204);
    let accept = |accept: &str| Request::new("GET", "/alice/stor/o").header("accept", accept);
    let refused = store.send(accept("application/json")).await;
    refused.refused(406, "NotAcceptable", "/alice/stor/o accepts text/plain");
    for good in ["*/*", "application/json, */*", "text/*;q=0.1", ""] {
        store.send(accept(good)).await.is(200);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_objects_are_gone() {
    let store = start().await;
    let put = store.put("/alice/stor/o", "x").await;
    let deleted = store.delete("/alice/stor/o").await.is(204).complete();
    assert_eq!(deleted.header("etag"), put.header("etag"));
    assert_eq!(deleted.header("last-modified"), put.header("last-modified"));
    let message = "/alice/stor/o was not found";
    store
        .delete("/alice/stor/o")
        .await
        .refused(404, "ResourceNotFound", message);
    store.get("/alice/stor/o").await.is(404);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_far_too_large_is_refused_before_any_data() {
    let store = start_m2().await;
    let request = Request::new("PUT", "/alice/stor/huge")
        .header("content-length", "1000000000000000")
        .header("expect", "100-continue");
    let refused = store.send(request).await;
    let refused = refused.refused(
        507,
        "NotEnoughSpace",
        "not enough free space for 953674317 MB",
    );
    assert_eq!(refused.header("connection"), "close");
    let request = Request::new("PUT", "/alice/stor/huge")
        .header("max-content-length", "1000000000000000")
        .chunked(&[b"x"]);
    store.send(request).await.is(507);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_objects_are_open_to_every_page() {
    let store = start().await;
    store.put("/alice/public/o", "x").await.is(204);
    let get = Request::new("GET", "/alice/public/o");
    let plain = get.send(store.address).await.is(200);
    assert_eq!(plain.header("access-control-allow-origin"), "*");
    let from_page = get.header("origin", "http://a").send(store.address).await;
    assert_eq!(from_page.header("access-control-allow-origin"), "http://a");
    let put = Request::new("PUT", "/alice/stor/o")
        .header("origin", "http://a")
        .body("x");
    let put = store.send(put).await.is(204);
    assert_eq!(put.header("access-control-allow-origin"), "http://a");
    let refused = Request::new("PUT", "/alice/public/o")
        .body("y")
        .send(store.address)
        .await;
    let message = "anonymous is not allowed to access /alice/public/o";
    refused.refused(403, "AuthorizationFailed", message);
    assert_eq!(store.get("/alice/public/o").await.text(), "x");
    store.stop().await;
}

/// Case does not matter, and what is replaced without a header has none.
#[tokio::test(flavor = "multi_thread")]
async fn jm_metadata_headers_come_back_and_go() {
    let store = start().await;
    for path in ["/alice/stor/o", "/alice/stor/d"] {
        let put = Request::new("PUT", path).header("M-Mixed-Case", "Value of it");
        let put = match path.ends_with('d') {
            true => put.header("content-type", "application/json; type=directory"),
            false => put,
        };
        store.send(put.body("")).await.is(204);
        let shown = async || {
            let (get, head) = (store.get(path).await, store.head(path).await);
            assert_eq!(get.get("m-mixed-case"), head.get("m-mixed-case"), "{path}");
            head.get("m-mixed-case").map(str::to_owned)
        };
        assert_eq!(shown().await.as_deref(), Some("Value of it"), "{path}");
        let update = Request::new("PUT", &format!("{path}?metadata=true"));
        let changed = update.clone().header("m-MIXED-case", "other").chunked(&[]);
        store.send(changed).await.is(204);
        assert_eq!(shown().await.as_deref(), Some("other"), "{path}");
        store
            .send(update.header("m-another", "x").chunked(&[]))
            .await
            .is(204);
        assert_eq!(shown().await, None, "{path}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_put_onto_a_directory() {
    let store = start().await;
    store.mkdir("/alice/stor/d").await.is(204);
    let sized = store.put("/alice/stor/d", "x").await;
    let message = "overwrite of \"content-length\" forbidden on a directory";
    sized.refused(400, "InvalidUpdate", message);
    let chunked = Request::new("PUT", "/alice/stor/d").chunked(&[b"x"]);
    let message = "/alice/stor/d is a directory: PUT is not allowed";
    let chunked = store.send(chunked).await;
    chunked.refused(400, "OperationNotAllowedOnDirectory", message);
    assert_eq!(store.get("/alice/stor/d").await.is(200).body, b"");
    assert_eq!(store.copy_files().len(), 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_blanks_empty_bodies_a_hundred_cycles_and_closed_streams() {
    let store = start().await;
    for (path, body) in [
        ("/alice/stor/a%20name%20", "with blanks"),
        ("/alice/stor/none", ""),
    ] {
        store.put(path, body).await.is(204);
        assert_eq!(store.get(path).await.is(200).text(), body);
    }
    assert_eq!(store.get("/alice/stor").await.names(), ["a name ", "none"]);
    for cycle in 0..100 {
        let body = format!("cycle {cycle}");
        store.put("/alice/stor/o", body.clone()).await.is(204);
        assert_eq!(store.get("/alice/stor/o").await.is(200).text(), body);
    }
    // Ten that stop reading in the middle, beside ten that read it all.
    let large = vec![7; 8 << 20];
    store.put("/alice/stor/large", large.clone()).await.is(204);
    let get = Request::new("GET", "/alice/stor/large").signed_by(&store.alice);
    let closed = async || {
        let mut connection = Connection::open(store.address).await;
        connection.write(&get.head_bytes()).await;
        let mut begun = [0; 1000];
        tokio::io::AsyncReadExt::read_exact(&mut connection.stream, &mut begun)
            .await
            .unwrap();
    };
    let whole = async || assert!(get.send(store.address).await.is(200).body == large);
    let all = (0..10).map(async |_| tokio::join!(closed(), whole()));
    futures_util::future::join_all(all).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_codes_of_what_is_missing_and_of_strangers() {
    let store = start().await;
    let head = store.head("/alice/stor/none").await.is(404).complete();
    assert!(head.get("content-length").is_none() && head.body.is_empty());
    let get = store.get("/alice/stor/none").await.complete();
    get.refused(404, "ResourceNotFound", "/alice/stor/none was not found");
    let stranger = store.alice.named("stranger");
    let request = Request::new("GET", "/alice/stor").signed_at(&stranger, &http_date(0));
    let refused = request.send(store.address).await;
    refused.refused(403, "AccountDoesNotExist", "stranger does not exist");
    let refused = store.get("/badpath").await;
    refused.refused(403, "AccountDoesNotExist", "badpath does not exist");
    store.stop().await;
}

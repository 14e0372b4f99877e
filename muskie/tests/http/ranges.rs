//! Range requests. `m2_…` and `jm_…` are lines of rest-api.md section 15.2, the first on the surface on which
//! they are tested.

use crate::client::Request;
use crate::store::{start, start_m2};

const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

#[tokio::test(flavor = "multi_thread")]
async fn m2_ranges_and_what_is_none() {
    let store = start_m2().await;
    store.put("/alice/stor/o", ALPHABET).await.is(204);
    let get = |range: &str| store.send(Request::new("GET", "/alice/stor/o").header("range", range));
    for (range, part, shown) in [
        ("bytes=0-5", "abcdef", "bytes 0-5/26"),
        ("bytes=20-", "uvwxyz", "bytes 20-25/26"),
        ("bytes=-3", "xyz", "bytes 23-25/26"),
    ] {
        let got = get(range).await.is(206);
        assert_eq!(
            (got.text().as_str(), got.header("content-range")),
            (part, shown)
        );
    }
    let message = "multi-range requests not supported";
    let several = get("bytes=0-1,3-4").await;
    several.refused(501, "NotImplemented", message);
    for range in ["bytes=foo", "bytes=26-", "bytes=26-27"] {
        let refused = get(range).await.refused(416, "RangeNotSatisfiable", "");
        assert_eq!(refused.header("content-range"), "bytes */26");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_every_range_of_a_small_object_and_resuming() {
    let store = start().await;
    let body = ALPHABET;
    let etag = store
        .put("/alice/stor/o", body)
        .await
        .header("etag")
        .to_owned();
    let get =
        |range: String| store.send(Request::new("GET", "/alice/stor/o").header("range", range));
    for first in 0..26 {
        for last in first..30 {
            let part = get(format!("bytes={first}-{last}")).await.is(206);
            let end = last.min(25);
            assert_eq!(part.body, body[first..=end]);
            assert_eq!(
                part.header("content-range"),
                format!("bytes {first}-{end}/26")
            );
            assert_eq!(part.header("content-length"), (end - first + 1).to_string());
            assert!(part.get("content-md5").is_none() && part.get("accept-ranges").is_none());
            assert_eq!(part.header("etag"), etag);
        }
    }
    assert_eq!(get("bytes=-100".into()).await.body, body);
    assert_eq!(get("lines=0-1".into()).await.is(200).body, body);
    // Broken off after ten bytes: the rest, if it is still the same object.
    let resume = |etag: &str| {
        let request = Request::new("GET", "/alice/stor/o").header("range", "bytes=10-");
        store.send(request.header("if-match", etag))
    };
    assert_eq!(resume(&etag).await.is(206).body, body[10..]);
    store.put("/alice/stor/o", "another").await.is(204);
    resume(&etag).await.is(412);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_ranges_are_refused() {
    let store = start().await;
    store.put("/alice/stor/o", "abcdef").await.is(204);
    store.put("/alice/stor/empty", "").await.is(204);
    let get =
        |path: &str, range: &str| store.send(Request::new("GET", path).header("range", range));
    for range in ["bytes=6-", "bytes=3-2", "bytes=-", "bytes=", "bytes=-0"] {
        let refused =
            get("/alice/stor/o", range)
                .await
                .refused(416, "RequestedRangeNotSatisfiable", "");
        assert_eq!(refused.header("content-range"), "bytes */6");
    }
    for range in ["bytes=0-1", "bytes=5-1", "bytes=foo"] {
        assert_eq!(get("/alice/stor/empty", range).await.is(200).body, b"");
    }
    let head = Request::new("HEAD", "/alice/stor/o").header("range", "bytes=foo");
    assert_eq!(store.send(head).await.is(200).header("content-length"), "6");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_have_ranges_too_and_downloads_resume() {
    let store = start().await;
    let body: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let put = store.put("/alice/stor/big", body.clone()).await.is(204);
    assert_eq!(store.get("/alice/stor/big").await.is(200).body, body);
    for (first, last) in [
        (0, 0),
        (1_048_575, 1_048_577),
        (100_000, 2_900_000),
        (2_999_999, 2_999_999),
    ] {
        let request = Request::new("GET", "/alice/stor/big")
            .header("range", format!("bytes={first}-{last}"))
            .header("if-match", put.header("etag"));
        let part = store.send(request).await.is(206);
        assert!(part.body == body[first..=last], "{first}-{last}");
    }
    // As the npm client resumes: one past the end.
    let request = Request::new("GET", "/alice/stor/big").header("range", "bytes=1000-3000000");
    let rest = store.send(request).await.is(206);
    assert!(rest.body == body[1000..] && rest.get("content-md5").is_none());
    store.stop().await;
}

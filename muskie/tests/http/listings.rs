//! Listings: order, pages, markers, limits.

use crate::client::Request;
use crate::store::{Store, start, start_with};

async fn filled() -> Store {
    let store = start().await;
    for name in ["b", "a", "d"] {
        store.put(&format!("/alice/stor/{name}"), "x").await.is(204);
    }
    store.mkdir("/alice/stor/c").await.is(204);
    store
}

async fn names(store: &Store, query: &str) -> Vec<String> {
    store
        .get(&format!("/alice/stor?{query}"))
        .await
        .is(200)
        .names()
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_say_everything_about_entries() {
    let store = start().await;
    let put = Request::new("PUT", "/alice/stor/o").header("content-type", "text/plain");
    let put = store.send(put.body("hello\n")).await.is(204);
    let get = store.get("/alice/stor").await.is(200).complete();
    assert_eq!(
        get.header("content-type"),
        "application/x-json-stream; type=directory"
    );
    assert_eq!(get.header("transfer-encoding"), "chunked");
    assert_eq!((get.get("content-length"), get.get("etag")), (None, None));
    let row = &get.rows()[0];
    assert_eq!(row["etag"], put.header("etag"));
    assert_eq!(row["contentMD5"], put.header("computed-md5"));
    assert_eq!((&row["size"], &row["durability"]), (&6.into(), &2.into()));
    assert_eq!(
        (row["type"].as_str(), row["contentType"].as_str()),
        (Some("object"), Some("text/plain"))
    );
    assert!(libmanta::Timestamp::parse_iso(row["mtime"].as_str().unwrap()).is_some());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_start_stop_and_turn_where_asked() {
    let store = filled().await;
    assert_eq!(names(&store, "").await, ["a", "b", "c", "d"]);
    assert_eq!(names(&store, "marker=b").await, ["b", "c", "d"]);
    assert_eq!(names(&store, "marker=").await, ["a", "b", "c", "d"]);
    assert_eq!(names(&store, "marker=bb&limit=1").await, ["c"]);
    assert_eq!(
        names(&store, "sort_order=reverse&marker=c").await,
        ["c", "b", "a"]
    );
    assert_eq!(names(&store, "sort=whatever").await, ["a", "b", "c", "d"]);
    assert_eq!(names(&store, "dir=true").await, ["c"]);
    assert_eq!(names(&store, "obj=true&limit=2").await, ["a", "b"]);
    assert_eq!(names(&store, "sort=mtime").await.len(), 4);
    let reverse = names(&store, "sort=mtime&sort_order=reverse&limit=1").await;
    assert_eq!(reverse, ["b"], "oldest first");
    let size = store.get("/alice/stor?limit=1&marker=d").await;
    assert_eq!(size.header("result-set-size"), "4");
    let head = store.head("/alice/stor").await.is(200);
    assert_eq!(head.header("result-set-size"), "4");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_the_query_is_refused_or_ignored() {
    let store = filled().await;
    for limit in ["0", "1025", "abc", "-1", "", "1e2"] {
        let message = format!("limit={limit} is invalid: must be between [1, 1024]");
        let refused = store.get(&format!("/alice/stor?limit={limit}")).await;
        refused.refused(400, "InvalidArgumentError", &message);
    }
    let refused = store.get("/alice/stor?sort=mtime&marker=now").await;
    refused.refused(400, "InvalidParameter", "\"now\" is invalid for \"marker\"");
    for query in [
        "x=y",
        "&&&",
        "%zz=%zz",
        "marker=%ff",
        "sort_order=sideways",
        "=",
        "offset=3",
    ] {
        store.get(&format!("/alice/stor?{query}")).await.is(200);
    }
    for (query, list) in [
        ("sort=none", "sort=none"),
        ("skip_owner_check=true", "skip_owner_check=true"),
        (
            "skip_owner_check=true&sort=none",
            "sort=none, skip_owner_check=true",
        ),
    ] {
        let path = format!("/alice/stor?{query}");
        let message = format!("Use of these query parameters is restricted to operators: {list}");
        store
            .get(&path)
            .await
            .refused(403, "QueryParameterForbidden", &message);
        let request = Request::new("GET", &path).signed_by(&store.poseidon);
        assert_eq!(
            request.send(store.address).await.is(200).names(),
            ["a", "b", "c", "d"]
        );
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_without_gaps() {
    let store = start().await;
    let mut expected: Vec<String> = (0..300).map(|n| format!("{:x}", n * 7919 % 4096)).collect();
    let puts = expected.iter().map(async |name| {
        store.put(&format!("/alice/stor/{name}"), "").await.is(204);
    });
    futures_util::future::join_all(puts).await;
    expected.sort();
    expected.dedup();
    let mut all: Vec<String> = Vec::new();
    loop {
        let marker = all.last().cloned().unwrap_or_default();
        let page = names(&store, &format!("limit=100&marker={marker}")).await;
        let new = page.len() - usize::from(!marker.is_empty());
        all.extend(page.into_iter().skip(usize::from(!marker.is_empty())));
        if new < 99 {
            break;
        }
    }
    assert_eq!(all, expected);
    assert_eq!(names(&store, "").await.len(), 256, "the default limit");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_lists_what_always_exists() {
    let store = start().await;
    let get = store.get("/alice").await.is(200).complete();
    let row = |name| {
        format!(
            "{{\"name\":\"{name}\",\"type\":\"directory\",\"mtime\":\"2013-05-22T17:39:43.714Z\"}}\n"
        )
    };
    let rows: Vec<String> = ["jobs", "public", "reports", "stor", "uploads"]
        .map(row)
        .into();
    assert_eq!(get.text(), rows.concat());
    assert_eq!(get.header("result-set-size"), "5");
    assert_eq!((get.get("etag"), get.get("last-modified")), (None, None));
    let rest = store.get("/alice/?marker=public&limit=1").await.is(200);
    assert_eq!(
        (rest.names(), rest.header("result-set-size")),
        (vec!["reports".into(), "stor".into(), "uploads".into()], "3")
    );
    let head = store.head("/alice").await.is(200);
    assert_eq!(head.header("result-set-size"), "5");
    let other = Request::new("GET", "/alice")
        .signed_by(&store.bob)
        .send(store.address)
        .await;
    other.refused(
        403,
        "AuthorizationFailed",
        "bob is not allowed to access /alice",
    );
    let anonymous = Request::new("GET", "/alice").send(store.address).await;
    anonymous.refused(
        403,
        "AuthorizationFailed",
        "anonymous is not allowed to access /alice",
    );
    let operator = Request::new("GET", "/alice").signed_by(&store.poseidon);
    operator.send(store.address).await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_directories_take_no_more_objects() {
    let store = start_with(|config| config.directory_entries_max = 3).await;
    for name in ["a", "b", "c", "d"] {
        store.put(&format!("/alice/stor/{name}"), "x").await.is(204);
    }
    let before = store.copy_files().len();
    let refused = store.put("/alice/stor/e", "new").await;
    let message = "/alice/stor cannot exceed 1,000,000 entries";
    refused.refused(409, "DirectoryLimitExceeded", message);
    store.get("/alice/stor/e").await.is(404);
    assert_eq!(
        store.copy_files().len(),
        before,
        "bytes of refused uploads are removed"
    );
    store.mkdir("/alice/stor/dir").await.is(204);
    store.stop().await;
}

//! Listings: order, pages, markers, limits. `m2_…` and `jm_…` are lines of rest-api.md section 15.1, the first
//! on the surface on which they are tested.

use crate::client::Request;
use crate::store::{Store, start, start_m2};

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
    let put = store.put("/alice/stor/o", "hello\n").await.is(204);
    let get = store.get("/alice/stor").await.is(200).complete();
    assert_eq!(
        get.header("content-type"),
        "application/x-json-stream; type=directory"
    );
    assert_eq!(get.header("transfer-encoding"), "chunked");
    assert_eq!((get.get("content-length"), get.get("etag")), (None, None));
    let row = &get.rows()[0];
    assert_eq!(row["etag"], put.header("etag"));
    assert_eq!((&row["size"], &row["durability"]), (&6.into(), &2.into()));
    assert_eq!(row["type"], "object");
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
async fn other_nonsense_in_the_query_is_ignored() {
    let store = filled().await;
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

/// m1 has jobs besides.
#[tokio::test(flavor = "multi_thread")]
async fn m2_ls_of_the_account() {
    for (store, expected) in [
        (
            start_m2().await,
            &["public", "reports", "stor", "uploads"][..],
        ),
        (
            start().await,
            &["jobs", "public", "reports", "stor", "uploads"],
        ),
    ] {
        let row = |name: &&str| {
            format!(
                "{{\"name\":\"{name}\",\"type\":\"directory\",\"mtime\":\"2013-05-22T17:39:43.714Z\"}}\n"
            )
        };
        let rows: Vec<String> = expected.iter().map(row).collect();
        let get = store.get("/alice").await.is(200);
        assert_eq!(get.text(), rows.concat());
        assert_eq!(get.header("result-set-size"), rows.len().to_string());
        // The marker itself is missing here, other than in ordinary listings.
        let rest = store.get("/alice/?marker=public&limit=1").await.is(200);
        assert_eq!(rest.names(), ["reports", "stor", "uploads"]);
        assert_eq!(rest.header("result-set-size"), "3");
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_an_account_is_for_itself_and_operators() {
    let store = start().await;
    let get = store.get("/alice").await.is(200).complete();
    assert_eq!((get.get("etag"), get.get("last-modified")), (None, None));
    let head = store.head("/alice").await.is(200);
    assert_eq!(head.header("result-set-size"), "5");
    let other = Request::new("GET", "/alice").signed_by(&store.bob);
    let message = "bob is not allowed to access /alice";
    let other = other.send(store.address).await;
    other.refused(403, "AuthorizationFailed", message);
    let anonymous = Request::new("GET", "/alice").send(store.address).await;
    let message = "anonymous is not allowed to access /alice";
    anonymous.refused(403, "AuthorizationFailed", message);
    let operator = Request::new("GET", "/alice").signed_by(&store.poseidon);
    operator.send(store.address).await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_rows_have_type_and_md5_however_the_bytes_came() {
    let store = start_m2().await;
    let put = |path: &str| Request::new("PUT", path).header("content-type", "text/plain");
    let direct = store.send(put("/alice/stor/direct").body("hello")).await;
    let chunked = put("/alice/stor/chunked").chunked(&[b"hel", b"lo"]);
    let chunked = store.send(chunked).await.is(204);
    let md5 = direct.is(204).header("computed-md5").to_owned();
    assert_eq!(chunked.header("computed-md5"), md5);
    let rows = store.get("/alice/stor").await.is(200).rows();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["contentType"], "text/plain", "{row}");
        assert_eq!(row["contentMD5"], md5, "{row}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_an_empty_directory_lists_as_nothing() {
    let store = start_m2().await;
    store.mkdir("/alice/stor/d").await.is(204);
    let get = store.get("/alice/stor/d").await.is(200);
    assert_eq!((get.header("result-set-size"), get.body.len()), ("0", 0));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_names_that_need_escaping_are_made_listed_and_markers() {
    let store = start_m2().await;
    // In byte order; escaped as RFC 3986 says, and not at all where HTTP lets that pass.
    let names = ["!x", "$%&-", "*needs=(escaping)", "a b", "\u{e9}\u{20ac}"];
    for name in names {
        let path = format!("/alice/stor/{}", crate::presigned::encode(name));
        store.mkdir(&path).await.is(204);
    }
    store.mkdir("/alice/stor/*needs=(escaping)").await.is(204);
    assert_eq!(store.get("/alice/stor").await.is(200).names(), names);
    for (position, name) in names.iter().enumerate() {
        let marker = crate::presigned::encode(name);
        let page = store.get(&format!("/alice/stor?marker={marker}")).await;
        assert_eq!(page.is(200).names(), names[position..], "{name}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_content_disposition_is_listed_only_where_it_is_set() {
    let store = start_m2().await;
    let set = "attachment; filename=\"x.txt\"";
    let put = |name: &str, disposition: Option<&str>, chunked: bool| {
        let mut request = Request::new("PUT", &format!("/alice/stor/{name}"));
        if let Some(disposition) = disposition {
            request = request.header("content-disposition", disposition);
        }
        store.send(if chunked {
            request.chunked(&[b"x"])
        } else {
            request.body("x")
        })
    };
    for (chunked, kind) in [(false, "direct"), (true, "chunked")] {
        put(&format!("{kind}-set"), Some(set), chunked)
            .await
            .is(204);
        put(&format!("{kind}-unset"), None, chunked).await.is(204);
    }
    let rows = store.get("/alice/stor").await.is(200).rows();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let is_set = row["name"].as_str().unwrap().ends_with("-set");
        let expected = is_set.then(|| serde_json::Value::from(set));
        assert_eq!(row.get("contentDisposition"), expected.as_ref(), "{row}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_only_operators_list_unsorted_or_unchecked() {
    let store = start_m2().await;
    for name in ["b", "a", "c"] {
        store.put(&format!("/alice/stor/{name}"), "x").await.is(204);
    }
    let by_operator = |path: &str| Request::new("GET", path).signed_by(&store.poseidon);
    let normal = by_operator("/alice/stor").send(store.address).await.rows();
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
        let mut rows = by_operator(&path).send(store.address).await.is(200).rows();
        // In no order that anybody may count on.
        rows.sort_by_key(|row| row["name"].to_string());
        assert_eq!(rows, normal, "{query}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_listing_of_what_is_missing_and_of_an_object() {
    let store = start().await;
    let missing = store.get("/alice/stor/none?limit=1024").await;
    missing.refused(404, "ResourceNotFound", "/alice/stor/none was not found");
    // The object itself, by whose type that client sees that it is no listing.
    let put = Request::new("PUT", "/alice/stor/o").header("content-type", "text/plain");
    store.send(put.body("x")).await.is(204);
    let object = store.get("/alice/stor/o?limit=1024").await.is(200);
    assert_eq!(
        (object.header("content-type"), object.text().as_str()),
        ("text/plain", "x")
    );
    store.stop().await;
}

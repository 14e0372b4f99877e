//! Whole trees: listed, and removed, by one request.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{Request, Response};
use crate::store::{Store, start};

/// `d1/{a,b,sub/{x,deep/y}}`, `d2/`, `top`, below `/alice/stor/t`.
async fn planted() -> Store {
    let store = start().await;
    for path in ["", "/d1", "/d1/sub", "/d1/sub/deep", "/d2"] {
        store.mkdir(&format!("/alice/stor/t{path}")).await.is(204);
    }
    for (path, bytes) in [
        ("top", 1),
        ("d1/a", 10),
        ("d1/b", 100),
        ("d1/sub/x", 1000),
        ("d1/sub/deep/y", 0),
    ] {
        let path = format!("/alice/stor/t/{path}");
        store.put(&path, "x".repeat(bytes)).await.is(204);
    }
    store
}

const WALK: [&str; 9] = [
    "d1",
    "d2",
    "top",
    "d1/a",
    "d1/b",
    "d1/sub",
    "d1/sub/deep",
    "d1/sub/x",
    "d1/sub/deep/y",
];

/// Paths below `/alice/stor/t`, in the order of the answer.
fn paths(answer: &Response) -> Vec<String> {
    let path = |row: &Value| {
        let parent = row["parent"].as_str().unwrap();
        let path = format!("{parent}/{}", row["name"].as_str().unwrap());
        path.strip_prefix("/alice/stor/t/").unwrap().to_owned()
    };
    answer.rows().iter().map(path).collect()
}

async fn walk(store: &Store, query: &str) -> Vec<String> {
    let path = format!("/alice/stor/t?recursive=true{query}");
    paths(&store.get(&path).await.is(200))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_a_tree_has_every_entry_once() {
    let store = planted().await;
    let answer = store.get("/alice/stor/t?recursive=true").await.is(200);
    let answer = answer.complete();
    assert_eq!(
        answer.header("content-type"),
        "application/x-json-stream; type=directory"
    );
    assert_eq!(paths(&answer), WALK);
    let plain = store.get("/alice/stor/t/d1?limit=1").await.is(200).rows();
    let mut row = answer.rows().swap_remove(3);
    assert_eq!(row["parent"], "/alice/stor/t/d1");
    row.as_object_mut().unwrap().remove("parent");
    assert_eq!(row, plain[0], "otherwise a line is the plain one");
    // Roots, too, though they have no record.
    let stor = store.get("/alice/stor?recursive=true").await.is(200);
    assert_eq!(stor.rows().len(), WALK.len() + 1);
    assert_eq!(store.get("/bob/stor?recursive=true").await.status, 403);
    let nothing = Request::new("GET", "/bob/public?recursive=true");
    assert_eq!(store.send(nothing).await.is(200).rows().len(), 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_from_any_of_its_lines() {
    let store = planted().await;
    for (at, path) in WALK.iter().enumerate() {
        let rest = walk(&store, &format!("&marker=/alice/stor/t/{path}")).await;
        assert_eq!(rest, WALK[at..], "{path}");
        let limited = walk(&store, &format!("&marker=/alice/stor/t/{path}&limit=2")).await;
        assert_eq!(limited, WALK[at..WALK.len().min(at + 2)], "{path}");
    }
    // What was removed meanwhile is no reason to begin again.
    let rest = walk(&store, "&marker=/alice/stor/t/d1/sub/gone/z").await;
    assert!(rest.is_empty(), "{rest:?}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_shows_what_is_asked_for() {
    let store = planted().await;
    for (query, expected) in [
        ("&type=d", &["d1", "d2", "d1/sub", "d1/sub/deep"][..]),
        ("&type=o&size_min=100", &["d1/b", "d1/sub/x"]),
        ("&size_max=1", &["top", "d1/sub/deep/y"]),
        ("&name=%5E%5Bab%5D%24", &["d1/a", "d1/b"]),
        ("&depth_max=1", &["d1", "d2", "top"]),
        (
            "&depth_min=3",
            &["d1/sub/deep", "d1/sub/x", "d1/sub/deep/y"],
        ),
        ("&mtime_before=2000-01-01", &[]),
        ("&limit=1", &["d1"]),
        ("&type=o&limit=1", &["top"]),
    ] {
        assert_eq!(walk(&store, query).await, expected, "{query}");
    }
    for (query, parameter, value) in [
        ("limit=0", "limit", "0"),
        ("limit=-1", "limit", "-1"),
        ("type=x", "type", "x"),
        ("name=(", "name", "("),
        ("marker=/alice/stor/u/a", "marker", "/alice/stor/u/a"),
        ("marker=d1", "marker", "d1"),
        ("mtime_from=now", "mtime_from", "now"),
        ("size_min=1k", "size_min", "1k"),
    ] {
        let path = format!("/alice/stor/t?recursive=true&{query}");
        let message = format!("\"{value}\" is invalid for \"{parameter}\"");
        let refused = store.get(&path).await;
        refused.refused(400, "InvalidParameter", &message);
    }
    store.stop().await;
}

/// More directories and entries than are read in one go.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_tree_is_listed_and_removed_completely() {
    let store = start().await;
    store.mkdir("/alice/stor/t").await.is(204);
    let mut expected = BTreeSet::new();
    for n in 0..150 {
        let name = format!("d{n:03}");
        store.mkdir(&format!("/alice/stor/t/{name}")).await.is(204);
        store
            .put(&format!("/alice/stor/t/{name}/o"), "")
            .await
            .is(204);
        expected.extend([format!("{name}/o"), name]);
    }
    for n in 0..900 {
        let name = format!("o{n:03}");
        store
            .put(&format!("/alice/stor/t/{name}"), "")
            .await
            .is(204);
        expected.insert(name);
    }
    let found = walk(&store, "").await;
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected);
    // From somewhere in the middle of the directories, all behind it are found.
    let rest = walk(&store, "&marker=/alice/stor/t/d100/o").await;
    let position = found.iter().position(|path| path == "d100/o").unwrap();
    assert_eq!(rest, found[position..]);
    let removed = store.delete("/alice/stor/t?recursive=true").await.is(200);
    let end = removed.rows().pop().unwrap();
    let counts = [&end["objects"], &end["directories"], &end["errors"]];
    assert_eq!(counts, [1050, 151, 0].map(Value::from).each_ref());
    assert!(removed.rows().len() > 4, "progress is shown on the way");
    store.get("/alice/stor/t").await.is(404);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_removed_and_nothing_beside_it() {
    let store = planted().await;
    store.put("/alice/stor/t2", "stays").await.is(204);
    let refused = Request::new("DELETE", "/alice/stor/t?recursive=true");
    let refused = refused.signed_by(&store.bob).send(store.address).await;
    assert_eq!(refused.status, 403);
    let refused = store.delete("/alice/stor?recursive=true").await;
    let message = "DELETE is not allowed on /alice/stor";
    refused.refused(400, "OperationNotAllowedOnRootDirectory", message);
    let refused = store.delete("/alice/stor/missing?recursive=true").await;
    assert_eq!(refused.status, 404);
    assert_eq!(walk(&store, "").await, WALK, "nothing has changed");

    let removed = store.delete("/alice/stor/t/d1?recursive=true").await;
    let removed = removed.is(200).complete();
    let end = removed.rows().pop().unwrap();
    assert_eq!(end["type"], "end");
    let counts = [&end["objects"], &end["directories"], &end["errors"]];
    assert_eq!(counts, [4, 3, 0].map(Value::from).each_ref());
    assert_eq!(walk(&store, "").await, ["d2", "top"]);
    // Without the parameter it is what it always was, and an object is an object.
    let refused = store.delete("/alice/stor/t?recursive=false").await;
    assert_eq!(refused.status, 400);
    store
        .delete("/alice/stor/t/top?recursive=true")
        .await
        .is(204);
    assert_eq!(store.get("/alice/stor/t2").await.text(), "stays");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_others_fill_goes_or_keeps_what_they_put() {
    let store = planted().await;
    let fill = async {
        for n in 0..60 {
            // Refused once the directory is gone.
            let put = store.put(&format!("/alice/stor/t/d1/n{n}"), "x").await;
            assert!([204, 404].contains(&put.status), "{}", put.status);
        }
    };
    let (removed, ()) = tokio::join!(store.delete("/alice/stor/t/d1?recursive=true"), fill);
    let end = removed.is(200).rows().pop().unwrap();
    assert_eq!((&end["type"], &end["errors"]), (&"end".into(), &0.into()));
    store.get("/alice/stor/t/d1").await.is(404);
    assert_eq!(walk(&store, "").await, ["d2", "top"]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_goes_on_after_a_commit_that_failed() {
    let store = planted().await;
    store.commits.fail_next(1);
    let removed = store.delete("/alice/stor/t/d1?recursive=true").await;
    let end = removed.is(200).rows().pop().unwrap();
    assert_eq!((&end["type"], &end["errors"]), (&"end".into(), &0.into()));
    assert_eq!(walk(&store, "").await, ["d2", "top"]);
    store.stop().await;
}

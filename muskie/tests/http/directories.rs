//! Directories: make, change, remove. `m2_…` and `jm_…` are lines of rest-api.md section 15.1, the first on
//! the surface on which they are tested.

use crate::client::{Request, Response};
use crate::store::{Store, start, start_m2};

const DIRECTORY: &str = "application/json; type=directory";
const LISTED_AS: &str = "application/x-json-stream; type=directory";

/// `mkdir` with headers.
async fn mkdir(store: &Store, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::new("PUT", path).header("content-type", DIRECTORY);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    store.send(request.body("")).await
}

/// Only the headers of what is there.
async fn chattr(store: &Store, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::new("PUT", &format!("{path}?metadata=true"));
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    store.send(request.chunked(&[])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_mkdir_of_a_new_and_of_an_existing_directory() {
    let store = start_m2().await;
    for _ in 0..2 {
        store.mkdir("/alice/stor/d").await.is(204);
    }
    assert_eq!(store.get("/alice/stor").await.names(), ["d"]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_mkdir_then_chattr() {
    let store = start_m2().await;
    let path = "/alice/stor/d";
    let shown = async || {
        let head = store.head(path).await.is(200);
        ["m-a", "m-b", "m-c"].map(|name| head.get(name).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    mkdir(&store, path, &[]).await.is(204);
    let made = chattr(&store, path, &[("m-a", "1"), ("m-b", "2")]).await;
    made.is(204).header("last-modified");
    assert_eq!(shown().await, [some("1"), some("2"), None]);
    chattr(&store, path, &[("m-c", "3")]).await.is(204);
    assert_eq!(shown().await, [None, None, some("3")]);
    // Making it once more replaces them too.
    mkdir(&store, path, &[("m-a", "4")]).await.is(204);
    assert_eq!(shown().await, [some("4"), None, None]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_metadata_update_of_a_directory_ignores_content_type() {
    let store = start_m2().await;
    let path = "/alice/stor/d";
    store.mkdir(path).await.is(204);
    let headers = [("content-type", "text/plain"), ("m-a", "1")];
    chattr(&store, path, &headers).await.is(204);
    let head = store.head(path).await.is(200);
    assert_eq!(
        (head.header("content-type"), head.header("m-a")),
        (LISTED_AS, "1")
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_put_and_then_mkdir_on_the_same_name() {
    let store = start_m2().await;
    let put = store.put("/alice/stor/o", "x").await;
    let made = store.mkdir("/alice/stor/o").await.is(204);
    assert_eq!(made.header("etag"), put.header("etag"));
    let head = store.head("/alice/stor/o").await.is(200);
    assert_eq!(head.header("content-type"), LISTED_AS);
    assert!(head.get("etag").is_none());
    store.stop().await;
}

/// m1 too.
#[tokio::test(flavor = "multi_thread")]
async fn m2_mkdir_of_the_account() {
    for store in [start_m2().await, start().await] {
        let refused = store.mkdir("/alice").await;
        let message = "PUT is not allowed on /alice";
        refused.refused(400, "OperationNotAllowedOnRootDirectory", message);
        store.stop().await;
    }
}

/// m1 has one more.
#[tokio::test(flavor = "multi_thread")]
async fn m2_rmdir_of_roots() {
    for (store, roots) in [
        (
            start_m2().await,
            &["", "/stor", "/public", "/reports", "/uploads"][..],
        ),
        (
            start().await,
            &["", "/stor", "/public", "/reports", "/uploads", "/jobs"],
        ),
    ] {
        for root in roots {
            let path = format!("/alice{root}");
            let message = format!("DELETE is not allowed on {path}");
            let rmdir = async || {
                let refused = store.delete(&path).await;
                refused.refused(400, "OperationNotAllowedOnRootDirectory", &message);
            };
            rmdir().await;
            if !root.is_empty() {
                // Also when it has a record of its own.
                store.mkdir(&path).await.is(204);
                rmdir().await;
            }
        }
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_mkdir_of_stor() {
    let store = start_m2().await;
    for _ in 0..2 {
        store.mkdir("/alice/stor").await.is(204);
    }
    store
        .head("/alice/stor")
        .await
        .is(200)
        .header("last-modified");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_mkdir_below_a_missing_parent_and_put_below_an_object() {
    let store = start_m2().await;
    store.put("/alice/stor/o", "x").await.is(204);
    let (missing, object) = ("/alice/stor/no", "/alice/stor/o");
    for refused in [
        store.mkdir(&format!("{missing}/d")).await,
        store.put(&format!("{missing}/o"), "x").await,
    ] {
        let message = format!("{missing} does not exist");
        refused.refused(404, "DirectoryDoesNotExist", &message);
    }
    for refused in [
        store.put(&format!("{object}/below"), "x").await,
        store.mkdir(&format!("{object}/below")).await,
    ] {
        let message = format!("{object} is not a directory");
        refused.refused(400, "ParentNotDirectory", &message);
    }
    assert_eq!(store.get("/alice/stor").await.names(), ["o"]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_ls_and_rmdir_of_what_is_missing_and_rmdir_of_what_is_not_empty() {
    let store = start_m2().await;
    let path = "/alice/stor/d";
    let missing = async || {
        for refused in [store.get(path).await, store.delete(path).await] {
            refused.refused(404, "ResourceNotFound", "/alice/stor/d was not found");
        }
    };
    missing().await;
    store.mkdir(path).await.is(204);
    store.put("/alice/stor/d/o", "x").await.is(204);
    let refused = store.delete(path).await;
    refused.refused(400, "DirectoryNotEmpty", "/alice/stor/d is not empty");
    assert_eq!(store.get(path).await.names(), ["o"]);
    store.delete("/alice/stor/d/o").await.is(204);
    store.delete(path).await.is(204).header("last-modified");
    missing().await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_mkdir_with_a_content_disposition() {
    let store = start_m2().await;
    for (name, value) in [
        ("valid", "attachment; filename=\"x\""),
        ("invalid", "attachment;"),
    ] {
        let path = format!("/alice/stor/{name}");
        let headers = [("content-disposition", value)];
        for made in [
            mkdir(&store, &path, &headers).await,
            chattr(&store, &path, &headers).await,
        ] {
            made.is(204);
            let head = store.head(&path).await.is(200);
            assert_eq!(head.get("content-disposition"), None, "{name}");
        }
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_concurrent_mkdirs_and_mkdirps() {
    let store = start_m2().await;
    for round in 0..10 {
        let path = format!("/alice/stor/{round}");
        let made = futures_util::future::join_all((0..5).map(|_| store.mkdir(&path))).await;
        // All succeed, and one of them made it.
        assert!(made.iter().all(|made| made.status == 204), "round {round}");
        let new = made
            .iter()
            .filter(|made| made.get("last-modified").is_none());
        assert_eq!(new.count(), 1, "round {round}");
        // Each of ten makes every level of one path.
        let mkdirp = async || {
            for level in ["/a", "/a/b", "/a/b/c", "/a/b/c/d"] {
                store.mkdir(&format!("{path}{level}")).await.is(204);
            }
        };
        futures_util::future::join_all((0..10).map(|_| mkdirp())).await;
        let tree = store.get(&format!("{path}?recursive=true")).await.is(200);
        assert_eq!(tree.names(), ["a", "b", "c", "d"], "round {round}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_names_with_quotes_and_blanks() {
    let store = start_m2().await;
    let directory = "/alice/stor/it's%20here";
    store.mkdir(directory).await.is(204);
    let object = format!("{directory}/an%20object's%20name");
    store.put(&object, "x").await.is(204);
    assert_eq!(store.get(&object).await.is(200).text(), "x");
    assert_eq!(store.get("/alice/stor").await.names(), ["it's here"]);
    assert_eq!(store.get(directory).await.names(), ["an object's name"]);
    store.stop().await;
}

/// That client takes a missing `Last-Modified` for "made by this call".
#[tokio::test(flavor = "multi_thread")]
async fn jm_putting_a_directory_tells_new_from_existing() {
    let store = start().await;
    let made = store.mkdir("/alice/stor/d").await.is(204).complete();
    assert_eq!((made.get("last-modified"), made.get("etag")), (None, None));
    let again = store.mkdir("/alice/stor/d").await.is(204);
    let head = store.head("/alice/stor/d").await.is(200);
    assert_eq!(head.header("last-modified"), again.header("last-modified"));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_head_of_a_directory() {
    let store = start().await;
    store.mkdir("/alice/stor/d").await.is(204);
    let head = store.head("/alice/stor/d").await.is(200).complete();
    assert_eq!(head.header("content-type"), LISTED_AS);
    assert_eq!(head.header("result-set-size"), "0");
    head.header("last-modified");
    for name in ["etag", "content-length"] {
        assert_eq!(head.get(name), None, "{name}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jm_deep_paths_empty_parents_and_trailing_slashes() {
    let store = start().await;
    let levels: Vec<String> = (1..=30)
        .map(|depth| format!("/alice/stor{}", "/level".repeat(depth)))
        .collect();
    for level in &levels {
        store.mkdir(&format!("{level}/")).await.is(204);
    }
    let deepest = levels.last().unwrap();
    let object = format!("{deepest}/o");
    store.put(&format!("{object}/"), "x").await.is(204);
    assert_eq!(store.get(&format!("{object}/")).await.is(200).text(), "x");
    store.head(&format!("{object}/")).await.is(200);
    assert_eq!(store.get(&format!("{deepest}/")).await.names(), ["o"]);
    let update = Request::new("PUT", &format!("{object}/?metadata=true")).header("m-a", "1");
    store.send(update.chunked(&[])).await.is(204);
    store.delete(&format!("{object}/")).await.is(204);
    // As it prunes: from the deepest up, until one is not empty.
    for level in levels.iter().rev() {
        store.delete(&format!("{level}/")).await.is(204);
    }
    assert_eq!(store.get("/alice/stor/").await.is(200).body, b"");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_with_anything_else_in_it_still_means_a_directory() {
    let store = start().await;
    for content_type in [
        "application/json;type=directory",
        "Application/JSON; x=y; type=directory",
    ] {
        let path = "/alice/stor/typed";
        let request = Request::new("PUT", path).header("content-type", content_type);
        store.send(request.clone().chunked(&[])).await.is(204);
        store.send(request.body("{}")).await.is(204);
        store.delete(path).await.is(204);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_directory_are_asked_for_in_vain_and_roots_take_headers() {
    let store = start().await;
    let path = "/alice/stor/d";
    mkdir(&store, path, &[("durability-level", "3")])
        .await
        .is(204);
    assert_eq!(store.head(path).await.get("durability-level"), None);
    chattr(&store, "/alice/stor", &[("m-c", "3")]).await.is(204);
    assert_eq!(store.head("/alice/stor").await.header("m-c"), "3");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_always_there() {
    let store = start().await;
    for root in ["stor", "public", "reports", "jobs"] {
        let path = format!("/alice/{root}");
        let get = store.get(&path).await.is(200).complete();
        assert_eq!((get.header("result-set-size"), get.body.len()), ("0", 0));
        assert_eq!(get.get("last-modified"), None);
        store.mkdir(&path).await.is(204);
        store.get(&path).await.is(200).header("last-modified");
    }
    let refused = store.send(Request::new("POST", "/alice")).await;
    let message = "POST is not allowed on /alice";
    refused.refused(400, "OperationNotAllowedOnRootDirectory", message);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_is_a_name() {
    let store = start().await;
    for (escaped, name) in [
        ("..", ".."),
        (".", "."),
        ("a+b", "a+b"),
        ("%E2%82%AC", "\u{20ac}"),
        ("%22%5C%0A", "\"\\\n"),
    ] {
        store.mkdir("/alice/stor/d").await.is(204);
        let path = format!("/alice/stor/d/{escaped}");
        store.put(&path, "x").await.is(204);
        assert_eq!(store.get(&path).await.is(200).text(), "x");
        assert_eq!(store.get("/alice/stor/d").await.names(), [name]);
        store.delete(&path).await.is(204);
        store.mkdir(&path).await.is(204);
        store.put(&format!("{path}%2Fbelow"), "y").await.is(204);
        assert_eq!(store.get(&format!("{path}/below")).await.text(), "y");
        store.delete(&format!("{path}/below")).await.is(204);
        store.delete(&path).await.is(204);
    }
    let escape = store.get("/alice/stor/../../poseidon/stor").await;
    let message = "/alice/stor/../../poseidon/stor was not found";
    escape.refused(404, "ResourceNotFound", message);
    store.stop().await;
}

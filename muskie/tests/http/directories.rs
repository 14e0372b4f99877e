//! Directories: make, change, remove.

use crate::client::Request;
use crate::store::start;

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_made_again_and_again() {
    let store = start().await;
    let made = store.mkdir("/alice/stor/d").await.is(204).complete();
    assert_eq!((made.get("last-modified"), made.get("etag")), (None, None));
    let again = store.mkdir("/alice/stor/d/").await.is(204);
    let first = again.header("last-modified").to_owned();
    let head = store.head("/alice/stor/d").await.is(200);
    assert_eq!(head.header("last-modified"), first);
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
async fn a_directory_keeps_headers_but_not_all() {
    let store = start().await;
    let mkdir = |headers: &[(&str, &str)]| {
        let mut request = Request::new("PUT", "/alice/stor/d")
            .header("content-type", "application/json; type=directory");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        store.send(request.body(""))
    };
    mkdir(&[
        ("m-a", "1"),
        ("content-disposition", "attachment;"),
        ("durability-level", "3"),
    ])
    .await
    .is(204);
    let head = store.head("/alice/stor/d").await.is(200);
    assert_eq!(head.header("m-a"), "1");
    assert_eq!(
        head.header("content-type"),
        "application/x-json-stream; type=directory"
    );
    assert_eq!(head.header("result-set-size"), "0");
    for name in [
        "content-disposition",
        "durability-level",
        "etag",
        "content-length",
    ] {
        assert_eq!(head.get(name), None, "{name}");
    }
    mkdir(&[("m-b", "2")]).await.is(204);
    let head = store.head("/alice/stor/d").await;
    assert_eq!((head.get("m-a"), head.get("m-b")), (None, Some("2")));

    let update = |path: &str| {
        let request = Request::new("PUT", &format!("{path}?metadata=true"));
        store.send(
            request
                .header("m-c", "3")
                .header("content-type", "text/plain")
                .chunked(&[]),
        )
    };
    update("/alice/stor/d")
        .await
        .is(204)
        .header("last-modified");
    let head = store.head("/alice/stor/d").await;
    assert_eq!((head.get("m-b"), head.get("m-c")), (None, Some("3")));
    assert_eq!(
        head.header("content-type"),
        "application/x-json-stream; type=directory"
    );
    update("/alice/stor").await.is(204);
    assert_eq!(store.head("/alice/stor").await.header("m-c"), "3");
    let sized = Request::new("PUT", "/alice/stor/d?metadata=true").body("");
    let message = "overwrite of \"content-length\" forbidden on a directory";
    store
        .send(sized)
        .await
        .refused(400, "InvalidUpdate", message);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_replaces_an_object() {
    let store = start().await;
    let put = store.put("/alice/stor/o", "x").await;
    let made = store.mkdir("/alice/stor/o").await.is(204);
    assert_eq!(made.header("etag"), put.header("etag"));
    let head = store.head("/alice/stor/o").await.is(200);
    assert_eq!(
        head.header("content-type"),
        "application/x-json-stream; type=directory"
    );
    assert!(head.get("etag").is_none());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_must_be_there() {
    let store = start().await;
    store.put("/alice/stor/o", "x").await.is(204);
    let refused = store.mkdir("/alice/stor/no/d").await;
    refused.refused(
        404,
        "DirectoryDoesNotExist",
        "/alice/stor/no does not exist",
    );
    let refused = store.mkdir("/alice/stor/o/d").await;
    refused.refused(
        400,
        "ParentNotDirectory",
        "/alice/stor/o is not a directory",
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_empty_directories_go() {
    let store = start().await;
    store.mkdir("/alice/stor/d").await.is(204);
    store.put("/alice/stor/d/o", "x").await.is(204);
    let refused = store.delete("/alice/stor/d").await;
    refused.refused(400, "DirectoryNotEmpty", "/alice/stor/d is not empty");
    store.delete("/alice/stor/d/o").await.is(204);
    store
        .delete("/alice/stor/d")
        .await
        .is(204)
        .header("last-modified");
    let refused = store.delete("/alice/stor/d").await;
    refused.refused(404, "ResourceNotFound", "/alice/stor/d was not found");
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
        let message = format!("DELETE is not allowed on {path}");
        let refused = store.delete(&path).await;
        refused.refused(400, "OperationNotAllowedOnRootDirectory", &message);
        store.mkdir(&path).await.is(204);
        store.get(&path).await.is(200).header("last-modified");
        let refused = store.delete(&path).await;
        refused.refused(400, "OperationNotAllowedOnRootDirectory", &message);
    }
    for (method, path) in [("PUT", "/alice"), ("DELETE", "/alice"), ("POST", "/alice")] {
        let message = format!("{method} is not allowed on {path}");
        let refused = store.send(Request::new(method, path)).await;
        refused.refused(400, "OperationNotAllowedOnRootDirectory", &message);
    }
    store.mkdir("/alice").await.is(400);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_mkdirs_all_succeed() {
    let store = start().await;
    for round in 0..10 {
        let path = format!("/alice/stor/{round}");
        let made = futures_util::future::join_all((0..5).map(|_| store.mkdir(&path))).await;
        // One of them made it.
        let new = made
            .into_iter()
            .filter(|r| r.status == 204 && r.get("last-modified").is_none());
        assert_eq!(new.count(), 1, "round {round}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_is_a_name() {
    let store = start().await;
    for (escaped, name) in [
        ("*needs=(escaping)", "*needs=(escaping)"),
        ("it's%20here", "it's here"),
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

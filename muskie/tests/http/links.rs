//! SnapLinks and renames: rest-api.md section 4, 15.3.

use crate::client::{Request, Response};
use crate::presigned::SignedUrl;
use crate::store::{Store, start, start_m2};

pub(crate) fn link(source: &str, target: &str) -> Request {
    Request::new("PUT", target)
        .header("content-type", "application/json; type=link")
        .header("location", source)
}

pub(crate) fn rename(source: &str, target: &str) -> Request {
    Request::new("PUT", target)
        .header("content-type", "application/json; type=rename")
        .header("location", source)
}

/// `/alice/stor/a` with a header of its own.
async fn with_object() -> (Store, Response) {
    let store = start().await;
    let put = Request::new("PUT", "/alice/stor/a")
        .header("content-type", "text/x-song")
        .header("m-mood", "blue")
        .body("la la la");
    let put = store.send(put).await.is(204);
    (store, put)
}

fn same_object(a: &Response, b: &Response) {
    for header in [
        "etag",
        "content-md5",
        "content-type",
        "content-length",
        "m-mood",
        "durability-level",
    ] {
        assert_eq!(a.get(header), b.get(header), "{header}");
    }
    assert_eq!(a.text(), b.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_the_object_under_another_name() {
    let (store, put) = with_object().await;
    let linked = store
        .send(link("/alice/stor/a", "/alice/stor/b"))
        .await
        .is(204);
    assert_eq!(linked.header("etag"), put.header("etag"));
    assert_eq!(linked.header("last-modified"), put.header("last-modified"));
    let (a, b) = (
        store.get("/alice/stor/a").await,
        store.get("/alice/stor/b").await,
    );
    same_object(&a.is(200), &b.is(200));
    let (a, b) = (
        store.head("/alice/stor/a").await,
        store.head("/alice/stor/b").await,
    );
    same_object(&a.is(200), &b.is(200));
    let row = store.get("/alice/stor?marker=b").await.rows().remove(0);
    assert_eq!(
        (&row["name"], &row["type"]),
        (&"b".into(), &"object".into())
    );
    // A link to a link is a link to the object.
    store
        .send(link("/alice/stor/b", "/alice/public/c"))
        .await
        .is(204);
    // Neither overwriting nor deleting one name touches the others.
    store.put("/alice/stor/a", "new").await.is(204);
    store.delete("/alice/stor/b").await.is(204);
    assert_eq!(
        store.get("/alice/public/c").await.is(200).text(),
        "la la la"
    );
    assert_eq!(store.get("/alice/stor/a").await.text(), "new");
    // An object may give way to a link.
    store
        .send(link("/alice/public/c", "/alice/stor/a"))
        .await
        .is(204);
    assert_eq!(store.get("/alice/stor/a").await.text(), "la la la");
    store.delete("/alice/public/c").await.is(204);
    store.delete("/alice/stor/a").await.is(204);
    store.get("/alice/stor/a").await.is(404);
    store.stop().await;
}

/// For everybody to read, and into places that are none.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_into_public_below_what_is_no_directory_and_of_nothing() {
    let (store, put) = with_object().await;
    let linked = store.send(link("/alice/stor/a", "/alice/public/a")).await;
    linked.is(204);
    let anybody = Request::new("GET", "/alice/public/a")
        .send(store.address)
        .await;
    assert_eq!(anybody.is(200).header("etag"), put.header("etag"));
    for (source, target, status, code, message) in [
        (
            "/alice/stor/a",
            "/alice/stor/x/y",
            404,
            "DirectoryDoesNotExist",
            "/alice/stor/x does not exist",
        ),
        (
            "/alice/stor/a",
            "/alice/stor/a/y",
            400,
            "ParentNotDirectory",
            "/alice/stor/a is not a directory",
        ),
        (
            "/alice/stor/x",
            "/alice/stor/n",
            404,
            "SourceObjectNotFound",
            "/alice/stor/x was not found",
        ),
    ] {
        for make in [link, rename] {
            let refused = store.send(make(source, target)).await;
            refused.refused(status, code, message);
        }
    }
    assert_eq!(store.get("/alice/stor").await.names(), ["a"]);
    store.stop().await;
}

/// The condition is on the source.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_if_the_source_matches() {
    let (store, put) = with_object().await;
    let linked = |etag: &str| {
        let request = link("/alice/stor/a", "/alice/stor/b").header("if-match", etag);
        store.send(request)
    };
    let refused = linked("00000000-0000-4000-8000-000000000000").await;
    assert_eq!(refused.is(412).code(), "PreconditionFailed");
    store.get("/alice/stor/b").await.is(404);
    linked(put.header("etag")).await.is(204);
    assert_eq!(store.get("/alice/stor/b").await.text(), "la la la");
    store.stop().await;
}

/// Link, then delete: what java-manta calls a move, of a text that is JSON.
#[tokio::test(flavor = "multi_thread")]
async fn jm_a_move_is_a_link_and_a_delete() {
    let store = start().await;
    let json = "{\"type\":\"link\",\"list\":[1,2,3]}";
    let put = Request::new("PUT", "/alice/stor/a.json").header("content-type", "application/json");
    let put = store.send(put.body(json)).await.is(204);
    let target = "/alice/stor/moved.json";
    store.send(link("/alice/stor/a.json", target)).await.is(204);
    store.delete("/alice/stor/a.json").await.is(204);
    let moved = store.get(target).await.is(200);
    assert_eq!(moved.header("etag"), put.header("etag"));
    assert_eq!(moved.header("content-type"), "application/json");
    assert_eq!(moved.text(), json);
    assert_eq!(store.get("/alice/stor").await.names(), ["moved.json"]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_moves_the_object_and_everything_said_about_it() {
    let (store, put) = with_object().await;
    store.mkdir("/alice/stor/d").await.is(204);
    let before = store.get("/alice/stor/a").await.is(200);
    let renamed = store
        .send(rename("/alice/stor/a", "/alice/stor/d/b"))
        .await
        .is(204);
    assert_eq!(renamed.header("etag"), put.header("etag"));
    store.get("/alice/stor/a").await.is(404);
    let after = store.get("/alice/stor/d/b").await.is(200);
    same_object(&before, &after);
    assert_eq!(
        before.header("last-modified"),
        after.header("last-modified")
    );
    assert_eq!(store.get("/alice/stor").await.names(), ["d"]);
    // Over another object, within a directory and back.
    store.put("/alice/stor/d/c", "other").await.is(204);
    store
        .send(rename("/alice/stor/d/b", "/alice/stor/d/c"))
        .await
        .is(204);
    assert_eq!(store.get("/alice/stor/d").await.names(), ["c"]);
    store
        .send(rename("/alice/stor/d/c", "/alice/stor/a"))
        .await
        .is(204);
    // The directory that was left is really empty.
    store.delete("/alice/stor/d").await.is(204);
    same_object(&before, &store.get("/alice/stor/a").await.is(200));
    // To itself: nothing happens.
    store
        .send(rename("/alice/stor/a", "/alice/stor/a"))
        .await
        .is(204);
    same_object(&before, &store.get("/alice/stor/a").await.is(200));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_linked_or_renamed_stays() {
    let (store, put) = with_object().await;
    store.mkdir("/alice/stor/d").await.is(204);
    store.put("/alice/stor/d/o", "o").await.is(204);
    let listing = async || {
        let rows = store.get("/alice/stor?recursive=true").await.is(200);
        rows.text()
    };
    let before = listing().await;
    let wrong = "00000000-0000-4000-8000-000000000000";
    for make in [link, rename] {
        for (name, value) in [
            ("if-match", wrong),
            ("if-none-match", put.header("etag")),
            ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
            ("x-target-if-match", wrong),
        ] {
            let refused = make("/alice/stor/a", "/alice/stor/n").header(name, value);
            assert_eq!(store.send(refused).await.status, 412, "{name}");
        }
        let refused =
            make("/alice/stor/a", "/alice/stor/d/o").header("x-target-if-none-match", "*");
        assert_eq!(store.send(refused).await.status, 412);
        let refused = make("/alice/stor/a", "/alice/stor/n").header("role-tag", "nobody");
        assert_eq!(
            store.send(refused).await.is(409).rows()[0]["code"],
            "InvalidRoleTag"
        );
        let others = make("/alice/stor/a", "/bob/stor/n").signed_by(&store.bob);
        assert_eq!(others.send(store.address).await.status, 403);
    }
    assert_eq!(listing().await, before, "nothing has changed");
    let fits = rename("/alice/stor/a", "/alice/stor/n").header("if-match", put.header("etag"));
    store
        .send(fits.header("x-target-if-none-match", "*"))
        .await
        .is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_links_are_disabled() {
    let store = start_m2().await;
    store.put("/alice/stor/a", "x").await.is(204);
    let refused = store.send(link("/alice/stor/a", "/alice/stor/b")).await;
    let message = "Manta v2 does not support SnapLinks.";
    refused.refused(403, "SnaplinksDisabledError", message);
    store.get("/alice/stor/b").await.is(404);
    store.stop().await;
}

/// What a signed URL does not cover must not be what its bearer chooses.
#[tokio::test(flavor = "multi_thread")]
async fn signed_urls_neither_link_nor_rename() {
    let (store, _) = with_object().await;
    let url = SignedUrl::new("PUT", &store.alice.key_id(), "/alice/public/drop");
    for make in [link, rename] {
        let request = make("/alice/stor/a", &url.by(&store.alice));
        assert_eq!(request.send(store.address).await.status, 403);
    }
    store.get("/alice/public/drop").await.is(404);
    store.get("/alice/stor/a").await.is(200);
    store.stop().await;
}

/// As a GET of it would be.
#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_blocked_account_is_not_linked() {
    let (store, _) = with_object().await;
    store.put("/alice/public/p", "x").await.is(204);
    store
        .people
        .change("alice", |account| account.approved = false)
        .await;
    let linked = link("/alice/public/p", "/bob/stor/mine").signed_by(&store.bob);
    let refused = linked.send(store.address).await.is(403);
    assert_eq!(refused.rows()[0]["code"], "AccountBlocked");
    store.stop().await;
}

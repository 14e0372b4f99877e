//! Which roles an entry carries: rest-api.md section 10.5, a row for each.

use crate::client::{Request, Response};
use crate::rights::with_jo;
use crate::store::{Store, User};

const DIRECTORY: &str = "application/json; type=directory";

async fn with_roles() -> (Store, User) {
    let (store, jo) = with_jo().await;
    for (name, default) in [("a", true), ("b", true), ("c", false)] {
        store.people.add_role("alice", name, &["CAN * *"]).await;
        store.people.give("alice", name, "alice/jo", default).await;
    }
    store
        .people
        .add_role("bob", "theirs", &["CAN getobject"])
        .await;
    (store, jo)
}

/// `kind` is one of `object`, `directory` and `metadata`; `None` sends no header.
async fn put(store: &Store, user: &User, kind: &str, path: &str, tags: Option<&str>) -> Response {
    let request = match kind {
        "object" => Request::new("PUT", path).body("x"),
        "directory" => Request::new("PUT", path)
            .header("content-type", DIRECTORY)
            .body(""),
        _ => Request::new("PUT", &format!("{path}?metadata=true")).chunked(&[]),
    };
    let request = match tags {
        Some(tags) => request.header("role-tag", tags),
        None => request,
    };
    request.signed_by(user).send(store.address).await
}

async fn tags(store: &Store, path: &str) -> Option<String> {
    let got = store.get(path).await.is(200);
    let head = store.head(path).await.is(200);
    assert_eq!(got.get("role-tag"), head.get("role-tag"));
    got.get("role-tag").map(String::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_replaced_by_every_write() {
    let (store, jo) = with_roles().await;
    for (kind, path) in [
        ("object", "/alice/stor/o"),
        ("directory", "/alice/stor/d"),
        ("metadata", "/alice/stor/o"),
        ("metadata", "/alice/stor/d"),
        ("metadata", "/alice/stor"),
    ] {
        for (user, sent, expected) in [
            (&store.alice, Some("a, c"), Some("a, c")),
            (&store.alice, Some("c"), Some("c")),
            (&store.alice, Some("b,b, b"), Some("b")),
            (&store.alice, Some(""), None),
            (&store.alice, Some("c"), Some("c")),
            (&store.alice, None, None),
            (&jo, None, Some("a, b")),
            (&jo, Some("c"), Some("c")),
            (&jo, Some(""), None),
        ] {
            put(&store, user, kind, path, sent).await.is(204);
            let row = format!("{kind} {path} by {} with {sent:?}", user.login);
            assert_eq!(tags(&store, path).await.as_deref(), expected, "{row}");
        }
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tag_is_refused_and_nothing_is_written() {
    let (store, jo) = with_roles().await;
    put(&store, &store.alice, "object", "/alice/stor/o", Some("a"))
        .await
        .is(204);
    let before = store.get("/alice/stor/o").await;
    for (user, kind, path, sent, name) in [
        (
            &store.alice,
            "object",
            "/alice/stor/o",
            "a, nosuch",
            "nosuch",
        ),
        (&store.alice, "directory", "/alice/stor/new", "x", "x"),
        (&store.alice, "metadata", "/alice/stor/o", "x", "x"),
        // Those of the owner count, whoever asks.
        (
            &store.poseidon,
            "object",
            "/alice/stor/new",
            "theirs",
            "theirs",
        ),
        (&jo, "object", "/alice/stor/new", "theirs", "theirs"),
        (&store.alice, "object", "/alice/stor/new", "*", "*"),
    ] {
        let message = format!("Role tag \"{name}\" is invalid.");
        let refused = put(&store, user, kind, path, Some(sent)).await;
        refused.refused(409, "InvalidRoleTag", &message);
    }
    store.get("/alice/stor/new").await.is(404);
    let after = store.get("/alice/stor/o").await;
    for name in ["etag", "last-modified", "role-tag"] {
        assert_eq!(after.get(name), before.get(name), "{name}");
    }
    put(
        &store,
        &store.poseidon,
        "object",
        "/bob/stor/o",
        Some("theirs"),
    )
    .await
    .is(204);
    store.stop().await;
}

/// A line of rest-api.md section 15.2.
#[tokio::test(flavor = "multi_thread")]
async fn jm_role_tags_unknown_set_changed_and_cleared() {
    let (store, _) = with_roles().await;
    let path = "/alice/stor/o";
    let refused = put(&store, &store.alice, "object", path, Some("nosuch")).await;
    refused.refused(409, "InvalidRoleTag", "Role tag \"nosuch\" is invalid.");
    store.get(path).await.is(404);
    for (sent, expected) in [("a", Some("a")), ("b, c", Some("b, c")), ("", None)] {
        let request = Request::new("PUT", path).header("durability-level", "3");
        let made = store.send(request.header("role-tag", sent).body("x")).await;
        made.is(204);
        assert_eq!(tags(&store, path).await.as_deref(), expected);
        put(&store, &store.alice, "metadata", path, Some("c"))
            .await
            .is(204);
        put(&store, &store.alice, "metadata", path, Some(sent))
            .await
            .is(204);
        assert_eq!(tags(&store, path).await.as_deref(), expected);
        assert_eq!(store.head(path).await.header("durability-level"), "3");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_are_gone_are_not_shown() {
    let (store, _) = with_roles().await;
    put(
        &store,
        &store.alice,
        "object",
        "/alice/stor/o",
        Some("a, c"),
    )
    .await
    .is(204);
    store.people.remove_role("alice", "a").await;
    assert_eq!(tags(&store, "/alice/stor/o").await.as_deref(), Some("c"));
    store.people.remove_role("alice", "c").await;
    assert_eq!(tags(&store, "/alice/stor/o").await, None);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tags_replace_the_headers_too() {
    let (store, _) = with_roles().await;
    let request = Request::new("PUT", "/alice/stor/o").header("m-x", "1");
    store.send(request.body("x")).await.is(204);
    // As `mchmod` does it.
    put(&store, &store.alice, "metadata", "/alice/stor/o", Some("a"))
        .await
        .is(204);
    let after = store.get("/alice/stor/o").await;
    assert_eq!((after.get("m-x"), after.get("role-tag")), (None, Some("a")));
    store.stop().await;
}

//! Rights that were decided on something that is no longer there when the change is made: they are decided
//! again on what there is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::client::{Request, Response};
use crate::rights::jo;
use crate::store::{Door, Store, User, start_between};
use crate::stumbling::{Stumble, StumblingMoray};
use crate::upload::Upload;

const SOURCE: &str = "/alice/stor/shared/s";
const TARGET: &str = "/alice/stor/shared/t";

/// Alice's subuser jo may do anything with what is tagged with his role, such as `/alice/stor/shared`.
struct Scene {
    store: Store,
    stumble: Arc<Stumble>,
    jo: User,
}

async fn scene() -> Scene {
    let stumble = Arc::new(Stumble::default());
    let for_moray = stumble.clone();
    let store = start_between(
        Door::Plain,
        |config| {
            // No upload is collected meanwhile.
            config.multipart.collect_interval = Duration::from_secs(3600);
        },
        |shark| shark,
        |inner| {
            Arc::new(StumblingMoray {
                inner,
                stumble: for_moray,
            })
        },
    )
    .await;
    let jo = jo(&store);
    store.people.add_user("alice", "jo", Some(&jo)).await;
    let anything = "CAN getdirectory, getobject, putobject, putdirectory, putlink, deleteobject AND \
                    deletedirectory";
    store.people.add_role("alice", "helper", &[anything]).await;
    store.people.give("alice", "helper", "alice/jo", true).await;
    store.tagged("/alice/stor/shared", None, "helper").await;
    Scene { store, stumble, jo }
}

impl Scene {
    /// Alice's request is done between jo's check and jo's change.
    fn alice_is_faster(&self, request: Request) {
        let (request, address) = (request.signed_by(&self.store.alice), self.store.address);
        self.stumble.overtake(async move {
            request.send(address).await.is(204);
        });
    }

    async fn by_jo(&self, request: Request) -> Response {
        let answer = request.signed_by(&self.jo).send(self.store.address).await;
        assert!(self.stumble.was_overtaken(), "{}", answer.text());
        answer
    }

    async fn text(&self, path: &str) -> Option<String> {
        let answer = self.store.get(path).await;
        (answer.status == 200).then(|| answer.text())
    }
}

fn put(path: &str, body: &str, tags: &str) -> Request {
    Request::new("PUT", path)
        .header("role-tag", tags)
        .body(body)
}

/// Only what is said about it: nobody but alice may do anything with it any more.
fn shut(path: &str) -> Request {
    Request::new("PUT", &format!("{path}?metadata=true")).header("role-tag", "")
}

fn transfer(kind: &str) -> Request {
    Request::new("PUT", TARGET)
        .header("content-type", format!("application/json; type={kind}"))
        .header("location", SOURCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_replaced_is_not_transferred_on_the_rights_to_another() {
    let scene = scene().await;
    for kind in ["link", "rename"] {
        for (faster, source) in [
            (put(SOURCE, "secret", ""), "secret"),
            (shut(SOURCE), "shared"),
        ] {
            scene.store.tagged(SOURCE, Some("shared"), "helper").await;
            scene.alice_is_faster(faster);
            let refused = scene.by_jo(transfer(kind)).await.is(403);
            assert_eq!(refused.code(), "NoMatchingRoleTag");
            assert_eq!(scene.text(TARGET).await, None, "{kind}");
            assert_eq!(scene.text(SOURCE).await.as_deref(), Some(source), "{kind}");
        }
        // One that he may have is what he gets.
        scene.store.tagged(SOURCE, Some("shared"), "helper").await;
        scene.alice_is_faster(put(SOURCE, "new", "helper"));
        scene.by_jo(transfer(kind)).await.is(204);
        assert_eq!(scene.text(TARGET).await.as_deref(), Some("new"));
        scene.store.delete(TARGET).await.is(204);
        // And none is none.
        scene.store.tagged(SOURCE, Some("shared"), "helper").await;
        scene.alice_is_faster(Request::new("DELETE", SOURCE));
        let refused = scene.by_jo(transfer(kind)).await.is(404);
        assert_eq!(refused.code(), "SourceObjectNotFound");
    }
    scene.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_appeared_is_not_overwritten_on_the_rights_to_another() {
    let scene = scene().await;
    for kind in ["link", "rename"] {
        scene.store.tagged(SOURCE, Some("shared"), "helper").await;
        scene.alice_is_faster(put(TARGET, "hers", ""));
        scene.by_jo(transfer(kind)).await.is(403);
        assert_eq!(scene.text(TARGET).await.as_deref(), Some("hers"), "{kind}");
        scene.store.delete(TARGET).await.is(204);
    }
    scene.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_replaced_is_not_removed_on_the_rights_to_another() {
    let scene = scene().await;
    let directory = "/alice/stor/shared/d";
    let make = |tags: &str| {
        Request::new("PUT", directory)
            .header("content-type", "application/json; type=directory")
            .header("role-tag", tags)
    };
    let remove = Request::new("DELETE", directory);
    for faster in [make(""), shut(directory)] {
        scene.store.tagged(directory, None, "helper").await;
        scene.alice_is_faster(faster);
        let refused = scene.by_jo(remove.clone()).await.is(403);
        assert_eq!(refused.code(), "NoMatchingRoleTag");
        scene.store.get(directory).await.is(200);
        scene.store.tagged(directory, None, "helper").await;
        scene.alice_is_faster(make(""));
        // The whole tree goes but what he may not remove.
        let tree = Request::new("DELETE", &format!("{directory}?recursive=true"));
        let told = scene.by_jo(tree).await.is(200).text();
        assert!(told.contains("\"errors\":1}"), "{told}");
        scene.store.get(directory).await.is(200);
    }
    scene.store.tagged(directory, None, "helper").await;
    scene.alice_is_faster(make("helper"));
    scene.by_jo(remove).await.is(204);
    scene.store.get(directory).await.is(404);
    scene.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_is_an_object_removed_or_described() {
    let scene = scene().await;
    for request in [Request::new("DELETE", SOURCE), shut(SOURCE)] {
        for faster in [put(SOURCE, "hers", ""), shut(SOURCE)] {
            scene.store.tagged(SOURCE, Some("shared"), "helper").await;
            scene.alice_is_faster(faster);
            scene.by_jo(request.clone()).await.is(403);
            assert!(scene.text(SOURCE).await.is_some());
        }
        scene.store.tagged(SOURCE, Some("shared"), "helper").await;
        scene.alice_is_faster(put(SOURCE, "new", "helper"));
        scene.by_jo(request).await.is(204);
    }
    scene.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_not_removed_on_the_rights_to_what_was_listed() {
    let scene = scene().await;
    let tree = Request::new("DELETE", "/alice/stor/shared?recursive=true");
    for faster in [put(SOURCE, "hers", ""), shut(SOURCE)] {
        for path in [SOURCE, TARGET] {
            scene.store.tagged(path, Some("shared"), "helper").await;
        }
        scene.alice_is_faster(faster);
        let removed = scene.by_jo(tree.clone()).await.is(200).rows();
        let end = removed.last().unwrap();
        assert_eq!((&end["objects"], &end["errors"]), (&1.into(), &1.into()));
        assert_eq!(removed[0]["path"], SOURCE);
        assert_eq!(removed[0]["code"], "AuthorizationFailed");
        assert!(scene.text(SOURCE).await.is_some());
        assert_eq!(scene.text(TARGET).await, None);
    }
    // One that he may remove goes with the rest.
    scene.store.tagged(SOURCE, Some("shared"), "helper").await;
    scene.alice_is_faster(put(SOURCE, "new", "helper"));
    let removed = scene.by_jo(tree).await.is(200).rows();
    assert_eq!(removed.last().unwrap()["errors"], 0);
    scene.store.get("/alice/stor/shared").await.is(404);
    scene.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_appeared_does_not_become_a_directory() {
    let scene = scene().await;
    let make = Request::new("PUT", TARGET)
        .header("content-type", "application/json; type=directory")
        .body("");
    scene.alice_is_faster(put(TARGET, "hers", ""));
    let refused = scene.by_jo(make.clone()).await.is(403);
    assert_eq!(refused.code(), "NoMatchingRoleTag");
    assert_eq!(scene.text(TARGET).await.as_deref(), Some("hers"));
    scene.store.delete(TARGET).await.is(204);
    // One that he may replace he replaces.
    scene.alice_is_faster(put(TARGET, "hers", "helper"));
    scene.by_jo(make).await.is(204);
    let there = scene.store.get(TARGET).await.is(200);
    assert!(there.header("content-type").contains("type=directory"));
    scene.store.stop().await;
}

/// Hours after it was looked at, when the object is large. Here alice stores in what bob lets her use.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_appeared_is_not_overwritten_by_a_put_or_by_a_commit() {
    let Scene { store, stumble, .. } = scene().await;
    for (role, rule) in [
        ("helper", "CAN putobject"),
        ("adder", "CAN putobject WHEN overwrite = false"),
    ] {
        store.people.add_role("bob", role, &[rule]).await;
        store.people.give("bob", role, "alice", true).await;
        let make = put(&format!("/bob/stor/{role}"), "", role)
            .header("content-type", "application/json; type=directory");
        let made = make.signed_by(&store.bob).send(store.address).await;
        made.is(204);
    }
    for (directory, tags, allowed) in [
        ("helper", "", false),
        ("helper", "helper", true),
        // Tagged as she needs it, but she may not overwrite.
        ("adder", "adder", false),
    ] {
        let path = &format!("/bob/stor/{directory}/t");
        let address = store.address;
        let by_bob = async |request: Request| {
            let signed = request.signed_by(&store.bob);
            signed.send(address).await
        };
        let upload = Upload::create(&store, path, json!({})).await;
        let etags = upload.put_all(&store, &[b"hers"]).await;
        for (hers, done) in [
            (put(path, "hers", ""), 204),
            (upload.commit_request(&etags), 201),
        ] {
            let before = store.copy_files().len();
            let faster = put(path, "his", tags).signed_by(&store.bob);
            stumble.overtake(async move {
                faster.send(address).await.is(204);
            });
            let answer = store.send(hers).await;
            assert!(stumble.was_overtaken(), "{}", answer.text());
            let text = by_bob(Request::new("GET", path)).await.text();
            if allowed {
                answer.is(done);
                assert_eq!(text, "hers");
            } else {
                answer.is(403);
                assert_eq!(text, "his");
                // Of what was not stored nothing is left.
                assert_eq!(store.copy_files().len(), before + 2);
            }
            by_bob(Request::new("DELETE", path)).await.is(204);
        }
        if !allowed {
            // It cannot succeed, so it may be given up.
            upload.abort(&store).await.is(204);
        }
    }
    store.stop().await;
}

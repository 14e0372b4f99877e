//! Rights that were decided on something that is no longer there when the change is made: they are decided
//! again on what there is.

use std::sync::Arc;

use crate::client::{Request, Response};
use crate::rights::jo;
use crate::store::{Door, Store, User, start_between};
use crate::stumbling::{Stumble, StumblingMoray};

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
        |_| {},
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
    let rule = "CAN getdirectory, getobject, putobject, putlink, deleteobject AND deletedirectory";
    store.people.add_role("alice", "helper", &[rule]).await;
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

//! A link, a rename, or a write of a name they have to do with, that stops for ever at any of its steps, before
//! the step or after it with the reply lost, on real shards. Whatever it leaves, both names change at the same
//! instant or not at all, fresh operations work, and in the end nothing is left.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use common::Store;
use common::unreliable::Unreliable;
use electric_moray::Router;
use libmanta::moray::links::Links;
use libmanta::moray::{DeleteLog, Deleted, MorayError, Namespace, NamespaceError};
use libmanta::{AccountId, Condition, Entry, ObjectId, ObjectKey};
use testkit::links::{id, link, logged, rename, tidy};
use testkit::moray::{key, listing, mkdir, object, put};

/// How a name is before the operation that stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Missing,
    Sole,
    /// Of an object with another name, which was linked from this one.
    Pinned,
    /// Of an object with another name, which this one was linked from.
    Linked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Link,
    Rename,
    PutSource,
    RemoveSource,
    PutTarget,
}

/// What comes after the operation that stops, and is not disturbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Link,
    Rename,
    RenameBack,
    Put,
    Nothing,
}

const THEN: [Then; 5] = [
    Then::Link,
    Then::Rename,
    Then::RenameBack,
    Then::Put,
    Then::Nothing,
];

struct Scene {
    source: ObjectKey,
    target: ObjectKey,
    directories: [ObjectKey; 2],
    /// Other names of the objects under the two.
    others: Vec<ObjectKey>,
    /// All objects there ever were.
    objects: Vec<ObjectId>,
}

impl Scene {
    async fn prepare(store: &Store, source: Before, target: Before) -> Self {
        let owner = AccountId::random();
        let directories = [key(owner, "stor/a"), key(owner, "stor/b")];
        for directory in &directories {
            let made = store.router.make_directory(mkdir(directory.clone())).await;
            made.unwrap();
        }
        let mut scene = Self {
            source: directories[0].child("x").unwrap(),
            target: directories[1].child("y").unwrap(),
            directories,
            others: Vec::new(),
            objects: Vec::new(),
        };
        for (name, before) in [
            (scene.source.clone(), source),
            (scene.target.clone(), target),
        ] {
            let other = key(owner, &format!("stor/other {}", name.name()));
            match before {
                Before::Missing => {}
                Before::Sole => scene.put(&store.router, &name).await,
                Before::Pinned => {
                    scene.put(&store.router, &name).await;
                    store.router.link(link(&name, &other)).await.unwrap();
                    scene.others.push(other);
                }
                Before::Linked => {
                    scene.put(&store.router, &other).await;
                    store.router.link(link(&other, &name)).await.unwrap();
                    scene.others.push(other);
                }
            }
        }
        scene
    }

    async fn put(&mut self, router: &Router, name: &ObjectKey) {
        let entry = object(name.clone());
        self.objects.push(id(&entry));
        router.put_object(put(entry)).await.unwrap();
    }

    /// What the two names are bound to.
    async fn state(&self, router: &Router) -> [Option<ObjectId>; 2] {
        let mut state = [None; 2];
        for (bound, name) in state.iter_mut().zip([&self.source, &self.target]) {
            let entry = router.lookup(name).await.unwrap().entry;
            *bound = entry.as_ref().map(id);
        }
        state
    }

    /// Lookups and listings tell the same.
    async fn is_consistent(&self, router: &Router, story: &str) {
        let state = self.state(router).await;
        for (bound, directory) in state.iter().zip(&self.directories) {
            let page = router.list(&listing(directory.clone())).await.unwrap();
            let listed: Vec<_> = page.entries.iter().map(id).collect();
            assert_eq!(listed, bound.iter().copied().collect::<Vec<_>>(), "{story}");
        }
    }

    /// What no name has, nothing refers to. Removes all names and directories; then each object has been in the
    /// delete log once, and nothing else is left.
    async fn ends_well(self, router: &Router, story: &str) {
        tidy(router).await;
        let mut deleted = logged(router, &self.objects).await;
        router.forget(&deleted).await.unwrap();
        let names = [&self.source, &self.target].into_iter().chain(&self.others);
        let mut named = Vec::new();
        for name in names.clone() {
            named.extend(router.lookup(name).await.unwrap().entry.as_ref().map(id));
        }
        let referenced = router.referenced(&self.objects).await.unwrap();
        for (object, referenced) in self.objects.iter().zip(referenced) {
            assert_eq!(
                referenced,
                named.contains(object),
                "{story}: {object} is referenced"
            );
        }
        // What was put by an operation that stopped may never have been there.
        let was_there = |object: &ObjectId, deleted: &[Deleted]| {
            named.contains(object) || deleted.iter().any(|d| d.object_id == *object)
        };
        let were_there = self
            .objects
            .iter()
            .filter(|o| was_there(o, &deleted))
            .count();
        let none = Condition::default();
        for name in names {
            match router.remove_object(name, &none).await {
                Ok(_) | Err(NamespaceError::NotFound) => {}
                Err(error) => panic!("{story}: remove {name}: {error}"),
            }
        }
        for directory in &self.directories {
            let removed = router.remove_directory(directory, None).await;
            assert!(removed.is_ok(), "{story}: {removed:?}");
        }
        tidy(router).await;
        let last = logged(router, &self.objects).await;
        router.forget(&last).await.unwrap();
        deleted.extend(last);
        let logged: BTreeSet<ObjectId> = deleted.iter().map(|d| d.object_id).collect();
        assert_eq!(
            (logged.len(), deleted.len()),
            (were_there, were_there),
            "{story}"
        );
        let referenced = router.referenced(&self.objects).await.unwrap();
        assert!(referenced.iter().all(|is| !is), "{story}: {referenced:?}");
    }
}

async fn act(router: &Router, what: Act, scene: &Scene, new: &Entry) -> Result<(), NamespaceError> {
    let (source, target) = (&scene.source, &scene.target);
    match what {
        Act::Link => router.link(link(source, target)).await.map(drop),
        Act::Rename => router.rename(rename(source, target)).await.map(drop),
        Act::PutSource | Act::PutTarget => router.put_object(put(new.clone())).await.map(drop),
        Act::RemoveSource => router
            .remove_object(source, &Condition::default())
            .await
            .map(drop),
    }
}

/// Whether it was stopped.
async fn interrupt(
    store: &Store,
    what: Act,
    scene: &mut Scene,
    steps: i64,
    last_takes_effect: bool,
) -> bool {
    let left = Arc::new(AtomicI64::new(steps));
    let router = store.routed(|inner| {
        Arc::new(Unreliable {
            left: Arc::clone(&left),
            last_takes_effect,
            ..Unreliable::lasting(inner)
        })
    });
    let name = match what {
        Act::PutTarget => &scene.target,
        _ => &scene.source,
    };
    let new = object(name.clone());
    if matches!(what, Act::PutSource | Act::PutTarget) {
        scene.objects.push(id(&new));
    }
    let ended = act(&router, what, scene, &new).await;
    let stopped = matches!(
        ended,
        Err(NamespaceError::Moray(MorayError::Unavailable { .. }))
    );
    let is_gone = matches!(
        ended,
        Err(NamespaceError::SourceNotFound | NamespaceError::NotFound)
    );
    assert!(stopped || ended.is_ok() || is_gone, "{what:?}: {ended:?}");
    // The errands of what has ended by itself may be cut short as well.
    stopped || left.load(Ordering::SeqCst) < 0
}

/// A fresh operation that nobody disturbs works, whatever is left of others.
async fn then(router: &Router, then: Then, scene: &mut Scene, story: &str) {
    let before = scene.state(router).await;
    let (source, target) = (scene.source.clone(), scene.target.clone());
    let expected = match (then, before) {
        (Then::Nothing, _) => before,
        (Then::Put, _) => {
            for name in [&source, &target] {
                scene.put(router, name).await;
            }
            let new = scene.objects.len() - 2;
            [Some(scene.objects[new]), Some(scene.objects[new + 1])]
        }
        (Then::Link, [None, _]) | (Then::Rename, [None, _]) => {
            let refused = router.rename(rename(&source, &target)).await;
            assert_eq!(refused, Err(NamespaceError::SourceNotFound), "{story}");
            before
        }
        (Then::RenameBack, [_, None]) => {
            let refused = router.link(link(&target, &source)).await;
            assert_eq!(refused, Err(NamespaceError::SourceNotFound), "{story}");
            before
        }
        (Then::Link, [bound, _]) => {
            let linked = router.link(link(&source, &target)).await;
            assert!(linked.is_ok(), "{story}: {linked:?}");
            [bound, bound]
        }
        (Then::Rename, [bound, _]) => {
            let renamed = router.rename(rename(&source, &target)).await;
            assert!(renamed.is_ok(), "{story}: {renamed:?}");
            [None, bound]
        }
        (Then::RenameBack, [_, bound]) => {
            let renamed = router.rename(rename(&target, &source)).await;
            assert!(renamed.is_ok(), "{story}: {renamed:?}");
            [bound, None]
        }
    };
    assert_eq!(scene.state(router).await, expected, "{story}");
    scene.is_consistent(router, story).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_interrupted_transfer_leaves_is_put_right() {
    let store = Store::open(3);
    let mut stories = 0;
    for source in [Before::Sole, Before::Pinned, Before::Linked] {
        for target in [
            Before::Missing,
            Before::Sole,
            Before::Pinned,
            Before::Linked,
        ] {
            for what in [Act::Link, Act::Rename] {
                for takes_effect in [false, true] {
                    for steps in 0.. {
                        let mut scene = Scene::prepare(&store, source, target).await;
                        let after = THEN[stories % THEN.len()];
                        let story = format!(
                            "{source:?}, {target:?}: {what:?} stops at {steps} ({takes_effect}), {after:?}"
                        );
                        let before = scene.state(&store.router).await;
                        let stopped =
                            interrupt(&store, what, &mut scene, steps, takes_effect).await;
                        let now = scene.state(&store.router).await;
                        let done = match what {
                            Act::Link => [before[0], before[0]],
                            _ => [None, before[0]],
                        };
                        assert!(now == done || stopped && now == before, "{story}: {now:?}");
                        scene.is_consistent(&store.router, &story).await;
                        then(&store.router, after, &mut scene, &story).await;
                        scene.ends_well(&store.router, &story).await;
                        stories += 1;
                        if !stopped {
                            break;
                        }
                    }
                }
            }
        }
    }
    assert!(stories > 200, "{stories} stories");
}

/// The second one meets what the first one left, and stops as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_interrupted_operations_on_the_same_names_are_put_right() {
    let store = Store::open(3);
    let mut stories = 0;
    for first in [Act::Link, Act::Rename] {
        for first_steps in 2..9 {
            for second in [
                Act::Link,
                Act::Rename,
                Act::PutSource,
                Act::RemoveSource,
                Act::PutTarget,
            ] {
                for second_steps in (stories % 2..).step_by(2) {
                    let target = [Before::Missing, Before::Sole, Before::Pinned][stories % 3];
                    let mut scene = Scene::prepare(&store, Before::Sole, target).await;
                    let after = THEN[stories % THEN.len()];
                    let story = format!(
                        "{target:?}: {first:?} stops at {first_steps}, {second:?} at {second_steps}, {after:?}"
                    );
                    interrupt(&store, first, &mut scene, first_steps, false).await;
                    let steps = i64::try_from(second_steps).unwrap();
                    let stopped = interrupt(&store, second, &mut scene, steps, true).await;
                    scene.is_consistent(&store.router, &story).await;
                    then(&store.router, after, &mut scene, &story).await;
                    scene.ends_well(&store.router, &story).await;
                    stories += 1;
                    if !stopped {
                        break;
                    }
                }
            }
        }
    }
    assert!(stories > 100, "{stories} stories");
}

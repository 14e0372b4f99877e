//! An operation that stops for ever at any of its steps, before the step or after it with the reply lost, on
//! real shards. Whatever it leaves, fresh operations agree with each other about the tree and give proper
//! answers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use common::Store;
use common::unreliable::Unreliable;
use electric_moray::Router;
use libmanta::moray::{MorayError, Namespace, NamespaceError};
use libmanta::{AccountId, Condition, ObjectKey};
use testkit::moray::{key, listing, mkdir, object, put};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Insert,
    Remove,
    MakeDirectory,
    List,
}

const ACTS: [Act; 4] = [Act::Insert, Act::Remove, Act::MakeDirectory, Act::List];

/// How the directory is before the operations that stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Absent,
    /// Never had a child: no row.
    Empty,
    /// Had one: an open row at zero.
    Emptied,
    Full,
}

async fn act(router: &Router, act: Act, directory: &ObjectKey) -> Result<(), NamespaceError> {
    match act {
        Act::Insert => {
            let child = object(directory.child("child").unwrap());
            router.put_object(put(child)).await.map(drop)
        }
        Act::Remove => router.remove_directory(directory, None).await.map(drop),
        Act::MakeDirectory => router
            .make_directory(mkdir(directory.clone()))
            .await
            .map(drop),
        Act::List => router.list(&listing(directory.clone())).await.map(drop),
    }
}

/// `None` if it ended by itself within `steps`.
async fn interrupt(
    store: &Store,
    what: Act,
    directory: &ObjectKey,
    steps: i64,
    last_takes_effect: bool,
) -> Option<()> {
    let left = Arc::new(AtomicI64::new(steps));
    let router = store.routed(|inner| {
        Arc::new(Unreliable {
            left: Arc::clone(&left),
            last_takes_effect,
            ..Unreliable::lasting(inner)
        })
    });
    let ended = act(&router, what, directory).await;
    matches!(
        ended,
        Err(NamespaceError::Moray(MorayError::Unavailable { .. }))
    )
    .then_some(())
}

async fn prepare(router: &Router, directory: &ObjectKey, before: Before) {
    if before == Before::Absent {
        return;
    }
    act(router, Act::MakeDirectory, directory).await.unwrap();
    if before == Before::Empty {
        return;
    }
    act(router, Act::Insert, directory).await.unwrap();
    if before == Before::Emptied {
        let child = directory.child("child").unwrap();
        router
            .remove_object(&child, &Condition::default())
            .await
            .unwrap();
    }
}

/// What fresh operations say, each after the other, must be one story.
async fn check(router: &Router, directory: &ObjectKey, story: &str) {
    let listed = router.list(&listing(directory.clone())).await;
    let entry = router.lookup(directory).await.unwrap().entry;
    let child = directory.child("child").unwrap();
    let children = match listed {
        Ok(page) => {
            assert!(entry.is_some(), "{story}");
            assert_eq!(page.entries_total, page.entries.len() as u64, "{story}");
            Some(page.entries_total)
        }
        Err(NamespaceError::NotFound) => {
            assert_eq!(entry, None, "{story}");
            None
        }
        Err(error) => panic!("{story}: list: {error}"),
    };
    let found = router.lookup(&child).await.unwrap();
    assert_eq!(
        u64::from(found.entry.is_some()),
        children.unwrap_or(0),
        "{story}"
    );

    let removed = act(router, Act::Remove, directory).await;
    let inserted = act(router, Act::Insert, directory).await;
    match children {
        None => {
            assert_eq!(removed, Err(NamespaceError::NotFound), "{story}");
            assert_eq!(inserted, Err(NamespaceError::ParentNotFound), "{story}");
        }
        Some(0) => {
            assert_eq!(removed, Ok(()), "{story}");
            assert_eq!(inserted, Err(NamespaceError::ParentNotFound), "{story}");
        }
        Some(_) => {
            assert_eq!(removed, Err(NamespaceError::NotEmpty), "{story}");
            assert_eq!(inserted, Ok(()), "{story}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_interrupted_operation_leaves_is_put_right() {
    let store = Store::open(2);
    let mut stories = 0;
    for before in [Before::Absent, Before::Empty, Before::Emptied, Before::Full] {
        for what in ACTS {
            for takes_effect in [false, true] {
                for steps in 0.. {
                    let directory = key(AccountId::random(), "stor/d");
                    prepare(&store.router, &directory, before).await;
                    let stopped = interrupt(&store, what, &directory, steps, takes_effect).await;
                    let story = format!("{before:?}, {what:?} stops at {steps} ({takes_effect})");
                    check(&store.router, &directory, &story).await;
                    stories += 1;
                    if stopped.is_none() {
                        break;
                    }
                }
            }
        }
    }
    assert!(stories > 50, "{stories} stories");
}

/// The second one meets what the first one left, and stops as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_interrupted_operations_are_put_right() {
    let store = Store::open(2);
    let mut stories = 0;
    for before in [Before::Empty, Before::Emptied] {
        for first in [Act::Insert, Act::Remove] {
            for first_steps in 1..6 {
                for second in [Act::Insert, Act::Remove, Act::MakeDirectory] {
                    for second_steps in 0..8 {
                        let directory = key(AccountId::random(), "stor/d");
                        prepare(&store.router, &directory, before).await;
                        interrupt(&store, first, &directory, first_steps, false).await;
                        let stopped =
                            interrupt(&store, second, &directory, second_steps, true).await;
                        let story = format!(
                            "{before:?}, {first:?} stops at {first_steps}, {second:?} at {second_steps}"
                        );
                        check(&store.router, &directory, &story).await;
                        stories += 1;
                        if stopped.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }
    assert!(stories > 100, "{stories} stories");
}

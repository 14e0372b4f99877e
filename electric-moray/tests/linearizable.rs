//! Random concurrent operations around one directory, over real shards, against a sequential model: every
//! history must be linearizable, every count exact, no child without its directory, and every object that is
//! gone in the delete log exactly once.
//!
//! `MORAY_SEED=n` replays the operations of a failing run, `MORAY_ROUNDS=n` asks for more of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod directory_model;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Store, object_with, setting};
use directory_model::{Call, Operation, Outcome, World};
use electric_moray::Router;
use libmanta::moray::{
    DeleteLog, LogCursor, Namespace, NamespaceError, Parent, PutObject, Replaced,
};
use libmanta::{AccountId, Condition, Entry, EtagList, ObjectKey, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::history;
use testkit::moray::{key, listing, mkdir, object, put};

const CALLERS: usize = 5;
const CALLS_EACH: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_operations_are_linearizable_over_one_shard() {
    run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_operations_are_linearizable_over_two_shards() {
    run(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_operations_are_linearizable_over_four_shards() {
    run(4).await;
}

/// Everybody makes the whole path and puts something into it, as `mput -p` and jobs do: nobody may be told to
/// come back, and each directory is made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_makes_the_same_path_never_fails() {
    const CROWD: u32 = 48;
    let store = Store::open(2);
    let router = Arc::new(store.routed(|shard| shard));
    let owner = AccountId::random();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..CROWD {
        let router = Arc::clone(&router);
        tasks.spawn(async move {
            let mut made = 0;
            for path in ["stor/a", "stor/a/b", "stor/a/b/c"] {
                let replaced = router
                    .make_directory(mkdir(key(owner, path)))
                    .await
                    .unwrap();
                made += u32::from(replaced.before.is_none());
            }
            let file = key(owner, &format!("stor/a/b/c/{n}"));
            router.put_object(put(object(file))).await.unwrap();
            made
        });
    }
    let mut made = 0;
    while let Some(done) = tasks.join_next().await {
        made += done.unwrap();
    }
    assert_eq!(made, 3);
    for (path, entries) in [
        ("stor", 1),
        ("stor/a", 1),
        ("stor/a/b", 1),
        ("stor/a/b/c", CROWD),
    ] {
        let page = router.list(&listing(key(owner, path))).await.unwrap();
        assert_eq!(page.entries_total, u64::from(entries), "{path}");
        assert_eq!(page.entries.len() as u64, u64::from(entries), "{path}");
    }
}

async fn run(shards: usize) {
    let seed = setting("MORAY_SEED").unwrap_or_else(rand::random);
    let rounds = setting("MORAY_ROUNDS").unwrap_or(60);
    println!("MORAY_SEED={seed} over {shards} shards, {rounds} rounds");
    let mut rng = StdRng::seed_from_u64(seed);
    let store = Store::open(shards);
    for round in 0..rounds {
        let directory = key(AccountId::random(), "stor/d");
        let calls = one_round(&store, &directory, &mut rng).await;
        if let Err(stuck) = history::check(&World::default(), &calls) {
            panic!("seed {seed} round {round}: not linearizable\n{stuck}");
        }
        check_rest(&store.router, &directory, &calls).await;
    }
}

async fn one_round(store: &Store, directory: &ObjectKey, rng: &mut StdRng) -> Vec<Call> {
    let clock = Arc::new(AtomicU64::new(0));
    let router = Arc::new(store.routed(|shard| shard));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let plan: Vec<Operation> = (0..CALLS_EACH).map(|_| draw(rng)).collect();
        let (router, directory, clock) =
            (Arc::clone(&router), directory.clone(), Arc::clone(&clock));
        tasks.spawn(async move {
            let mut calls = Vec::new();
            for operation in plan {
                let begun = clock.fetch_add(1, Ordering::SeqCst);
                let outcome = call(&router, &directory, &operation).await;
                let ended = clock.fetch_add(1, Ordering::SeqCst);
                calls.push(Call {
                    operation,
                    outcome: Some(outcome),
                    begun,
                    ended,
                });
            }
            calls
        });
    }
    let mut calls = Vec::new();
    while let Some(done) = tasks.join_next().await {
        calls.extend(done.unwrap());
    }
    calls
}

fn draw(rng: &mut StdRng) -> Operation {
    let child = rng.random_range(0..2);
    let id = rng.random();
    match rng.random_range(0..20) {
        0..4 => Operation::Put { child, id },
        4 => Operation::PutNew { child, id },
        5..8 => Operation::RemoveChild { child },
        8..11 => Operation::MakeDirectory,
        11..16 => Operation::RemoveDirectory,
        16 => Operation::PutHere { id },
        17 => Operation::RemoveHere,
        18 => Operation::List,
        _ => Operation::Lookup { child },
    }
}

fn child_key(directory: &ObjectKey, child: u8) -> ObjectKey {
    directory.child(&format!("child {child}")).unwrap()
}

fn id_of(entry: &Entry) -> Option<u128> {
    Some(entry.object()?.object_id.as_uuid().as_u128())
}

/// Calls the port and says what came back in the words of the model.
async fn call(router: &Router, directory: &ObjectKey, operation: &Operation) -> Outcome {
    let replaced = |result: Result<Replaced, NamespaceError>| match result {
        Ok(Replaced { before, .. }) => match before {
            None => Outcome::Created,
            Some(entry) => id_of(&entry).map_or(Outcome::WasDirectory, Outcome::Replaced),
        },
        Err(error) => refused(&error),
    };
    let removed = |result: Result<Entry, NamespaceError>| match result {
        Ok(entry) => id_of(&entry).map_or(Outcome::RemovedDirectory, Outcome::Removed),
        Err(error) => refused(&error),
    };
    let none = Condition::default();
    match operation {
        Operation::Put { child, id } => {
            let entry = object_with(child_key(directory, *child), *id);
            replaced(router.put_object(put(entry)).await)
        }
        Operation::PutNew { child, id } => {
            let condition = Condition {
                if_none_match: Some(EtagList("*".to_owned())),
                ..Condition::default()
            };
            let entry = object_with(child_key(directory, *child), *id);
            replaced(
                router
                    .put_object(PutObject {
                        condition,
                        ..put(entry)
                    })
                    .await,
            )
        }
        Operation::PutHere { id } => {
            let entry = object_with(directory.clone(), *id);
            replaced(router.put_object(put(entry)).await)
        }
        Operation::MakeDirectory => replaced(router.make_directory(mkdir(directory.clone())).await),
        Operation::RemoveChild { child } => {
            let key = child_key(directory, *child);
            removed(router.remove_object(&key, &none).await)
        }
        Operation::RemoveHere => removed(router.remove_object(directory, &none).await),
        Operation::RemoveDirectory => removed(router.remove_directory(directory, None).await),
        Operation::List => match router.list(&listing(directory.clone())).await {
            Ok(page) => {
                assert_eq!(page.entries_total, page.entries.len() as u64, "exact count");
                let mut children = [None; 2];
                for entry in &page.entries {
                    let child = if entry.key == child_key(directory, 0) {
                        0
                    } else {
                        1
                    };
                    children[child] = id_of(entry);
                }
                Outcome::Page(children)
            }
            Err(error) => refused(&error),
        },
        Operation::Lookup { child } => {
            let key = child_key(directory, *child);
            let lookup = router.lookup(&key).await.unwrap();
            Outcome::Found(lookup.entry.as_ref().and_then(id_of))
        }
    }
}

/// Nothing else may come back; `Overloaded` neither, with so few callers.
fn refused(error: &NamespaceError) -> Outcome {
    match error {
        NamespaceError::NotFound => Outcome::NotFound,
        NamespaceError::ParentNotFound => Outcome::ParentNotFound,
        NamespaceError::ParentNotDirectory => Outcome::ParentNotDirectory,
        NamespaceError::IsDirectory => Outcome::IsDirectory,
        NamespaceError::NotDirectory => Outcome::NotDirectory,
        NamespaceError::NotEmpty => Outcome::NotEmpty,
        NamespaceError::Precondition(_) => Outcome::Precondition,
        other => panic!("an answer that no history explains: {other}"),
    }
}

/// All is quiet: no orphan, and the delete log is exact.
async fn check_rest(router: &Router, directory: &ObjectKey, calls: &[Call]) {
    let own = router.lookup(directory).await.unwrap().entry;
    let mut present: Vec<u128> = own.as_ref().and_then(id_of).into_iter().collect();
    for child in 0..2 {
        let found = router.lookup(&child_key(directory, child)).await.unwrap();
        let is_directory = own.as_ref().is_some_and(Entry::is_directory);
        assert!(found.entry.is_none() || is_directory, "an orphan");
        let parent = match &own {
            Some(entry) if entry.is_directory() => Parent::Directory,
            Some(_) => Parent::Object,
            None => Parent::Missing,
        };
        assert_eq!(found.parent, parent);
        present.extend(found.entry.as_ref().and_then(id_of));
    }
    let log = router
        .deleted(
            Timestamp::from_millis(u64::MAX),
            &LogCursor::default(),
            1_000_000,
        )
        .await
        .unwrap();
    let mut times_logged: HashMap<u128, usize> = HashMap::new();
    for deleted in &log {
        *times_logged
            .entry(deleted.object_id.as_uuid().as_u128())
            .or_default() += 1;
    }
    for call in calls {
        let written = match (&call.operation, &call.outcome) {
            (
                Operation::Put { id, .. }
                | Operation::PutNew { id, .. }
                | Operation::PutHere { id },
                Some(Outcome::Created | Outcome::Replaced(_)),
            ) => *id,
            _ => continue,
        };
        let expected = usize::from(!present.contains(&written));
        let logged = times_logged.get(&written).copied().unwrap_or(0);
        assert_eq!(logged, expected, "times in the delete log, after {call:?}");
    }
    router.forget(&log).await.unwrap();
}

//! Random concurrent links, renames and everything else on a few names, over real shards, against a sequential
//! model: every history must be linearizable, every count exact at rest, and every object that is gone in the
//! delete log exactly once, with nothing else left of it.
//!
//! `MORAY_SEED=n` replays the operations of a failing run, `MORAY_ROUNDS=n` asks for more of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod history;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::Store;
use electric_moray::Router;
use history::names::{DIRECTORY_OF, NAMES, Names, Operation, Outcome};
use libmanta::moray::links::{Link, Links, Rename};
use libmanta::moray::{DeleteLog, Namespace, NamespaceError, PutObject, Update};
use libmanta::{AccountId, Condition, Entry, EtagList, ObjectId, ObjectKey, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::links::{link, logged, rename, tidy};
use testkit::moray::{key, listing, mkdir, object, put};
use uuid::Uuid;

type Call = history::Call<Operation, Outcome>;

const CALLERS: usize = 5;
const CALLS_EACH: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_linearizable_over_one_shard() {
    run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_linearizable_over_two_shards() {
    run(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_linearizable_over_five_shards() {
    run(5).await;
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text}, not a number"))
    })
}

/// The names, and the directories they are in.
struct Place {
    names: Vec<ObjectKey>,
    directories: Vec<ObjectKey>,
}

async fn run(shards: usize) {
    let seed = setting("MORAY_SEED").unwrap_or_else(rand::random);
    let rounds = setting("MORAY_ROUNDS").unwrap_or(40);
    println!("MORAY_SEED={seed} over {shards} shards, {rounds} rounds");
    let mut rng = StdRng::seed_from_u64(seed);
    let store = Store::open(shards);
    for round in 0..rounds {
        let owner = AccountId::random();
        let directories = vec![key(owner, "stor/0"), key(owner, "stor/1")];
        let names = DIRECTORY_OF
            .iter()
            .enumerate()
            .map(|(n, directory)| directories[*directory].child(&n.to_string()).unwrap())
            .collect();
        let place = Arc::new(Place { names, directories });
        for directory in &place.directories {
            let made = store.router.make_directory(mkdir(directory.clone())).await;
            made.unwrap();
        }
        let calls = one_round(&store, &place, &mut rng).await;
        let world = Names {
            is_there: [true; 2],
            ..Names::default()
        };
        if let Err(stuck) = history::check(&world, &calls) {
            panic!("seed {seed} round {round}: not linearizable\n{stuck}");
        }
        check_rest(&store.router, &place, &calls).await;
    }
}

async fn one_round(store: &Store, place: &Arc<Place>, rng: &mut StdRng) -> Vec<Call> {
    let clock = Arc::new(AtomicU64::new(0));
    let router = Arc::new(store.routed(|shard| shard));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let plan: Vec<Operation> = (0..CALLS_EACH).map(|_| draw(rng)).collect();
        let (router, place, clock) = (Arc::clone(&router), Arc::clone(place), Arc::clone(&clock));
        tasks.spawn(async move {
            let mut calls = Vec::new();
            for operation in plan {
                let begun = clock.fetch_add(1, Ordering::SeqCst);
                let outcome = call(&router, &place, operation).await;
                let ended = clock.fetch_add(1, Ordering::SeqCst);
                calls.push(Call {
                    operation,
                    outcome,
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
    let name = rng.random_range(0..NAMES);
    let from = rng.random_range(0..NAMES);
    let directory = rng.random_range(0..2);
    let id = rng.random();
    let new = rng.random_range(0..4) == 0;
    match rng.random_range(0..24) {
        0..5 => Operation::Put { name, id },
        5 => Operation::PutNew { name, id },
        6 => Operation::Update { name },
        7..10 => Operation::Remove { name },
        10..14 => Operation::Link {
            from,
            to: name,
            new,
        },
        14..18 => Operation::Rename {
            from,
            to: name,
            new,
        },
        18 => Operation::MakeDirectory { directory },
        19 | 20 => Operation::RemoveDirectory { directory },
        21 => Operation::List { directory },
        _ => Operation::Lookup { name },
    }
}

fn id_of(entry: &Entry) -> Option<u128> {
    Some(entry.object()?.object_id.as_uuid().as_u128())
}

fn only_if(new: bool) -> Condition {
    Condition {
        if_none_match: new.then(|| EtagList("*".to_owned())),
        ..Condition::default()
    }
}

/// Calls the port and says what came back in the words of the model.
async fn call(router: &Router, place: &Place, operation: Operation) -> Outcome {
    let names = &place.names;
    let written = |before: Option<Entry>| Outcome::Written(before.as_ref().and_then(id_of));
    let none = Condition::default();
    let result = match operation {
        Operation::Put { name, id } | Operation::PutNew { name, id } => {
            let mut entry = object(names[name].clone());
            if let libmanta::EntryKind::Object(object) = &mut entry.kind {
                object.object_id = ObjectId::from_uuid(Uuid::from_u128(id));
            }
            let put = PutObject {
                condition: only_if(matches!(operation, Operation::PutNew { .. })),
                ..put(entry)
            };
            router.put_object(put).await.map(|r| written(r.before))
        }
        Operation::Update { name } => {
            let update = Update {
                key: names[name].clone(),
                mtime: Timestamp::from_millis(7),
                headers: Vec::new(),
                roles: Vec::new(),
                content_type: None,
                content_disposition: None,
                condition: none,
            };
            router.update(update).await.map(|r| written(r.before))
        }
        Operation::Remove { name } => router
            .remove_object(&names[name], &none)
            .await
            .map(|entry| Outcome::Removed(id_of(&entry))),
        Operation::Link { from, to, new } => router
            .link(Link {
                target_condition: only_if(new),
                ..link(&names[from], &names[to])
            })
            .await
            .map(|done| transferred(&done)),
        Operation::Rename { from, to, new } => router
            .rename(Rename {
                target_condition: only_if(new),
                ..rename(&names[from], &names[to])
            })
            .await
            .map(|done| transferred(&done)),
        Operation::MakeDirectory { directory } => {
            let make = mkdir(place.directories[directory].clone());
            router
                .make_directory(make)
                .await
                .map(|_| Outcome::Written(None))
        }
        Operation::RemoveDirectory { directory } => router
            .remove_directory(&place.directories[directory])
            .await
            .map(|entry| Outcome::Removed(id_of(&entry))),
        Operation::List { directory } => router
            .list(&listing(place.directories[directory].clone()))
            .await
            .map(|page| {
                let mut bound = [None; NAMES];
                for entry in &page.entries {
                    let name = names.iter().position(|name| *name == entry.key).unwrap();
                    bound[name] = id_of(entry);
                }
                Outcome::Page(bound)
            }),
        Operation::Lookup { name } => router
            .lookup(&names[name])
            .await
            .map(|lookup| Outcome::Found(lookup.entry.as_ref().and_then(id_of)))
            .map_err(NamespaceError::from),
    };
    result.unwrap_or_else(|error| refused(&error))
}

fn transferred(done: &libmanta::moray::links::Transferred) -> Outcome {
    let id = id_of(&done.after).unwrap();
    assert_eq!(id_of(&done.source), Some(id));
    Outcome::Transferred(id, done.before.as_ref().and_then(id_of))
}

/// Nothing else may come back; `Overloaded` neither, with so few callers.
fn refused(error: &NamespaceError) -> Outcome {
    match error {
        NamespaceError::NotFound => Outcome::NotFound,
        NamespaceError::SourceNotFound => Outcome::SourceNotFound,
        NamespaceError::ParentNotFound => Outcome::ParentNotFound,
        NamespaceError::NotEmpty => Outcome::NotEmpty,
        NamespaceError::Precondition(_) => Outcome::Precondition,
        other => panic!("an answer that no history explains: {other}"),
    }
}

/// All is quiet: counts are exact, and nothing is left of what has no name.
async fn check_rest(router: &Router, place: &Place, calls: &[Call]) {
    tidy(router).await;
    let mut present = BTreeSet::new();
    let mut listed = 0;
    for name in &place.names {
        let entry = router.lookup(name).await.unwrap().entry;
        listed += usize::from(entry.is_some());
        present.extend(entry.as_ref().and_then(id_of));
    }
    for directory in &place.directories {
        match router.list(&listing(directory.clone())).await {
            Ok(page) => {
                assert_eq!(page.entries_total, page.entries.len() as u64, "{directory}");
                listed -= page.entries.len();
            }
            Err(error) => assert_eq!(error, NamespaceError::NotFound),
        }
    }
    assert_eq!(listed, 0, "listings and lookups disagree");
    let written: BTreeSet<u128> = calls
        .iter()
        .filter_map(|call| match (call.operation, call.outcome) {
            (Operation::Put { id, .. } | Operation::PutNew { id, .. }, Outcome::Written(_)) => {
                Some(id)
            }
            _ => None,
        })
        .collect();
    for id in written {
        let object = ObjectId::from_uuid(Uuid::from_u128(id));
        let times = logged(router, &[object]).await;
        let expected = usize::from(!present.contains(&id));
        assert_eq!(times.len(), expected, "times in the delete log: {object}");
        router.forget(&times).await.unwrap();
        let referenced = router.referenced(&[object]).await.unwrap();
        assert_eq!(referenced, [present.contains(&id)], "{object}");
    }
}

//! Random concurrent puts, deletes, metadata updates, links, renames, listings and removals of directories, over
//! real shards, against a sequential model. Some callers stop for ever in the middle of an operation, steps
//! that may be repeated arrive a second time later, errands are run and left in the log, and an audit that
//! takes everybody for stopped goes round: every history must be linearizable all the same, and afterwards
//! nothing may be left but what a name refers to.
//!
//! `MORAY_SEED=n` replays the operations of a failing run, `MORAY_ROUNDS=n` asks for more of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use common::unreliable::{Echo, Unreliable};
use common::{Store, object_with, setting};
use electric_moray::Router;
use libmanta::link::Standing;
use libmanta::moray::links::{AuditCursor, Links, Transferred, Upkeep};
use libmanta::moray::shard::links::Links as _;
use libmanta::moray::{
    DeleteLog, LogCursor, MorayError, Namespace, NamespaceError, PutObject, Update,
};
use libmanta::{AccountId, Condition, Entry, EtagList, ObjectId, ObjectKey, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::history;
use testkit::links::{link, rename, tidy};
use testkit::moray::{key, listing, mkdir, put};
use testkit::names::{
    Call, Content, DIRECTORIES, If, NAMES, Operation, Outcome, Transfer, World, directory_of,
};
use tokio::task::JoinSet;
use uuid::Uuid;

const CALLS_EACH: usize = 6;
/// Interrupted operations stop before this step.
const STEPS_MAX: i64 = 12;
const END: Timestamp = Timestamp::from_millis(u64::MAX);

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Weather {
    Calm,
    /// One operation in five stops for ever, one step in ten arrives twice, and the errands are run again and
    /// again.
    Storm,
}

impl Weather {
    /// A storm multiplies the orders that have to be tried.
    fn callers(self) -> usize {
        match self {
            Self::Calm => 5,
            Self::Storm => 4,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_renames_are_linearizable_over_one_shard() {
    run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_renames_are_linearizable_over_two_shards() {
    run(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_renames_are_linearizable_over_five_shards() {
    run(5).await;
}

async fn run(shards: usize) {
    let seed = setting("MORAY_SEED").unwrap_or_else(rand::random);
    let rounds = setting("MORAY_ROUNDS").unwrap_or(20);
    println!("MORAY_SEED={seed} over {shards} shards, {rounds} rounds of three");
    let mut rng = StdRng::seed_from_u64(seed);
    let store = Arc::new(Store::open(shards));
    for round in 0..rounds {
        for weather in [Weather::Calm, Weather::Storm, Weather::Calm] {
            let tree = Tree::make(&store.router).await;
            let mut calls = one_round(&store, &tree, weather, &mut rng).await;
            let world = check_rest(&store, &tree, &mut calls).await;
            if let Err(stuck) = history::check(&World::default(), &calls) {
                panic!("seed {seed} round {round} {weather:?}: not linearizable\n{stuck}");
            }
            check_nothing_is_left(&store, &tree, &world, &calls).await;
        }
    }
}

/// Where the names of a round lie.
#[derive(Clone, Debug)]
struct Tree {
    directories: Vec<ObjectKey>,
}

impl Tree {
    /// The directories lie together or apart, as the account has it.
    async fn make(router: &Router) -> Self {
        let owner = AccountId::random();
        let mut directories = Vec::new();
        for name in ["a", "b"] {
            let directory = key(owner, &format!("stor/{name}"));
            router
                .make_directory(mkdir(directory.clone()))
                .await
                .unwrap();
            directories.push(directory);
        }
        Self { directories }
    }

    fn directory(&self, directory: u8) -> &ObjectKey {
        &self.directories[usize::from(directory)]
    }

    fn name(&self, name: u8) -> ObjectKey {
        let directory = self.directory(directory_of(name));
        directory.child(&format!("name {name}")).unwrap()
    }
}

async fn one_round(
    store: &Arc<Store>,
    tree: &Tree,
    weather: Weather,
    rng: &mut StdRng,
) -> Vec<Call> {
    let clock = Arc::new(AtomicU64::new(0));
    let echo = match weather {
        Weather::Calm => None,
        Weather::Storm => Some(Echo::new(0.1, rng.random())),
    };
    let mut callers = JoinSet::new();
    for _ in 0..weather.callers() {
        let caller = Caller {
            store: Arc::clone(store),
            tree: tree.clone(),
            weather,
            echo: echo.clone(),
            clock: Arc::clone(&clock),
            rng: StdRng::seed_from_u64(rng.random()),
            seen: [None; NAMES],
        };
        callers.spawn(caller.run());
    }
    let upkeep = (weather == Weather::Storm).then(|| {
        let router = store.routed(|inner| {
            Arc::new(Unreliable {
                echo: echo.clone(),
                forgets: false,
                ..Unreliable::lasting(inner)
            })
        });
        tokio::spawn(async move {
            let mut cursor = AuditCursor::default();
            loop {
                // Rows that are not forgotten come again, so there is always one more.
                for _ in 0..3 {
                    router.run_errands(END, 7).await.unwrap();
                    tokio::task::yield_now().await;
                }
                router.audit(&mut cursor, END, 3).await.unwrap();
            }
        })
    });
    let mut calls = Vec::new();
    while let Some(done) = callers.join_next().await {
        calls.extend(done.unwrap());
    }
    if let Some(upkeep) = upkeep {
        upkeep.abort();
        if let Err(error) = upkeep.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    if let Some(echo) = echo {
        echo.fade().await;
    }
    calls
}

struct Caller {
    store: Arc<Store>,
    tree: Tree,
    weather: Weather,
    echo: Option<Arc<Echo>>,
    clock: Arc<AtomicU64>,
    rng: StdRng,
    /// The objects that it met last, for its conditions.
    seen: [Option<u128>; NAMES],
}

impl Caller {
    async fn run(mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        for _ in 0..CALLS_EACH {
            let operation = self.draw();
            let stops = self.weather == Weather::Storm && self.rng.random_bool(0.2);
            let steps = if stops {
                self.rng.random_range(0..STEPS_MAX)
            } else {
                i64::MAX
            };
            let left = Arc::new(AtomicI64::new(steps));
            let last_takes_effect = self.rng.random();
            let echo = self.echo.clone();
            let router = self.store.routed(|inner| {
                Arc::new(Unreliable {
                    left: Arc::clone(&left),
                    last_takes_effect,
                    echo: echo.clone(),
                    ..Unreliable::lasting(inner)
                })
            });
            let begun = self.clock.fetch_add(1, Ordering::SeqCst);
            let outcome = call(&router, &self.tree, &operation).await;
            let ended = self.clock.fetch_add(1, Ordering::SeqCst);
            assert!(outcome.is_some() || stops, "no answer to {operation:?}");
            self.remember(&operation, outcome);
            calls.push(Call {
                operation,
                outcome,
                begun,
                ended,
            });
        }
        calls
    }

    fn draw(&mut self) -> Operation {
        let name = self.rng.random_range(0..4);
        let directory = directory_of(name);
        let condition = self.draw_if(name);
        match self.rng.random_range(0..24) {
            0..4 => Operation::Put {
                name,
                id: self.rng.random(),
                condition,
            },
            4..7 => Operation::Delete { name, condition },
            7..9 => Operation::Update {
                name,
                meta: self.rng.random_range(1..250),
                condition,
            },
            9..13 => Operation::Link(self.draw_transfer(name)),
            13..17 => Operation::Rename(self.draw_transfer(name)),
            17 | 18 => Operation::Get { name },
            19 => Operation::List { directory },
            20 | 21 => Operation::RemoveDirectory { directory },
            _ => Operation::MakeDirectory { directory },
        }
    }

    /// Mostly to another name, and mostly from one that was there a moment ago.
    fn draw_transfer(&mut self, target: u8) -> Transfer {
        let mut source = self.rng.random_range(0..4);
        if self.seen[usize::from(source)].is_none() {
            source = self.rng.random_range(0..4);
        }
        Transfer {
            source,
            target,
            source_if: self.draw_if(source),
            target_if: self.draw_if(target),
        }
    }

    fn draw_if(&mut self, name: u8) -> If {
        match (self.rng.random_range(0..6), self.seen[usize::from(name)]) {
            (0, _) => If::None,
            (1, Some(id)) => If::Is(id),
            _ => If::Any,
        }
    }

    fn remember(&mut self, operation: &Operation, outcome: Option<Outcome>) {
        match (operation, outcome) {
            (Operation::Put { name, id, .. }, Some(Outcome::Replaced(_))) => {
                self.seen[usize::from(*name)] = Some(*id);
            }
            (Operation::Get { name }, Some(Outcome::Found(found))) => {
                self.seen[usize::from(*name)] = found.map(|(id, _)| id);
            }
            (_, Some(Outcome::Transferred((id, _), _))) => {
                if let Operation::Link(t) | Operation::Rename(t) = operation {
                    self.seen[usize::from(t.target)] = Some(id);
                }
            }
            _ => {}
        }
    }
}

fn condition(of: If) -> Condition {
    let tags = |text: String| Some(EtagList(text));
    match of {
        If::Any => Condition::default(),
        If::None => Condition {
            if_none_match: tags("*".to_owned()),
            ..Condition::default()
        },
        If::Is(id) => Condition {
            if_match: tags(Uuid::from_u128(id).to_string()),
            ..Condition::default()
        },
    }
}

/// What is said about an object, and must go with it.
fn headers(meta: u8) -> Vec<(String, String)> {
    vec![("m-meta".to_owned(), meta.to_string())]
}

fn content(entry: &Entry) -> Content {
    let object = entry.object().expect("no directory has such a name");
    assert!(!object.copies.is_empty(), "copies of {}", entry.key);
    let [(_, meta)] = &entry.headers[..] else {
        panic!("headers of {}: {:?}", entry.key, entry.headers);
    };
    (object.object_id.as_uuid().as_u128(), meta.parse().unwrap())
}

/// Calls the port and says what came back in the words of the model; `None` if the answer was lost.
async fn call(router: &Router, tree: &Tree, operation: &Operation) -> Option<Outcome> {
    match attempt(router, tree, operation).await {
        Ok(outcome) => Some(outcome),
        Err(NamespaceError::Moray(MorayError::Unavailable { .. })) => None,
        Err(error) => Some(refused(operation, &error)),
    }
}

async fn attempt(
    router: &Router,
    tree: &Tree,
    operation: &Operation,
) -> Result<Outcome, NamespaceError> {
    let replaced = |before: Option<Entry>| Outcome::Replaced(before.as_ref().map(content));
    match *operation {
        Operation::Put {
            name,
            id,
            condition: of,
        } => {
            let mut entry = object_with(tree.name(name), id);
            entry.headers = headers(0);
            let put = PutObject {
                condition: condition(of),
                ..put(entry)
            };
            Ok(replaced(router.put_object(put).await?.before))
        }
        Operation::Delete {
            name,
            condition: of,
        } => {
            let removed = router
                .remove_object(&tree.name(name), &condition(of))
                .await?;
            Ok(replaced(Some(removed)))
        }
        Operation::Update {
            name,
            meta,
            condition: of,
        } => {
            let update = Update {
                key: tree.name(name),
                mtime: Timestamp::from_millis(2_000),
                headers: headers(meta),
                roles: Vec::new(),
                content_type: None,
                content_disposition: None,
                condition: condition(of),
            };
            Ok(replaced(router.update(update).await?.before))
        }
        Operation::Link(transfer) => {
            let mut link = link(&tree.name(transfer.source), &tree.name(transfer.target));
            link.source_condition = condition(transfer.source_if);
            link.target_condition = condition(transfer.target_if);
            Ok(transferred(&router.link(link).await?))
        }
        Operation::Rename(transfer) => {
            let mut rename = rename(&tree.name(transfer.source), &tree.name(transfer.target));
            rename.source_condition = condition(transfer.source_if);
            rename.target_condition = condition(transfer.target_if);
            Ok(transferred(&router.rename(rename).await?))
        }
        Operation::Get { name } => {
            let lookup = router.lookup(&tree.name(name)).await?;
            Ok(Outcome::Found(lookup.entry.as_ref().map(content)))
        }
        Operation::List { directory } => {
            let page = router
                .list(&listing(tree.directory(directory).clone()))
                .await?;
            assert_eq!(page.entries_total, page.entries.len() as u64, "exact count");
            let mut contents = [None; NAMES / DIRECTORIES];
            for (index, found) in (directory * 2..).zip(&mut contents) {
                let key = tree.name(index);
                *found = page.entries.iter().find(|e| e.key == key).map(content);
            }
            Ok(Outcome::Page(contents))
        }
        Operation::MakeDirectory { directory } => {
            let make = mkdir(tree.directory(directory).clone());
            router.make_directory(make).await?;
            Ok(Outcome::Done)
        }
        Operation::RemoveDirectory { directory } => {
            router
                .remove_directory(tree.directory(directory), None)
                .await?;
            Ok(Outcome::Done)
        }
    }
}

fn transferred(done: &Transferred) -> Outcome {
    let moved = content(&done.after);
    assert_eq!(content(&done.source), moved);
    Outcome::Transferred(moved, done.before.as_ref().map(content))
}

/// Nothing else may come back; `Overloaded` neither, with so few callers.
fn refused(operation: &Operation, error: &NamespaceError) -> Outcome {
    match error {
        NamespaceError::NotFound => Outcome::NotFound,
        NamespaceError::ParentNotFound => Outcome::ParentNotFound,
        NamespaceError::SourceNotFound => Outcome::SourceNotFound,
        NamespaceError::NotEmpty => Outcome::NotEmpty,
        NamespaceError::Precondition(_) => Outcome::Precondition,
        other => panic!("{operation:?} is answered {other}, which no history explains"),
    }
}

/// All is quiet: what the names hold is the end of the history.
async fn check_rest(store: &Store, tree: &Tree, calls: &mut Vec<Call>) -> World {
    let mut now = 1_000_000;
    let mut world = World::default();
    let gets = (0..4).map(|name| Operation::Get { name });
    let lists = (0..2).map(|directory| Operation::List { directory });
    // Before and after what was left has been done, since that must change nothing.
    for tidied in [false, true] {
        if tidied {
            tidy(&store.router).await;
        }
        for operation in gets.clone().chain(lists.clone()) {
            let outcome = call(&store.router, tree, &operation).await;
            match (&operation, outcome) {
                (Operation::Get { name }, Some(Outcome::Found(found))) => {
                    world.names[usize::from(*name)] = found;
                }
                (Operation::List { directory }, outcome) => {
                    world.directories[usize::from(*directory)] = outcome != Some(Outcome::NotFound);
                }
                (operation, outcome) => panic!("{operation:?} is answered {outcome:?} at rest"),
            }
            calls.push(Call {
                operation,
                outcome,
                begun: now,
                ended: now + 1,
            });
            now += 2;
        }
    }
    world
}

/// Every object that was written is under a name, or once in the delete log; records have one live reference
/// for each name, and are gone with the last.
async fn check_nothing_is_left(store: &Store, tree: &Tree, world: &World, calls: &[Call]) {
    let router = &store.router;
    let mut names_of: BTreeMap<u128, BTreeSet<ObjectKey>> = BTreeMap::new();
    for (name, content) in (0..).zip(&world.names) {
        if let Some((id, _)) = content {
            names_of.entry(*id).or_default().insert(tree.name(name));
        }
    }
    let log = router
        .deleted(END, &LogCursor::default(), 1_000_000)
        .await
        .unwrap();
    let mut times_logged: BTreeMap<u128, usize> = BTreeMap::new();
    for deleted in &log {
        *times_logged
            .entry(deleted.object_id.as_uuid().as_u128())
            .or_default() += 1;
    }
    for call in calls {
        let Operation::Put { id, .. } = call.operation else {
            continue;
        };
        let logged = times_logged.get(&id).copied().unwrap_or(0);
        let is_named = names_of.contains_key(&id);
        match call.outcome {
            Some(Outcome::Replaced(_)) => {
                assert_eq!(
                    logged,
                    usize::from(!is_named),
                    "times logged, after {call:?}"
                );
            }
            Some(_) => assert!(!is_named && logged == 0, "written by {call:?}"),
            None => assert!(
                logged <= usize::from(!is_named),
                "times logged, after {call:?}"
            ),
        }
    }
    let mut live: BTreeMap<u128, BTreeSet<ObjectKey>> = BTreeMap::new();
    for shard in &store.shards {
        for held in shard.references_after(None, 1_000).await.unwrap() {
            let id = held.object.as_uuid().as_u128();
            assert_eq!(held.reference.standing, Standing::Live, "at rest: {held:?}");
            assert!(
                live.entry(id).or_default().insert(held.reference.name),
                "two references for a name of {id:x}"
            );
        }
    }
    for (id, names) in live {
        assert_eq!(names_of.get(&id), Some(&names), "references of {id:x}");
    }
    router.forget(&log).await.unwrap();
    let written: Vec<ObjectId> = calls
        .iter()
        .filter_map(|call| match call.operation {
            Operation::Put { id, .. } => Some(ObjectId::from_uuid(Uuid::from_u128(id))),
            _ => None,
        })
        .collect();
    let referenced = router.referenced(&written).await.unwrap();
    for (object, referenced) in written.iter().zip(referenced) {
        let id = object.as_uuid().as_u128();
        assert_eq!(
            referenced,
            names_of.contains_key(&id),
            "{object} is referenced"
        );
    }
    // The next round begins with nothing in any record.
    for (name, content) in (0..).zip(&world.names) {
        if content.is_some() {
            router
                .remove_object(&tree.name(name), &Condition::default())
                .await
                .unwrap();
        }
    }
    tidy(router).await;
    for shard in &store.shards {
        let left = shard.references_after(None, 1_000).await.unwrap();
        assert!(left.is_empty(), "references of nothing: {left:?}");
    }
    let log = router
        .deleted(END, &LogCursor::default(), 1_000_000)
        .await
        .unwrap();
    let ids: BTreeSet<u128> = log
        .iter()
        .map(|d| d.object_id.as_uuid().as_u128())
        .collect();
    assert_eq!(ids, names_of.into_keys().collect());
    router.forget(&log).await.unwrap();
}

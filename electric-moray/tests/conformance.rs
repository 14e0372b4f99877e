//! The router over real shards passes the suite of the metadata port, whatever their number.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Store;
use electric_moray::{Ring, RingError, Router};
use libmanta::moray::Namespace;
use libmanta::moray::links::Links;
use libmanta::moray::shard::Shard;
use libmanta::{AccountId, Condition, EntryKind};
use std::sync::Arc;
use testkit::links::link;
use testkit::moray::{key, mkdir, object, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard() {
    testkit::moray::conforms(&Store::open(1).router).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards() {
    testkit::moray::conforms(&Store::open(2).router).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_shards() {
    testkit::moray::conforms(&Store::open(4).router).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_in_one_shard() {
    testkit::links::conforms(&Store::open(1).router).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_across_two_shards() {
    testkit::links::conforms(&Store::open(2).router).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_across_five_shards() {
    testkit::links::conforms(&Store::open(5).router).await;
}

/// The promise of design.md section 4: one transaction in one shard, one round trip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_into_an_open_directory_is_one_step() {
    let store = Store::open(2);
    let owner = AccountId::random();
    let steps = || -> u64 {
        let count = |shard: &Arc<moray::Shard>| {
            moray::Stats::get(&shard.stats().operations)
                + moray::Stats::get(&shard.stats().reads_inline)
                + moray::Stats::get(&shard.stats().reads_blocking)
        };
        store.shards.iter().map(count).sum()
    };
    let directory = key(owner, "stor/d");
    store.router.make_directory(mkdir(directory)).await.unwrap();
    let before = steps();
    store
        .router
        .put_object(put(object(key(owner, "stor/d/0"))))
        .await
        .unwrap();
    assert_eq!(steps() - before, 3, "the first child looks at the entry");
    for n in 1..10 {
        let name = key(owner, &format!("stor/d/{n}"));
        for _ in 0..2 {
            let before = steps();
            store
                .router
                .put_object(put(object(name.clone())))
                .await
                .unwrap();
            assert_eq!(steps() - before, 1);
        }
        let before = steps();
        store
            .router
            .remove_object(&name, &Condition::default())
            .await
            .unwrap();
        assert_eq!(steps() - before, 1);
    }
}

/// The id that the router gives an object puts its record beside its entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_within_a_directory_is_one_transaction() {
    let store = Store::open(5);
    let owner = AccountId::random();
    let writes = || -> u64 {
        let count = |shard: &Arc<moray::Shard>| moray::Stats::get(&shard.stats().operations);
        store.shards.iter().map(count).sum()
    };
    for n in 0..20 {
        let directory = key(owner, &format!("stor/{n}"));
        let made = store.router.make_directory(mkdir(directory.clone())).await;
        made.unwrap();
        let source = directory.child("source").unwrap();
        let mut entry = object(source.clone());
        if let EntryKind::Object(object) = &mut entry.kind {
            object.object_id = store.router.new_object_id(&source);
        }
        store.router.put_object(put(entry)).await.unwrap();
        for target in ["one", "two"] {
            let before = writes();
            let target = directory.child(target).unwrap();
            store.router.link(link(&source, &target)).await.unwrap();
            assert_eq!(writes() - before, 1, "{target}");
        }
    }
}

#[tokio::test]
async fn a_router_needs_exactly_the_shards_of_its_ring() {
    let store = Store::open(2);
    let ring = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Ring::new(10, &names).unwrap()
    };
    let shards = || -> Vec<Arc<dyn Shard>> {
        store
            .shards
            .iter()
            .map(|s| Arc::clone(s) as Arc<dyn Shard>)
            .collect()
    };
    let (one, two) = ("1.moray.local", "2.moray.local");
    assert_eq!(
        Router::new(ring(&[one]), shards()).err(),
        Some(RingError::UnknownShard(two.to_owned()))
    );
    assert_eq!(
        Router::new(ring(&[one, two, "3"]), shards()).err(),
        Some(RingError::MissingShard("3".to_owned()))
    );
    let twice = [shards(), shards()].concat();
    assert_eq!(
        Router::new(ring(&[one, two]), twice).err(),
        Some(RingError::Twice(one.to_owned()))
    );
}

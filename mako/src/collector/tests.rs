//! The collector against a delete log in memory and real stores.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use libmanta::moray::{Deleted, LogCursor};
use libmanta::{AccountId, ObjectId, SystemClock};
use testkit::mako::{content, put};

use super::*;
use crate::{Config, Store};

/// Metadata reduced to what the collector sees of it.
#[derive(Debug, Default)]
struct Metadata {
    named: Mutex<HashSet<ObjectId>>,
    log: Mutex<Vec<Deleted>>,
    sequence: AtomicU64,
    broken: Mutex<bool>,
    reads: AtomicU64,
    limit_max: AtomicU64,
}

impl Metadata {
    fn name(&self, object_id: ObjectId) {
        self.named.lock().unwrap().insert(object_id);
    }

    fn delete(&self, creator: AccountId, object_id: ObjectId, copies: &[&str]) {
        self.named.lock().unwrap().remove(&object_id);
        let deleted = Deleted {
            shard: String::from("1"),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            logged: SystemClock.now(),
            object_id,
            creator,
            copies: copies.iter().map(|name| StorageId::new(name)).collect(),
        };
        self.log.lock().unwrap().push(deleted);
    }

    fn logged(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    fn answer(&self) -> Result<(), MorayError> {
        if *self.broken.lock().unwrap() {
            let shard = String::from("1");
            return Err(MorayError::Overloaded { shard });
        }
        Ok(())
    }
}

#[async_trait]
impl DeleteLog for Metadata {
    async fn deleted(
        &self,
        before: Timestamp,
        after: &LogCursor,
        limit: usize,
    ) -> Result<Vec<Deleted>, MorayError> {
        self.answer()?;
        self.limit_max.fetch_max(limit as u64, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut log = self.log.lock().unwrap();
        log.sort_by_key(|entry| (entry.logged, entry.sequence));
        let due = log.iter().filter(|entry| {
            entry.logged < before && after.of("1") < Some((entry.logged, entry.sequence))
        });
        Ok(due.take(limit).cloned().collect())
    }

    async fn forget(&self, deleted: &[Deleted]) -> Result<(), MorayError> {
        self.answer()?;
        let mut log = self.log.lock().unwrap();
        log.retain(|entry| !deleted.contains(entry));
        Ok(())
    }

    async fn referenced(&self, objects: &[ObjectId]) -> Result<Vec<bool>, MorayError> {
        self.answer()?;
        let named = self.named.lock().unwrap();
        let log = self.log.lock().unwrap();
        let logged: HashSet<_> = log.iter().map(|entry| entry.object_id).collect();
        Ok(objects
            .iter()
            .map(|id| named.contains(id) || logged.contains(id))
            .collect())
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    metadata: Arc<Metadata>,
    stores: Vec<Arc<Store>>,
}

const NODES: [&str; 2] = ["1.stor.test", "2.stor.test"];

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &&str| {
            let config = Config {
                probe_interval: Duration::from_millis(1),
                ..Config::new(StorageId::new(name), "dc", dir.path().join(name))
            };
            Store::open(config).unwrap()
        };
        Self {
            metadata: Arc::default(),
            stores: NODES.iter().map(open).collect(),
            dir,
        }
    }

    /// A collector that does nothing unless it is asked, after its first sweep and drain.
    async fn collector(&self, config: CollectorConfig) -> Collector {
        let collector = Collector::start(
            config,
            Arc::clone(&self.metadata) as Arc<dyn DeleteLog>,
            self.sharks(),
            Arc::new(SystemClock),
        );
        eventually("the first sweep and drain end", || {
            let status = collector.status();
            status.sweep.last_end.is_some() && status.drain.last_end.is_some()
        })
        .await;
        collector
    }

    fn sharks(&self) -> Vec<Arc<dyn Shark>> {
        let dynamic = |store: &Arc<Store>| Arc::clone(store) as Arc<dyn Shark>;
        self.stores.iter().map(dynamic).collect()
    }

    /// Copies of one object on both nodes.
    async fn put(&self) -> (AccountId, ObjectId) {
        let (creator, object_id) = (AccountId::random(), ObjectId::random());
        for shark in self.sharks() {
            put(&shark, creator, object_id, &content(1, 100), 100)
                .await
                .unwrap();
        }
        (creator, object_id)
    }

    async fn copies(&self) -> usize {
        let mut count = 0;
        for shark in self.sharks() {
            count += shark.copies(None, 1_000_000).await.unwrap().len();
        }
        count
    }
}

fn never() -> Duration {
    Duration::from_secs(100_000)
}

fn config() -> CollectorConfig {
    CollectorConfig {
        grace: Duration::ZERO,
        drain_interval: never(),
        sweep_interval: never(),
        sweep_age: never(),
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Lets the clock of the log move on: entries are drained when they are *older* than the grace period.
async fn a_moment() {
    let now = SystemClock.now();
    eventually("time passes", || SystemClock.now() > now).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logged_copies_are_unlinked_and_forgotten() {
    let fixture = Fixture::new();
    let collector = fixture.collector(config()).await;
    for _ in 0..300 {
        let (creator, object_id) = fixture.put().await;
        fixture.metadata.delete(creator, object_id, &NODES);
    }
    let (_, kept) = fixture.put().await;
    fixture.metadata.name(kept);
    a_moment().await;
    collector.run_once().await;
    assert_eq!(fixture.metadata.logged(), 0);
    assert_eq!(fixture.copies().await, 2);
    let status = collector.status();
    assert_eq!(status.entries_forgotten, 300);
    assert_eq!(status.copies_collected, 600);
    assert_eq!(status.drain.last_error, None);
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn young_entries_wait_for_the_readers_of_their_bytes() {
    let fixture = Fixture::new();
    let patient = CollectorConfig {
        grace: Duration::from_secs(3600),
        ..config()
    };
    let collector = fixture.collector(patient).await;
    let (creator, object_id) = fixture.put().await;
    fixture.metadata.delete(creator, object_id, &NODES);
    a_moment().await;
    collector.run_once().await;
    assert_eq!(fixture.metadata.logged(), 1);
    assert_eq!(fixture.copies().await, 2);
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_stays_until_every_node_has_answered() {
    let fixture = Fixture::new();
    let collector = fixture.collector(config()).await;
    let (creator, object_id) = fixture.put().await;
    fixture.metadata.delete(creator, object_id, &NODES);
    let (stranger, strange_id) = fixture.put().await;
    let nodes = [NODES[0], "9.stor.test"];
    fixture.metadata.delete(stranger, strange_id, &nodes);
    let (home, away) = (
        fixture.dir.path().join(NODES[1]),
        fixture.dir.path().join("away"),
    );
    std::fs::rename(&home, &away).unwrap();
    // More than a page of entries that wait must not hold back those behind them.
    for _ in 0..600 {
        let (creator, object_id) = (AccountId::random(), ObjectId::random());
        fixture.metadata.delete(creator, object_id, &[NODES[1]]);
    }
    let (creator, object_id) = (AccountId::random(), ObjectId::random());
    fixture.metadata.delete(creator, object_id, &[NODES[0]]);
    a_moment().await;
    fixture.metadata.reads.store(0, Ordering::Relaxed);
    collector.run_once().await;
    assert_eq!(fixture.metadata.logged(), 602);
    let reads = fixture.metadata.reads.load(Ordering::Relaxed);
    let limit = fixture.metadata.limit_max.load(Ordering::Relaxed);
    assert_eq!((reads, limit), (4, 256), "every entry is read once");
    let status = collector.status();
    assert_eq!(status.entries_forgotten, 1);
    assert_eq!(
        status.copies_collected, 0,
        "none of a complete entry was there"
    );
    assert_eq!(status.entries_waiting, 602);
    assert!(status.drain.last_error.is_some());

    std::fs::rename(&away, &home).unwrap();
    collector.run_once().await;
    assert_eq!(fixture.metadata.logged(), 1, "nobody knows the ninth node");
    let error = collector.status().drain.last_error.unwrap();
    assert!(error.contains("9.stor.test"), "{error}");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sweep_takes_what_was_there_before_and_nothing_younger() {
    let fixture = Fixture::new();
    let (_, named) = fixture.put().await;
    fixture.metadata.name(named);
    let (creator, logged) = fixture.put().await;
    fixture.metadata.delete(creator, logged, &NODES);
    let (_, lost) = fixture.put().await;
    // The oldest of them must be older than the collector by more than its slack.
    let stored = fixture.sharks()[0].copies(None, 10).await.unwrap();
    let newest = stored.iter().map(|copy| copy.stored).max().unwrap();
    eventually("the copies are old", || {
        SystemClock.now().since(newest) > Duration::from_millis(1100)
    })
    .await;
    let collector = Collector::start(
        CollectorConfig {
            grace: Duration::from_secs(3600),
            ..config()
        },
        Arc::clone(&fixture.metadata) as Arc<dyn DeleteLog>,
        fixture.sharks(),
        Arc::new(SystemClock),
    );
    let (_, in_flight) = fixture.put().await;
    eventually("the first sweep ends", || {
        collector.status().sweep.last_end.is_some()
    })
    .await;
    collector.sweep_once().await;
    assert_eq!(collector.status().copies_swept, 2);
    for shark in fixture.sharks() {
        let copies = shark.copies(None, 10).await.unwrap();
        let left: HashSet<_> = copies.iter().map(|copy| copy.object_id).collect();
        assert_eq!(left, HashSet::from([named, logged, in_flight]));
        assert!(!left.contains(&lost));
    }
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_never_take_a_copy_of_a_put_in_flight() {
    let fixture = Arc::new(Fixture::new());
    let hasty = CollectorConfig {
        sweep_age: Duration::from_millis(1500),
        ..config()
    };
    let collector = fixture.collector(hasty).await;
    let puts: Vec<_> = (0..16_u64)
        .map(|number| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                for round in 0..10 {
                    let (_, object_id) = fixture.put().await;
                    // Between copies and metadata.
                    let wait = (number * 31 + round * 17) % 50;
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    fixture.metadata.name(object_id);
                }
            })
        })
        .collect();
    while puts.iter().any(|put| !put.is_finished()) {
        collector.sweep_once().await;
    }
    for put in puts {
        put.await.unwrap();
    }
    assert_eq!(fixture.copies().await, 2 * 160);
    assert_eq!(collector.status().copies_swept, 0);
    // And the same sweep does take what is old: it was not just idle.
    let kept: HashSet<_> = {
        let mut named = fixture.metadata.named.lock().unwrap();
        let kept = named.iter().copied().take(20).collect();
        named.clone_from(&kept);
        kept
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while fixture.copies().await > 2 * kept.len() {
        assert!(Instant::now() < deadline, "old copies are never swept");
        collector.sweep_once().await;
    }
    assert_eq!(collector.status().copies_swept, 2 * 140);
    for shark in fixture.sharks() {
        let copies = shark.copies(None, 1000).await.unwrap();
        assert!(copies.iter().all(|copy| kept.contains(&copy.object_id)));
    }
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timer_and_nudge_make_it_drain() {
    let fixture = Fixture::new();
    let collector = fixture.collector(config()).await;
    let (creator, object_id) = fixture.put().await;
    fixture.metadata.delete(creator, object_id, &NODES);
    a_moment().await;
    collector.nudge();
    eventually("a nudge drains", || fixture.metadata.logged() == 0).await;
    collector.shutdown().await;

    let busy = CollectorConfig {
        drain_interval: Duration::from_millis(5),
        ..config()
    };
    let collector = fixture.collector(busy).await;
    let (creator, object_id) = fixture.put().await;
    fixture.metadata.delete(creator, object_id, &NODES);
    eventually("the timer drains", || fixture.metadata.logged() == 0).await;
    collector.shutdown().await;
    collector.shutdown().await;
    collector.run_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_does_not_answer_costs_nothing_but_time() {
    let fixture = Fixture::new();
    let collector = fixture
        .collector(CollectorConfig {
            sweep_age: Duration::ZERO,
            ..config()
        })
        .await;
    let (creator, object_id) = fixture.put().await;
    fixture.metadata.delete(creator, object_id, &NODES);
    let (_, lost) = fixture.put().await;
    a_moment().await;
    *fixture.metadata.broken.lock().unwrap() = true;
    collector.run_once().await;
    collector.sweep_once().await;
    assert!(collector.status().drain.last_error.is_some());
    assert!(collector.status().sweep.last_error.is_some());
    assert_eq!(fixture.copies().await, 4);

    *fixture.metadata.broken.lock().unwrap() = false;
    collector.run_once().await;
    collector.sweep_once().await;
    assert_eq!(collector.status().drain.last_error, None);
    assert_eq!(collector.status().sweep.last_error, None);
    assert_eq!(fixture.copies().await, 0, "{lost} is swept");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_which_the_metadata_knows_next_to_nothing_is_left_alone() {
    let fixture = Fixture::new();
    let collector = fixture
        .collector(CollectorConfig {
            sweep_age: Duration::ZERO,
            ..config()
        })
        .await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(fixture.put().await.1);
    }
    a_moment().await;
    collector.sweep_once().await;
    assert_eq!(fixture.copies().await, 80, "nothing is named");
    let error = collector.status().sweep.last_error.unwrap();
    assert!(error.contains(NODES[0]) && error.contains("40"), "{error}");

    fixture.metadata.name(ids[0]);
    collector.sweep_once().await;
    assert_eq!(fixture.copies().await, 80, "one of forty is named");
    assert_eq!(collector.status().copies_swept, 0);

    // The right metadata is back, and the same sweep removes what is left over.
    for id in &ids[..30] {
        fixture.metadata.name(*id);
    }
    collector.sweep_once().await;
    let status = collector.status();
    assert_eq!(status.sweep.last_error, None);
    assert_eq!(status.copies_swept, 20);
    assert_eq!(fixture.copies().await, 60);
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_copies_without_metadata_are_removed_even_from_an_empty_store() {
    let fixture = Fixture::new();
    let collector = fixture
        .collector(CollectorConfig {
            sweep_age: Duration::ZERO,
            ..config()
        })
        .await;
    for _ in 0..16 {
        fixture.put().await;
    }
    a_moment().await;
    collector.sweep_once().await;
    assert_eq!(fixture.copies().await, 0);
    assert_eq!(collector.status().sweep.last_error, None);
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_node_does_not_stop_the_others() {
    let fixture = Fixture::new();
    let sharks = fixture.sharks();
    for (node, copies) in [(0, 40), (1, 5)] {
        for _ in 0..copies {
            let (creator, object_id) = (AccountId::random(), ObjectId::random());
            put(&sharks[node], creator, object_id, &content(1, 10), 10)
                .await
                .unwrap();
        }
    }
    let collector = fixture
        .collector(CollectorConfig {
            sweep_age: Duration::ZERO,
            ..config()
        })
        .await;
    a_moment().await;
    collector.sweep_once().await;
    assert_eq!(sharks[0].copies(None, 100).await.unwrap().len(), 40);
    assert_eq!(sharks[1].copies(None, 100).await.unwrap().len(), 0);
    assert!(collector.status().sweep.last_error.is_some());
    collector.shutdown().await;
}

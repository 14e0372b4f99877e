//! The delete log, in the order of its times, and errands, with clocks that are not always right.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libmanta::link::{Kind, Over};
use libmanta::moray::shard::links::{Links as _, TransferHere, Written};
use libmanta::moray::shard::{Admit, Child};
use libmanta::moray::{DeleteLog, Deleted, LogCursor, shard::Shard as _};
use libmanta::namespace::{Presence, Token};
use libmanta::{AccountId, Clock, Condition, ObjectKey, Timestamp};
use moray::{Config, Parts, Shard};
use testkit::links::id;
use testkit::moray::{key, object, put};

const NOW: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

#[derive(Debug, Default)]
struct Hands(AtomicU64);

impl Hands {
    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn open(directory: &Path, clock: &Arc<Hands>) -> Arc<Shard> {
    let parts = Parts {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        ..Parts::default()
    };
    Shard::open_with(Config::new("1", directory.join("db")), parts).unwrap()
}

async fn insert(shard: &Shard, child: Child) {
    let admit = Admit::Begin {
        nonce: Token::random(),
        presence: Presence::Always,
    };
    shard
        .insert(Arc::new(child), admit, Over::Free)
        .await
        .unwrap();
}

async fn remove(shard: &Shard, key: &ObjectKey) {
    let condition = Condition::default();
    let removed = shard.remove_object(key, &condition, Over::Free).await;
    assert!(matches!(removed, Ok(Written::Done(Ok(_)))), "{removed:?}");
}

/// Logs one entry, dated by the clock as it is.
async fn delete(shard: &Shard) {
    let key = key(AccountId::random(), "stor/x");
    insert(shard, Child::Object(put(object(key.clone())))).await;
    remove(shard, &key).await;
}

/// Logs one errand, dated by the clock as it is: an object with two names loses one.
async fn lose_a_name(shard: &Shard) {
    let owner = AccountId::random();
    let (source, target) = (key(owner, "stor/x"), key(owner, "stor/y"));
    let entry = object(source.clone());
    let record = id(&entry);
    insert(shard, Child::Object(put(entry))).await;
    let transfer = TransferHere {
        kind: Kind::Link,
        source,
        target: target.clone(),
        record: Some(record),
        token: Token::random(),
        mtime: None,
        roles: None,
        source_condition: Condition::default(),
        target_condition: Condition::default(),
        directory_entries_max: 10,
    };
    insert(shard, Child::Transfer(transfer)).await;
    remove(shard, &target).await;
}

async fn page(shard: &Shard, before: u64, cursor: &LogCursor, limit: usize) -> Vec<Deleted> {
    let before = Timestamp::from_millis(before);
    shard.deleted(before, cursor, limit).await.unwrap()
}

fn times(entries: &[Deleted]) -> Vec<u64> {
    let time = |entry: &Deleted| entry.logged.as_millis();
    entries.iter().map(time).collect()
}

#[tokio::test]
async fn entries_of_the_future_hide_nothing_and_are_due_when_far_ahead() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let shard = open(directory.path(), &clock);
    // First in the log: ahead by years, then by a little.
    let (years, little) = (NOW + 100_000 * HOUR, NOW + HOUR / 2);
    for time in [years, years, little, little, NOW - 2, NOW - 1, NOW] {
        clock.set(time);
        delete(&shard).await;
    }
    clock.set(NOW);
    let start = LogCursor::default();
    assert_eq!(times(&page(&shard, NOW, &start, 1).await), [NOW - 2]);
    assert_eq!(
        times(&page(&shard, NOW, &start, 100).await),
        [NOW - 2, NOW - 1, years, years],
        "what is young waits, also when it is a little ahead"
    );
    clock.set(little + 1);
    assert_eq!(
        times(&page(&shard, little + 1, &start, 100).await),
        [NOW - 2, NOW - 1, NOW, little, little, years, years]
    );
    let all = page(&shard, u64::MAX, &start, 100).await;
    assert_eq!(all.len(), 7, "nothing twice");
    shard.forget(&all).await.unwrap();
    assert!(page(&shard, u64::MAX, &start, 100).await.is_empty());
    shard.close().await;
}

#[tokio::test]
async fn pages_follow_one_another_past_entries_that_stay() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let shard = open(directory.path(), &clock);
    // Many with the same time, logged in another order than that of their times.
    for n in 0..60 {
        clock.set(NOW - 1 - n / 20);
        delete(&shard).await;
    }
    clock.set(NOW + 2 * HOUR);
    delete(&shard).await;
    clock.set(NOW);
    let (mut cursor, mut seen) = (LogCursor::default(), Vec::new());
    loop {
        let entries = page(&shard, NOW, &cursor, 7).await;
        assert!(entries.len() <= 7);
        if entries.is_empty() {
            break;
        }
        entries.iter().for_each(|entry| cursor.pass(entry));
        // Every other one is gone when the next page is read.
        let gone: Vec<_> = entries.iter().step_by(2).cloned().collect();
        shard.forget(&gone).await.unwrap();
        seen.extend(entries);
    }
    assert_eq!(seen.len(), 61);
    assert!(seen.is_sorted_by_key(|entry| (entry.logged, entry.sequence)));
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
    shard.close().await;
}

#[tokio::test]
async fn errands_of_the_future_are_due_when_far_ahead() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let shard = open(directory.path(), &clock);
    let (years, little) = (NOW + 100_000 * HOUR, NOW + HOUR / 2);
    for time in [years, little, NOW - 1, NOW, years] {
        clock.set(time);
        lose_a_name(&shard).await;
    }
    clock.set(NOW);
    let due = async |after, before, limit| {
        let before = Timestamp::from_millis(before);
        let errands = shard.errands(after, before, limit).await.unwrap();
        let times: Vec<u64> = errands.iter().map(|e| e.logged.as_millis()).collect();
        (errands.last().map(|errand| errand.sequence), times)
    };
    let (first, times) = due(None, NOW, 1).await;
    assert_eq!(times, [years]);
    assert_eq!(due(first, NOW, 100).await.1, [NOW - 1, years]);
    assert_eq!(
        due(None, little + 1, 100).await.1,
        [years, little, NOW - 1, NOW, years]
    );
    assert_eq!(due(None, u64::MAX, 100).await.1.len(), 5, "nothing twice");
    shard.close().await;
}

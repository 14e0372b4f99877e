//! What clears up behind links and renames, when some of it cannot be done; what it says it did; and a directory
//! that others do not leave alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use common::Store;
use common::unreliable::Unreliable;
use electric_moray::{Router, Stats, Upkeeper, UpkeeperConfig};
use libmanta::link::Standing;
use libmanta::moray::links::{AuditCursor, Links as _, Upkeep as _};
use libmanta::moray::shard::Shard;
use libmanta::moray::shard::links::{Held, Links as _};
use libmanta::moray::{MorayError, Namespace as _, NamespaceError};
use libmanta::{AccountId, Clock, ObjectKey, SystemClock, Timestamp};
use testkit::links::{id, link};
use testkit::moray::{key, mkdir, object, put};
use tokio::time::Instant;

const END: Timestamp = Timestamp::from_millis(u64::MAX);

fn stat(counter: &AtomicU64) -> u64 {
    Stats::get(counter)
}

/// An object with two names.
async fn put_and_link(router: &Router) -> [ObjectKey; 2] {
    let owner = AccountId::random();
    let names = [key(owner, "stor/x"), key(owner, "public/y")];
    let entry = object(names[0].clone());
    router.put_object(put(entry)).await.unwrap();
    router.link(link(&names[0], &names[1])).await.unwrap();
    names
}

/// A link that has stopped for ever when its reference was written.
async fn leave_pending(store: &Store) {
    loop {
        let owner = AccountId::random();
        let (source, target) = (key(owner, "stor/x"), key(owner, "public/y"));
        let entry = object(source.clone());
        let object = id(&entry);
        store.router.put_object(put(entry)).await.unwrap();
        let left = Arc::new(AtomicI64::new(2));
        let router = store.routed(|inner| {
            Arc::new(Unreliable {
                left: Arc::clone(&left),
                ..Unreliable::lasting(inner)
            })
        });
        // Where one shard has all it takes, there is nothing to stop at.
        let _ = router.link(link(&source, &target)).await;
        let held = references(store).await;
        if held.iter().any(|h| h.object == object && is_pending(h)) {
            return;
        }
    }
}

async fn references(store: &Store) -> Vec<Held> {
    let mut all = Vec::new();
    for shard in &store.shards {
        all.extend(shard.references_after(None, 1_000_000).await.unwrap());
    }
    all
}

fn is_pending(held: &Held) -> bool {
    matches!(held.reference.standing, Standing::Pending { .. })
}

async fn errands(store: &Store) -> usize {
    let mut count = 0;
    for shard in &store.shards {
        count += shard.errands(None, END, 1_000_000).await.unwrap().len();
    }
    count
}

/// One whole round. What failed.
async fn round(router: &Router, limit: usize) -> Vec<MorayError> {
    let (mut cursor, mut failed) = (AuditCursor::default(), Vec::new());
    for _ in 0..1_000 {
        let page = router.audit(&mut cursor, END, limit).await;
        failed.extend(page.err());
        if cursor == AuditCursor::default() {
            return failed;
        }
    }
    panic!("the audit never comes round: {cursor:?}, {failed:?}");
}

/// The first shard is out of reach.
fn without_the_first(store: &Store) -> Router {
    store.routed(|inner| {
        let left = if inner.name() == store.shards[0].name() {
            0
        } else {
            i64::MAX
        };
        Arc::new(Unreliable {
            left: Arc::new(AtomicI64::new(left)),
            ..Unreliable::lasting(inner)
        })
    })
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_audit_goes_past_a_reference_whose_name_cannot_be_read() {
    for limit in [1, 3, 1000] {
        let store = Store::open(3);
        let mut names = Vec::new();
        for _ in 0..6 {
            names.extend(put_and_link(&store.router).await);
            leave_pending(&store).await;
        }
        let all = references(&store).await.len() as u64;
        for damaged in names.iter().step_by(5) {
            let router = store.routed(|inner| {
                Arc::new(Unreliable {
                    damaged: Some(damaged.clone()),
                    ..Unreliable::lasting(inner)
                })
            });
            let failed = round(&router, limit).await;
            assert!(
                matches!(failed[..], [MorayError::Corrupt { .. }]),
                "{failed:?}"
            );
            if damaged == &names[0] {
                assert_eq!(stat(&router.stats().references_audited), all - 1);
                assert_eq!(stat(&router.stats().references_removed), 6);
            }
        }
        assert!(!references(&store).await.iter().any(is_pending));
    }
}

#[tokio::test]
async fn a_shard_out_of_reach_does_not_keep_others_from_being_cleared_up() {
    let store = Store::open(2);
    let forgetful = store.routed(|inner| {
        Arc::new(Unreliable {
            forgets: false,
            ..Unreliable::lasting(inner)
        })
    });
    for _ in 0..30 {
        put_and_link(&forgetful).await;
        leave_pending(&store).await;
    }
    let router = without_the_first(&store);
    let before = errands(&store).await;
    let run = router.run_errands(END, 7).await;
    assert!(
        matches!(run, Err(MorayError::Unavailable { .. })),
        "{run:?}"
    );
    let run = stat(&router.stats().errands_run);
    assert!(run > 0);
    assert_eq!(errands(&store).await as u64, before as u64 - run);

    let failed = round(&router, 7).await;
    let unreachable = |error: &MorayError| matches!(error, MorayError::Unavailable { .. });
    assert!(!failed.is_empty() && failed.iter().all(unreachable));
    let removed = stat(&router.stats().references_removed);
    assert!(removed > 0);

    // And when it is back, the rest is done.
    let failed = round(&store.router, 7).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert!(!references(&store).await.iter().any(is_pending));
    store.router.run_errands(END, 7).await.unwrap();
    assert_eq!(errands(&store).await, 0);
}

#[tokio::test]
async fn an_operation_of_a_clock_that_was_far_ahead_counts_as_stopped() {
    let store = Store::open(2);
    leave_pending(&store).await;
    let now = SystemClock.now();
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    // Long before it began, and not quite so long.
    for (stopped, removed) in [(now.minus(hour - minute), 0), (now.minus(hour + minute), 1)] {
        let mut cursor = AuditCursor::default();
        let mut sum = 0;
        loop {
            sum += store.router.audit(&mut cursor, stopped, 7).await.unwrap();
            if cursor == AuditCursor::default() {
                break;
            }
        }
        assert_eq!(sum, removed);
    }
}

#[tokio::test]
async fn the_upkeeper_says_what_it_did_and_how_long_errands_wait() {
    let store = Store::open(2);
    let router = Arc::new(store.routed(|inner| Arc::new(Unreliable::lasting(inner))));
    let stats = || router.stats();
    for _ in 0..20 {
        put_and_link(&router).await;
    }
    assert_eq!(stat(&stats().objects_promoted), 20);
    assert!(stat(&stats().errands_run) > 0);
    assert_eq!(errands(&store).await, 0);
    leave_pending(&store).await;

    let config = UpkeeperConfig {
        errands_interval: Duration::from_millis(1),
        errands_age: Duration::ZERO,
        audit_interval: Duration::from_millis(1),
        stopped_after: Duration::ZERO,
        ..UpkeeperConfig::default()
    };
    let keep = |router: &Arc<Router>| {
        Upkeeper::start(Arc::clone(router), config.clone(), Arc::new(SystemClock))
    };
    let before = SystemClock.now();
    // One that never gets done with its errands.
    let forgetful = Arc::new(store.routed(|inner| {
        Arc::new(Unreliable {
            forgets: false,
            ..Unreliable::lasting(inner)
        })
    }));
    for _ in 0..20 {
        put_and_link(&forgetful).await;
    }
    let after = SystemClock.now();
    let upkeeper = keep(&forgetful);
    eventually("errands wait", || {
        forgetful.stats().oldest_errand().is_some()
    })
    .await;
    upkeeper.shutdown().await;
    let oldest = forgetful.stats().oldest_errand().unwrap();
    assert!((before..=after).contains(&oldest), "{oldest:?}");

    let upkeeper = keep(&router);
    eventually("what was left behind is removed", || {
        stat(&forgetful.stats().references_removed) + stat(&stats().references_removed) == 1
    })
    .await;
    eventually("all are looked after", || {
        stat(&stats().references_audited) > 80
    })
    .await;
    upkeeper.shutdown().await;
    assert_eq!(errands(&store).await, 0);
    assert_eq!(stats().oldest_errand(), None);
}

/// Whoever removes a directory gets renames into it out of the way, one after the other. They may be faster.
#[tokio::test]
async fn removing_a_directory_beside_renames_without_end_is_given_up() {
    let store = Store::open(2);
    let directory = key(AccountId::random(), "stor/d");
    let child = directory.child("x").unwrap();
    let made = store.router.make_directory(mkdir(directory.clone())).await;
    made.unwrap();
    let put = store.router.put_object(put(object(child.clone()))).await;
    put.unwrap();
    let router = store.routed(|inner: Arc<dyn Shard>| {
        Arc::new(Unreliable {
            entering: Some(child.clone()),
            ..Unreliable::lasting(inner)
        })
    });
    let removing = router.remove_directory(&directory, None);
    let removed = tokio::time::timeout(Duration::from_secs(60), removing).await;
    let removed = removed.expect("an end");
    assert!(
        matches!(
            removed,
            Err(NamespaceError::Moray(MorayError::Overloaded { .. }))
        ),
        "{removed:?}"
    );
    // It is as it was.
    let removed = store.router.remove_directory(&directory, None).await;
    assert!(
        matches!(removed, Err(NamespaceError::NotEmpty)),
        "{removed:?}"
    );
}

//! Group commit: what is answered is durable, one change's trouble is its own, and a COMMIT that fails takes
//! its whole group with it and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use libmanta::link::Over;
use libmanta::moray::shard::{Admit, Child, Inserted, Look, Shard as _};
use libmanta::moray::{Buckets, Expect, MakeDirectory, MorayError, RecordKey, Write};
use libmanta::namespace::{Presence, Row, Token};
use libmanta::{AccountId, Judged, ObjectKey};
use moray::{CommitFaults, Config, OpenError, Parts, Shard, Stats};
use testkit::moray::{key, listing, mkdir, object, put};
use tokio::task::JoinSet;
use uuid::Uuid;

fn open(directory: &Path, faults: Option<CommitFaults>) -> Arc<Shard> {
    let parts = Parts {
        commit_faults: faults,
        ..Parts::default()
    };
    Shard::open_with(Config::new("1", directory.join("db")), parts).unwrap()
}

/// A PUT into a root, which is one step.
async fn insert(shard: &Shard, key: ObjectKey) -> Result<Inserted, MorayError> {
    let admit = Admit::Begin {
        nonce: Token::random(),
        presence: Presence::Always,
    };
    let child = Child::Object(put(object(key)));
    shard.insert(Arc::new(child), admit, Over::Free).await
}

/// Between the steps of a removal: what its rights depended on is what goes, or nothing does.
#[tokio::test]
async fn roles_that_change_take_the_mark_of_a_removal_away() {
    let directory = tempfile::tempdir().unwrap();
    let shard = open(directory.path(), None);
    let made = key(AccountId::random(), "stor/d");
    let make = |roles: &[Uuid]| MakeDirectory {
        roles: roles.to_vec(),
        ..mkdir(made.clone())
    };
    let write = async |make: MakeDirectory| {
        let admit = Admit::Begin {
            nonce: Token::random(),
            presence: Presence::Always,
        };
        let child = Arc::new(Child::Directory(make));
        shard.insert(child, admit, Over::Free).await.unwrap();
    };
    let one = [Uuid::from_u128(1)];
    for (again, goes) in [(make(&[]), false), (make(&one), true)] {
        write(make(&one)).await;
        let (token, judged) = (
            Token::random(),
            Judged::Directory {
                roles: one.to_vec(),
            },
        );
        let marked = shard.mark(&made, token, Some(&judged)).await.unwrap();
        assert_eq!(marked, Ok(()));
        write(again).await;
        let removed = shard.remove_marked(&made, token).await.unwrap();
        assert_eq!(removed.is_some(), goes);
    }
    shard.close().await;
}

async fn insert_many(
    shard: &Arc<Shard>,
    owner: AccountId,
    names: std::ops::Range<u32>,
) -> (BTreeSet<u32>, usize) {
    let mut tasks = JoinSet::new();
    for n in names {
        let shard = Arc::clone(shard);
        tasks.spawn(async move { (n, insert(&shard, key(owner, &format!("stor/{n:06}"))).await) });
    }
    let (mut written, mut refused) = (BTreeSet::new(), 0);
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            (n, Ok(Inserted::Written(_))) => drop(written.insert(n)),
            (_, Ok(other)) => panic!("{other:?}"),
            (_, Err(_)) => refused += 1,
        }
    }
    (written, refused)
}

async fn names(shard: &Shard, owner: AccountId) -> BTreeSet<u32> {
    let list = libmanta::moray::List {
        limit: 1_000_000,
        ..listing(key(owner, "stor"))
    };
    let listed = shard.list(&list).await.unwrap();
    let count = match listed.row {
        Row::Open { count } => count,
        _ => 0,
    };
    assert_eq!(count, listed.entries.len() as u64, "exact count");
    listed
        .entries
        .iter()
        .map(|entry| entry.key.name().parse().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_changes_share_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let shard = open(directory.path(), None);
    let owner = AccountId::random();
    let (written, refused) = insert_many(&shard, owner, 0..2_000).await;
    assert_eq!((written.len(), refused), (2_000, 0));
    let stats = shard.stats();
    let (operations, commits) = (Stats::get(&stats.operations), Stats::get(&stats.commits));
    assert_eq!(operations, 2_000);
    assert!(commits < operations / 2, "{commits} commits");
    assert!(Stats::get(&stats.checkpoints) >= 1);
    assert_eq!(Stats::get(&stats.queued), 0);
    assert_eq!(names(&shard, owner).await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_fails_its_whole_group_and_the_store_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let faults = CommitFaults::default();
    let shard = open(directory.path(), Some(faults.clone()));
    let owner = AccountId::random();
    let (before, _) = insert_many(&shard, owner, 0..100).await;
    faults.fail_next(1);
    let (during, refused) = insert_many(&shard, owner, 100..600).await;
    assert!(refused >= 1, "somebody was in the group that failed");
    let (after, none) = insert_many(&shard, owner, 600..700).await;
    assert_eq!(none, 0);

    let stats = shard.stats();
    assert_eq!(Stats::get(&stats.commits_failed), 1);
    assert_eq!(Stats::get(&stats.reopened), 1);
    assert_eq!((Stats::get(&stats.down), Stats::get(&stats.queued)), (0, 0));
    let answered: BTreeSet<u32> = [before, during, after].into_iter().flatten().collect();
    // SQLite refused this COMMIT before it wrote anything, so here "unknown" is "not".
    assert_eq!(names(&shard, owner).await, answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_beside_a_failing_writer() {
    let directory = tempfile::tempdir().unwrap();
    let faults = CommitFaults::default();
    let shard = open(directory.path(), Some(faults.clone()));
    let owner = AccountId::random();
    insert(&shard, key(owner, "stor/1")).await.unwrap();
    for round in 0..5 {
        faults.fail_next(1);
        let failed = insert(&shard, key(owner, "stor/2")).await;
        assert!(
            matches!(failed, Err(MorayError::Unavailable { .. })),
            "round {round}: {failed:?}"
        );
        // Refused while the store is checked, which a caller repeats.
        let look = loop {
            match shard.look(&key(owner, "stor/1")).await {
                Ok(look) => break look,
                Err(MorayError::Unavailable { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(matches!(
            look,
            Look {
                entry: Some(_),
                row: Row::Open { count: 1 },
                ..
            }
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_fails_hurts_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let shard = open(directory.path(), None);
    let (well, damaged) = (AccountId::random(), AccountId::random());
    insert(&shard, key(damaged, "stor/000000")).await.unwrap();
    let other = rusqlite::Connection::open(directory.path().join("db")).unwrap();
    let path = key(damaged, "stor");
    let changed = other
        .execute(
            "UPDATE directory SET state = 9 WHERE path = ?1",
            [path.as_str()],
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(other);

    let (bad, good) = tokio::join!(
        insert_many(&shard, damaged, 1..100),
        insert_many(&shard, well, 0..100)
    );
    assert_eq!((bad.0.len(), bad.1), (0, 99));
    assert_eq!((good.0.len(), good.1), (100, 0));
    let error = insert(&shard, key(damaged, "stor/1")).await;
    assert!(
        matches!(error, Err(MorayError::Corrupt { .. })),
        "{error:?}"
    );
    assert_eq!(names(&shard, well).await.len(), 100);
    assert_eq!(Stats::get(&shard.stats().commits_failed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_waiting_changes_are_refused_and_do_not_happen() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        queue_requests_max: 2,
        ..Config::new("1", directory.path().join("db"))
    };
    let shard = Shard::open(config).unwrap();
    let owner = AccountId::random();
    let (written, refused) = insert_many(&shard, owner, 0..2_000).await;
    assert!(refused > 0, "2,000 at once do not fit in a queue of two");
    assert_eq!(names(&shard, owner).await, written);

    let config = Config {
        queue_bytes_max: 4096,
        ..Config::new("2", directory.path().join("db2"))
    };
    let shard = Shard::open(config).unwrap();
    let (written, refused) = insert_many(&shard, owner, 0..2_000).await;
    assert!(refused > 0, "nor in four KiB");
    assert_eq!(names(&shard, owner).await, written);
    // What is larger than the whole queue goes through alone.
    let record = Write {
        key: RecordKey {
            bucket: "b".to_owned(),
            route: "r".to_owned(),
            key: "k".to_owned(),
        },
        value: Some(vec![0; 100_000]),
        expect: Expect::Absent,
    };
    shard.batch(vec![record]).await.unwrap();
}

/// What a killed process leaves is the file and the log as they are at some moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let shard = open(directory.path(), None);
    let owner = AccountId::random();
    for round in 0..5 {
        let (written, refused) = insert_many(&shard, owner, round * 500..(round + 1) * 500).await;
        assert_eq!((written.len(), refused), (500, 0));
        let copy = tempfile::tempdir().unwrap();
        for name in ["db", "db-wal"] {
            std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        let recovered = open(copy.path(), None);
        assert_eq!(
            names(&recovered, owner).await,
            (0..(round + 1) * 500).collect(),
            "round {round}"
        );
        insert(&recovered, key(owner, "stor/999999")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_is_queued_and_leaves_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let shard = open(directory.path(), None);
    let owner = AccountId::random();
    let (writing, ()) = tokio::join!(insert_many(&shard, owner, 0..200), shard.close());
    let (written, _) = writing;
    let late = insert(&shard, key(owner, "stor/1")).await;
    assert!(
        matches!(late, Err(MorayError::Unavailable { .. })),
        "{late:?}"
    );
    let files: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, ["db"], "the log is folded into the file");
    drop(shard);
    assert_eq!(names(&open(directory.path(), None), owner).await, written);
}

#[test]
fn a_file_of_a_newer_format_is_refused_with_its_version() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), None));
    let path = directory.path().join("db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Shard::open(Config::new("1", &path)).unwrap_err();
    assert!(
        matches!(error, OpenError::TooNew { found: 99, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("format 99"), "{error}");
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(connection);
    let error = Shard::open(Config::new("1", &path)).unwrap_err();
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");

    std::fs::write(&path, b"this is no database, whatever its name says").unwrap();
    let error = Shard::open(Config::new("1", &path)).unwrap_err();
    assert!(matches!(error, OpenError::Sqlite { .. }), "{error}");
}

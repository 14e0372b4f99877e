//! A file is opened only as what it is: this shard, of this store, with its tables.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use libmanta::moray::{Buckets, Expect, RecordKey, Write};
use moray::{Config, OpenError, Shard};
use uuid::Uuid;

fn existing(name: &str, path: &Path) -> Config {
    Config {
        may_create: false,
        ..Config::new(name, path)
    }
}

fn of_store(id: Uuid, path: &Path) -> Config {
    Config {
        store_id: Some(id),
        ..existing("1", path)
    }
}

fn record() -> RecordKey {
    RecordKey {
        bucket: "b".to_owned(),
        route: "r".to_owned(),
        key: "k".to_owned(),
    }
}

/// Makes a shard that holds one record.
async fn make(config: Config) {
    let shard = Shard::open(config).unwrap();
    let write = Write {
        key: record(),
        value: Some(vec![7]),
        expect: Expect::Absent,
    };
    shard.batch(vec![write]).await.unwrap();
    shard.close().await;
}

async fn holds_the_record(config: Config) -> bool {
    let shard = Shard::open(config).unwrap();
    let found = shard.get(&record()).await.unwrap();
    shard.close().await;
    found.is_some_and(|record| record.value == [7])
}

#[tokio::test]
async fn a_lost_file_is_not_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let refused = || {
        let error = Shard::open(existing("1", &path)).unwrap_err();
        assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    };
    refused();
    assert!(!path.exists(), "nor is an empty one left in its place");
    std::fs::write(&path, b"").unwrap();
    refused();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    // A database, but nobody's.
    std::fs::remove_file(&path).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("VACUUM").unwrap();
    drop(connection);
    refused();
    std::fs::remove_file(&path).unwrap();

    make(Config::new("1", &path)).await;
    assert!(holds_the_record(existing("1", &path)).await);
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(0))
        .unwrap();
    refused();
}

#[tokio::test]
async fn a_file_without_all_tables_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    make(Config::new("1", &path)).await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("DROP TABLE entry").unwrap();
    drop(connection);
    for config in [existing("1", &path), Config::new("1", &path)] {
        let error = Shard::open(config).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn files_that_were_swapped_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two, aside] = ["1", "2", "aside"].map(|name| directory.path().join(name));
    make(Config::new("1", &one)).await;
    make(Config::new("2", &two)).await;
    for (from, to) in [(&one, &aside), (&two, &one), (&aside, &two)] {
        std::fs::rename(from, to).unwrap();
    }
    let error = Shard::open(existing("1", &one)).unwrap_err();
    assert!(
        matches!(&error, OpenError::OtherShard { found, expected, .. } if found == "2" && expected == "1"),
        "{error}"
    );
    // Permission to make files is none to take those of others.
    let error = Shard::open(Config::new("2", &two)).unwrap_err();
    assert!(matches!(error, OpenError::OtherShard { .. }), "{error}");
    assert!(holds_the_record(existing("2", &one)).await);
}

#[tokio::test]
async fn a_file_of_another_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
    make(Config {
        may_create: true,
        ..of_store(theirs, &path)
    })
    .await;
    let error = Shard::open(of_store(ours, &path)).unwrap_err();
    assert!(
        matches!(error, OpenError::OtherStore { found, expected, .. }
            if found == theirs && expected == ours),
        "{error}"
    );
    assert!(holds_the_record(of_store(theirs, &path)).await);
    assert!(holds_the_record(existing("1", &path)).await, "not checked");
}

#[tokio::test]
async fn a_file_without_a_store_takes_the_first_that_opens_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    make(Config::new("1", &path)).await;
    assert!(holds_the_record(of_store(Uuid::from_u128(1), &path)).await);
    let error = Shard::open(of_store(Uuid::from_u128(2), &path)).unwrap_err();
    assert!(matches!(error, OpenError::OtherStore { .. }), "{error}");
}

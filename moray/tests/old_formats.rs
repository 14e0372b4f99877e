//! Files of older formats are brought up to date when they are opened, and keep what they hold. The statements
//! below are what those formats were, word for word: they never change.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use libmanta::link::{Binding, Bound};
use libmanta::moray::links::Links;
use libmanta::moray::shard::Shard as _;
use libmanta::moray::{Buckets, DeleteLog, LogCursor, Namespace, RecordKey, shard};
use libmanta::namespace::Row;
use libmanta::{
    AccountId, Condition, Entry, EntryKind, Object, ObjectId, ObjectKey, StorageId, Timestamp,
};
use moray::{Config, OpenError, Shard};
use uuid::Uuid;

const FORMAT_1: &str = "
CREATE TABLE directory (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    token BLOB,
    entries INTEGER NOT NULL
) STRICT;
CREATE TABLE entry (
    directory INTEGER NOT NULL,
    name TEXT NOT NULL,
    mtime_ms INTEGER NOT NULL,
    object_id BLOB,
    size_bytes INTEGER,
    md5 BLOB,
    content_type TEXT,
    content_disposition TEXT,
    creator BLOB,
    copies BLOB,
    headers BLOB,
    roles BLOB,
    mark BLOB,
    PRIMARY KEY (directory, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_mtime ON entry (directory, mtime_ms);
CREATE INDEX entry_directories ON entry (directory, name) WHERE object_id IS NULL;
CREATE INDEX entry_object ON entry (object_id) WHERE object_id IS NOT NULL;
CREATE TABLE deleted (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    logged_ms INTEGER NOT NULL,
    object_id BLOB NOT NULL,
    creator BLOB NOT NULL,
    copies BLOB NOT NULL
) STRICT;
CREATE INDEX deleted_object ON deleted (object_id);
CREATE TABLE record (
    bucket TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    etag INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (bucket, route, key)
) STRICT, WITHOUT ROWID;
INSERT INTO directory VALUES (5, '/bc8cd146-fecb-11e1-bd8a-bb6f54b49808/stor', 2, NULL, 2);
INSERT INTO entry VALUES (5, 'd', 7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO entry VALUES (5, 'x', 8, x'11111111111111111111111111111111', 3,
    x'22222222222222222222222222222222', 'text/plain', NULL, x'33333333333333333333333333333333',
    x'0100000061', x'03000000612D6200000000', NULL, NULL);
INSERT INTO deleted VALUES (9, 10, x'44444444444444444444444444444444',
    x'33333333333333333333333333333333', x'0100000061');
INSERT INTO record VALUES ('b', 'r', 'k', 6, x'07');
PRAGMA application_id = 1297236313;
";

const ADDED_IN_2: &str = "
CREATE TABLE shard (
    name TEXT NOT NULL,
    store BLOB
) STRICT;
CREATE INDEX deleted_logged ON deleted (logged_ms);
INSERT INTO shard VALUES ('1', x'55555555555555555555555555555555');
";

const STORE: Uuid = Uuid::from_bytes([0x55; 16]);

fn make(path: &Path, format: i64, statements: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(statements).unwrap();
    connection
        .pragma_update(None, "user_version", format)
        .unwrap();
}

fn config(name: &str, path: &Path) -> Config {
    Config {
        may_create: false,
        store_id: Some(STORE),
        ..Config::new(name, path)
    }
}

fn key(path: &str) -> ObjectKey {
    ObjectKey::parse(&format!("/bc8cd146-fecb-11e1-bd8a-bb6f54b49808{path}")).unwrap()
}

fn object_id() -> ObjectId {
    ObjectId::from_uuid(Uuid::from_bytes([0x11; 16]))
}

fn object() -> Entry {
    Entry {
        key: key("/stor/x"),
        mtime: Timestamp::from_millis(8),
        headers: vec![("a-b".to_owned(), String::new())],
        roles: Vec::new(),
        kind: EntryKind::Object(Object {
            object_id: object_id(),
            size_bytes: 3,
            md5: [0x22; 16],
            content_type: "text/plain".to_owned(),
            content_disposition: None,
            creator: AccountId::from_uuid(Uuid::from_bytes([0x33; 16])),
            copies: vec![StorageId::new("a")],
        }),
    }
}

async fn everything_is_there(shard: &Shard) {
    let look = shard.look(&key("/stor/x")).await.unwrap();
    assert_eq!(look.entry, Some(object()));
    assert_eq!(look.before, None);
    assert_eq!(look.binding, Binding::Bound(Bound::new(object_id())));
    assert_eq!(look.row, Row::Open { count: 2 });
    let look = shard.look(&key("/stor/d")).await.unwrap();
    assert!(look.entry.is_some_and(|entry| entry.is_directory()));
    assert_eq!(look.binding, Binding::Directory);
    let record = RecordKey {
        bucket: "b".to_owned(),
        route: "r".to_owned(),
        key: "k".to_owned(),
    };
    let record = shard.get(&record).await.unwrap().unwrap();
    assert_eq!((&record.value[..], record.etag), (&[7][..], 6));
    let end = Timestamp::from_millis(u64::MAX);
    let deleted = shard.deleted(end, &LogCursor::default(), 10).await.unwrap();
    assert_eq!(deleted.len(), 1);
    assert_eq!((deleted[0].sequence, deleted[0].copies.len()), (9, 1));
    let gone = ObjectId::from_uuid(Uuid::from_bytes([0x44; 16]));
    assert_eq!(
        shard
            .referenced(&[object_id(), gone, ObjectId::random()])
            .await,
        Ok(vec![true, true, false])
    );
}

#[tokio::test]
async fn a_file_of_format_2_is_brought_up_to_date_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    make(&path, 2, &format!("{FORMAT_1}{ADDED_IN_2}"));
    let error = Shard::open(config("2", &path)).unwrap_err();
    assert!(matches!(error, OpenError::OtherShard { .. }), "{error}");
    for _ in 0..2 {
        let shard = Shard::open(config("1", &path)).unwrap();
        everything_is_there(&shard).await;
        shard.close().await;
    }
}

#[tokio::test]
async fn a_file_of_format_1_is_brought_up_to_date_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    make(&path, 1, FORMAT_1);
    for _ in 0..2 {
        let shard = Shard::open(config("1", &path)).unwrap();
        everything_is_there(&shard).await;
        shard.close().await;
    }
    // It is that of the first who has opened it.
    let error = Shard::open(config("2", &path)).unwrap_err();
    assert!(matches!(error, OpenError::OtherShard { .. }), "{error}");
}

/// What was put by an older program can have another name.
#[tokio::test]
async fn an_old_object_is_linked_and_goes_with_its_last_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    make(&path, 2, &format!("{FORMAT_1}{ADDED_IN_2}"));
    let shard = Shard::open(config("1", &path)).unwrap();
    let ring = electric_moray::Ring::new(10, &["1".to_owned()]).unwrap();
    let port = Arc::clone(&shard) as Arc<dyn shard::Shard>;
    let router = electric_moray::Router::new(ring, vec![port]).unwrap();
    let (old, new) = (key("/stor/x"), key("/stor/y"));
    router.link(testkit::links::link(&old, &new)).await.unwrap();
    for name in [&old, &new] {
        assert_eq!(testkit::links::logged(&router, &[object_id()]).await, []);
        router
            .remove_object(name, &Condition::default())
            .await
            .unwrap();
    }
    testkit::links::all_gone(&router, &[&object()]).await;
    shard.close().await;
}

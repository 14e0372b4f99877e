//! Tables, pragmas and the format version.
//!
//! Children lie together, in the order of their names, under the number of their directory's row; a row has a
//! number only while it is stored, and has children only while it is `open`, so numbers may be reused. What
//! would surprise: the "directory" above the areas (`/<account>`) has a row like any other, always open.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use uuid::Uuid;

use super::CommitFaults;
use crate::config::Config;
use crate::error::OpenError;

/// `PRAGMA user_version` of the files this program writes.
const FORMAT: i64 = 3;
/// `PRAGMA application_id`: "MRAY".
const APPLICATION_ID: i64 = 0x4d52_4159;
/// All statements of the crate fit.
const STATEMENTS_CACHED: usize = 128;

/// Nobody else writes, so only recovery by another connection is ever waited for.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// Those of format 1, to which the later formats only add.
///
/// `directory.state`: 1 probing, 2 open, 3 closing; `token` is set unless open.
/// `entry`: a directory has no `object_id`; `creator` is null when it is the owner; `headers` and `roles` are
/// null when empty; `mark` is the token of a removal.
/// `deleted.sequence` never repeats, so forgetting twice is harmless.
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
";

/// What format 2 adds. `shard` has one row: whose file this is. `store` is null until a store with an id
/// opens it.
const ADDED_IN_2: &str = "
CREATE TABLE shard (
    name TEXT NOT NULL,
    store BLOB
) STRICT;
CREATE INDEX deleted_logged ON deleted (logged_ms);
";

/// What format 3 adds: objects with several names, by the protocol of [`libmanta::link`].
///
/// `entry.binding`: null for a sole object, else 1 linked, 2 linked and moving, 3 entering. `label` is null
/// when it is the object's id; that of an entry that is being entered is the token of whoever enters.
/// `version` is null when it is zero. All four are null for directories.
/// `prior`: what is under a name until somebody has entered it; columns as in `entry`.
/// `object`: the record of a promoted object; `live` and `moved` count the rows in `reference` that stand so.
/// `reference.standing`: 1 live, 2 and 3 a link and a rename under way, 4 moved; `source` is the label of the
/// reference that one under way starts from, and null otherwise.
/// `errand.kind`: 1 drop, 2 settle, 3 erase; `name` is null for the first. `sequence` never repeats.
const ADDED_IN_3: &str = "
ALTER TABLE entry ADD COLUMN binding INTEGER;
ALTER TABLE entry ADD COLUMN label BLOB;
ALTER TABLE entry ADD COLUMN pin BLOB;
ALTER TABLE entry ADD COLUMN version INTEGER;
CREATE INDEX entry_entering ON entry (directory, name) WHERE binding = 3;
CREATE INDEX entry_moving ON entry (directory, name) WHERE binding = 2;
CREATE TABLE prior (
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
    binding INTEGER,
    label BLOB,
    pin BLOB,
    version INTEGER,
    PRIMARY KEY (directory, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX prior_object ON prior (object_id);
CREATE TABLE object (
    object_id BLOB NOT NULL PRIMARY KEY,
    creator BLOB NOT NULL,
    copies BLOB NOT NULL,
    version INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    live INTEGER NOT NULL,
    moved INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE reference (
    object_id BLOB NOT NULL,
    label BLOB NOT NULL,
    name TEXT NOT NULL,
    standing INTEGER NOT NULL,
    source BLOB,
    since_ms INTEGER NOT NULL,
    PRIMARY KEY (object_id, label)
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_source ON reference (object_id, source) WHERE source IS NOT NULL;
CREATE TABLE errand (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    logged_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    object_id BLOB NOT NULL,
    label BLOB NOT NULL,
    name TEXT
) STRICT;
";

/// Tables of the present format.
const TABLES: [&str; 9] = [
    "deleted",
    "directory",
    "entry",
    "errand",
    "object",
    "prior",
    "record",
    "reference",
    "shard",
];

/// Opens the file for the writer; creates it when it is missing and may be created. What a killed process
/// left in the write-ahead log is recovered here.
pub(super) fn open_writer(
    config: &Config,
    faults: Option<&CommitFaults>,
) -> Result<Connection, OpenError> {
    let path = &config.path;
    let sqlite = |source| OpenError::Sqlite {
        path: path.clone(),
        source,
    };
    if config.may_create {
        create_file(path)?;
    } else if !path.try_exists().map_err(|source| OpenError::Io {
        path: path.clone(),
        source,
    })? {
        return Err(OpenError::Missing { path: path.clone() });
    }
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)
            .map_err(sqlite)?;
    // What FULL is to a write-ahead log; but until there is one, tables are made with a rollback journal, and
    // only this syncs the directory after its removal. A journal that came back would empty the file.
    connection
        .pragma_update(None, "synchronous", "EXTRA")
        .map_err(sqlite)?;
    check_format(&connection, config)?;
    check_identity(&connection, config)?;
    (|| {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", -i64::from(config.cache_kib))?;
        tune(&connection)?;
        if let Some(faults) = faults {
            let faults = faults.clone();
            connection.commit_hook(Some(move || faults.take()));
        }
        Ok(())
    })()
    .map_err(sqlite)?;
    Ok(connection)
}

/// Opens the file for reading, while the writer has it open.
pub(super) fn open_reader(config: &Config) -> Result<Connection, rusqlite::Error> {
    let connection =
        Connection::open_with_flags(&config.path, OpenFlags::SQLITE_OPEN_READ_ONLY | NO_MUTEX)?;
    connection.pragma_update(None, "cache_size", -i64::from(config.cache_kib / 4))?;
    tune(&connection)?;
    Ok(connection)
}

/// Everything that `PRAGMA quick_check` finds wrong, in one line; `None` when nothing is.
pub(super) fn damage(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((finding != "ok").then_some(finding))
}

/// A connection never leaves the thread that uses it while in use.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

fn tune(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.busy_timeout(BUSY_PATIENCE)?;
    // The journal of a savepoint stays in memory: it is worth nothing after a crash.
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// The name of a new file must be durable before the first transaction in it is.
fn create_file(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            File::open(parent).and_then(|d| d.sync_all()).map_err(io)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io(error)),
    }
}

/// Makes the tables in an empty file, and adds what a file of an older format lacks.
fn check_format(connection: &Connection, config: &Config) -> Result<(), OpenError> {
    let path = || config.path.clone();
    let sqlite = |source| OpenError::Sqlite {
        path: path(),
        source,
    };
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = pragma("user_version").map_err(sqlite)?;
    let application = pragma("application_id").map_err(sqlite)?;
    let things: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    if things == 0 && !config.may_create {
        return Err(OpenError::Missing { path: path() });
    }
    if things == 0 && found == 0 {
        return add(connection, &[FORMAT_1, ADDED_IN_2, ADDED_IN_3], config).map_err(sqlite);
    }
    if application != APPLICATION_ID {
        return Err(OpenError::NotOurs { path: path() });
    }
    match found {
        FORMAT => {}
        2 => add(connection, &[ADDED_IN_3], config).map_err(sqlite)?,
        1 => add(connection, &[ADDED_IN_2, ADDED_IN_3], config).map_err(sqlite)?,
        found if found > FORMAT => {
            return Err(OpenError::TooNew {
                path: path(),
                found,
                known: FORMAT,
            });
        }
        found => {
            let finding = format!("there never was a format {found}");
            return Err(OpenError::Damaged {
                path: path(),
                finding,
            });
        }
    }
    for table in TABLES {
        if !connection.table_exists(None, table).map_err(sqlite)? {
            let finding = format!("table {table} is missing");
            return Err(OpenError::Damaged {
                path: path(),
                finding,
            });
        }
    }
    Ok(())
}

/// Brings the file to the present format, in one transaction, and writes whose it is if it does not say so: a
/// new one does not, and one of format 1, which is taken for what it is opened as.
fn add(connection: &Connection, tables: &[&str], config: &Config) -> Result<(), rusqlite::Error> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(&tables.concat())?;
    transaction.execute(
        "INSERT INTO shard (name, store) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM shard)",
        params![
            config.name,
            config.store_id.as_ref().map(|id| &id.as_bytes()[..])
        ],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Refuses the file of another shard or of another store, such as one restored under the wrong name.
fn check_identity(connection: &Connection, config: &Config) -> Result<(), OpenError> {
    let path = || config.path.clone();
    let sqlite = |source| OpenError::Sqlite {
        path: path(),
        source,
    };
    let damaged = |finding: &str| OpenError::Damaged {
        path: path(),
        finding: finding.to_owned(),
    };
    let row: Option<(String, Option<Vec<u8>>)> = connection
        .query_row("SELECT name, store FROM shard", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(sqlite)?;
    let (name, store) = row.ok_or_else(|| damaged("it does not say whose it is"))?;
    if name != config.name {
        return Err(OpenError::OtherShard {
            path: path(),
            found: name,
            expected: config.name.clone(),
        });
    }
    let Some(expected) = config.store_id else {
        return Ok(());
    };
    let Some(store) = store else {
        return connection
            .execute("UPDATE shard SET store = ?1", [&expected.as_bytes()[..]])
            .map(drop)
            .map_err(sqlite);
    };
    let found = Uuid::from_slice(&store).map_err(|_| damaged("its store id is no uuid"))?;
    if found != expected {
        return Err(OpenError::OtherStore {
            path: path(),
            found,
            expected,
        });
    }
    Ok(())
}

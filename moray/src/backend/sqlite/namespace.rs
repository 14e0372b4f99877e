//! The steps of the protocol as transactions: load the row or the entry, apply the pure function of
//! [`libmanta::namespace`], store what it returned. Whether a step may happen is never decided here.

use libmanta::moray::shard::{Admit, Child, Inserted};
use libmanta::moray::{MakeDirectory, NamespaceError, PutObject, Replaced, Update, Write};
use libmanta::namespace::{Admission, Close, Mark, Row, Slot, Token, Unsettled};
use libmanta::{Condition, Entry, EntryKind, ObjectKey, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::entry_row::{self, Decoder, Parent, SELECT_ENTRY, UPSERT};
use super::{delete_log, records};
use crate::error::Fault;

/// Numbers of `directory.state`.
const PROBING: i64 = 1;
const OPEN: i64 = 2;
const CLOSING: i64 = 3;

/// A directory's row and, while it is stored, its number.
#[derive(Clone, Copy)]
struct StoredRow {
    id: Option<i64>,
    row: Row,
}

pub(crate) fn insert(
    db: &Connection,
    child: &Child,
    admit: Admit,
    now: Timestamp,
) -> Result<Inserted, Fault> {
    let path = child.key().entry_route();
    let stored = load_row(db, path)?;
    let (row, admission) = match admit {
        Admit::Begin { nonce, presence } => stored.row.begin_insert(nonce, presence),
        Admit::Settle { seen } => stored.row.settle_insert(seen),
    };
    match admission {
        Admission::Unsettled(seen) => {
            store_row(db, path, stored, row)?;
            return Ok(Inserted::Unsettled(seen));
        }
        Admission::Changed => return Ok(Inserted::Changed),
        Admission::Admitted => {}
    }
    // A new row is stored before the child, which needs its number; an old one once, after the child.
    let stored = match stored.id {
        Some(_) => stored,
        None => store_row(db, path, stored, row)?,
    };
    let id = stored
        .id
        .ok_or_else(|| Fault::corrupt("an open row has no number"))?;
    let current = load_entry(db, id, child.key())?;
    let is_new = current.is_none();
    let (inserted, row) = match write_child(db, id, row, child, current, now)? {
        Ok(replaced) if is_new => (Inserted::Written(replaced), row.with_child_added()),
        Ok(replaced) => (Inserted::Written(replaced), row),
        Err(refused) => (Inserted::Refused(refused), row),
    };
    store_row(db, path, stored, row)?;
    Ok(inserted)
}

pub(crate) fn drop_row(
    db: &Connection,
    directory: &ObjectKey,
    seen: Unsettled,
) -> Result<bool, Fault> {
    on_row(db, directory, |row| row.drop_if(seen))
}

pub(crate) fn close(db: &Connection, directory: &ObjectKey, token: Token) -> Result<Close, Fault> {
    on_row(db, directory, |row| row.close(token))
}

pub(crate) fn reopen(db: &Connection, directory: &ObjectKey, token: Token) -> Result<bool, Fault> {
    on_row(db, directory, |row| row.reopen(token))
}

pub(crate) fn mark(
    db: &Connection,
    key: &ObjectKey,
    token: Token,
) -> Result<Result<(), Slot>, Fault> {
    let Some((parent, entry, mark)) = load_child(db, key)? else {
        return Ok(Err(Slot::Absent));
    };
    let (slot, marked) = slot(&entry, mark).mark(token);
    if !marked {
        return Ok(Err(slot));
    }
    store_mark(db, parent, key, slot)?;
    Ok(Ok(()))
}

pub(crate) fn unmark(db: &Connection, key: &ObjectKey, token: Token) -> Result<bool, Fault> {
    let Some((parent, entry, mark)) = load_child(db, key)? else {
        return Ok(false);
    };
    let (slot, held) = slot(&entry, mark).unmark(token);
    if held {
        store_mark(db, parent, key, slot)?;
    }
    Ok(held)
}

pub(crate) fn remove_marked(
    db: &Connection,
    key: &ObjectKey,
    token: Token,
) -> Result<Option<Entry>, Fault> {
    let Some((parent, entry, mark)) = load_child(db, key)? else {
        return Ok(None);
    };
    if !slot(&entry, mark).remove_marked(token).1 {
        return Ok(None);
    }
    remove_child(db, parent, key)?;
    Ok(Some(entry))
}

pub(crate) fn remove_object(
    db: &Connection,
    key: &ObjectKey,
    condition: &Condition,
    now: Timestamp,
) -> Result<Result<Entry, NamespaceError>, Fault> {
    let Some((parent, entry, _)) = load_child(db, key)? else {
        return Ok(Err(NamespaceError::NotFound));
    };
    if entry.is_directory() {
        return Ok(Err(NamespaceError::IsDirectory));
    }
    if let Err(failed) = condition.check(Some(&entry)) {
        return Ok(Err(failed.into()));
    }
    remove_child(db, parent, key)?;
    delete_log::append(db, &entry, None, now)?;
    Ok(Ok(entry))
}

pub(crate) fn update(
    db: &Connection,
    update: Update,
) -> Result<Result<Replaced, NamespaceError>, Fault> {
    let Some((parent, before, mark)) = load_child(db, &update.key)? else {
        return Ok(Err(NamespaceError::NotFound));
    };
    if let Err(failed) = update.condition.check(Some(&before)) {
        return Ok(Err(failed.into()));
    }
    let mut after = Entry {
        mtime: update.mtime,
        headers: update.headers,
        roles: update.roles,
        ..before.clone()
    };
    if let EntryKind::Object(object) = &mut after.kind {
        if let Some(content_type) = update.content_type {
            object.content_type = content_type;
        }
        object.content_disposition = update.content_disposition;
    }
    write_entry(db, parent.id, &after, mark)?;
    Ok(Ok(Replaced {
        before: Some(before),
        after,
    }))
}

/// Writes an admitted child, or says why not. `row` is open.
fn write_child(
    db: &Connection,
    directory: i64,
    row: Row,
    child: &Child,
    current: Option<(Entry, Mark)>,
    now: Timestamp,
) -> Result<Result<Replaced, NamespaceError>, Fault> {
    let before = current.as_ref().map_or(Slot::Absent, |(e, m)| slot(e, *m));
    match child {
        Child::Object(put) => {
            let current = current.map(|(entry, _)| entry);
            if before.put_object().is_none() {
                return Ok(Err(NamespaceError::IsDirectory));
            }
            if let Err(refused) = check_put(row, put, current.as_ref()) {
                return Ok(Err(refused));
            }
            if let Some(also) = &put.also
                && !write_also(db, &put.entry.key, also)?
            {
                return Ok(Err(NamespaceError::AlsoConflict));
            }
            replace(db, directory, current, put.entry.clone(), now).map(Ok)
        }
        Child::Directory(make) => {
            let Slot::Directory(mark) = before.make_directory() else {
                return Err(Fault::corrupt("a new directory is none"));
            };
            match current {
                Some((entry, _)) if entry.is_directory() => {
                    touch(db, directory, entry, mark, make).map(Ok)
                }
                current => {
                    let entry = Entry {
                        key: make.key.clone(),
                        mtime: make.mtime,
                        headers: make.headers.clone(),
                        roles: make.roles.clone(),
                        kind: EntryKind::Directory,
                    };
                    replace(db, directory, current.map(|(e, _)| e), entry, now).map(Ok)
                }
            }
        }
    }
}

fn check_put(row: Row, put: &PutObject, current: Option<&Entry>) -> Result<(), NamespaceError> {
    put.condition.check(current)?;
    match row {
        Row::Open { count } if count > put.directory_entries_max => {
            Err(NamespaceError::DirectoryFull)
        }
        _ => Ok(()),
    }
}

/// Writes the record that comes with an entry; false, and nothing is written, if it is not as expected.
fn write_also(db: &Connection, entry: &ObjectKey, also: &Write) -> Result<bool, Fault> {
    // Another route may belong to another shard, where nobody would find the record.
    Ok(also.key.route == entry.entry_route()
        && records::batch(db, std::slice::from_ref(also))?.is_ok())
}

/// Writes `after` where `before` was. The bytes of what is gone for ever go to the delete log.
fn replace(
    db: &Connection,
    directory: i64,
    before: Option<Entry>,
    after: Entry,
    now: Timestamp,
) -> Result<Replaced, Fault> {
    write_entry(db, directory, &after, Mark::Normal)?;
    if let Some(before) = &before {
        delete_log::append(db, before, Some(&after), now)?;
    }
    Ok(Replaced { before, after })
}

/// `mkdir` of what is a directory already.
fn touch(
    db: &Connection,
    directory: i64,
    before: Entry,
    mark: Mark,
    make: &MakeDirectory,
) -> Result<Replaced, Fault> {
    let mut after = before.clone();
    if before.headers != make.headers || before.roles != make.roles {
        after.headers.clone_from(&make.headers);
        after.roles.clone_from(&make.roles);
        after.mtime = make.mtime;
        write_entry(db, directory, &after, mark)?;
    }
    Ok(Replaced {
        before: Some(before),
        after,
    })
}

fn slot(entry: &Entry, mark: Mark) -> Slot {
    if entry.is_directory() {
        Slot::Directory(mark)
    } else {
        Slot::Object
    }
}

/// One of the steps on a row that touch nothing else.
fn on_row<T>(
    db: &Connection,
    directory: &ObjectKey,
    step: impl FnOnce(Row) -> (Row, T),
) -> Result<T, Fault> {
    let path = directory.row_route();
    let stored = load_row(db, path)?;
    let (row, reply) = step(stored.row);
    store_row(db, path, stored, row)?;
    Ok(reply)
}

fn load_row(db: &Connection, path: &str) -> Result<StoredRow, Fault> {
    let stored = db
        .prepare_cached("SELECT id, state, token, entries FROM directory WHERE path = ?1")?
        .query_row([path], |row| {
            Ok(decode_row(row, 1).map(|decoded| StoredRow {
                id: row.get(0).ok(),
                row: decoded,
            }))
        })
        .optional()?;
    stored.unwrap_or(Ok(StoredRow {
        id: None,
        row: Row::Missing,
    }))
}

/// Decodes `state, token, entries` from column `at` on; nulls are a missing row.
pub(super) fn decode_row(row: &rusqlite::Row<'_>, at: usize) -> Result<Row, Fault> {
    let token = |row: &rusqlite::Row<'_>| entry_row::token(entry_row::blob(row, at + 1)?);
    match row.get::<_, Option<i64>>(at)? {
        None => Ok(Row::Missing),
        Some(PROBING) => Ok(Row::Probing(token(row)?)),
        Some(OPEN) => Ok(Row::Open {
            count: entry_row::unsigned(row, at + 2)?,
        }),
        Some(CLOSING) => Ok(Row::Closing(token(row)?)),
        Some(_) => Err(Fault::corrupt("a directory has an unknown state")),
    }
}

fn store_row(db: &Connection, path: &str, old: StoredRow, new: Row) -> Result<StoredRow, Fault> {
    if old.row == new {
        return Ok(old);
    }
    let (state, token, count) = match new {
        Row::Missing => {
            db.prepare_cached("DELETE FROM directory WHERE id = ?1")?
                .execute([old.id])?;
            return Ok(StoredRow { id: None, row: new });
        }
        Row::Probing(token) => (PROBING, Some(token), 0),
        Row::Open { count } => (OPEN, None, count),
        Row::Closing(token) => (CLOSING, Some(token), 0),
    };
    let token = token.map(|token| token.to_bits().to_be_bytes());
    let token = token.as_ref().map(|bytes| &bytes[..]);
    let count = entry_row::to_sql(count);
    let id = match old.id {
        Some(id) => {
            db.prepare_cached(
                "UPDATE directory SET state = ?2, token = ?3, entries = ?4 WHERE id = ?1",
            )?
            .execute(params![id, state, token, count])?;
            id
        }
        None => db
            .prepare_cached(
                "INSERT INTO directory (path, state, token, entries) VALUES (?1, ?2, ?3, ?4)",
            )?
            .insert(params![path, state, token, count])?,
    };
    Ok(StoredRow {
        id: Some(id),
        row: new,
    })
}

fn load_entry(
    db: &Connection,
    directory: i64,
    key: &ObjectKey,
) -> Result<Option<(Entry, Mark)>, Fault> {
    let mut statement = db.prepare_cached(SELECT_ENTRY)?;
    let mut rows = statement.query(params![directory, key.name()])?;
    match rows.next()? {
        None => Ok(None),
        Some(row) => Decoder::new(Parent::Entry(key)).entry(row, 0).map(Some),
    }
}

/// The row of the parent, open and numbered.
struct OpenParent {
    stored: StoredRow,
    id: i64,
}

/// An existing entry. Its parent's row is open: nothing else has children.
fn load_child(
    db: &Connection,
    key: &ObjectKey,
) -> Result<Option<(OpenParent, Entry, Mark)>, Fault> {
    let stored = load_row(db, key.entry_route())?;
    let (Some(id), Row::Open { .. }) = (stored.id, stored.row) else {
        return Ok(None);
    };
    Ok(load_entry(db, id, key)?.map(|(entry, mark)| (OpenParent { stored, id }, entry, mark)))
}

fn write_entry(db: &Connection, directory: i64, entry: &Entry, mark: Mark) -> Result<(), Fault> {
    let mut statement = db.prepare_cached(UPSERT)?;
    entry_row::upsert(&mut statement, directory, entry, mark)
}

fn store_mark(
    db: &Connection,
    parent: OpenParent,
    key: &ObjectKey,
    slot: Slot,
) -> Result<(), Fault> {
    let mark = match slot {
        Slot::Directory(mark) => entry_row::encode_mark(mark),
        _ => None,
    };
    db.prepare_cached("UPDATE entry SET mark = ?3 WHERE directory = ?1 AND name = ?2")?
        .execute(params![parent.id, key.name(), mark])?;
    Ok(())
}

/// Removing a child and counting down are one transaction.
fn remove_child(db: &Connection, parent: OpenParent, key: &ObjectKey) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM entry WHERE directory = ?1 AND name = ?2")?
        .execute(params![parent.id, key.name()])?;
    let row = parent.stored.row.with_child_removed();
    store_row(db, key.entry_route(), parent.stored, row)?;
    Ok(())
}

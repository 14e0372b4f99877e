//! The steps of the protocol as transactions: load the row or the entry, apply the pure function of
//! [`libmanta::namespace`], store what it returned. Whether a step may happen is never decided here.

use libmanta::link::{Binding, Bound, Over, Overwritten};
use libmanta::moray::links::Logged;
use libmanta::moray::shard::links::{Enter, Written};
use libmanta::moray::shard::{Admit, Child, Inserted, NotMarked};
use libmanta::moray::{MakeDirectory, NamespaceError, PutObject, Replaced, Update, Write};
use libmanta::namespace::{Admission, Close, Mark, Row, Slot, Token, Unsettled};
use libmanta::{Condition, Entry, EntryKind, Judged, ObjectKey, Timestamp};
use rusqlite::{Connection, params};

use super::directory_row::{load_row, store_row};
use super::entry_row::{self, Stored};
use super::links::{self, TransferredHere};
use super::name::{
    Name, OpenParent, dispose, load_child, remove_child, sole, write_entry, write_prior,
};
use super::place::Place;
use super::{object_record, records};
use crate::error::Fault;

pub(crate) fn insert(
    db: &Connection,
    child: &Child,
    admit: Admit,
    over: Over,
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
    let name = Name::load(db, id, child.key())?;
    let is_new = name.stored.is_none();
    let mut source = None;
    let inserted = match child {
        Child::Transfer(asked) => {
            if is_full(row, asked.directory_entries_max) {
                Inserted::Refused(NamespaceError::DirectoryFull)
            } else {
                match links::transfer(db, id, asked, &name, now)? {
                    TransferredHere::Done(transferred, left) => {
                        source = Some((&asked.source, left));
                        Inserted::Transferred(transferred)
                    }
                    TransferredHere::Refused(why) => Inserted::Refused(why),
                    TransferredHere::Apart => Inserted::Apart,
                }
            }
        }
        child => match overwritten(name, over) {
            Err(busy) => Inserted::Busy(busy),
            Ok(current) => match write_child(db, id, row, child, current, now)? {
                Ok(replaced) => match child {
                    Child::Enter(enter) => Inserted::Entered {
                        replaced,
                        committed: commit(db, enter, now)?,
                    },
                    _ => Inserted::Written(replaced),
                },
                Err(refused) => Inserted::Refused(refused),
            },
        },
    };
    let is_written = matches!(
        inserted,
        Inserted::Written(_) | Inserted::Entered { .. } | Inserted::Transferred(_)
    );
    let row = if is_new && is_written {
        row.with_child_added()
    } else {
        row
    };
    store_row(db, path, stored, row)?;
    // Last, since its directory may be the same one.
    if let Some((key, left)) = source {
        let (parent, name) =
            load_child(db, key)?.ok_or_else(|| Fault::corrupt("a source has gone at once"))?;
        name.rebind(db, parent, key, left)?;
    }
    Ok(inserted)
}

/// What a write replaces, as conditions see it.
struct Current {
    stored: Option<Stored>,
    bound: Option<Bound>,
}

/// The binding that is in the way, or what the write replaces. A name that is bound to nothing is seen as
/// missing, though it has a row.
fn overwritten(name: Name, over: Over) -> Result<Current, Binding> {
    let binding = name.binding();
    match binding.overwrite(over) {
        Overwritten::Busy => Err(binding),
        Overwritten::Yes { bound } => Ok(Current {
            stored: name
                .stored
                .filter(|_| bound.is_some() || binding == Binding::Directory),
            bound,
        }),
    }
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
    judged: Option<&Judged>,
) -> Result<Result<(), NotMarked>, Fault> {
    let Some((parent, stored)) = load_entry(db, key)? else {
        return Ok(Err(NotMarked::Is(Slot::Absent)));
    };
    let (slot, marked) = slot(&stored).mark(token);
    if !marked {
        return Ok(Err(NotMarked::Is(slot)));
    }
    if Judged::check(judged, Some(&stored.entry)).is_err() {
        return Ok(Err(NotMarked::Judged));
    }
    store_mark(db, parent, key, slot)?;
    Ok(Ok(()))
}

pub(crate) fn unmark(db: &Connection, key: &ObjectKey, token: Token) -> Result<bool, Fault> {
    let Some((parent, stored)) = load_entry(db, key)? else {
        return Ok(false);
    };
    let (slot, held) = slot(&stored).unmark(token);
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
    let Some((parent, stored)) = load_entry(db, key)? else {
        return Ok(None);
    };
    if !slot(&stored).remove_marked(token).1 {
        return Ok(None);
    }
    remove_child(db, parent, key)?;
    Ok(Some(stored.entry))
}

pub(crate) fn remove_object(
    db: &Connection,
    key: &ObjectKey,
    condition: &Condition,
    over: Over,
    now: Timestamp,
) -> Result<Written<Entry>, Fault> {
    let refuse = |why| Ok(Written::Done(Err(why)));
    let Some((parent, name)) = load_child(db, key)? else {
        return refuse(NamespaceError::NotFound);
    };
    let Current { stored, bound } = match overwritten(name, over) {
        Err(busy) => return Ok(Written::Busy(busy)),
        Ok(current) => current,
    };
    let Some(Stored { entry, .. }) = stored else {
        // The name was dead, and now its row is gone as well.
        remove_child(db, parent, key)?;
        return refuse(NamespaceError::NotFound);
    };
    let Some(bound) = bound else {
        return refuse(NamespaceError::IsDirectory);
    };
    if let Err(failed) = condition.check(Some(&entry)) {
        return refuse(failed.into());
    }
    remove_child(db, parent, key)?;
    dispose(db, &entry, bound.disposal(), now)?;
    Ok(Written::Done(Ok(entry)))
}

pub(crate) fn update(
    db: &Connection,
    update: Update,
    over: Over,
) -> Result<Written<Replaced>, Fault> {
    let refuse = |why| Ok(Written::Done(Err(why)));
    let Some((parent, name)) = load_child(db, &update.key)? else {
        return refuse(NamespaceError::NotFound);
    };
    let Current { stored, bound } = match overwritten(name, over) {
        Err(busy) => return Ok(Written::Busy(busy)),
        Ok(current) => current,
    };
    let Some(Stored {
        entry: before,
        mark,
        ..
    }) = stored
    else {
        return refuse(NamespaceError::NotFound);
    };
    if let Err(failed) = update.condition.check(Some(&before)) {
        return refuse(failed.into());
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
    let stored = Stored {
        mark: mark_after(&before, &after, mark),
        entry: after,
        place: bound.map_or(Place::Directory, updated),
    };
    write_entry(db, parent.id, &stored)?;
    Ok(Written::Done(Ok(Replaced {
        before: Some(before),
        after: stored.entry,
    })))
}

/// How an object is bound whose entry is written anew.
fn updated(bound: Bound) -> Place {
    match Binding::updated(bound) {
        Binding::Bound(bound) => Place::Bound(bound),
        _ => Place::Bound(bound),
    }
}

/// The same, when the new entry may bring new copies.
fn written_again(bound: Bound) -> Place {
    match bound {
        Bound::Sole {
            object,
            label,
            version,
        } => Place::Bound(Bound::Sole {
            object,
            label,
            version: version + 1,
        }),
        linked @ Bound::Linked { .. } => updated(linked),
    }
}

/// Writes an admitted child, or says why not. `row` is open.
fn write_child(
    db: &Connection,
    directory: i64,
    row: Row,
    child: &Child,
    current: Current,
    now: Timestamp,
) -> Result<Result<Replaced, NamespaceError>, Fault> {
    let before = current.stored.as_ref().map_or(Slot::Absent, slot);
    match child {
        Child::Object(put) => {
            if before.put_object().is_none() {
                return Ok(Err(NamespaceError::IsDirectory));
            }
            if let Err(refused) = check_put(row, put, current.entry()) {
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
            if let Err(refused) = Judged::check(make.judged.as_ref(), current.entry()) {
                return Ok(Err(refused.into()));
            }
            let Slot::Directory(mark) = before.make_directory() else {
                return Err(Fault::corrupt("a new directory is none"));
            };
            match current.stored {
                Some(stored) if stored.entry.is_directory() => {
                    touch(db, directory, stored.entry, mark, make).map(Ok)
                }
                stored => {
                    let entry = Entry {
                        key: make.key.clone(),
                        mtime: make.mtime,
                        headers: make.headers.clone(),
                        roles: make.roles.clone(),
                        kind: EntryKind::Directory,
                    };
                    let current = Current { stored, ..current };
                    replace(db, directory, current, entry, now).map(Ok)
                }
            }
        }
        Child::Enter(enter) => {
            if before.put_object().is_none() {
                return Ok(Err(NamespaceError::IsDirectory));
            }
            if let Err(refused) = enter.condition.check(current.entry()) {
                return Ok(Err(refused.into()));
            }
            if is_full(row, enter.directory_entries_max) {
                return Ok(Err(NamespaceError::DirectoryFull));
            }
            write_entering(db, directory, current, enter).map(Ok)
        }
        Child::Transfer(_) => Err(Fault::corrupt("a transfer has two names")),
    }
}

/// The step after entering, if the record is here as well.
fn commit(
    db: &Connection,
    enter: &Enter,
    now: Timestamp,
) -> Result<Option<Option<Vec<Logged>>>, Fault> {
    match (enter.commit, enter.entry.object()) {
        (Some(label), Some(object)) => {
            object_record::commit(db, object.object_id, enter.token, label, now).map(Some)
        }
        _ => Ok(None),
    }
}

/// What enters, beside what is there; that disposes of nothing yet.
fn write_entering(
    db: &Connection,
    directory: i64,
    current: Current,
    enter: &Enter,
) -> Result<Replaced, Fault> {
    let object = enter
        .entry
        .object()
        .ok_or_else(|| Fault::corrupt("a directory cannot enter a name"))?;
    if let (Some(stored), Some(bound)) = (&current.stored, current.bound) {
        let place = updated(bound);
        write_prior(
            db,
            directory,
            &Stored {
                place,
                ..stored.clone()
            },
        )?;
    }
    let stored = Stored {
        entry: enter.entry.clone(),
        mark: Mark::Normal,
        place: Place::Entering {
            object: object.object_id,
            token: enter.token,
        },
    };
    write_entry(db, directory, &stored)?;
    Ok(Replaced {
        before: current.stored.map(|stored| stored.entry),
        after: stored.entry,
    })
}

fn check_put(row: Row, put: &PutObject, current: Option<&Entry>) -> Result<(), NamespaceError> {
    put.condition.check(current)?;
    if is_full(row, put.directory_entries_max) {
        return Err(NamespaceError::DirectoryFull);
    }
    Ok(())
}

fn is_full(row: Row, entries_max: u64) -> bool {
    matches!(row, Row::Open { count } if count > entries_max)
}

/// Writes the record that comes with an entry; false, and nothing is written, if it is not as expected.
fn write_also(db: &Connection, entry: &ObjectKey, also: &Write) -> Result<bool, Fault> {
    // Another route may belong to another shard, where nobody would find the record.
    Ok(also.key.route == entry.entry_route()
        && records::batch(db, std::slice::from_ref(also))?.is_ok())
}

/// Writes `after` in the place of what is there, which is disposed of.
fn replace(
    db: &Connection,
    directory: i64,
    current: Current,
    after: Entry,
    now: Timestamp,
) -> Result<Replaced, Fault> {
    let before = current.stored.map(|stored| stored.entry);
    let mut stored = sole(after);
    let object = stored.entry.object().map(|object| object.object_id);
    match (&before, current.bound) {
        // Written again: it stays where it is.
        (_, Some(bound)) if object == Some(bound.object()) => stored.place = written_again(bound),
        (Some(before), Some(bound)) => dispose(db, before, bound.disposal(), now)?,
        _ => {}
    }
    write_entry(db, directory, &stored)?;
    Ok(Replaced {
        before,
        after: stored.entry,
    })
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
        let stored = Stored {
            mark: mark_after(&before, &after, mark),
            entry: after,
            place: Place::Directory,
        };
        write_entry(db, directory, &stored)?;
        after = stored.entry;
    }
    Ok(Replaced {
        before: Some(before),
        after,
    })
}

/// Whoever removes the directory was judged by its roles: where those change, they begin again.
fn mark_after(before: &Entry, after: &Entry, mark: Mark) -> Mark {
    match before.roles == after.roles {
        true => mark,
        false => Mark::Normal,
    }
}

impl Current {
    fn entry(&self) -> Option<&Entry> {
        self.stored.as_ref().map(|stored| &stored.entry)
    }
}

fn slot(stored: &Stored) -> Slot {
    if stored.entry.is_directory() {
        Slot::Directory(stored.mark)
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

fn load_entry(db: &Connection, key: &ObjectKey) -> Result<Option<(OpenParent, Stored)>, Fault> {
    let child = load_child(db, key)?;
    Ok(child.and_then(|(parent, name)| Some((parent, name.stored?))))
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

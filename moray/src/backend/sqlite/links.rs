//! The steps of the link protocol at a name, as transactions: load the binding, apply the pure function of
//! [`libmanta::link`], store what it returned. Whether a step may happen is never decided here.

use libmanta::link::{Binding, Here, Kind, Moved, Pin, rename_alone, transfer_here};
use libmanta::moray::NamespaceError;
use libmanta::moray::links::Transferred;
use libmanta::moray::shard::links::{Claim, FoundChild, Pinned, TransferHere};
use libmanta::namespace::{Mark, Row, Token};
use libmanta::{Condition, ObjectId, ObjectKey, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::directory_row::load_row;
use super::entry_row::Stored;
use super::name::{Name, dispose, load_child, write_entry};
use super::object_record::{self, Promoted};
use super::place::Place;
use crate::error::Fault;

pub(crate) fn pin(
    db: &Connection,
    key: &ObjectKey,
    claim: Claim,
    condition: &Condition,
) -> Result<Pinned, Fault> {
    let Some((parent, name)) = load_child(db, key)? else {
        return Ok(Pinned::Gone);
    };
    let (pinned, outcome) = name.binding().pin(
        claim.object,
        claim.label,
        claim.version,
        claim.token,
        claim.kind,
    );
    let stored = name.stored.clone();
    let entry = stored
        .map(|stored| stored.entry)
        .ok_or_else(|| Fault::corrupt("a child has no entry"))?;
    Ok(match outcome {
        Pin::Pinned => {
            if let Err(refused) = condition.check(Some(&entry)) {
                return Ok(Pinned::Refused(refused));
            }
            name.rebind(db, parent, key, pinned)?;
            Pinned::Pinned(entry)
        }
        Pin::OtherVersion(version) => Pinned::OtherVersion {
            version,
            copies: entry
                .object()
                .map(|object| object.copies.clone())
                .unwrap_or_default(),
        },
        Pin::Entering { object, token } => Pinned::Entering { object, token },
        Pin::Gone => Pinned::Gone,
    })
}

pub(crate) fn leave(
    db: &Connection,
    key: &ObjectKey,
    object: ObjectId,
    token: Token,
) -> Result<bool, Fault> {
    on_name(db, key, |binding| binding.leave(object, token))
}

pub(crate) fn erase(
    db: &Connection,
    key: &ObjectKey,
    object: ObjectId,
    label: Token,
) -> Result<bool, Fault> {
    on_name(db, key, |binding| binding.erase(object, label))
}

pub(crate) fn settle(
    db: &Connection,
    key: &ObjectKey,
    object: ObjectId,
    token: Token,
    now: Timestamp,
) -> Result<bool, Fault> {
    let Some((parent, name)) = load_child(db, key)? else {
        return Ok(false);
    };
    let (settled, held, disposal) = name.binding().settle(object, token);
    if !held {
        return Ok(false);
    }
    if let (Some(before), Some(disposal)) = (&name.before, disposal) {
        dispose(db, &before.entry, disposal, now)?;
    }
    name.rebind(db, parent, key, settled)?;
    Ok(true)
}

/// A child that is surely there, or else any.
pub(crate) fn find_child(db: &Connection, directory: &ObjectKey) -> Result<FoundChild, Fault> {
    // Ends when it is dropped.
    let db = db.unchecked_transaction()?;
    let stored = load_row(&db, directory.row_route())?;
    let (Some(id), Row::Open { .. }) = (stored.id, stored.row) else {
        return Ok(FoundChild::None);
    };
    let is_there: bool = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE directory = ?1 \
             AND (binding IS NULL OR binding = 1))",
        )?
        .query_row([id], |row| row.get(0))?;
    if is_there {
        return Ok(FoundChild::There);
    }
    let name: Option<String> = db
        .prepare_cached("SELECT name FROM entry WHERE directory = ?1 ORDER BY name LIMIT 1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(name) = name else {
        return Ok(FoundChild::None);
    };
    let key = directory
        .child(&name)
        .map_err(|_| Fault::corrupt("an entry has an impossible name"))?;
    let binding = Name::load(&db, id, &key)?.binding();
    Ok(FoundChild::Unresolved(key, binding))
}

/// A step that disposes of nothing.
fn on_name(
    db: &Connection,
    key: &ObjectKey,
    step: impl FnOnce(Binding) -> (Binding, bool),
) -> Result<bool, Fault> {
    let Some((parent, name)) = load_child(db, key)? else {
        return Ok(false);
    };
    let (binding, held) = step(name.binding());
    if held {
        name.rebind(db, parent, key, binding)?;
    }
    Ok(held)
}

/// What a transfer within this shard came to.
pub(super) enum TransferredHere {
    /// Done, but for the source, which has to be given this binding still.
    Done(Box<Transferred>, Binding),
    Refused(NamespaceError),
    /// It takes the steps one by one.
    Apart,
}

/// Writes the target of a transfer, in the directory with that number, and the record.
pub(super) fn transfer(
    db: &Connection,
    directory: i64,
    asked: &TransferHere,
    target: &Name,
    now: Timestamp,
) -> Result<TransferredHere, Fault> {
    let Some((_, source)) = load_child(db, &asked.source)? else {
        return Ok(TransferredHere::Refused(NamespaceError::SourceNotFound));
    };
    let (source_binding, target_binding) = (source.binding(), target.binding());
    let Binding::Bound(bound) = source_binding else {
        return Ok(match source_binding {
            Binding::Directory => TransferredHere::Refused(NamespaceError::SourceIsDirectory),
            _ => TransferredHere::Apart,
        });
    };
    let object = bound.object();
    let before = if asked.record == Some(object) {
        let look = object_record::Look::At(bound.label());
        object_record::load(db, object, look)?
    } else {
        None
    };
    let alone = match asked.kind {
        Kind::Rename => rename_alone(source_binding, target_binding, asked.token),
        Kind::Link => None,
    };
    let here: Option<Here<ObjectKey>> = alone.or_else(|| {
        (asked.record == Some(object)).then(|| {
            transfer_here(
                (source_binding, &asked.source),
                (target_binding, &asked.target),
                before.as_ref().map(|promoted| promoted.record.clone()),
                asked.token,
                asked.kind,
            )
        })?
    });
    let Some(here) = here else {
        return Ok(TransferredHere::Apart);
    };
    let Some(source) = source.stored.map(|stored| stored.entry) else {
        return Err(Fault::corrupt("a bound name has no entry"));
    };
    let replaced = target.stored.as_ref().map(|stored| stored.entry.clone());
    if let Err(refused) = asked
        .source_condition
        .check(Some(&source))
        .and_then(|()| asked.target_condition.check(replaced.as_ref()))
    {
        return Ok(TransferredHere::Refused(refused.into()));
    }
    let after = asked.entry_from(&source);
    let Binding::Bound(bound) = here.target else {
        return Err(Fault::corrupt("a transfer leaves its target unbound"));
    };
    if let (Moved::Promoted { record, raised }, Some(promoted)) = (here.moved, source.object()) {
        let copies = match &before {
            Some(before) if !raised => before.copies.clone(),
            _ => promoted.copies.clone(),
        };
        let promoted = Promoted {
            record,
            creator: promoted.creator,
            copies,
        };
        object_record::store(db, object, before.as_ref(), Some(&promoted), now)?;
    }
    if let (Some(replaced), Some(disposal)) = (&replaced, here.disposal) {
        dispose(db, replaced, disposal, now)?;
    }
    let stored = Stored {
        entry: after,
        mark: Mark::Normal,
        place: Place::Bound(bound),
    };
    write_entry(db, directory, &stored)?;
    let transferred = Transferred {
        source,
        before: replaced,
        after: stored.entry,
    };
    Ok(TransferredHere::Done(Box::new(transferred), here.source))
}

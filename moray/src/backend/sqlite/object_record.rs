//! Records of promoted objects: who refers to an object, and its copies. A step loads the references it looks
//! at and stores what it has changed, so that the thousandth link costs what the first one did.

use libmanta::link::{Dropped, Kind, Prepared, Record, Reference, Standing};
use libmanta::moray::links::Logged;
use libmanta::moray::shard::links::{Claim, Held, Pinned, Prepare, ReadReference};
use libmanta::namespace::Token;
use libmanta::{AccountId, ObjectId, ObjectKey, StorageId, Timestamp};
use rusqlite::{Connection, Row, Rows, params};

use super::entry_row::{
    blob, decode_copies, encode_copies, optional_blob, text, to_sql, token, unsigned, uuid,
};
use super::{delete_log, errands, links};
use crate::error::Fault;

/// Numbers of `reference.standing`.
const LIVE: u64 = 1;
const LINKING: u64 = 2;
const RENAMING: u64 = 3;
const MOVED: u64 = 4;

/// A record, with some of its references.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Promoted {
    pub(super) record: Record<ObjectKey>,
    pub(super) creator: AccountId,
    pub(super) copies: Vec<StorageId>,
}

/// Which references a step looks at.
#[derive(Clone, Copy)]
pub(super) enum Look {
    Nothing,
    At(Token),
    AtBoth(Token, Token),
    /// At one, and at all that start from it.
    AtAllFrom(Token),
}

pub(super) fn load(
    db: &Connection,
    object: ObjectId,
    look: Look,
) -> Result<Option<Promoted>, Fault> {
    let id = &object.as_uuid().as_bytes()[..];
    let mut statement = db.prepare_cached(
        "SELECT creator, copies, version, confirmed, live, moved FROM object WHERE object_id = ?1",
    )?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut promoted = Promoted {
        creator: AccountId::from_uuid(uuid(blob(row, 0)?)?),
        copies: decode_copies(blob(row, 1)?)?,
        record: Record {
            version: unsigned(row, 2)?,
            confirmed: unsigned(row, 3)? != 0,
            live: unsigned(row, 4)?,
            moved: unsigned(row, 5)?,
            references: Vec::new(),
        },
    };
    let references = &mut promoted.record.references;
    let mut read = |rows: Rows<'_>| collect(rows, |row| reference(row, 0), references);
    let (one, other, all) = match look {
        Look::Nothing => return Ok(Some(promoted)),
        Look::At(label) => (label, label, false),
        Look::AtBoth(one, other) => (one, other, false),
        Look::AtAllFrom(label) => (label, label, true),
    };
    let (one, other) = (bytes(one), bytes(other));
    read(
        db.prepare_cached(
            "SELECT label, name, standing, source FROM reference \
             WHERE object_id = ?1 AND label IN (?2, ?3)",
        )?
        .query(params![id, one, other])?,
    )?;
    if all {
        read(
            db.prepare_cached(
                "SELECT label, name, standing, source FROM reference \
                 INDEXED BY reference_source WHERE object_id = ?1 AND source = ?2",
            )?
            .query(params![id, one])?,
        )?;
    }
    Ok(Some(promoted))
}

/// Stores what has become of a record.
pub(super) fn store(
    db: &Connection,
    object: ObjectId,
    before: Option<&Promoted>,
    after: Option<&Promoted>,
    now: Timestamp,
) -> Result<(), Fault> {
    let id = &object.as_uuid().as_bytes()[..];
    let Some(after) = after else {
        db.prepare_cached("DELETE FROM object WHERE object_id = ?1")?
            .execute([id])?;
        db.prepare_cached("DELETE FROM reference WHERE object_id = ?1")?
            .execute([id])?;
        return Ok(());
    };
    let record = &after.record;
    db.prepare_cached(
        "INSERT INTO object (object_id, creator, copies, version, confirmed, live, moved) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (object_id) \
         DO UPDATE SET copies = ?3, version = ?4, confirmed = ?5, live = ?6, moved = ?7",
    )?
    .execute(params![
        id,
        &after.creator.as_uuid().as_bytes()[..],
        encode_copies(&after.copies)?,
        to_sql(record.version),
        record.confirmed,
        to_sql(record.live),
        to_sql(record.moved),
    ])?;
    let old = before.map_or(&[][..], |before| &before.record.references);
    for gone in old
        .iter()
        .filter(|old| record.standing(old.label).is_none())
    {
        db.prepare_cached("DELETE FROM reference WHERE object_id = ?1 AND label = ?2")?
            .execute(params![id, bytes(gone.label)])?;
    }
    for changed in record.references.iter().filter(|new| !old.contains(new)) {
        let (standing, source) = match changed.standing {
            Standing::Live => (LIVE, None),
            Standing::Moved => (MOVED, None),
            Standing::Pending { from, kind } => (
                match kind {
                    Kind::Link => LINKING,
                    Kind::Rename => RENAMING,
                },
                Some(bytes(from)),
            ),
        };
        db.prepare_cached(
            "INSERT INTO reference (object_id, label, name, standing, source, since_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (object_id, label) \
             DO UPDATE SET standing = ?4, source = ?5, since_ms = ?6",
        )?
        .execute(params![
            id,
            bytes(changed.label),
            changed.name.as_str(),
            to_sql(standing),
            source,
            to_sql(now.as_millis()),
        ])?;
    }
    Ok(())
}

pub(crate) fn read(
    db: &Connection,
    references: &[(ObjectId, Token)],
) -> Result<Vec<ReadReference>, Fault> {
    // One moment for all; ends when it is dropped.
    let db = db.unchecked_transaction()?;
    references
        .iter()
        .map(|(object, label)| {
            Ok(match load(&db, *object, Look::At(*label))? {
                None => ReadReference {
                    standing: None,
                    copies: Vec::new(),
                },
                Some(promoted) => ReadReference {
                    standing: promoted.record.standing(*label),
                    copies: promoted.copies,
                },
            })
        })
        .collect()
}

pub(crate) fn prepare(
    db: &Connection,
    prepare: &Prepare,
    now: Timestamp,
) -> Result<(Prepared, Option<Pinned>), Fault> {
    let object = prepare.seen.object();
    let before = load(db, object, Look::At(prepare.seen.label()))?;
    let version_before = before.as_ref().map(|promoted| promoted.record.version);
    let (record, prepared) = Record::prepare(
        before.as_ref().map(|promoted| promoted.record.clone()),
        prepare.seen,
        &prepare.source,
        &prepare.target,
        prepare.token,
        prepare.kind,
    );
    if let (Some(record), Prepared::Ready { version }) = (record, prepared) {
        let copies = match &before {
            Some(promoted) if version_before == Some(version) => promoted.copies.clone(),
            _ => prepare.copies.clone(),
        };
        let after = Promoted {
            record,
            creator: prepare.creator,
            copies,
        };
        store(db, object, before.as_ref(), Some(&after), now)?;
        if let Some(condition) = &prepare.pin {
            let claim = Claim {
                object,
                label: prepare.seen.label(),
                version,
                token: prepare.token,
                kind: prepare.kind,
            };
            let pinned = links::pin(db, &prepare.source, claim, condition)?;
            return Ok((prepared, Some(pinned)));
        }
    }
    Ok((prepared, None))
}

pub(crate) fn raise(
    db: &Connection,
    object: ObjectId,
    version: u64,
    copies: Vec<StorageId>,
    now: Timestamp,
) -> Result<bool, Fault> {
    on_record(db, object, Look::Nothing, now, |promoted| {
        let is_news = promoted.record.raise(version);
        if is_news {
            promoted.copies = copies;
        }
        is_news
    })
    .map(Option::unwrap_or_default)
}

pub(crate) fn commit(
    db: &Connection,
    object: ObjectId,
    token: Token,
    label: Token,
    now: Timestamp,
) -> Result<Option<Vec<Logged>>, Fault> {
    let committed = on_record(db, object, Look::AtBoth(token, label), now, |promoted| {
        promoted.record.commit(object, token, label)
    })?;
    let Some(committed) = committed.flatten() else {
        return Ok(None);
    };
    [Some(committed.settle), committed.erase]
        .into_iter()
        .flatten()
        .map(|errand| errands::log(db, errand, now))
        .collect::<Result<_, _>>()
        .map(Some)
}

pub(crate) fn abort(
    db: &Connection,
    object: ObjectId,
    token: Token,
    now: Timestamp,
) -> Result<bool, Fault> {
    on_record(db, object, Look::At(token), now, |promoted| {
        promoted.record.abort(token)
    })
    .map(Option::unwrap_or_default)
}

pub(crate) fn cut_off(
    db: &Connection,
    object: ObjectId,
    label: Token,
    now: Timestamp,
) -> Result<bool, Fault> {
    on_record(db, object, Look::AtAllFrom(label), now, |promoted| {
        promoted.record.cut_off(label)
    })
    .map(Option::unwrap_or_default)
}

pub(crate) fn drop_reference(
    db: &Connection,
    object: ObjectId,
    label: Token,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(before) = load(db, object, Look::At(label))? else {
        return Ok(());
    };
    let mut after = before.clone();
    let dropped = after.record.drop(label);
    if let Dropped::Dead { .. } = dropped {
        delete_log::append(db, object, after.creator, &after.copies, now)?;
    }
    let after = match dropped {
        Dropped::Removed | Dropped::Dead { removed: true } => None,
        Dropped::Kept | Dropped::Dead { removed: false } => Some(&after),
    };
    if after == Some(&before) {
        return Ok(());
    }
    store(db, object, Some(&before), after, now)
}

pub(crate) fn forget_moved(
    db: &Connection,
    object: ObjectId,
    label: Token,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(before) = load(db, object, Look::At(label))? else {
        return Ok(());
    };
    let mut after = before.clone();
    let after = match after.record.forget_moved(label) {
        Dropped::Removed => None,
        Dropped::Kept => Some(&after),
        Dropped::Dead { .. } => return Err(Fault::corrupt("an erased name held an object")),
    };
    if after == Some(&before) {
        return Ok(());
    }
    store(db, object, Some(&before), after, now)
}

/// References in order of (object, label), strictly after `after`.
pub(crate) fn after(
    db: &Connection,
    after: Option<(ObjectId, Token)>,
    limit: usize,
) -> Result<Vec<Held>, Fault> {
    let (object, label) = after.map_or((Vec::new(), Vec::new()), |(object, label)| {
        (object.as_uuid().as_bytes().to_vec(), bytes(label).to_vec())
    });
    let mut held = Vec::new();
    collect(
        db.prepare_cached(
            "SELECT label, name, standing, source, object_id, since_ms FROM reference \
             WHERE (object_id, label) > (?1, ?2) ORDER BY object_id, label LIMIT ?3",
        )?
        .query(params![object, label, to_sql(limit as u64)])?,
        |row| {
            Ok(Held {
                reference: reference(row, 0)?,
                object: ObjectId::from_uuid(uuid(blob(row, 4)?)?),
                since: Timestamp::from_millis(unsigned(row, 5)?),
            })
        },
        &mut held,
    )?;
    Ok(held)
}

/// A step on a record that leaves it there; `None` if there is none.
fn on_record<T>(
    db: &Connection,
    object: ObjectId,
    look: Look,
    now: Timestamp,
    step: impl FnOnce(&mut Promoted) -> T,
) -> Result<Option<T>, Fault> {
    let Some(before) = load(db, object, look)? else {
        return Ok(None);
    };
    let mut after = before.clone();
    let reply = step(&mut after);
    if after != before {
        store(db, object, Some(&before), Some(&after), now)?;
    }
    Ok(Some(reply))
}

fn reference(row: &Row<'_>, at: usize) -> Result<Reference<ObjectKey>, Fault> {
    let pending = |kind| -> Result<Standing, Fault> {
        let from = optional_blob(row, at + 3)?
            .ok_or_else(|| Fault::corrupt("a link under way starts nowhere"))?;
        Ok(Standing::Pending {
            from: token(from)?,
            kind,
        })
    };
    Ok(Reference {
        label: token(blob(row, at)?)?,
        name: ObjectKey::parse(text(row, at + 1)?)
            .map_err(|_| Fault::corrupt("a reference has an impossible name"))?,
        standing: match unsigned(row, at + 2)? {
            LIVE => Standing::Live,
            LINKING => pending(Kind::Link)?,
            RENAMING => pending(Kind::Rename)?,
            MOVED => Standing::Moved,
            _ => return Err(Fault::corrupt("a reference has an unknown standing")),
        },
    })
}

fn collect<T>(
    mut rows: Rows<'_>,
    decode: impl Fn(&Row<'_>) -> Result<T, Fault>,
    into: &mut Vec<T>,
) -> Result<(), Fault> {
    while let Some(row) = rows.next()? {
        into.push(decode(row)?);
    }
    Ok(())
}

fn bytes(token: Token) -> [u8; 16] {
    token.to_bits().to_be_bytes()
}

//! The delete log: filled by the transaction that removes the last name of some bytes, emptied by whoever
//! has unlinked them.

use libmanta::moray::Deleted;
use libmanta::{AccountId, Entry, ObjectId, Timestamp};
use rusqlite::{Connection, params};

use super::entry_row;
use crate::error::Fault;

/// Logs the bytes of `before`, unless `after` still has them, or nobody stores them.
pub(super) fn append(
    db: &Connection,
    before: &Entry,
    after: Option<&Entry>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(object) = before.object() else {
        return Ok(());
    };
    let is_kept = after
        .and_then(Entry::object)
        .is_some_and(|kept| kept.object_id == object.object_id);
    if is_kept || object.copies.is_empty() {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO deleted (logged_ms, object_id, creator, copies) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        entry_row::to_sql(now.as_millis()),
        &object.object_id.as_uuid().as_bytes()[..],
        &object.creator.as_uuid().as_bytes()[..],
        entry_row::encode_copies(&object.copies)?,
    ])?;
    Ok(())
}

/// The oldest `limit`, without those logged at `before` or later.
pub(crate) fn read(
    db: &Connection,
    shard: &str,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Deleted>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT sequence, logged_ms, object_id, creator, copies FROM deleted \
         ORDER BY sequence LIMIT ?1",
    )?;
    let mut rows = statement.query([entry_row::to_sql(limit as u64)])?;
    let mut deleted = Vec::new();
    while let Some(row) = rows.next()? {
        // Filtered here and not in SQL, so that a clock that was set back cannot make this a long scan.
        if entry_row::unsigned(row, 1)? >= before.as_millis() {
            continue;
        }
        deleted.push(Deleted {
            shard: shard.to_owned(),
            sequence: entry_row::unsigned(row, 0)?,
            object_id: ObjectId::from_uuid(entry_row::uuid(entry_row::blob(row, 2)?)?),
            creator: AccountId::from_uuid(entry_row::uuid(entry_row::blob(row, 3)?)?),
            copies: entry_row::decode_copies(entry_row::blob(row, 4)?)?,
        });
    }
    Ok(deleted)
}

pub(crate) fn forget(db: &Connection, sequences: &[u64]) -> Result<(), Fault> {
    let mut statement = db.prepare_cached("DELETE FROM deleted WHERE sequence = ?1")?;
    for sequence in sequences {
        statement.execute([entry_row::to_sql(*sequence)])?;
    }
    Ok(())
}

/// For each object, whether an entry or the log refers to it.
pub(crate) fn referenced(db: &Connection, objects: &[ObjectId]) -> Result<Vec<bool>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM entry WHERE object_id = ?1) \
             OR EXISTS (SELECT 1 FROM deleted WHERE object_id = ?1)",
    )?;
    objects
        .iter()
        .map(|object| {
            let id = &object.as_uuid().as_bytes()[..];
            Ok(statement.query_row([id], |row| row.get(0))?)
        })
        .collect()
}

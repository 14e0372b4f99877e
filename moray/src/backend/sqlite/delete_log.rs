//! The delete log: filled by the transaction that removes the last name of some bytes, emptied by whoever
//! has unlinked them.

use libmanta::moray::Deleted;
use libmanta::{AccountId, Entry, ObjectId, StorageId, Timestamp};
use rusqlite::{Connection, params};

use super::{entry_row, place};
use crate::error::Fault;

/// Logs the bytes of an entry that is gone.
pub(super) fn append_entry(db: &Connection, entry: &Entry, now: Timestamp) -> Result<(), Fault> {
    match entry.object() {
        Some(object) => append(db, object.object_id, object.creator, &object.copies, now),
        None => Ok(()),
    }
}

/// Logs the bytes of an object that has no name any more, unless nobody stores them.
pub(super) fn append(
    db: &Connection,
    object: ObjectId,
    creator: AccountId,
    copies: &[StorageId],
    now: Timestamp,
) -> Result<(), Fault> {
    if copies.is_empty() {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO deleted (logged_ms, object_id, creator, copies) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        entry_row::to_sql(now.as_millis()),
        &object.as_uuid().as_bytes()[..],
        &creator.as_uuid().as_bytes()[..],
        entry_row::encode_copies(copies)?,
    ])?;
    Ok(())
}

/// Served by the index on `logged_ms`, which holds the sequence as well: the scan begins behind the cursor
/// and ends with the page, whatever lies around it.
const PAGE: &str = "SELECT sequence, logged_ms, object_id, creator, copies FROM deleted \
     WHERE (logged_ms, sequence) > (?1, ?2) AND logged_ms >= ?3 AND logged_ms < ?4 \
     ORDER BY logged_ms, sequence LIMIT ?5";

/// Which entries are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// Logged before this, or [too far ahead](Timestamp::too_far_ahead) of `now`. Those are not younger than the
    /// grace period, unless the clock was set back within it.
    pub(crate) before: Timestamp,
    pub(crate) now: Timestamp,
    /// Behind this one, in the order of (time, sequence).
    pub(crate) after: Option<(Timestamp, u64)>,
    pub(crate) limit: usize,
}

/// The oldest due entries.
pub(crate) fn read(db: &Connection, shard: &str, due: Due) -> Result<Vec<Deleted>, Fault> {
    let before = entry_row::to_sql(due.before.as_millis());
    let ahead = entry_row::to_sql(due.now.too_far_ahead().as_millis()).max(before);
    let mut deleted = Vec::new();
    for (from, to) in [(0, before), (ahead, i64::MAX)] {
        let (logged, sequence) = due.after.map_or((-1, -1), |(logged, sequence)| {
            (
                entry_row::to_sql(logged.as_millis()),
                entry_row::to_sql(sequence),
            )
        });
        let limit = entry_row::to_sql((due.limit - deleted.len()) as u64);
        let mut statement = db.prepare_cached(PAGE)?;
        let mut rows = statement.query(params![logged, sequence, from, to, limit])?;
        while let Some(row) = rows.next()? {
            deleted.push(Deleted {
                shard: shard.to_owned(),
                sequence: entry_row::unsigned(row, 0)?,
                logged: Timestamp::from_millis(entry_row::unsigned(row, 1)?),
                object_id: ObjectId::from_uuid(entry_row::uuid(entry_row::blob(row, 2)?)?),
                creator: AccountId::from_uuid(entry_row::uuid(entry_row::blob(row, 3)?)?),
                copies: entry_row::decode_copies(entry_row::blob(row, 4)?)?,
            });
        }
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

/// For each object, whether an entry, what is under a name until somebody has entered it, a record or the log
/// refers to it. What is about to enter a name has a record for as long as it may; without one it never will,
/// and may stay there until somebody comes to that name.
pub(crate) fn referenced(db: &Connection, objects: &[ObjectId]) -> Result<Vec<bool>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM entry WHERE object_id = ?1 AND binding IS NOT ?2) \
             OR EXISTS (SELECT 1 FROM prior WHERE object_id = ?1) \
             OR EXISTS (SELECT 1 FROM object WHERE object_id = ?1) \
             OR EXISTS (SELECT 1 FROM deleted WHERE object_id = ?1)",
    )?;
    let entering = entry_row::to_sql(place::ENTERING);
    objects
        .iter()
        .map(|object| {
            let id = &object.as_uuid().as_bytes()[..];
            Ok(statement.query_row(params![id, entering], |row| row.get(0))?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::backend::sqlite::schema;
    use crate::config::Config;

    #[test]
    fn a_page_is_read_from_the_index_without_sorting() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new("1", directory.path().join("db"));
        let db = schema::open_writer(&config, None).unwrap();
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {PAGE}")).unwrap();
        let plan: Vec<String> = statement
            .query_map([0; 5], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(plan.len(), 1, "{plan:?}");
        assert!(
            plan[0].starts_with("SEARCH deleted USING INDEX deleted_logged"),
            "{plan:?}"
        );
    }
}

//! The row of a directory, as the table `directory` has it.

use libmanta::namespace::Row;
use rusqlite::{Connection, OptionalExtension, params};

use super::entry_row;
use crate::error::Fault;

/// Numbers of `directory.state`.
const PROBING: i64 = 1;
const OPEN: i64 = 2;
const CLOSING: i64 = 3;

/// A directory's row and, while it is stored, its number.
#[derive(Clone, Copy)]
pub(super) struct StoredRow {
    pub(super) id: Option<i64>,
    pub(super) row: Row,
}

pub(super) fn load_row(db: &Connection, path: &str) -> Result<StoredRow, Fault> {
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

pub(super) fn store_row(
    db: &Connection,
    path: &str,
    old: StoredRow,
    new: Row,
) -> Result<StoredRow, Fault> {
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

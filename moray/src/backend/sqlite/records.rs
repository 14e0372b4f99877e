//! The small records of the services.

use libmanta::moray::{Expect, Record, RecordKey, Write};
use rusqlite::{Connection, OptionalExtension, params};

use super::entry_row::{blob, text, to_sql};
use crate::error::Fault;

pub(crate) fn get(db: &Connection, key: &RecordKey) -> Result<Option<Record>, Fault> {
    let record = db
        .prepare_cached(
            "SELECT etag, value FROM record WHERE bucket = ?1 AND route = ?2 AND key = ?3",
        )?
        .query_row(params![key.bucket, key.route, key.key], |row| {
            Ok(Record {
                key: key.clone(),
                etag: row.get::<_, i64>(0)?.cast_unsigned(),
                value: row.get(1)?,
            })
        })
        .optional()?;
    Ok(record)
}

/// Checks every expectation against the records as they are before the batch, then writes. The inner error is
/// the first record that is not as expected; nothing is written then.
pub(crate) fn batch(db: &Connection, writes: &[Write]) -> Result<Result<(), RecordKey>, Fault> {
    for write in writes {
        let etag = match write.expect {
            Expect::Anything => continue,
            Expect::Absent => None,
            Expect::Etag(etag) => Some(etag),
        };
        if etag_of(db, &write.key)? != etag {
            return Ok(Err(write.key.clone()));
        }
    }
    let mut put = db.prepare_cached(
        "INSERT INTO record (bucket, route, key, etag, value) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (bucket, route, key) DO UPDATE SET etag = ?4, value = ?5",
    )?;
    let mut delete =
        db.prepare_cached("DELETE FROM record WHERE bucket = ?1 AND route = ?2 AND key = ?3")?;
    for Write { key, value, .. } in writes {
        match value {
            Some(value) => {
                // Random and not counted up, so that a record that was deleted and written again never has
                // an etag that somebody still remembers.
                let etag = rand::random::<u64>().cast_signed();
                put.execute(params![key.bucket, key.route, key.key, etag, value])?
            }
            None => delete.execute(params![key.bucket, key.route, key.key])?,
        };
    }
    Ok(Ok(()))
}

fn etag_of(db: &Connection, key: &RecordKey) -> Result<Option<u64>, Fault> {
    let etag = db
        .prepare_cached("SELECT etag FROM record WHERE bucket = ?1 AND route = ?2 AND key = ?3")?
        .query_row(params![key.bucket, key.route, key.key], |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    Ok(etag.map(i64::cast_unsigned))
}

pub(crate) fn scan(
    db: &Connection,
    bucket: &str,
    route: &str,
    from: &str,
    limit: usize,
) -> Result<Vec<Record>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT route, key, etag, value FROM record \
         WHERE bucket = ?1 AND route = ?2 AND key >= ?3 ORDER BY key LIMIT ?4",
    )?;
    let rows = statement.query(params![bucket, route, from, to_sql(limit as u64)])?;
    collect(bucket, rows)
}

pub(crate) fn scan_all(
    db: &Connection,
    bucket: &str,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Record>, Fault> {
    let limit = to_sql(limit as u64);
    match after {
        None => {
            let mut statement = db.prepare_cached(
                "SELECT route, key, etag, value FROM record \
                 WHERE bucket = ?1 ORDER BY route, key LIMIT ?2",
            )?;
            collect(bucket, statement.query(params![bucket, limit])?)
        }
        Some((route, key)) => {
            let mut statement = db.prepare_cached(
                "SELECT route, key, etag, value FROM record \
                 WHERE bucket = ?1 AND (route, key) > (?2, ?3) ORDER BY route, key LIMIT ?4",
            )?;
            collect(bucket, statement.query(params![bucket, route, key, limit])?)
        }
    }
}

fn collect(bucket: &str, mut rows: rusqlite::Rows<'_>) -> Result<Vec<Record>, Fault> {
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(Record {
            key: RecordKey {
                bucket: bucket.to_owned(),
                route: text(row, 0)?.to_owned(),
                key: text(row, 1)?.to_owned(),
            },
            etag: row.get::<_, i64>(2)?.cast_unsigned(),
            value: blob(row, 3)?.to_vec(),
        });
    }
    Ok(records)
}

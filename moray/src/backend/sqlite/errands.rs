//! Errands of the link protocol, from the transaction that decides them until somebody has run them.

use libmanta::link::Errand;
use libmanta::moray::links::Logged;
use libmanta::namespace::Token;
use libmanta::{ObjectId, ObjectKey, Timestamp};
use rusqlite::{Connection, params};

use super::entry_row::{blob, text, to_sql, token, unsigned, uuid};
use crate::error::Fault;

/// Numbers of `errand.kind`.
const DROP: u64 = 1;
const SETTLE: u64 = 2;
const ERASE: u64 = 3;

pub(super) fn log(
    db: &Connection,
    errand: Errand<ObjectKey>,
    now: Timestamp,
) -> Result<Logged, Fault> {
    let (kind, object, label) = match &errand {
        Errand::Drop { object, label } => (DROP, object, label),
        Errand::Settle { object, token, .. } => (SETTLE, object, token),
        Errand::Erase { object, label, .. } => (ERASE, object, label),
    };
    let sequence = db
        .prepare_cached(
            "INSERT INTO errand (logged_ms, kind, object_id, label, name) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![
            to_sql(now.as_millis()),
            to_sql(kind),
            &object.as_uuid().as_bytes()[..],
            &label.to_bits().to_be_bytes()[..],
            errand.name().map(ObjectKey::as_str),
        ])?;
    Ok(Logged {
        sequence: sequence.cast_unsigned(),
        logged: now,
        errand,
    })
}

pub(super) fn log_drop(
    db: &Connection,
    object: ObjectId,
    label: Token,
    now: Timestamp,
) -> Result<(), Fault> {
    log(db, Errand::Drop { object, label }, now).map(drop)
}

/// Those behind `after` that were logged before `before`, or [too far ahead](Timestamp::too_far_ahead) of `now`.
pub(crate) fn read(
    db: &Connection,
    after: Option<u64>,
    before: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Logged>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT sequence, kind, object_id, label, name, logged_ms FROM errand \
         WHERE sequence > ?1 AND (logged_ms < ?2 OR logged_ms >= ?3) ORDER BY sequence LIMIT ?4",
    )?;
    let after = after.map_or(-1, to_sql);
    let mut rows = statement.query(params![
        after,
        to_sql(before.as_millis()),
        to_sql(now.too_far_ahead().as_millis()),
        to_sql(limit as u64)
    ])?;
    let mut logged = Vec::new();
    while let Some(row) = rows.next()? {
        let object = ObjectId::from_uuid(uuid(blob(row, 2)?)?);
        let label = token(blob(row, 3)?)?;
        let name = || -> Result<ObjectKey, Fault> {
            ObjectKey::parse(text(row, 4)?)
                .map_err(|_| Fault::corrupt("an errand has an impossible name"))
        };
        let errand = match unsigned(row, 1)? {
            DROP => Errand::Drop { object, label },
            SETTLE => Errand::Settle {
                name: name()?,
                object,
                token: label,
            },
            ERASE => Errand::Erase {
                name: name()?,
                object,
                label,
            },
            _ => return Err(Fault::corrupt("an errand is of an unknown kind")),
        };
        logged.push(Logged {
            sequence: unsigned(row, 0)?,
            logged: Timestamp::from_millis(unsigned(row, 5)?),
            errand,
        });
    }
    Ok(logged)
}

pub(crate) fn forget(db: &Connection, sequences: &[u64]) -> Result<(), Fault> {
    let mut statement = db.prepare_cached("DELETE FROM errand WHERE sequence = ?1")?;
    for sequence in sequences {
        statement.execute([to_sql(*sequence)])?;
    }
    Ok(())
}

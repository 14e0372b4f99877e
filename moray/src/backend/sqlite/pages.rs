//! Reads of the tree: one entry with its parent's row, and pages of a directory. Each is one short read
//! transaction, so that no reader holds back a checkpoint for long.

use libmanta::ObjectKey;
use libmanta::link::{Binding, Bound};
use libmanta::moray::shard::{Entering, Listed, Look};
use libmanta::moray::{List, Only, Order};
use libmanta::namespace::{Mark, Row};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::directory_row::{decode_row, load_row};
use super::entry_row::{self, Decoder, Parent, SELECT_PRIOR, Stored, select_entry};
use super::name::Name;
use super::place::Place;
use crate::error::Fault;

/// One statement, and so one moment.
const LOOK: &str = select_entry!(
    "SELECT state, token, entries,",
    "FROM directory LEFT JOIN entry ON entry.directory = directory.id AND entry.name = ?2 \
     WHERE directory.path = ?1"
);
/// Column at which the entry begins, and its name, which is null when there is none.
const LOOK_ENTRY: usize = 3;

pub(crate) fn look(db: &Connection, key: &ObjectKey) -> Result<Look, Fault> {
    let mut statement = db.prepare_cached(LOOK)?;
    let mut rows = statement.query(params![key.entry_route(), key.name()])?;
    let mut look = Look {
        entry: None,
        before: None,
        binding: Binding::Missing,
        mark: Mark::Normal,
        row: Row::Missing,
    };
    if let Some(row) = rows.next()? {
        look.row = decode_row(row, 0)?;
        if row.get_ref(LOOK_ENTRY)? != rusqlite::types::ValueRef::Null {
            let stored = Decoder::new(Parent::Entry(key)).entry(row, LOOK_ENTRY)?;
            look.mark = stored.mark;
            look.binding = match stored.place {
                Place::Directory => Binding::Directory,
                Place::Bound(bound) => Binding::Bound(bound),
                Place::Entering { .. } => return look_entering(db, key),
            };
            look.entry = Some(stored.entry);
        }
    }
    Ok(look)
}

/// The same for a name that is being entered, which has two rows.
fn look_entering(db: &Connection, key: &ObjectKey) -> Result<Look, Fault> {
    // Both rows are of the same moment; ends when it is dropped.
    let transaction = db.unchecked_transaction()?;
    let row = load_row(&transaction, key.entry_route())?;
    let name = match row.id {
        Some(id) => Name::load(&transaction, id, key)?,
        None => Name::default(),
    };
    Ok(Look {
        binding: name.binding(),
        mark: name
            .stored
            .as_ref()
            .map_or(Mark::Normal, |stored| stored.mark),
        entry: name.stored.map(|stored| stored.entry),
        before: name.before.map(|stored| stored.entry),
        row: row.row,
    })
}

pub(crate) fn list(db: &Connection, list: &List) -> Result<Listed, Fault> {
    // Row and entries are of the same moment; ends when it is dropped.
    let transaction = db.unchecked_transaction()?;
    let (id, row) = {
        let mut statement = transaction
            .prepare_cached("SELECT id, state, token, entries FROM directory WHERE path = ?1")?;
        let mut rows = statement.query([list.directory.row_route()])?;
        match rows.next()? {
            Some(row) => (row.get::<_, i64>(0)?, decode_row(row, 1)?),
            None => (0, Row::Missing),
        }
    };
    let mut listed = Listed {
        row,
        entries: Vec::new(),
        linked: Vec::new(),
        entering: Vec::new(),
        moving: Vec::new(),
    };
    if let Row::Open { .. } = row {
        page(&transaction, id, list, &mut listed)?;
        entering(&transaction, id, list, &mut listed)?;
        moving(&transaction, id, list, &mut listed)?;
    }
    Ok(listed)
}

fn page(db: &Connection, directory: i64, list: &List, listed: &mut Listed) -> Result<(), Fault> {
    let (sql, from) = page_sql(list);
    let mut statement = db.prepare_cached(&sql)?;
    let limit = entry_row::to_sql(list.limit as u64);
    let mut rows = statement.query(params_from_iter([
        Value::Integer(directory),
        Value::Integer(limit),
        from,
    ]))?;
    let mut decoder = Decoder::new(Parent::Directory(&list.directory));
    // A caller may ask for everything there is; that much is not set aside for it.
    listed.entries.reserve(list.limit.min(1024));
    while let Some(row) = rows.next()? {
        let stored = decoder.entry(row, 0)?;
        match stored.place {
            Place::Bound(bound @ Bound::Linked { .. }) => {
                listed.linked.push((listed.entries.len(), bound));
            }
            Place::Entering { .. } => return Err(Fault::corrupt("a page has a name too many")),
            Place::Directory | Place::Bound(Bound::Sole { .. }) => {}
        }
        listed.entries.push(stored.entry);
    }
    Ok(())
}

/// Served by an index that holds nothing else.
const ENTERING: &str = select_entry!(
    "SELECT",
    "FROM entry INDEXED BY entry_entering WHERE directory = ?1 AND binding = 3 ORDER BY name"
);

fn entering(
    db: &Connection,
    directory: i64,
    list: &List,
    listed: &mut Listed,
) -> Result<(), Fault> {
    let mut statement = db.prepare_cached(ENTERING)?;
    let mut rows = statement.query([directory])?;
    let mut decoder = Decoder::new(Parent::Directory(&list.directory));
    while let Some(row) = rows.next()? {
        let stored = decoder.entry(row, 0)?;
        let mut prior = db.prepare_cached(SELECT_PRIOR)?;
        let mut before = prior.query(params![directory, stored.entry.key.name()])?;
        let before: Option<Stored> = match before.next()? {
            None => None,
            Some(row) => Some(Decoder::new(Parent::Entry(&stored.entry.key)).entry(row, 0)?),
        };
        let name = Name {
            stored: Some(stored),
            before,
        };
        let binding = name.binding();
        if let Name {
            stored: Some(stored),
            before,
        } = name
        {
            listed.entering.push(Entering {
                binding,
                entry: stored.entry,
                before: before.map(|before| before.entry),
            });
        }
    }
    Ok(())
}

/// Served by an index that holds nothing else.
const MOVING: &str = select_entry!(
    "SELECT",
    "FROM entry INDEXED BY entry_moving WHERE directory = ?1 AND binding = 2"
);

fn moving(db: &Connection, directory: i64, list: &List, listed: &mut Listed) -> Result<(), Fault> {
    let mut statement = db.prepare_cached(MOVING)?;
    let mut rows = statement.query([directory])?;
    let mut decoder = Decoder::new(Parent::Directory(&list.directory));
    while let Some(row) = rows.next()? {
        match decoder.entry(row, 0)?.place {
            Place::Bound(bound) if bound.is_moving() => listed.moving.push(bound),
            _ => return Err(Fault::corrupt("a name that is not moving is indexed so")),
        }
    }
    Ok(())
}

/// The statement for a page, and where it begins (`?3`). The index is named in it, because the cost of the
/// wrong one is a scan of the directory.
fn page_sql(list: &List) -> (String, Value) {
    let (index, first, order, from) = match &list.order {
        Order::Name { from, reverse } => (
            match list.only {
                Some(Only::Directories) => " INDEXED BY entry_directories",
                _ => "",
            },
            match (from, reverse) {
                (None, _) => " AND ?3 IS NULL",
                (Some(_), false) => " AND name >= ?3",
                (Some(_), true) => " AND name <= ?3",
            },
            if *reverse { "name DESC" } else { "name" },
            from.clone().map_or(Value::Null, Value::Text),
        ),
        Order::Mtime { from, reverse } => (
            " INDEXED BY entry_mtime",
            match (from, reverse) {
                (None, _) => " AND ?3 IS NULL",
                (Some(_), false) => " AND mtime_ms <= ?3",
                (Some(_), true) => " AND mtime_ms >= ?3",
            },
            if *reverse {
                "mtime_ms, name"
            } else {
                "mtime_ms DESC, name DESC"
            },
            from.map_or(Value::Null, |t| {
                Value::Integer(entry_row::to_sql(t.as_millis()))
            }),
        ),
    };
    let only = match list.only {
        None => "",
        Some(Only::Directories) => " AND object_id IS NULL",
        Some(Only::Objects) => " AND object_id IS NOT NULL",
    };
    let columns = select_entry!("SELECT", "FROM entry");
    (
        format!(
            "{columns}{index} WHERE directory = ?1{first}{only} AND binding IS NOT 3 \
             ORDER BY {order} LIMIT ?2"
        ),
        from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::backend::sqlite::schema;
    use libmanta::{AccountId, Timestamp};

    /// No page sorts, whatever is asked for: the cost of a page must not grow with its directory.
    #[test]
    fn every_page_is_read_in_the_order_of_an_index() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new("1", directory.path().join("db"));
        let db = schema::open_writer(&config, None).unwrap();
        let key = ObjectKey::new(AccountId::random(), ["stor"]).unwrap();
        let orders = [false, true].into_iter().flat_map(|reverse| {
            [
                Order::Name {
                    from: None,
                    reverse,
                },
                Order::Name {
                    from: Some("m".into()),
                    reverse,
                },
                Order::Mtime {
                    from: None,
                    reverse,
                },
                Order::Mtime {
                    from: Some(Timestamp::from_millis(7)),
                    reverse,
                },
            ]
        });
        for order in orders {
            for only in [None, Some(Only::Directories), Some(Only::Objects)] {
                let (sql, from) = page_sql(&List {
                    directory: key.clone(),
                    order: order.clone(),
                    limit: 10,
                    only,
                });
                let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let plan: Vec<String> = statement
                    .query_map(
                        params_from_iter([Value::Integer(1), Value::Integer(10), from]),
                        |row| row.get(3),
                    )
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                assert_eq!(plan.len(), 1, "{sql}: {plan:?}");
                assert!(plan[0].starts_with("SEARCH entry USING"), "{sql}: {plan:?}");
            }
        }
    }
}

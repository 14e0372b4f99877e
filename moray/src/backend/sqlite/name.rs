//! What the protocol of [`libmanta::link`] calls a name: the row of an entry and, while somebody enters it,
//! the row of what is there until then.

use libmanta::link::{Binding, Bound, Disposal};
use libmanta::namespace::{Mark, Row};
use libmanta::{Entry, ObjectKey, Timestamp};
use rusqlite::{Connection, params};

use super::directory_row::{StoredRow, load_row, store_row};
use super::entry_row::{
    self, Decoder, Parent, SELECT_ENTRY, SELECT_PRIOR, Stored, UPSERT, UPSERT_PRIOR,
};
use super::place::Place;
use super::{delete_log, errands};
use crate::error::Fault;

/// A name as it is stored.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// What is there, or what enters.
    pub(super) stored: Option<Stored>,
    /// What is there until it has entered.
    pub(super) before: Option<Stored>,
}

/// The row of a directory that has children: open and numbered.
#[derive(Clone, Copy)]
pub(super) struct OpenParent {
    pub(super) stored: StoredRow,
    pub(super) id: i64,
}

impl Name {
    /// What is under `key`, in the directory with that number.
    pub(super) fn load(db: &Connection, directory: i64, key: &ObjectKey) -> Result<Self, Fault> {
        let read = |sql| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query(params![directory, key.name()])?;
            match rows.next()? {
                None => Ok(None),
                Some(row) => Decoder::new(Parent::Entry(key)).entry(row, 0).map(Some),
            }
        };
        let stored = read(SELECT_ENTRY)?;
        let before = match &stored {
            Some(stored) if matches!(stored.place, Place::Entering { .. }) => read(SELECT_PRIOR)?,
            _ => None,
        };
        Ok(Self { stored, before })
    }

    pub(super) fn binding(&self) -> Binding {
        let Some(stored) = &self.stored else {
            return Binding::Missing;
        };
        match stored.place {
            Place::Directory => Binding::Directory,
            Place::Bound(bound) => Binding::Bound(bound),
            Place::Entering { object, token } => Binding::Entering {
                object,
                token,
                before: self.before.as_ref().and_then(|before| before.bound()),
            },
        }
    }

    /// Stores the binding that a step made of this one. Each entry stays with what it is bound to.
    pub(super) fn rebind(
        self,
        db: &Connection,
        parent: OpenParent,
        key: &ObjectKey,
        to: Binding,
    ) -> Result<(), Fault> {
        let has_prior = self.before.is_some();
        let forget_prior = || {
            if has_prior {
                db.prepare_cached("DELETE FROM prior WHERE directory = ?1 AND name = ?2")?
                    .execute(params![parent.id, key.name()])?;
            }
            Ok::<_, Fault>(())
        };
        match to {
            Binding::Missing => {
                forget_prior()?;
                remove_child(db, parent, key)
            }
            Binding::Entering { before: None, .. } => forget_prior(),
            Binding::Bound(bound) => {
                let kept = [self.stored, self.before]
                    .into_iter()
                    .flatten()
                    .find(|stored| stored.label() == Some(bound.label()))
                    .ok_or_else(|| Fault::corrupt("a step invents a binding"))?;
                forget_prior()?;
                write_entry(
                    db,
                    parent.id,
                    &Stored {
                        place: Place::Bound(bound),
                        ..kept
                    },
                )
            }
            Binding::Directory | Binding::Entering { .. } => {
                Err(Fault::corrupt("a step makes what it cannot"))
            }
        }
    }
}

impl Stored {
    pub(super) fn bound(&self) -> Option<Bound> {
        match self.place {
            Place::Bound(bound) => Some(bound),
            Place::Directory | Place::Entering { .. } => None,
        }
    }

    fn label(&self) -> Option<libmanta::namespace::Token> {
        match self.place {
            Place::Bound(bound) => Some(bound.label()),
            Place::Entering { token, .. } => Some(token),
            Place::Directory => None,
        }
    }
}

/// An existing name. Its parent's row is open: nothing else has children.
pub(super) fn load_child(
    db: &Connection,
    key: &ObjectKey,
) -> Result<Option<(OpenParent, Name)>, Fault> {
    let stored = load_row(db, key.entry_route())?;
    let (Some(id), Row::Open { .. }) = (stored.id, stored.row) else {
        return Ok(None);
    };
    let name = Name::load(db, id, key)?;
    Ok(name
        .stored
        .is_some()
        .then_some((OpenParent { stored, id }, name)))
}

pub(super) fn write_entry(db: &Connection, directory: i64, stored: &Stored) -> Result<(), Fault> {
    let mut statement = db.prepare_cached(UPSERT)?;
    entry_row::upsert(&mut statement, directory, stored)
}

/// What is under a name until somebody has entered it.
pub(super) fn write_prior(db: &Connection, directory: i64, stored: &Stored) -> Result<(), Fault> {
    let mut statement = db.prepare_cached(UPSERT_PRIOR)?;
    entry_row::upsert(&mut statement, directory, stored)
}

/// Removing a child and counting down are one transaction.
pub(super) fn remove_child(
    db: &Connection,
    parent: OpenParent,
    key: &ObjectKey,
) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM entry WHERE directory = ?1 AND name = ?2")?
        .execute(params![parent.id, key.name()])?;
    let row = parent.stored.row.with_child_removed();
    store_row(db, key.entry_route(), parent.stored, row)?;
    Ok(())
}

/// Logs what is to become of `entry`, which a name is not bound to any more.
pub(super) fn dispose(
    db: &Connection,
    entry: &Entry,
    disposal: Disposal,
    now: Timestamp,
) -> Result<(), Fault> {
    match disposal {
        Disposal::Bytes { .. } => delete_log::append_entry(db, entry, now),
        Disposal::Drop { object, label } => errands::log_drop(db, object, label, now),
    }
}

/// An object that is there, under the first name it has got.
pub(super) fn sole(entry: Entry) -> Stored {
    let place = match entry.object() {
        Some(object) => Place::Bound(Bound::new(object.object_id)),
        None => Place::Directory,
    };
    Stored {
        entry,
        mark: Mark::Normal,
        place,
    }
}

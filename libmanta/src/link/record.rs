//! The record of a promoted object, in the shard of the object's id. Each method is one step of the protocol.
//!
//! What would surprise: a step need not be given all references. The two counts stand beside them, and each
//! step says which references it looks at; a shard loads those and stores what has changed among them, so
//! that the thousandth link costs what the first one did. The model gives it all of them.

use super::binding::{Bound, Kind};
use super::errand::Errand;
use crate::ObjectId;
use crate::namespace::Token;

/// Who refers to an object. `N` names an entry. The copies of the newest version lie beside it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Record<N> {
    /// Counts the changes of the copies.
    pub version: u64,
    /// From the first commit or cut-off on: the copies in this record are the object's only ones.
    pub confirmed: bool,
    /// How many references are live.
    pub live: u64,
    /// How many references are moved.
    pub moved: u64,
    /// In no particular order, and not all of them.
    pub references: Vec<Reference<N>>,
}

/// One name's claim on an object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Reference<N> {
    /// Unique within the record, for ever.
    pub label: Token,
    pub name: N,
    pub standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Standing {
    Live,
    /// A LINK or RENAME is under way; `from` is the label of its source.
    Pending {
        from: Token,
        kind: Kind,
    },
    /// A RENAME has taken the object away; the name is yet to be erased. Kept until then, or a slow linker
    /// would bring the old name back to life.
    Moved,
}

/// What (a) came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Prepared {
    /// The reference is pending; the record has the copies of this version.
    Ready { version: u64 },
    /// The source was renamed away.
    Moved,
    /// The source is not bound as it was when it was read: read it again.
    Changed,
}

/// What a commit leaves to be done, to be logged by the same transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Committed<N> {
    pub settle: Errand<N>,
    /// For RENAME.
    pub erase: Option<Errand<N>>,
}

/// What became of a record when a reference was taken from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Dropped {
    /// Others need it still.
    Kept,
    /// The record and all its references go. The copies are not this record's business.
    Removed,
    /// The object is dead: this transaction logs the record's copies for deletion, and removes the record
    /// with all its references if it says so.
    Dead { removed: bool },
}

impl<N: Clone> Record<N> {
    /// Step (a): adds the pending reference `token` for `target`. Looks at the label of `seen`, which is what
    /// was read under `source`.
    #[must_use]
    pub fn prepare(
        record: Option<Self>,
        seen: Bound,
        source: &N,
        target: &N,
        token: Token,
        kind: Kind,
    ) -> (Option<Self>, Prepared) {
        let label = seen.label();
        let mut prepared = match (seen, record) {
            (Bound::Sole { version, .. }, None) => Self {
                version,
                confirmed: false,
                live: 0,
                moved: 0,
                references: Vec::new(),
            },
            (Bound::Sole { version, .. }, Some(mut record)) if !record.confirmed => {
                record.version = record.version.max(version);
                record
            }
            (Bound::Linked { .. }, Some(record)) => match record.standing(label) {
                Some(Standing::Live) => record,
                Some(Standing::Moved) => return (Some(record), Prepared::Moved),
                _ => return (Some(record), Prepared::Changed),
            },
            (_, record) => return (record, Prepared::Changed),
        };
        if prepared.standing(label).is_none() {
            prepared.references.push(Reference {
                label,
                name: source.clone(),
                standing: Standing::Live,
            });
            prepared.live += 1;
        }
        prepared.references.push(Reference {
            label: token,
            name: target.clone(),
            standing: Standing::Pending { from: label, kind },
        });
        let version = prepared.version;
        (Some(prepared), Prepared::Ready { version })
    }

    /// The source's copies had changed before it was pinned. Whether `version` is news; its copies then
    /// replace the record's. Looks at no reference.
    pub fn raise(&mut self, version: u64) -> bool {
        let is_news = version > self.version;
        self.version = self.version.max(version);
        is_news
    }

    /// Step (d), the moment of LINK and RENAME: `token` becomes live if it is pending and its source is still
    /// `label`, live. Looks at both.
    pub fn commit(&mut self, object: ObjectId, token: Token, label: Token) -> Option<Committed<N>> {
        let source = self.position(label)?;
        let target = self.position(token)?;
        let Standing::Pending { from, kind } = self.references[target].standing else {
            return None;
        };
        if from != label || self.references[source].standing != Standing::Live {
            return None;
        }
        self.confirmed = true;
        self.references[target].standing = Standing::Live;
        self.live += 1;
        let settle = Errand::Settle {
            name: self.references[target].name.clone(),
            object,
            token,
        };
        let erase = (kind == Kind::Rename).then(|| {
            self.references[source].standing = Standing::Moved;
            self.live -= 1;
            self.moved += 1;
            Errand::Erase {
                name: self.references[source].name.clone(),
                object,
                label,
            }
        });
        Some(Committed { settle, erase })
    }

    /// Calls an operation off, by its owner or by whoever meets it. Whether it has committed already. Looks
    /// at `token`.
    pub fn abort(&mut self, token: Token) -> bool {
        match self.standing(token) {
            Some(Standing::Pending { .. }) => {
                self.references.retain(|r| r.label != token);
                false
            }
            Some(Standing::Live) => true,
            Some(Standing::Moved) | None => false,
        }
    }

    /// Before a pinned name is overwritten: calls off every operation that started from `label`. Whether
    /// `label` is live. Looks at it, and at all that are pending from it.
    pub fn cut_off(&mut self, label: Token) -> bool {
        self.confirmed = true;
        self.references
            .retain(|r| !matches!(r.standing, Standing::Pending { from, .. } if from == label));
        self.standing(label) == Some(Standing::Live)
    }

    /// A name that no longer carries `label` gives up its reference. Looks at `label`.
    pub fn drop(&mut self, label: Token) -> Dropped {
        if self.standing(label) != Some(Standing::Live) {
            return Dropped::Kept;
        }
        self.references.retain(|r| r.label != label);
        self.live -= 1;
        match (self.live, self.confirmed) {
            (0, true) => Dropped::Dead {
                removed: self.moved == 0,
            },
            // Never promoted: the object is sole elsewhere, or was logged when its entry went.
            (0, false) => Dropped::Removed,
            _ => Dropped::Kept,
        }
    }

    /// The name that a RENAME took the object from is erased. Looks at `label`.
    pub fn forget_moved(&mut self, label: Token) -> Dropped {
        if self.standing(label) != Some(Standing::Moved) {
            return Dropped::Kept;
        }
        self.references.retain(|r| r.label != label);
        self.moved -= 1;
        match (self.live, self.moved) {
            // Its copies were logged when the last live one went.
            (0, 0) => Dropped::Removed,
            _ => Dropped::Kept,
        }
    }

    /// Repair has replaced copies. `from` is the version it read. Whether it may store them. Looks at no
    /// reference. An object that is dead, or not promoted, is not repaired here.
    pub fn repair(&mut self, from: u64) -> bool {
        let may = self.confirmed && self.live > 0 && self.version == from;
        self.version += u64::from(may);
        may
    }
}

impl<N> Record<N> {
    /// How `label` stands; `None` if there is no such reference.
    #[must_use]
    pub fn standing(&self, label: Token) -> Option<Standing> {
        self.references
            .iter()
            .find(|r| r.label == label)
            .map(|r| r.standing)
    }

    fn position(&self, label: Token) -> Option<usize> {
        self.references.iter().position(|r| r.label == label)
    }
}

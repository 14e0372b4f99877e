//! How the object of an entry is bound, as columns: `binding, label, pin, version`. All null in nearly every
//! row: a sole object under the first name it got.

use libmanta::ObjectId;
use libmanta::link::Bound;
use libmanta::namespace::Token;
use rusqlite::Row;

use super::entry_row::{optional_blob, optional_unsigned, to_sql, token};
use crate::error::Fault;

/// Numbers of `binding`.
const LINKED: u64 = 1;
const MOVING: u64 = 2;
pub(super) const ENTERING: u64 = 3;

/// What a row says of its binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Directory,
    Bound(Bound),
    /// Not bound yet; what is there until then lies in the table `prior`.
    Entering {
        object: ObjectId,
        token: Token,
    },
}

/// The columns.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) kind: Option<i64>,
    pub(super) label: Option<[u8; 16]>,
    pub(super) pin: Option<[u8; 16]>,
    pub(super) version: Option<i64>,
}

impl Place {
    pub(super) fn columns(self) -> Columns {
        let number = |n: u64| Some(to_sql(n));
        let bytes = |token: Token| token.to_bits().to_be_bytes();
        match self {
            Self::Directory => Columns::default(),
            Self::Bound(Bound::Sole {
                object,
                label,
                version,
            }) => Columns {
                label: (label != Bound::first_label(object)).then(|| bytes(label)),
                version: (version != 0).then(|| to_sql(version)),
                ..Columns::default()
            },
            Self::Bound(Bound::Linked {
                object,
                label,
                pin,
                moving,
            }) => Columns {
                kind: number(if moving { MOVING } else { LINKED }),
                label: (label != Bound::first_label(object)).then(|| bytes(label)),
                pin: pin.map(bytes),
                version: None,
            },
            Self::Entering { token, .. } => Columns {
                kind: number(ENTERING),
                label: Some(bytes(token)),
                ..Columns::default()
            },
        }
    }

    /// Reads the columns from `at` on, of a row that holds `object`.
    pub(super) fn decode(row: &Row<'_>, at: usize, object: ObjectId) -> Result<Self, Fault> {
        let label = match optional_blob(row, at + 1)? {
            None => Bound::first_label(object),
            Some(blob) => token(blob)?,
        };
        let linked = |moving| -> Result<Self, Fault> {
            Ok(Self::Bound(Bound::Linked {
                object,
                label,
                pin: optional_blob(row, at + 2)?.map(token).transpose()?,
                moving,
            }))
        };
        match optional_unsigned(row, at)? {
            None => Ok(Self::Bound(Bound::Sole {
                object,
                label,
                version: optional_unsigned(row, at + 3)?.unwrap_or(0),
            })),
            Some(LINKED) => linked(false),
            Some(MOVING) => linked(true),
            Some(ENTERING) => Ok(Self::Entering {
                object,
                token: label,
            }),
            Some(_) => Err(Fault::corrupt("an entry has an unknown binding")),
        }
    }
}

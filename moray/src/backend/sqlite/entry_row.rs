//! An [`Entry`] as columns of the table `entry`. Plain columns and not a document, because a listing decodes
//! hundreds of thousands of them a second.

use libmanta::namespace::{Mark, Token};
use libmanta::{AccountId, Entry, EntryKind, Object, ObjectId, ObjectKey, StorageId, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, params};
use uuid::Uuid;

use super::place::Place;
use super::strings;
use crate::error::Fault;

/// The columns of an entry, in the order in which [`Decoder::entry`] reads them, between the two halves of a
/// statement.
macro_rules! select_entry {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " name, mtime_ms, object_id, size_bytes, md5, content_type, content_disposition, creator, \
             copies, headers, roles, mark, binding, label, pin, version ",
            $tail
        )
    };
}
pub(super) use select_entry;

pub(super) const SELECT_ENTRY: &str =
    select_entry!("SELECT", "FROM entry WHERE directory = ?1 AND name = ?2");

pub(super) const SELECT_PRIOR: &str =
    select_entry!("SELECT", "FROM prior WHERE directory = ?1 AND name = ?2");

macro_rules! upsert {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (directory, name, mtime_ms, object_id, size_bytes, md5, content_type, \
             content_disposition, creator, copies, headers, roles, mark, binding, label, pin, version) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) \
             ON CONFLICT (directory, name) DO UPDATE SET mtime_ms = ?3, object_id = ?4, \
             size_bytes = ?5, md5 = ?6, content_type = ?7, content_disposition = ?8, creator = ?9, \
             copies = ?10, headers = ?11, roles = ?12, mark = ?13, binding = ?14, label = ?15, \
             pin = ?16, version = ?17"
        )
    };
}

pub(super) const UPSERT: &str = upsert!("entry");
pub(super) const UPSERT_PRIOR: &str = upsert!("prior");

/// An entry and all that is stored with it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) mark: Mark,
    pub(super) place: Place,
}

/// Stores an entry; runs [`UPSERT`] or [`UPSERT_PRIOR`].
pub(super) fn upsert(
    statement: &mut Statement<'_>,
    directory: i64,
    stored: &Stored,
) -> Result<(), Fault> {
    let Stored { entry, mark, place } = stored;
    let binding = place.columns();
    let mark = encode_mark(*mark);
    let headers = encode_headers(entry)?;
    let roles = encode_roles(entry);
    let name = entry.key.name();
    let mtime = to_sql(entry.mtime.as_millis());
    match &entry.kind {
        EntryKind::Directory => statement.execute(params![
            directory,
            name,
            mtime,
            None::<&[u8]>,
            None::<i64>,
            None::<&[u8]>,
            None::<&str>,
            None::<&str>,
            None::<&[u8]>,
            None::<&[u8]>,
            headers,
            roles,
            mark,
            None::<i64>,
            None::<&[u8]>,
            None::<&[u8]>,
            None::<i64>,
        ])?,
        EntryKind::Object(object) => {
            let creator = object.creator.as_uuid().as_bytes();
            let creator = (object.creator != entry.key.owner()).then_some(&creator[..]);
            statement.execute(params![
                directory,
                name,
                mtime,
                Some(&object.object_id.as_uuid().as_bytes()[..]),
                Some(to_sql(object.size_bytes)),
                Some(&object.md5[..]),
                Some(&object.content_type),
                object.content_disposition.as_deref(),
                creator,
                Some(encode_copies(&object.copies)?),
                headers,
                roles,
                mark,
                binding.kind,
                binding.label.as_ref(),
                binding.pin.as_ref(),
                binding.version,
            ])?
        }
    };
    Ok(())
}

pub(super) fn encode_copies(copies: &[StorageId]) -> Result<Vec<u8>, Fault> {
    strings::encode(copies.iter().map(StorageId::as_str))
}

pub(super) fn encode_headers(entry: &Entry) -> Result<Option<Vec<u8>>, Fault> {
    if entry.headers.is_empty() {
        return Ok(None);
    }
    strings::encode(
        entry
            .headers
            .iter()
            .flat_map(|(name, value)| [name.as_str(), value.as_str()]),
    )
    .map(Some)
}

pub(super) fn encode_roles(entry: &Entry) -> Option<Vec<u8>> {
    (!entry.roles.is_empty()).then(|| {
        entry
            .roles
            .iter()
            .flat_map(|role| *role.as_bytes())
            .collect()
    })
}

pub(super) fn encode_mark(mark: Mark) -> Option<Vec<u8>> {
    match mark {
        Mark::Normal => None,
        Mark::Deleting(token) => Some(token.to_bits().to_be_bytes().to_vec()),
    }
}

/// SQLite has no unsigned integers; nothing stored comes near the sign bit.
pub(super) fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Reads rows of one directory. Most objects in it have the same copies, so the last ones are kept and
/// shared.
pub(super) struct Decoder<'a> {
    parent: Parent<'a>,
    owner: AccountId,
    copies_blob: Vec<u8>,
    copies: Vec<StorageId>,
}

/// How the key of a row is known.
#[derive(Clone, Copy)]
pub(super) enum Parent<'a> {
    /// Rows are children of this directory.
    Directory(&'a ObjectKey),
    /// The only row is the entry with this key.
    Entry(&'a ObjectKey),
}

impl<'a> Decoder<'a> {
    pub(super) fn new(parent: Parent<'a>) -> Self {
        let (Parent::Directory(key) | Parent::Entry(key)) = parent;
        Self {
            parent,
            owner: key.owner(),
            copies_blob: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Decodes the columns of `select_entry!` that start at column `at`.
    pub(super) fn entry(&mut self, row: &Row<'_>, at: usize) -> Result<Stored, Fault> {
        let key = match self.parent {
            Parent::Entry(key) => key.clone(),
            Parent::Directory(directory) => directory
                .child(text(row, at)?)
                .map_err(|_| Fault::corrupt("an entry has an impossible name"))?,
        };
        let kind = match optional_blob(row, at + 2)? {
            None => EntryKind::Directory,
            Some(object_id) => EntryKind::Object(Object {
                object_id: ObjectId::from_uuid(uuid(object_id)?),
                size_bytes: unsigned(row, at + 3)?,
                md5: blob(row, at + 4)?
                    .try_into()
                    .map_err(|_| Fault::corrupt("an md5 does not have 16 bytes"))?,
                content_type: text(row, at + 5)?.to_owned(),
                content_disposition: optional_text(row, at + 6)?.map(str::to_owned),
                creator: match optional_blob(row, at + 7)? {
                    None => self.owner,
                    Some(creator) => AccountId::from_uuid(uuid(creator)?),
                },
                copies: self.copies(blob(row, at + 8)?)?,
            }),
        };
        let headers = match optional_blob(row, at + 9)? {
            None => Vec::new(),
            Some(blob) => decode_headers(blob)?,
        };
        let roles = match optional_blob(row, at + 10)? {
            None => Vec::new(),
            Some(blob) => decode_roles(blob)?,
        };
        let mark = match optional_blob(row, at + 11)? {
            None => Mark::Normal,
            Some(blob) => Mark::Deleting(token(blob)?),
        };
        let place = match &kind {
            EntryKind::Directory => Place::Directory,
            EntryKind::Object(object) => Place::decode(row, at + 12, object.object_id)?,
        };
        let entry = Entry {
            key,
            mtime: Timestamp::from_millis(unsigned(row, at + 1)?),
            headers,
            roles,
            kind,
        };
        Ok(Stored { entry, mark, place })
    }

    fn copies(&mut self, blob: &[u8]) -> Result<Vec<StorageId>, Fault> {
        if blob != self.copies_blob {
            self.copies = decode_copies(blob)?;
            self.copies_blob.clear();
            self.copies_blob.extend_from_slice(blob);
        }
        Ok(self.copies.clone())
    }
}

pub(super) fn decode_copies(blob: &[u8]) -> Result<Vec<StorageId>, Fault> {
    Ok(strings::decode(blob)?
        .into_iter()
        .map(StorageId::new)
        .collect())
}

fn decode_headers(blob: &[u8]) -> Result<Vec<(String, String)>, Fault> {
    let strings = strings::decode(blob)?;
    let (pairs, rest) = strings.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::corrupt("a header has no value"));
    }
    Ok(pairs
        .iter()
        .map(|[name, value]| ((*name).to_owned(), (*value).to_owned()))
        .collect())
}

fn decode_roles(blob: &[u8]) -> Result<Vec<Uuid>, Fault> {
    let (roles, rest) = blob.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Fault::corrupt("a list of roles is cut short"));
    }
    Ok(roles.iter().map(|role| Uuid::from_bytes(*role)).collect())
}

pub(super) fn token(blob: &[u8]) -> Result<Token, Fault> {
    blob.try_into()
        .map(|bytes| Token::from_bits(u128::from_be_bytes(bytes)))
        .map_err(|_| Fault::corrupt("a token does not have 16 bytes"))
}

pub(super) fn uuid(blob: &[u8]) -> Result<Uuid, Fault> {
    Uuid::from_slice(blob).map_err(|_| Fault::corrupt("an id does not have 16 bytes"))
}

pub(super) fn blob<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r [u8], Fault> {
    optional_blob(row, at)?.ok_or_else(|| Fault::corrupt("a column is null"))
}

pub(super) fn optional_blob<'r>(row: &'r Row<'_>, at: usize) -> Result<Option<&'r [u8]>, Fault> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) => Ok(Some(bytes)),
        _ => Err(Fault::corrupt("a column is no blob")),
    }
}

pub(super) fn text<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, Fault> {
    optional_text(row, at)?.ok_or_else(|| Fault::corrupt("a column is null"))
}

fn optional_text<'r>(row: &'r Row<'_>, at: usize) -> Result<Option<&'r str>, Fault> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Fault::corrupt("a column is not UTF-8")),
        _ => Err(Fault::corrupt("a column is no text")),
    }
}

pub(super) fn unsigned(row: &Row<'_>, at: usize) -> Result<u64, Fault> {
    optional_unsigned(row, at)?.ok_or_else(|| Fault::corrupt("a column is null"))
}

pub(super) fn optional_unsigned(row: &Row<'_>, at: usize) -> Result<Option<u64>, Fault> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(n) => u64::try_from(n)
            .map(Some)
            .map_err(|_| Fault::corrupt("a column is negative")),
        _ => Err(Fault::corrupt("a column is no integer")),
    }
}

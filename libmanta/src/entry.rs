//! What the namespace holds under a name.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AccountId, ObjectId, ObjectKey, StorageId, Timestamp};

/// A directory entry: one name and what is stored with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub key: ObjectKey,
    pub mtime: Timestamp,
    /// Headers kept for the client (`m-*`, CORS, `cache-control`, `surrogate-key`): lower-case name and
    /// value, in the order in which they came. Values are the bytes of the header read as Latin-1.
    pub headers: Vec<(String, String)>,
    /// Role tags.
    pub roles: Vec<Uuid>,
    pub kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    Directory,
    Object(Object),
}

/// The bytes behind a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Also the entity tag: a lower-case uuid, without quotes on the wire.
    pub object_id: ObjectId,
    pub size_bytes: u64,
    pub md5: [u8; 16],
    pub content_type: String,
    pub content_disposition: Option<String>,
    /// Who wrote the bytes; copies lie below this account on the storage nodes.
    pub creator: AccountId,
    /// Storage nodes that hold a copy. Empty for a zero-byte object, which is stored nowhere.
    pub copies: Vec<StorageId>,
}

impl Entry {
    /// The object, or `None` for a directory.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match &self.kind {
            EntryKind::Object(object) => Some(object),
            EntryKind::Directory => None,
        }
    }

    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, EntryKind::Directory)
    }
}

//! Names in the namespace.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{AccountId, JobId};

/// Longest name of one level, in bytes. Source: rest-api.md section 1.3 (7).
pub const NAME_BYTES_MAX: usize = 1024;
/// Longest key below the account, in bytes. Source: rest-api.md section 1.3 (7).
pub const PATH_BYTES_MAX: usize = 4096;

/// The full name of a directory or object: `/<account uuid>/stor/a/b`, decoded.
///
/// Invariant: at least an account and one name; every name is non-empty, holds no `/` and no NUL, and is at
/// most [`NAME_BYTES_MAX`] bytes; `.` and `..` are names like any other. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(Arc<str>);

/// Which of the directories that always exist a key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// `/:login/stor`, `public`, `reports`, `jobs` or `uploads`.
    Area,
    /// `/:login/jobs/:id/stor`: the output area of a job.
    JobOutput,
}

/// Why some text is not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not a valid object key")]
pub struct InvalidKey;

/// The top-level directories of an account, sorted by name. Which of them a client sees is the API's to
/// say.
pub const AREAS: [&str; 5] = ["jobs", "public", "reports", "stor", UPLOADS];

const UPLOADS: &str = "uploads";

impl ObjectKey {
    /// A key from its account and the decoded names below it.
    pub fn new<'a>(
        owner: AccountId,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidKey> {
        let mut text = format!("/{owner}");
        let account_len = text.len();
        for name in names {
            if name.is_empty()
                || name.len() > NAME_BYTES_MAX
                || name.bytes().any(|b| b == 0 || b == b'/')
            {
                return Err(InvalidKey);
            }
            text.push('/');
            text.push_str(name);
        }
        if text.len() == account_len || text.len() - account_len > PATH_BYTES_MAX {
            return Err(InvalidKey);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The inverse of [`as_str`](Self::as_str).
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let rest = text.strip_prefix('/').ok_or(InvalidKey)?;
        let (owner, names) = rest.split_once('/').ok_or(InvalidKey)?;
        let owner: AccountId = owner.parse().map_err(|_| InvalidKey)?;
        let key = Self::new(owner, names.split('/'))?;
        if key.as_str() == text {
            Ok(key)
        } else {
            Err(InvalidKey)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account below which the key lies.
    #[must_use]
    pub fn owner(&self) -> AccountId {
        let text = self
            .0
            .get(1..37)
            .expect("a key begins with its account: checked in ObjectKey::new");
        text.parse()
            .expect("a key begins with its account: checked in ObjectKey::new")
    }

    /// The last name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The names below the account, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(2)
    }

    /// The directory that holds this entry; `None` for an area such as `/:login/stor`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.names().nth(1)?;
        let (parent, _) = self.0.rsplit_once('/')?;
        Some(Self(Arc::from(parent)))
    }

    /// What the ring hashes to place this *entry*: the parent's path, so that siblings lie together. An
    /// area has no parent directory and is placed by its account.
    #[must_use]
    pub fn entry_route(&self) -> &str {
        self.0
            .rsplit_once('/')
            .map_or(self.as_str(), |(parent, _)| parent)
    }

    /// What the ring hashes to place this directory's *row* and children: its own path.
    #[must_use]
    pub fn row_route(&self) -> &str {
        self.as_str()
    }

    /// The entry `name` in this directory.
    pub fn child(&self, name: &str) -> Result<Self, InvalidKey> {
        Self::new(self.owner(), self.names().chain([name]))
    }

    /// Whether this directory always exists, recorded or not.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        let mut names = self.names();
        let area = names.next()?;
        match (names.next(), names.next(), names.next()) {
            (None, ..) => AREAS.contains(&area).then_some(Root::Area),
            (Some(id), Some("stor"), None) if area == "jobs" => {
                id.parse::<JobId>().ok().map(|_| Root::JobOutput)
            }
            _ => None,
        }
    }

    /// Below `/:login/public`, whose contents anyone may read.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.names().next() == Some("public")
    }

    /// `/:login/uploads` or below: parts of multipart uploads, which a client sees only where those are
    /// enabled.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        self.names().next() == Some(UPLOADS)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = InvalidKey;
    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::parse(&text)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.as_str().to_owned()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "bc8cd146-fecb-11e1-bd8a-bb6f54b49808";

    fn key(rest: &str) -> ObjectKey {
        ObjectKey::parse(&format!("/{OWNER}{rest}")).unwrap()
    }

    #[test]
    fn a_key_knows_its_parts() {
        let k = key("/stor/a/b.txt");
        assert_eq!(k.owner().to_string(), OWNER);
        assert_eq!(k.name(), "b.txt");
        assert_eq!(k.parent(), Some(key("/stor/a")));
        assert_eq!(k.entry_route(), key("/stor/a").row_route());
        assert_eq!(key("/stor").parent(), None);
        assert_eq!(key("/stor").child("a").unwrap(), key("/stor/a"));
    }

    #[test]
    fn dots_are_ordinary_names_and_nul_is_not() {
        assert_eq!(
            key("/stor/../x").names().collect::<Vec<_>>(),
            ["stor", "..", "x"]
        );
        assert!(ObjectKey::parse(&format!("/{OWNER}/stor/a\0b")).is_err());
        assert!(ObjectKey::parse(&format!("/{OWNER}/stor//b")).is_err());
        assert!(ObjectKey::parse(&format!("/{OWNER}")).is_err());
        assert!(ObjectKey::parse("/alice/stor").is_err());
    }

    #[test]
    fn roots_are_the_areas_and_the_output_area_of_a_job() {
        assert_eq!(key("/stor").root(), Some(Root::Area));
        assert_eq!(key("/jobs").root(), Some(Root::Area));
        assert_eq!(key("/uploads").root(), Some(Root::Area));
        assert!(key("/uploads").is_upload() && key("/uploads/0/x").is_upload());
        assert!(!key("/stor/uploads").is_upload());
        assert_eq!(key("/other").root(), None);
        assert_eq!(
            key(&format!("/jobs/{OWNER}/stor")).root(),
            Some(Root::JobOutput)
        );
        assert_eq!(key(&format!("/jobs/{OWNER}")).root(), None);
        assert_eq!(key("/stor/x/stor").root(), None);
    }

    #[test]
    fn lengths_are_bounded() {
        let long = "x".repeat(NAME_BYTES_MAX);
        assert!(key("/stor").child(&long).is_ok());
        assert!(key("/stor").child(&format!("{long}x")).is_err());
        let mut k = key("/stor");
        while let Ok(child) = k.child(&long) {
            k = child;
        }
        assert!(k.as_str().len() <= 37 + PATH_BYTES_MAX);
    }
}

//! Conditional requests, decided by the shard inside the transaction that changes the entry.
//! Source: rest-api.md section 3.7, with the decisions of section 15.8 (quotes stripped, `If-None-Match: *`
//! means "create only").

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{Entry, EntryKind, ObjectId, Timestamp};

/// The preconditions of one request. The default has none and always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub if_match: Option<EtagList>,
    pub if_none_match: Option<EtagList>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
    /// Nothing that a request says: what its rights were decided on. `None` where they depend on nothing.
    pub judged: Option<Judged>,
}

/// An entry as far as rights to it, and to what it names, depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Judged {
    Missing,
    Directory {
        roles: Vec<Uuid>,
    },
    Object {
        object_id: ObjectId,
        roles: Vec<Uuid>,
    },
}

impl Judged {
    /// What is judged when this is what is there.
    #[must_use]
    pub fn of(entry: Option<&Entry>) -> Self {
        let Some(entry) = entry else {
            return Self::Missing;
        };
        let roles = entry.roles.clone();
        match &entry.kind {
            EntryKind::Directory => Self::Directory { roles },
            EntryKind::Object(object) => Self::Object {
                object_id: object.object_id,
                roles,
            },
        }
    }

    /// Whether what is there is still what was judged, if anything was.
    pub fn check(judged: Option<&Self>, current: Option<&Entry>) -> Result<(), PreconditionFailed> {
        match judged {
            Some(judged) if *judged != Self::of(current) => Err(PreconditionFailed::Judged),
            _ => Ok(()),
        }
    }
}

/// A comma-separated list of entity tags, as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtagList(pub String);

impl EtagList {
    /// `*`, `W/` prefixes and quotes are understood; blanks around tags are ignored.
    #[must_use]
    pub fn matches(&self, etag: &str) -> bool {
        self.0.split(',').map(str::trim).any(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let tag = tag
                .strip_prefix('"')
                .and_then(|t| t.strip_suffix('"'))
                .unwrap_or(tag);
            tag == "*" || tag == etag
        })
    }

    fn is_any(&self) -> bool {
        self.0.trim() == "*"
    }
}

/// The first precondition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum PreconditionFailed {
    #[error("if-match '{header}' didn't match etag '{etag}'")]
    Match { header: String, etag: String },
    #[error("if-none-match '{header}' matched etag '{etag}'")]
    NoneMatch { header: String, etag: String },
    #[error("object was modified at '{at}'; if-modified-since '{since}'")]
    NotModified { at: String, since: String },
    #[error("object was modified at '{at}'; if-unmodified-since '{since}'")]
    Modified { at: String, since: String },
    /// Whoever asks has to decide about rights once more.
    #[error("the entry is not the one that rights were decided on")]
    Judged,
}

impl Condition {
    /// Whether the request carries no precondition.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Compares with the entry as it is now, first with what was judged. A directory is not compared with
    /// anything else; a missing entry has the etag `""`, so that `If-Match: *` passes on a new name, and passes
    /// both dates.
    pub fn check(&self, current: Option<&Entry>) -> Result<(), PreconditionFailed> {
        Judged::check(self.judged.as_ref(), current)?;
        if current.is_some_and(Entry::is_directory) {
            return Ok(());
        }
        let object = current.and_then(Entry::object);
        let etag = object.map(|o| o.object_id.to_string()).unwrap_or_default();
        if let Some(list) = &self.if_match
            && !list.matches(&etag)
        {
            return Err(PreconditionFailed::Match {
                header: list.0.clone(),
                etag,
            });
        }
        if let Some(list) = &self.if_none_match
            && list.matches(&etag)
            && !(object.is_none() && list.is_any())
        {
            return Err(PreconditionFailed::NoneMatch {
                header: list.0.clone(),
                etag,
            });
        }
        let Some(mtime) = current.map(|entry| entry.mtime) else {
            return Ok(());
        };
        // Headers have a resolution of one second.
        if let Some(since) = self.if_modified_since
            && mtime.as_secs() <= since.as_secs()
        {
            return Err(PreconditionFailed::NotModified {
                at: mtime.to_http(),
                since: since.to_http(),
            });
        }
        if let Some(since) = self.if_unmodified_since
            && mtime.as_secs() > since.as_secs()
        {
            return Err(PreconditionFailed::Modified {
                at: mtime.to_http(),
                since: since.to_http(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountId, EntryKind, Object, ObjectId, ObjectKey};

    fn entry() -> Entry {
        let owner = AccountId::random();
        Entry {
            key: ObjectKey::new(owner, ["stor", "a"]).unwrap(),
            mtime: Timestamp::from_millis(10_500),
            headers: Vec::new(),
            roles: Vec::new(),
            kind: EntryKind::Object(Object {
                object_id: ObjectId::random(),
                size_bytes: 0,
                md5: [0; 16],
                content_type: String::new(),
                content_disposition: None,
                creator: owner,
                copies: Vec::new(),
            }),
        }
    }

    fn etag(e: &Entry) -> String {
        e.object().unwrap().object_id.to_string()
    }

    fn tags(text: &str) -> Option<EtagList> {
        Some(EtagList(text.to_owned()))
    }

    #[test]
    fn tags_match_with_and_without_quotes() {
        let e = entry();
        for text in [
            etag(&e),
            format!("\"{}\"", etag(&e)),
            format!("a, W/\"{}\"", etag(&e)),
            "*".into(),
        ] {
            let condition = Condition {
                if_match: tags(&text),
                ..Condition::default()
            };
            assert_eq!(condition.check(Some(&e)), Ok(()), "{text}");
            let condition = Condition {
                if_none_match: tags(&text),
                ..Condition::default()
            };
            assert!(condition.check(Some(&e)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_entry_has_the_empty_etag() {
        let uuid = Condition {
            if_match: tags(&etag(&entry())),
            ..Condition::default()
        };
        assert!(
            matches!(uuid.check(None), Err(PreconditionFailed::Match { etag, .. }) if etag.is_empty())
        );
        let any = Condition {
            if_match: tags("*"),
            ..Condition::default()
        };
        assert_eq!(any.check(None), Ok(()));
        let create_only = Condition {
            if_none_match: tags("*"),
            ..Condition::default()
        };
        assert_eq!(create_only.check(None), Ok(()));
        assert!(create_only.check(Some(&entry())).is_err());
    }

    #[test]
    fn what_was_judged_is_an_object_with_its_roles_or_a_directory_with_its_own() {
        let object = entry();
        let tagged = Entry {
            roles: vec![Uuid::from_u128(1)],
            ..object.clone()
        };
        let directory = Entry {
            kind: EntryKind::Directory,
            ..object.clone()
        };
        let other = Entry {
            key: object.key.clone(),
            ..entry()
        };
        let all = [
            None,
            Some(&object),
            Some(&tagged),
            Some(&directory),
            Some(&other),
        ];
        for (n, judged) in all.into_iter().enumerate() {
            let condition = Condition {
                judged: Some(Judged::of(judged)),
                // Says nothing of a directory, and is asked later.
                if_none_match: tags("*"),
                ..Condition::default()
            };
            for (m, current) in all.into_iter().enumerate() {
                let checked = condition.check(current);
                assert_eq!(checked == Err(PreconditionFailed::Judged), n != m);
            }
        }
        let renamed = Entry {
            headers: vec![("m-x".into(), "y".into())],
            ..tagged.clone()
        };
        assert_eq!(Judged::of(Some(&renamed)), Judged::of(Some(&tagged)));
    }

    #[test]
    fn dates_compare_by_the_second() {
        let e = entry();
        let at = |millis| Some(Timestamp::from_millis(millis));
        let modified = |m| {
            Condition {
                if_modified_since: at(m),
                ..Condition::default()
            }
            .check(Some(&e))
            .is_ok()
        };
        assert!(modified(9_999) && !modified(10_000) && !modified(11_000));
        let unmodified = |m| {
            Condition {
                if_unmodified_since: at(m),
                ..Condition::default()
            }
            .check(Some(&e))
            .is_ok()
        };
        assert!(!unmodified(9_999) && unmodified(10_000) && unmodified(11_000));
    }
}

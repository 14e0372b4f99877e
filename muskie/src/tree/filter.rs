//! Which entries of a tree are wanted. Everything is said in the query; nonsense is refused before the first
//! byte of the answer.

use libmanta::{Entry, EntryKind, Timestamp};
use regex::{Regex, RegexBuilder};

use crate::errors::{Error, Result};
use crate::listing::parse_date;
use crate::query::Query;

/// Most bytes that a compiled pattern takes; matching is linear in the length of a name.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Conditions that all must hold. The default holds for everything.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    kind: Option<Kind>,
    name: Option<Regex>,
    size_min: Option<u64>,
    size_max: Option<u64>,
    mtime_from: Option<Timestamp>,
    mtime_before: Option<Timestamp>,
    depth_min: Option<u64>,
    /// Deeper directories are not even read.
    pub(super) depth_max: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    Object,
}

impl Filter {
    /// Reads `type` (`d`, `directory`, `o` or `object`), `name` (a regular expression that some part of the
    /// last name matches), `size_min` and `size_max` (bytes, inclusive; directories have no size and never
    /// match), `mtime_from` (inclusive), `mtime_before` (exclusive), `depth_min` and `depth_max` (1: the
    /// entries of the directory itself).
    pub(crate) fn parse(query: &Query) -> Result<Self> {
        Ok(Self {
            kind: value(query, "type", |text| match text {
                "d" | "directory" => Some(Kind::Directory),
                "o" | "object" => Some(Kind::Object),
                _ => None,
            })?,
            name: value(query, "name", |text| {
                let mut pattern = RegexBuilder::new(text);
                pattern.size_limit(PATTERN_BYTES_MAX);
                pattern.dfa_size_limit(PATTERN_BYTES_MAX);
                pattern.build().ok()
            })?,
            size_min: value(query, "size_min", number)?,
            size_max: value(query, "size_max", number)?,
            mtime_from: value(query, "mtime_from", parse_date)?,
            mtime_before: value(query, "mtime_before", parse_date)?,
            depth_min: value(query, "depth_min", number)?,
            depth_max: value(query, "depth_max", number)?,
        })
    }

    /// `depth`: levels below the directory that was asked for.
    pub(super) fn admits(&self, entry: &Entry, depth: u64) -> bool {
        let size = entry.object().map(|object| object.size_bytes);
        let kind = match entry.kind {
            EntryKind::Directory => Kind::Directory,
            EntryKind::Object(_) => Kind::Object,
        };
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.depth_min.is_none_or(|least| depth >= least)
            && self.depth_max.is_none_or(|most| depth <= most)
            && self
                .size_min
                .is_none_or(|least| size.is_some_and(|s| s >= least))
            && self
                .size_max
                .is_none_or(|most| size.is_some_and(|s| s <= most))
            && self.mtime_from.is_none_or(|from| entry.mtime >= from)
            && self.mtime_before.is_none_or(|before| entry.mtime < before)
            && self
                .name
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(entry.key.name()))
    }
}

/// A parameter that is not given, or empty, is no condition.
pub(super) fn value<T>(
    query: &Query,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>> {
    let Some(text) = query.non_empty(name) else {
        return Ok(None);
    };
    let parsed = parse(text).ok_or_else(|| Error::InvalidParameter {
        name,
        value: text.to_owned(),
    })?;
    Ok(Some(parsed))
}

/// Digits only: `parse` alone would take a plus sign.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use libmanta::{AccountId, Object, ObjectId, ObjectKey};

    use super::*;

    fn entry(name: &str, size_bytes: Option<u64>) -> Entry {
        let owner = AccountId::random();
        Entry {
            key: ObjectKey::new(owner, ["stor", name]).unwrap(),
            mtime: Timestamp::parse_iso("2026-11-21T04:10:01.513Z").unwrap(),
            headers: Vec::new(),
            roles: Vec::new(),
            kind: match size_bytes {
                None => EntryKind::Directory,
                Some(size_bytes) => EntryKind::Object(Object {
                    object_id: ObjectId::random(),
                    size_bytes,
                    md5: [0; 16],
                    content_type: "text/plain".into(),
                    content_disposition: None,
                    creator: owner,
                    copies: Vec::new(),
                }),
            },
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let object = entry("photo.jpg", Some(100));
        let directory = entry("photos", None);
        for (query, takes_object, takes_directory) in [
            ("", true, true),
            ("type=o", true, false),
            ("type=directory", false, true),
            ("name=^photo", true, true),
            ("name=jpg%24", true, false),
            ("size_min=100", true, false),
            ("size_min=101", false, false),
            ("size_max=99", false, false),
            ("size_max=100", true, false),
            ("mtime_from=2026-11-21T04:10:01.513Z", true, true),
            ("mtime_before=2026-11-21T04:10:01.513Z", false, false),
            ("mtime_before=2026-11-22", true, true),
            ("depth_min=3", false, false),
            ("depth_max=2&depth_min=2", true, true),
            ("depth_max=1", false, false),
            ("type=o&name=x", false, false),
        ] {
            let filter = Filter::parse(&Query::parse(Some(query))).unwrap();
            assert_eq!(filter.admits(&object, 2), takes_object, "{query}");
            assert_eq!(filter.admits(&directory, 2), takes_directory, "{query}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (query, parameter) in [
            ("type=link", "type"),
            ("name=%5B", "name"),
            ("name=(((a{999}){999}){999})", "name"),
            ("size_min=-1", "size_min"),
            ("size_min=%2B1", "size_min"),
            ("size_max=1e3", "size_max"),
            ("mtime_from=yesterday", "mtime_from"),
            ("mtime_before=1", "mtime_before"),
            ("depth_min=99999999999999999999", "depth_min"),
            ("depth_max=x", "depth_max"),
        ] {
            let error = Filter::parse(&Query::parse(Some(query))).unwrap_err();
            assert!(
                matches!(error, Error::InvalidParameter { name, .. } if name == parameter),
                "{query}: {error:?}"
            );
        }
    }
}

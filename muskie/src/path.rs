//! The path of a request: cleaned for routing and messages, decoded for the namespace.
//!
//! `.` and `..` are names like any other; nothing is normalised away. An escaped slash separates only after
//! decoding, so routing never sees it. Source: rest-api.md section 1.3.

use libmanta::{AccountId, ObjectKey};
use percent_encoding::percent_decode_str;

use crate::errors::{Error, Result};

/// A cleaned path: one slash at the start, none at the end, none doubled, still escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestPath(String);

impl RequestPath {
    pub(crate) fn clean(raw: &str) -> Self {
        let mut text = String::with_capacity(raw.len());
        for segment in raw.split('/').filter(|segment| !segment.is_empty()) {
            text.push('/');
            text.push_str(segment);
        }
        if text.is_empty() {
            text.push('/');
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything before the last slash, as messages name the parent.
    pub(crate) fn parent(&self) -> &str {
        match self.0.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((parent, _)) => parent,
        }
    }

    /// Segments as sent. A bare `/` has none.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0
            .split('/')
            .skip(1)
            .filter(|segment| !segment.is_empty())
    }

    /// The first segment, decoded.
    pub(crate) fn login(&self) -> Result<String> {
        self.segments()
            .next()
            .and_then(decode)
            .ok_or_else(|| self.invalid())
    }

    /// The name in the namespace. The path must have more than one segment.
    pub(crate) fn key(&self, owner: AccountId) -> Result<ObjectKey> {
        let mut below = String::with_capacity(self.0.len());
        for segment in self.segments().skip(1) {
            if !below.is_empty() {
                below.push('/');
            }
            below.push_str(&decode(segment).ok_or_else(|| self.invalid())?);
        }
        ObjectKey::new(owner, below.split('/')).map_err(|_| self.invalid())
    }

    fn invalid(&self) -> Error {
        Error::InvalidResource {
            path: self.0.clone(),
        }
    }
}

/// Percent-decodes; `None` for an escape that is cut short, is not hexadecimal, or does not make UTF-8.
fn decode(segment: &str) -> Option<String> {
    let bytes = segment.as_bytes();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|&b| b == b'%') {
        at += offset + 1;
        if !bytes.get(at..at + 2)?.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
    }
    percent_decode_str(segment)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(raw: &str) -> Option<Vec<String>> {
        let key = RequestPath::clean(raw).key(AccountId::random()).ok()?;
        Some(key.names().map(String::from).collect())
    }

    #[test]
    fn slashes_collapse() {
        assert_eq!(
            RequestPath::clean("//alice//stor///a/").as_str(),
            "/alice/stor/a"
        );
        assert_eq!(RequestPath::clean("").as_str(), "/");
        assert_eq!(RequestPath::clean("/alice").parent(), "/");
        assert_eq!(RequestPath::clean("/alice/stor").parent(), "/alice");
        assert_eq!(RequestPath::clean("///").segments().count(), 0);
    }

    #[test]
    fn names_are_decoded_and_an_escaped_slash_separates() {
        assert_eq!(names("/a/stor/a%20b%2Fc").unwrap(), ["stor", "a b", "c"]);
        assert_eq!(names("/a/stor/..%2f..").unwrap(), ["stor", "..", ".."]);
        assert_eq!(names("/a/stor/a+b").unwrap(), ["stor", "a+b"]);
        assert_eq!(names("/a/stor/%E2%82%AC").unwrap(), ["stor", "\u{20ac}"]);
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        for raw in [
            "/a/stor/%",
            "/a/stor/%2",
            "/a/stor/%zz",
            "/a/stor/%ff",
            "/a/stor/a%00b",
            "/a/stor/%2F",
            "/a/stor/a%2F%2Fb",
        ] {
            assert_eq!(names(raw), None, "{raw}");
            let path = RequestPath::clean(raw);
            assert_eq!(
                path.key(AccountId::random()).unwrap_err(),
                Error::InvalidResource {
                    path: raw.to_owned()
                }
            );
        }
        assert_eq!(names(&format!("/a/stor/{}", "x".repeat(1025))), None);
        assert!(names(&format!("/a/stor/{}", "x".repeat(1024))).is_some());
    }
}

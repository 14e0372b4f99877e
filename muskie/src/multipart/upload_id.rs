//! Names of uploads. Source: rest-api.md section 5.1.

use std::fmt;

use libmanta::{AccountId, InvalidKey, Login, ObjectKey};
use uuid::Uuid;

/// Most characters of a name that make the directory above it.
pub(crate) const PREFIX_CHARS_MAX: u8 = 4;

/// A uuid whose last digit says how many characters of it name the directory above the parts, so that the
/// configuration may change while there are uploads. Invariant: 1 to [`PREFIX_CHARS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UploadId(Uuid);

impl UploadId {
    /// A fresh one. `prefix_chars` beyond its bounds is brought within.
    pub(crate) fn random(prefix_chars: u8) -> Self {
        let mut bytes = Uuid::new_v4().into_bytes();
        bytes[15] = bytes[15] & 0xf0 | prefix_chars.clamp(1, PREFIX_CHARS_MAX);
        Self(Uuid::from_bytes(bytes))
    }

    /// `None` when it is written differently, or does not say how long its prefix is.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id = Self(Uuid::try_parse(text).ok()?);
        let fits = (1..=PREFIX_CHARS_MAX).contains(&id.prefix_chars());
        (fits && id.to_string() == text).then_some(id)
    }

    pub(crate) fn prefix(self) -> String {
        let mut text = self.to_string();
        text.truncate(usize::from(self.prefix_chars()));
        text
    }

    /// The directory above that of the parts.
    pub(crate) fn prefix_directory(self, owner: AccountId) -> Result<ObjectKey, InvalidKey> {
        ObjectKey::new(owner, ["uploads", &self.prefix()])
    }

    /// The directory of the parts.
    pub(crate) fn directory(self, owner: AccountId) -> Result<ObjectKey, InvalidKey> {
        ObjectKey::new(owner, ["uploads", &self.prefix(), &self.to_string()])
    }

    /// The same for a client.
    pub(crate) fn path(self, login: &Login) -> String {
        format!("/{login}/uploads/{}/{self}", self.prefix())
    }

    fn prefix_chars(self) -> u8 {
        self.0.as_bytes()[15] & 0x0f
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digit_is_the_length_of_the_prefix() {
        for length in 1..=4 {
            let id = UploadId::random(length);
            let text = id.to_string();
            assert_eq!(text.chars().last(), char::from_digit(u32::from(length), 16));
            assert_eq!(UploadId::parse(&text), Some(id));
            assert_eq!(id.prefix(), text[..usize::from(length)]);
            assert_eq!(Uuid::try_parse(&text).unwrap().get_version_num(), 4);
        }
        assert_eq!(UploadId::random(9).prefix().len(), 4);
        let id = UploadId::parse("3f2a8b4c-0000-4000-8000-0000000000a3").unwrap();
        assert_eq!(
            id.path(&Login::parse("alice").unwrap()),
            "/alice/uploads/3f2/3f2a8b4c-0000-4000-8000-0000000000a3"
        );
    }

    #[test]
    fn odd_ids_are_none() {
        for odd in [
            "3f2a8b4c-0000-4000-8000-0000000000a0",
            "3f2a8b4c-0000-4000-8000-0000000000a5",
            "3f2a8b4c-0000-4000-8000-0000000000af",
            "3F2A8B4C-0000-4000-8000-0000000000A3",
            "3f2a8b4c0000400080000000000000a3",
            "3f2a8b4c-0000-4000-8000-0000000000",
            "abc",
            "",
        ] {
            assert_eq!(UploadId::parse(odd), None, "{odd}");
        }
    }
}

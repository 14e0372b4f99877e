//! The name of a key, as requests give it. Source: rest-api.md section 9.2.

use std::fmt;

use percent_encoding::percent_decode_str;

/// `/login/keys/fingerprint` or `/login/user/keys/fingerprint`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyId {
    pub(crate) login: String,
    pub(crate) user: Option<String>,
    pub(crate) fingerprint: String,
}

impl KeyId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        let (login, rest) = rest.split_once('/')?;
        // The base64 of a SHA-256 fingerprint may hold slashes, so the rest is not split further.
        let (user, fingerprint) = match rest.strip_prefix("keys/") {
            Some(fingerprint) => (None, fingerprint),
            None => {
                let (user, rest) = rest.split_once('/')?;
                (Some(decode(user)?), rest.strip_prefix("keys/")?)
            }
        };
        if login.is_empty() || fingerprint.is_empty() || user.as_deref() == Some("") {
            return None;
        }
        Some(Self {
            login: decode(login)?,
            user,
            fingerprint: decode(fingerprint)?,
        })
    }
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

/// The key as it was asked for.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.login)?;
        if let Some(user) = &self.user {
            write!(f, "/{user}")?;
        }
        write!(f, "/keys/{}", self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_have_two_forms() {
        let id = |login: &str, user: Option<&str>, fingerprint: &str| {
            Some(KeyId {
                login: login.into(),
                user: user.map(String::from),
                fingerprint: fingerprint.into(),
            })
        };
        assert_eq!(KeyId::parse("/al/keys/aa:bb"), id("al", None, "aa:bb"));
        assert_eq!(KeyId::parse("/al/bo/keys/aa"), id("al", Some("bo"), "aa"));
        assert_eq!(
            KeyId::parse("/a%40b/keys/SHA256:x/y+z"),
            id("a@b", None, "SHA256:x/y+z")
        );
        for bad in [
            "",
            "al/keys/aa",
            "/al",
            "/al/keys",
            "/al/keys/",
            "//keys/aa",
            "/al/users/bo/keys/aa",
            "/al//keys/aa",
            "/%ff/keys/aa",
        ] {
            assert_eq!(KeyId::parse(bad), None, "{bad}");
        }
    }
}

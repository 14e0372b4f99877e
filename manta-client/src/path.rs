//! Paths as users write them, and as they travel.
//!
//! The server takes `.` and `..` for ordinary names, so it is the client that resolves them; and it is the
//! client that knows what `~~` stands for.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what RFC 3986 leaves unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Not a path of an object or a directory.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} is not a valid Manta path")]
pub struct InvalidPath(pub String);

/// Turns what a user wrote into an absolute, unescaped path: `~~` becomes `/account`, runs of slashes, `.`
/// and `..` are resolved, a slash at the end is dropped.
///
/// A path that does not begin with `/` or `~~`, and `/` itself, are invalid.
pub fn resolve_path(text: &str, account: &str) -> Result<String, InvalidPath> {
    let expanded = match text.strip_prefix("~~") {
        Some("") => format!("/{account}"),
        Some(rest) if rest.starts_with('/') => format!("/{account}{rest}"),
        _ => text.to_owned(),
    };
    if !expanded.starts_with('/') {
        return Err(InvalidPath(text.to_owned()));
    }
    let mut names: Vec<&str> = Vec::new();
    for name in expanded.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    if names.is_empty() {
        return Err(InvalidPath(text.to_owned()));
    }
    Ok(format!("/{}", names.join("/")))
}

/// Percent-encodes every name of an absolute path, leaving the slashes.
#[must_use]
pub fn encode_path(path: &str) -> String {
    path.split('/')
        .map(encode_segment)
        .collect::<Vec<_>>()
        .join("/")
}

/// Percent-encodes one name, or one value of a query.
#[must_use]
pub fn encode_segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_what_users_write() {
        for (text, path) in [
            ("~~", "/alice"),
            ("~~/", "/alice"),
            ("~~/stor/a", "/alice/stor/a"),
            ("/bob//public/./x/", "/bob/public/x"),
            ("/bob/stor/a/../b", "/bob/stor/b"),
            ("~~/../bob/stor", "/bob/stor"),
            ("/bob/..b/c..", "/bob/..b/c.."),
            ("/a/~~/b", "/a/~~/b"),
        ] {
            assert_eq!(resolve_path(text, "alice").as_deref(), Ok(path), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in [
            "", "stor/a", "/", "//", "/..", "/a/..", "~~x/y", "~/a", "./a",
        ] {
            let error = resolve_path(text, "alice").unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{text} is not a valid Manta path")
            );
        }
    }

    #[test]
    fn encodes_names_and_keeps_slashes() {
        assert_eq!(
            encode_path("/a/stor/x y+z'()*!~-_."),
            "/a/stor/x%20y%2Bz%27%28%29%2A%21~-_."
        );
        assert_eq!(encode_path("/a/stor/ü%"), "/a/stor/%C3%BC%25");
        assert_eq!(encode_segment("a/b"), "a%2Fb");
    }
}

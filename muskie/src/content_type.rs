//! The content type of an object, and the content types that choose an operation.
//! Source: rest-api.md section 3.3.

use libmanta::content_type::json_type;

pub(crate) const DEFAULT: &str = "application/octet-stream";

/// Most characters of the header.
pub(crate) const CHARS_MAX: usize = 1024;

/// What a `PUT` with a certain content type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    Link,
    Rename,
    Object,
}

/// Which operation the header chooses.
pub(crate) fn kind(header: Option<&str>) -> Kind {
    let wanted = header.and_then(json_type).unwrap_or_default();
    for (name, kind) in [
        ("directory", Kind::Directory),
        ("link", Kind::Link),
        ("rename", Kind::Rename),
    ] {
        if wanted.eq_ignore_ascii_case(name) {
            return kind;
        }
    }
    Kind::Object
}

/// What is stored for the header; `None` when there is none, or an empty one. A value without the shape
/// `x/y` is taken for a file extension.
pub(crate) fn stored(header: Option<&str>) -> Option<String> {
    let value = header?.trim();
    if value.is_empty() {
        return None;
    }
    if has_media_shape(value) {
        return Some(value.to_owned());
    }
    let extension = value.rsplit(['.', '/', '\\']).next().unwrap_or_default();
    let guess = mime_guess::from_ext(extension).first_raw();
    Some(guess.unwrap_or(DEFAULT).to_owned())
}

/// Some slash has something before and something after it.
fn has_media_shape(value: &str) -> bool {
    let first = value
        .char_indices()
        .nth(1)
        .map_or(value.len(), |(at, _)| at);
    value[first..]
        .find('/')
        .is_some_and(|at| first + at + 1 < value.len())
}

/// Whether the `Accept` header admits `content_type`, whose parameters do not count.
pub(crate) fn acceptable(accept: Option<&str>, content_type: &str) -> bool {
    let Some(accept) = accept.map(str::trim).filter(|accept| !accept.is_empty()) else {
        return true;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let (main, sub) = essence.split_once('/').unwrap_or((essence, ""));
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| {
            parameter
                .split_once('=')
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                .and_then(|(_, q)| q.trim().parse::<f32>().ok())
                .is_some_and(|q| q <= 0.0)
        });
        let (range_main, range_sub) = range.split_once('/').unwrap_or((range, "*"));
        !refused
            && (range_main == "*" || range_main.eq_ignore_ascii_case(main))
            && (range_sub == "*" || range_sub.eq_ignore_ascii_case(sub))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_with_a_shape_are_kept_and_words_are_extensions() {
        let of = |header| stored(Some(header));
        assert_eq!(
            of("text/plain; charset=utf-8").unwrap(),
            "text/plain; charset=utf-8"
        );
        assert_eq!(of("audio/mpeg").unwrap(), "audio/mpeg");
        assert_eq!(of("jpg").unwrap(), "image/jpeg");
        for word in ["argle/", "/*", "nothing-known", "\u{c3}\u{a9}"] {
            assert_eq!(of(word).unwrap(), DEFAULT, "{word}");
        }
        assert_eq!(of("  "), None);
        assert_eq!(stored(None), None);
    }

    #[test]
    fn directories_and_links_are_recognised() {
        for header in [
            "application/json; type=directory",
            "application/json;type=directory",
            "Application/JSON; charset=utf-8; type=\"directory\"",
        ] {
            assert_eq!(kind(Some(header)), Kind::Directory, "{header}");
        }
        assert_eq!(kind(Some("application/json; type=link")), Kind::Link);
        for header in [
            "application/x-json-stream; type=directory",
            "application/json",
            "x;type=directory",
        ] {
            assert_eq!(kind(Some(header)), Kind::Object, "{header}");
        }
        assert_eq!(kind(None), Kind::Object);
    }

    #[test]
    fn accept_is_matched_without_parameters() {
        assert!(acceptable(None, "text/plain"));
        assert!(acceptable(Some("*/*"), "text/plain"));
        assert!(acceptable(
            Some("application/*;q=0.1"),
            "application/json; charset=utf-8"
        ));
        assert!(acceptable(Some("application/json, */*"), "text/plain"));
        assert!(!acceptable(Some("application/json"), "text/plain"));
        assert!(!acceptable(Some("text/plain;q=0"), "text/plain"));
    }
}

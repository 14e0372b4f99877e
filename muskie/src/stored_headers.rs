//! The headers of a request that are kept with an entry, and how they come back.
//!
//! Everything kept is bounded, because a listing has a thousand entries in memory, and whoever may read a
//! public directory may ask for one. Source: rest-api.md sections 3.1, 11.1.

use http::HeaderMap;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName};

use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::{content_disposition, content_type, cors, latin1};

/// Values of `m-` headers are taken while their sum stays below this; the rest is dropped silently.
const USER_HEADER_BYTES_MAX: usize = 4096;

/// All names of `m-` headers together; beyond that the request is refused.
const USER_HEADER_NAMES_MAX: usize = 8192;

/// Values of all headers in `KEPT` together; beyond that the request is refused.
const KEPT_BYTES_MAX: usize = 8192;

const KEPT: [&str; 7] = [
    "cache-control",
    "surrogate-key",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// Refuses a request with more to keep than an entry may hold. To be asked before its body is.
pub(crate) fn check_lengths(headers: &HeaderMap) -> Result<()> {
    let length = |name: &str| {
        let values = headers.get_all(name).iter();
        values.map(|value| value.len() + 2).sum::<usize>()
    };
    let of_one = |name: &str| length(name).saturating_sub(2);
    let user_names = headers.keys().map(HeaderName::as_str);
    let user_names = user_names.filter(|name| is_user_header(name));
    for (what, length, limit) in [
        (
            "content-type",
            of_one("content-type"),
            content_type::CHARS_MAX,
        ),
        (
            "content-disposition",
            of_one("content-disposition"),
            content_disposition::CHARS_MAX,
        ),
        (
            "cache-control, surrogate-key and access-control headers together",
            KEPT.into_iter().map(of_one).sum(),
            KEPT_BYTES_MAX,
        ),
        (
            "the names of m- headers together",
            user_names.map(str::len).sum(),
            USER_HEADER_NAMES_MAX,
        ),
    ] {
        if length > limit {
            return Err(Error::HeaderTooLong { what, limit });
        }
    }
    Ok(())
}

/// What to keep of a request, in the order in which it came.
pub(crate) fn collect(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    let mut user_bytes = 0;
    for name in headers.keys() {
        if KEPT.contains(&name.as_str()) {
            kept.push((name.as_str().to_owned(), joined(headers, name)));
        } else if is_user_header(name.as_str()) {
            let value = joined(headers, name);
            user_bytes += value.chars().count();
            if user_bytes < USER_HEADER_BYTES_MAX {
                kept.push((name.as_str().to_owned(), value));
            }
        }
    }
    kept
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    latin1::get(headers, name).unwrap_or_default()
}

fn is_user_header(name: &str) -> bool {
    name.strip_prefix("m-")
        .and_then(|rest| rest.bytes().next())
        .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
}

/// Lets anyone's page read what anyone may read.
pub(crate) fn open_to_all_origins(kept: &mut Vec<(String, String)>) {
    let name = ACCESS_CONTROL_ALLOW_ORIGIN.as_str();
    if !kept.iter().any(|(kept, _)| kept == name) {
        kept.push((name.to_owned(), String::from("*")));
    }
}

/// Puts kept headers on the response to a read.
pub(crate) fn restore(kept: &[(String, String)], head: &Head, response: &mut HeaderMap) {
    for (name, value) in kept {
        if name.starts_with("access-control-") {
            continue;
        }
        if let (Ok(name), Some(value)) = (name.parse::<HeaderName>(), latin1::encode(value)) {
            response.insert(name, value);
        }
    }
    cors::on_read(kept, head, response);
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn names(kept: &[(String, String)]) -> Vec<&str> {
        kept.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn user_headers_are_kept_until_their_values_are_too_long() {
        let long = "x".repeat(4000);
        let headers = map(&[
            ("m-a", &long),
            ("m-", "no name"),
            ("content-encoding", "gzip"),
            ("m-b", &"y".repeat(95)),
            ("cache-control", "no-cache"),
            ("m-c", "z"),
            ("surrogate-key", "k"),
        ]);
        assert_eq!(
            names(&collect(&headers)),
            ["m-a", "m-b", "cache-control", "surrogate-key"]
        );
    }

    #[test]
    fn a_repeated_header_is_one_list() {
        let kept = collect(&map(&[("m-a", "1"), ("m-a", "2")]));
        assert_eq!(kept, [("m-a".to_owned(), "1, 2".to_owned())]);
    }
}

//! What `--keep-metadata` sends again.
//!
//! An update replaces all stored headers and role tags, so whoever wants to change one has to repeat the
//! others. Between reading and writing somebody else may change them; the condition on the etag does not
//! notice, since metadata has none.

use http::HeaderMap;
use manta_client::Info;

/// Stored headers besides `m-*`, by section 3.11 of the API.
const STORED: &[&str] = &[
    "cache-control",
    "surrogate-key",
    "content-disposition",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
    "role-tag",
];

/// The stored headers of what was asked for, with `changes` in place of those of the same name.
pub(super) fn kept_with(info: &Info, changes: &HeaderMap) -> HeaderMap {
    let mut headers: HeaderMap = info
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("m-") || STORED.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in changes {
        headers.insert(name, value.clone());
    }
    headers
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode, Version};

    use super::*;

    #[test]
    fn changes_win_and_the_rest_stays() {
        let header = |name: &'static str, value: &'static str| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let stored = [
            header("m-a", "1"),
            header("m-b", "2"),
            header("role-tag", "x, y"),
            header("cache-control", "no-store"),
            header("content-type", "text/plain"),
            header("content-length", "7"),
            header("etag", "e"),
        ];
        let info = Info {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            headers: stored.into_iter().collect(),
        };
        let changes: HeaderMap = [header("m-b", "3"), header("m-c", "4")]
            .into_iter()
            .collect();
        let expected: HeaderMap = [
            header("m-a", "1"),
            header("m-b", "3"),
            header("m-c", "4"),
            header("role-tag", "x, y"),
            header("cache-control", "no-store"),
        ]
        .into_iter()
        .collect();
        assert_eq!(kept_with(&info, &changes), expected);
    }
}

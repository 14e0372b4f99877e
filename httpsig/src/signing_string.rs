//! The text that a signature covers.
//!
//! The date must be among the signed names, or a header seen once could be replayed for ever. Where the
//! request has an `x-date`, that is the date.

use std::fmt::Write as _;

use crate::authorization::Authorization;

/// A name in `headers` that the request cannot provide, or the date that it left unsigned.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MissingHeader {
    /// Listed, but the request has no such header.
    #[error("{0} was not in the request")]
    NotInRequest(String),
    /// `(opaque)` is listed, but the header has no `opaque` parameter.
    #[error("opaque param was not in the authorization header")]
    NoOpaque,
    /// The date of the request is not covered by the signature.
    #[error("{0} was not a signed header")]
    NotSigned(&'static str),
}

/// Builds the text to verify (or, on a client, to sign).
///
/// `target` is the path and query exactly as sent. `lookup` takes a lower-case name and gives the value
/// of that header. Without a `headers` parameter the text covers `x-date` if the request has one, else
/// `date`. Lines are joined with `\n`; there is none at the end.
pub fn signing_string(
    authorization: &Authorization,
    method: &str,
    target: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, MissingHeader> {
    let date = if lookup("x-date").is_some() {
        "x-date"
    } else {
        "date"
    };
    let default = [date.to_owned()];
    let names = match authorization.headers.as_slice() {
        [] => &default,
        names => names,
    };

    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let value = match name.as_str() {
            "request-line" => {
                // Writing to a string cannot fail.
                let _ = write!(text, "{method} {target} HTTP/1.1");
                continue;
            }
            "(request-target)" => format!("{} {target}", method.to_lowercase()),
            "(keyid)" => authorization.key_id.clone(),
            "(algorithm)" => authorization
                .param("algorithm")
                .map_or_else(|| authorization.algorithm.to_string(), str::to_owned),
            "(opaque)" => authorization
                .param("opaque")
                .ok_or(MissingHeader::NoOpaque)?
                .to_owned(),
            header => {
                lookup(header).ok_or_else(|| MissingHeader::NotInRequest(header.to_owned()))?
            }
        };
        let _ = write!(text, "{name}: {value}");
    }
    if !names.iter().any(|name| name == date) {
        return Err(MissingHeader::NotSigned(date));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sat, 21 Nov 2026 04:10:01 GMT";

    fn authorization(extra: &str) -> Authorization {
        Authorization::parse(&format!(
            "Signature keyId=\"/alice/keys/aa:bb\",algorithm=\"RSA-sha256\",signature=\"AA\"{extra}"
        ))
        .unwrap()
    }

    fn build(extra: &str, headers: &[(&str, &str)]) -> Result<String, String> {
        signing_string(
            &authorization(extra),
            "GET",
            "/alice/stor?limit=2",
            |name| {
                headers
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            },
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn covers_the_date_by_default() {
        let text = build("", &[("date", DATE)]).unwrap();
        assert_eq!(text, "date: Sat, 21 Nov 2026 04:10:01 GMT");
        assert_eq!(text.len(), 35);
    }

    #[test]
    fn covers_x_date_where_there_is_one() {
        let headers = [("date", DATE), ("x-date", "now")];
        assert_eq!(build("", &headers).unwrap(), "x-date: now");
        assert_eq!(
            build(",headers=\"date\"", &headers).unwrap_err(),
            "x-date was not a signed header"
        );
    }

    #[test]
    fn builds_the_lines_in_the_order_listed() {
        let text = build(
            ",headers=\"date (request-target) host\"",
            &[("date", DATE), ("host", "manta.example.com")],
        );
        assert_eq!(
            text.unwrap(),
            "date: Sat, 21 Nov 2026 04:10:01 GMT\n(request-target): get /alice/stor?limit=2\n\
             host: manta.example.com"
        );
        let text = build(
            ",opaque=\"x y\",headers=\"request-line (keyid) (algorithm) (opaque) Date\"",
            &[("date", DATE)],
        );
        assert_eq!(
            text.unwrap(),
            "GET /alice/stor?limit=2 HTTP/1.1\n(keyid): /alice/keys/aa:bb\n\
             (algorithm): RSA-sha256\n(opaque): x y\ndate: Sat, 21 Nov 2026 04:10:01 GMT"
        );
    }

    #[test]
    fn says_which_header_is_missing() {
        assert_eq!(build("", &[]).unwrap_err(), "date was not in the request");
        assert_eq!(
            build(",headers=\"date x-foo\"", &[("date", DATE)]).unwrap_err(),
            "x-foo was not in the request"
        );
        assert_eq!(
            build(",headers=\"date (opaque)\"", &[("date", DATE)]).unwrap_err(),
            "opaque param was not in the authorization header"
        );
        assert_eq!(
            build(",headers=\"(request-target)\"", &[("date", DATE)]).unwrap_err(),
            "date was not a signed header"
        );
    }
}

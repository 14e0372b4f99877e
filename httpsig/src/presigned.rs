//! URLs that carry their signature in the query.
//!
//! The text that is signed has four lines: the methods, the host, the path, the query without `signature`.
//! The query is taken apart and encoded anew, so that it does not matter how a client escaped it; the path
//! is taken exactly as it was sent, so there it does. A name that stands twice stays twice, or `a=1&a=2`
//! could be passed off as the `a=1,2` that somebody signed.

use base64::Engine as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::algorithm::{Algorithm, AlgorithmError};
use crate::authorization::LENIENT;

/// What RFC 3986 leaves unreserved stays.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The parameters without which there is no signed URL, in the order in which they are reported missing.
const REQUIRED: [&str; 4] = ["algorithm", "expires", "keyId", "signature"];

/// A name or a value as the signed text has it: everything escaped but `A–Z a–z 0–9 - _ . ~`.
#[must_use]
pub fn encode_query(text: &[u8]) -> String {
    percent_encode(text, UNRESERVED).to_string()
}

/// The text that a URL's signature covers.
///
/// `methods` are in no particular order; `host` is the `Host` header and `path` the path, both exactly as
/// sent; `query` is the decoded query without `signature`, in any order. No line end at the end.
#[must_use]
pub fn presigned_text(
    methods: &[&str],
    host: &str,
    path: &str,
    query: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)],
) -> String {
    let mut methods = methods.to_vec();
    methods.sort_unstable();
    let methods = methods.join(",");
    let mut text = String::with_capacity(512);
    for line in [&methods, host, path] {
        text.push_str(line);
        text.push('\n');
    }
    push_canonical_query(&mut text, query);
    text
}

/// `name=value` pairs, encoded, sorted by name, joined by `&`.
pub(crate) fn canonical_query(query: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> String {
    let mut text = String::new();
    push_canonical_query(&mut text, query);
    text
}

fn push_canonical_query(text: &mut String, query: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) {
    let mut pairs: Vec<(&[u8], &[u8])> = query
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
        .collect();
    // Stable: equal names keep the order in which they were sent.
    pairs.sort_by_key(|(name, _)| *name);
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        if index > 0 {
            text.push('&');
        }
        text.extend(percent_encode(name, UNRESERVED));
        text.push('=');
        text.extend(percent_encode(value, UNRESERVED));
    }
}

/// The signature in a query, checked as far as that goes without knowing the key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presigned {
    /// The `keyId`, never empty; its own syntax is the caller's to check.
    pub key_id: String,
    pub algorithm: Algorithm,
    /// The decoded signature; empty when it was not base64, which no key accepts.
    pub signature: Vec<u8>,
    /// Seconds since the epoch; not yet past.
    pub expires: u64,
    /// `role`: the roles to take on, in place of the header. A list with commas, as sent.
    pub role: Option<String>,
    /// `role-tag`: tags for what is stored, in place of the header. A list with commas, as sent.
    pub role_tag: Option<String>,
    /// The `method` list, or the request's own method.
    methods: Vec<String>,
    /// All parameters but `signature`, decoded, as sent.
    query: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is wrong with the signature in a query. The texts are those of the answers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PresignedError {
    /// Some of the four parameters are missing, or empty: their names in alphabetical order.
    #[error("parameters \"{0}\" are required")]
    Missing(String),
    /// `expires` is past.
    #[error("request expired")]
    Expired,
    /// `expires` is not a number of seconds.
    #[error("expires is not a number of seconds")]
    NoNumber,
    /// There is a `method` list, and the request's method is not on it.
    #[error("{0} was not a signed method")]
    NotSignedMethod(String),
    /// Nothing that a key here could have signed with. The name as it was sent.
    #[error("{0} is not a supported signing algorithm")]
    Algorithm(String),
    /// One of the parameters with a meaning of their own stands twice.
    #[error("parameter \"{0}\" is given more than once")]
    Repeated(String),
}

impl Presigned {
    /// Reads the query of a request, without its `?`. `None` when it has none of the four parameters that
    /// make a signed URL.
    ///
    /// `method` is the request's, in upper case; `now` is in seconds since the epoch.
    pub fn parse(method: &str, query: &str, now: u64) -> Result<Option<Presigned>, PresignedError> {
        let pairs = decode_query(query);
        let find = |wanted: &str| {
            let mut values = pairs
                .iter()
                .filter(|(name, _)| name == wanted.as_bytes())
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned());
            match (values.next(), values.next()) {
                (_, Some(_)) => Err(PresignedError::Repeated(wanted.to_owned())),
                (value, None) => Ok(value),
            }
        };
        let is_there = |wanted: &&&str| pairs.iter().any(|(name, _)| name == wanted.as_bytes());
        if REQUIRED.iter().filter(is_there).count() == 0 {
            return Ok(None);
        }
        let mut missing = Vec::new();
        let mut values = Vec::new();
        for name in REQUIRED {
            match find(name)?.filter(|value| !value.is_empty()) {
                Some(value) => values.push(value),
                None => missing.push(name),
            }
        }
        let Ok([algorithm, expires, key_id, signature]) = <[String; 4]>::try_from(values) else {
            return Err(PresignedError::Missing(missing.join(", ")));
        };
        let expires = parse_expires(&expires).ok_or(PresignedError::NoNumber)?;
        if now > expires {
            return Err(PresignedError::Expired);
        }
        let methods = match find("method")?.filter(|list| !list.is_empty()) {
            None => vec![method.to_owned()],
            Some(list) => {
                let methods: Vec<String> = list.split(',').map(str::to_owned).collect();
                if !methods.iter().any(|signed| signed == method) {
                    return Err(PresignedError::NotSignedMethod(method.to_owned()));
                }
                methods
            }
        };
        let algorithm = Algorithm::parse(&algorithm).map_err(|error| match error {
            AlgorithmError::Unknown(name) | AlgorithmError::NotAllowed(name) => {
                PresignedError::Algorithm(name)
            }
        })?;
        let presigned = Presigned {
            key_id,
            algorithm,
            signature: LENIENT.decode(signature).unwrap_or_default(),
            expires,
            role: find("role")?,
            role_tag: find("role-tag")?,
            methods,
            query: Vec::new(),
        };
        let query = pairs
            .into_iter()
            .filter(|(name, _)| name != b"signature")
            .collect();
        Ok(Some(Presigned { query, ..presigned }))
    }

    /// The text that the signature must be over. `host` is the `Host` header and `path` the path of the
    /// request, both exactly as sent.
    #[must_use]
    pub fn text(&self, host: &str, path: &str) -> String {
        let methods: Vec<&str> = self.methods.iter().map(String::as_str).collect();
        presigned_text(&methods, host, path, &self.query)
    }
}

/// Splits and decodes as the servers and clients of the ecosystem do: `+` is a blank, and a `%` without
/// two digits behind it is a `%`.
fn decode_query(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> Vec<u8> {
    // Most of a URL needs neither, and this runs for each request.
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return text.as_bytes().to_vec();
    }
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

/// Whole seconds; some clients divide milliseconds and send a fraction, which is cut off.
fn parse_expires(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return None;
    }
    seconds.parse().ok()
}

#[cfg(test)]
#[path = "presigned/tests.rs"]
mod tests;

//! The `Authorization: Signature …` header.
//!
//! Parsing is strict where two readings are possible (a parameter given twice is refused), but a signature
//! that is not base64 is not a syntax error: the protocol looks for the account and the key first and only
//! then says that the signature is wrong, so such a header parses with an empty signature, which no key
//! accepts.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::algorithm::{Algorithm, AlgorithmError};

/// Some clients leave the padding out.
pub(crate) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A parsed `Authorization: Signature` header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authorization {
    /// The `keyId`, never empty, exactly as sent. Its own syntax is the caller's to check.
    pub key_id: String,
    /// The algorithm, one of the accepted ones.
    pub algorithm: Algorithm,
    /// The names in `headers`, lower case, in order. Empty means the default, see
    /// [`signing_string`](crate::signing_string).
    pub headers: Vec<String>,
    /// The decoded signature; empty when it was not base64.
    pub signature: Vec<u8>,
    /// Every parameter as sent, in order; each name occurs once.
    pub params: Vec<(String, String)>,
}

/// What is wrong with an `Authorization` header.
///
/// The texts of the variants without their own status are what follows
/// `Invalid Signature Authorization header: ` in the answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// Another scheme, in lower case, for example `basic`.
    #[error("{0} is not allowed (use 'signature')")]
    OtherScheme(String),
    /// The right word in the wrong case: the scheme is compared exactly.
    #[error("scheme was not \"Signature\"")]
    SchemeCase,
    /// The scheme alone, or nothing at all. The whole message to the client is this text.
    #[error("Invalid Authorization header")]
    NoParameters,
    /// Not a list of `name="value"`.
    #[error("bad param format")]
    BadFormat,
    /// `keyId`, `algorithm` or `signature` is missing or empty.
    #[error("{0} was not specified")]
    NotSpecified(&'static str),
    /// The algorithm's name means nothing, or is not allowed: two different answers to the client.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
}

impl Authorization {
    /// Reads the value of an `Authorization` header.
    pub fn parse(header: &str) -> Result<Authorization, ParseError> {
        let header = header.trim_matches([' ', '\t']);
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.is_empty() {
            return Err(ParseError::NoParameters);
        }
        if scheme != "Signature" {
            let lower = scheme.to_lowercase();
            return Err(match lower.as_str() {
                "signature" => ParseError::SchemeCase,
                _ => ParseError::OtherScheme(lower),
            });
        }
        let rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Err(ParseError::NoParameters);
        }

        let params = parse_params(rest).ok_or(ParseError::BadFormat)?;
        let specified = |name: &'static str| {
            find(&params, name)
                .filter(|value| !value.is_empty())
                .ok_or(ParseError::NotSpecified(name))
        };
        let key_id = specified("keyId")?.to_owned();
        let algorithm = specified("algorithm")?;
        let signature = specified("signature")?;
        let algorithm = Algorithm::parse(algorithm)?;
        let signature = LENIENT.decode(signature).unwrap_or_default();
        let headers = find(&params, "headers")
            .unwrap_or_default()
            .split(' ')
            .filter(|name| !name.is_empty())
            .map(str::to_lowercase)
            .collect();
        Ok(Authorization {
            key_id,
            algorithm,
            headers,
            signature,
            params,
        })
    }

    /// A parameter by its exact name, as sent.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        find(&self.params, name)
    }
}

fn find<'a>(params: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    params
        .iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.as_str())
}

/// `name="value"` pairs separated by commas, blanks allowed around the comma. Names are ASCII letters; a
/// value runs to the next quote, for there is no escape. `None` for anything else, for a name given
/// twice, and for a comma with nothing behind it.
fn parse_params(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut params: Vec<(String, String)> = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return None;
        }
        let (value, after) = after.split_once('"')?;
        if find(&params, name).is_some() {
            return None;
        }
        params.push((name.to_owned(), value.to_owned()));
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() {
            return Some(params);
        }
        rest = after.strip_prefix(',')?.trim_start_matches([' ', '\t']);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(header: &str) -> String {
        Authorization::parse(header).unwrap_err().to_string()
    }

    #[test]
    fn reads_parameters_in_any_order() {
        let parsed = Authorization::parse(
            "Signature signature=\"AAEC\",headers=\"Date (request-target)\", keyId=\"/a/keys/b\",\
             algorithm=\"RSA-SHA256\"",
        )
        .unwrap();
        assert_eq!(parsed.key_id, "/a/keys/b");
        assert_eq!(parsed.algorithm.name(), "rsa-sha256");
        assert_eq!(parsed.headers, ["date", "(request-target)"]);
        assert_eq!(parsed.signature, [0, 1, 2]);
        assert_eq!(parsed.param("algorithm"), Some("RSA-SHA256"));
    }

    #[test]
    fn says_what_is_wrong_in_the_documented_words() {
        let full = "keyId=\"k\",algorithm=\"rsa-sha1\",signature=\"AA\"";
        for (header, message) in [
            ("Signature", "Invalid Authorization header"),
            ("Signature ", "Invalid Authorization header"),
            ("", "Invalid Authorization header"),
            ("Basic dTpw", "basic is not allowed (use 'signature')"),
            ("Bearer x", "bearer is not allowed (use 'signature')"),
            (
                "Signature algorithm=\"rsa-sha1\",signature=\"A\"",
                "keyId was not specified",
            ),
            (
                "Signature keyId=\"\",algorithm=\"rsa-sha1\"",
                "keyId was not specified",
            ),
            (
                "Signature keyId=\"k\",signature=\"A\"",
                "algorithm was not specified",
            ),
            (
                "Signature keyId=\"k\",algorithm=\"rsa-sha1\"",
                "signature was not specified",
            ),
            (
                "Signature keyId=\"k\",algorithm=\"rsa-md5\",signature=\"A\"",
                "rsa-md5 is not supported",
            ),
            (
                "Signature keyId=\"k\",algorithm=\"hmac-sha256\",signature=\"A\"",
                "hmac-sha256 is not a supported signing algorithm",
            ),
            ("Signature nonsense", "bad param format"),
            ("Signature keyId=k", "bad param format"),
            (
                "Signature keyId=\"k\"algorithm=\"rsa-sha1\"",
                "bad param format",
            ),
            ("Signature keyId=\"k", "bad param format"),
            ("Signature =\"k\"", "bad param format"),
            ("Signature keyId=\"k\",", "bad param format"),
            ("Signature keyId=\"k\",keyId=\"l\"", "bad param format"),
        ] {
            assert_eq!(refused(header), message, "{header}");
        }
        assert_eq!(
            refused(&format!("signature {full}")),
            "scheme was not \"Signature\""
        );
        assert!(Authorization::parse(&format!("Signature {full}")).is_ok());
    }

    #[test]
    fn a_signature_that_is_not_base64_is_left_to_fail_at_the_key() {
        let header = "Signature keyId=\"k\",algorithm=\"rsa-sha1\",signature=\"!!!\"";
        assert_eq!(Authorization::parse(header).unwrap().signature, b"");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = Authorization::parse(&text);
            let _ = Authorization::parse(&format!("Signature {text}"));
        }

        #[test]
        fn no_bytes_near_the_grammar_make_it_panic(
            bytes in proptest::collection::vec(
                prop_oneof![
                    proptest::sample::select(b"\"=, \tkKalgorithmSigntureI-".to_vec()),
                    any::<u8>(),
                ],
                0..200,
            )
        ) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = Authorization::parse(&format!("Signature keyId=\"{text}"));
            if let Ok(parsed) = Authorization::parse(&format!("Signature {text}")) {
                prop_assert!(!parsed.key_id.is_empty());
            }
        }

        #[test]
        fn what_was_put_in_comes_out(
            key_id in "[^\"]{1,40}",
            opaque in "[^\"]{0,40}",
            signature in proptest::collection::vec(any::<u8>(), 1..80),
        ) {
            let encoded = LENIENT.encode(&signature);
            let header = format!(
                "Signature keyId=\"{key_id}\",algorithm=\"ecdsa-sha384\",opaque=\"{opaque}\",\
                 signature=\"{encoded}\""
            );
            let parsed = Authorization::parse(&header).unwrap();
            prop_assert_eq!(parsed.param("opaque"), Some(opaque.as_str()));
            prop_assert_eq!(parsed.key_id, key_id);
            prop_assert_eq!(parsed.signature, signature);
        }
    }
}

//! Tokens in the format of the reference, so that stores that share its key accept each other's.
//!
//! ```text
//! base64( AES-128-CBC with PKCS#7 padding( gzip( JSON of Document ) ) )
//! ```
//!
//! The surprising thing: the initial vector is fixed and nothing authenticates a token, so who holds one can
//! change its bytes and see what comes of it. The format is therefore off until it is configured; see
//! `docs/adr/0007-tokens.md`. Source: rest-api.md section 9.6, metadata-auth-naming.md section 5.5.

use std::io::{Read as _, Write as _};

use aes::Aes128;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use libmanta::mahi::InvalidToken;
use libmanta::{AccountId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::AuthToken;

/// Longest token; the reference's load balancer took no longer header.
pub(crate) const TOKEN_BYTES_MAX: usize = 8192;

/// What a token may decompress to. Ours are far below; a few bytes can claim to be a gigabyte.
const DOCUMENT_BYTES_MAX: u64 = 256 << 10;

/// Whom a token lets act, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) account: AccountId,
    pub(crate) user: Option<UserId>,
    /// Active roles of the account itself.
    pub(crate) roles: Vec<Uuid>,
    /// Active roles of other accounts.
    pub(crate) other_roles: Vec<Uuid>,
    pub(crate) from_job: bool,
}

/// Version 2; `t` is when it was made, in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Document {
    t: u64,
    p: Party,
    #[serde(default)]
    c: Stored,
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Party {
    account: Identified<AccountId>,
    #[serde(default)]
    user: Option<Identified<UserId>>,
    /// What the caller held. Asked anew when a token is used, so left empty.
    #[serde(default)]
    roles: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct Identified<T> {
    uuid: T,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(default)]
    active_roles: Vec<Uuid>,
    #[serde(default)]
    active_x_acct_roles: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fromjob: bool,
}

/// Version 1, as very old stores made it: an account without roles.
#[derive(Deserialize)]
struct DocumentOne {
    t: u64,
    u: AccountId,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

pub(crate) fn seal(named: &Named, keys: &AuthToken, now: Timestamp) -> String {
    let document = Document {
        t: now.as_millis(),
        p: Party {
            account: Identified {
                uuid: named.account,
            },
            user: named.user.map(|uuid| Identified { uuid }),
            roles: serde_json::Value::Object(serde_json::Map::new()),
        },
        c: Stored {
            active_roles: named.roles.clone(),
            active_x_acct_roles: named.other_roles.clone(),
            fromjob: named.from_job,
        },
        v: 2,
    };
    let json = serde_json::to_vec(&document).expect("plain data: Document has text keys");
    encrypt(&json, keys)
}

/// Whom it names, and when it expires. Errors: it was not made with these keys, or is older than they say.
pub(crate) fn open(
    token: &str,
    keys: &AuthToken,
    now: Timestamp,
) -> Result<(Named, Timestamp), InvalidToken> {
    let json = decrypt(token, keys).ok_or(InvalidToken::Malformed)?;
    let malformed = |_| InvalidToken::Malformed;
    let Versioned { v } = serde_json::from_slice(&json).map_err(malformed)?;
    let (made, named) = match v {
        1 => {
            let DocumentOne { t, u } = serde_json::from_slice(&json).map_err(malformed)?;
            let named = Named {
                account: u,
                user: None,
                roles: Vec::new(),
                other_roles: Vec::new(),
                from_job: false,
            };
            (t, named)
        }
        2 => {
            let Document { t, p, c, .. } = serde_json::from_slice(&json).map_err(malformed)?;
            let named = Named {
                account: p.account.uuid,
                user: p.user.map(|user| user.uuid),
                roles: c.active_roles,
                other_roles: c.active_x_acct_roles,
                from_job: c.fromjob,
            };
            (t, named)
        }
        _ => return Err(InvalidToken::Malformed),
    };
    // One from the future is young, as it is to the reference.
    let age_max = u64::try_from(keys.max_age.as_millis()).unwrap_or(u64::MAX);
    match now.as_millis().saturating_sub(made) > age_max {
        true => Err(InvalidToken::Expired),
        false => {
            let expires = made.saturating_add(age_max).saturating_add(1);
            Ok((named, Timestamp::from_millis(expires)))
        }
    }
}

fn encrypt(json: &[u8], keys: &AuthToken) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let zipped = gzip.write_all(json).and_then(|()| gzip.finish());
    let zipped = zipped.expect("writing to memory does not fail");
    let cipher = cbc::Encryptor::<Aes128>::new(&keys.key.into(), &keys.iv.into());
    STANDARD.encode(cipher.encrypt_padded_vec_mut::<Pkcs7>(&zipped))
}

fn decrypt(token: &str, keys: &AuthToken) -> Option<Vec<u8>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let sealed = STANDARD.decode(token).ok()?;
    let cipher = cbc::Decryptor::<Aes128>::new(&keys.key.into(), &keys.iv.into());
    let zipped = cipher.decrypt_padded_vec_mut::<Pkcs7>(&sealed).ok()?;
    let mut json = Vec::new();
    let mut unzip = GzDecoder::new(zipped.as_slice()).take(DOCUMENT_BYTES_MAX);
    unzip.read_to_end(&mut json).ok()?;
    Some(json)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The keys that the reference's source prints as its example.
    fn keys() -> AuthToken {
        AuthToken::parse(
            "5163205CA0C7F2752FD3A574E30F64DD",
            "6B11F0F0B786F96812D5A0799D5B217A",
            "C93A670ACC05C166",
            Duration::from_secs(60),
        )
        .unwrap()
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn named() -> Named {
        Named {
            account: AccountId::random(),
            user: Some(UserId::random()),
            roles: vec![Uuid::new_v4()],
            other_roles: vec![Uuid::new_v4(), Uuid::new_v4()],
            from_job: false,
        }
    }

    #[test]
    fn a_token_names_its_bearer_until_it_is_too_old() {
        let bearer = named();
        let token = seal(&bearer, &keys(), at(1000));
        let opened = Ok((bearer, at(61_001)));
        assert_eq!(open(&token, &keys(), at(61_000)), opened);
        assert_eq!(
            open(&token, &keys(), at(61_001)),
            Err(InvalidToken::Expired)
        );
        assert_eq!(open(&token, &keys(), at(0)), opened);
    }

    #[test]
    fn documents_of_the_reference_are_understood() {
        let account: AccountId = "bc8cd146-fecb-11e1-bd8a-bb6f54b49808".parse().unwrap();
        let role: Uuid = "bc8cd146-fecb-11e1-bd8a-bb6f54b49803".parse().unwrap();
        let plain = Named {
            account,
            user: None,
            roles: Vec::new(),
            other_roles: Vec::new(),
            from_job: false,
        };
        let with_roles = Named {
            roles: vec![role],
            from_job: true,
            ..plain.clone()
        };
        for (document, expected) in [
            (
                r#"{"t":1000,"p":{"account":{"uuid":"ACCOUNT"},"user":null,"roles":null},"c":{},"v":2}"#,
                Ok(plain.clone()),
            ),
            (
                r#"{"t":1000,"p":{"account":{"uuid":"ACCOUNT"},"user":null,"roles":{"x":{"type":"role"}}},"c":{"activeRoles":["ROLE"],"fromjob":true},"v":2}"#,
                Ok(with_roles),
            ),
            (
                r#"{"t":1000,"u":"ACCOUNT","l":"alice","g":["operators"],"v":1}"#,
                Ok(plain),
            ),
            (
                r#"{"t":1000,"u":"ACCOUNT","v":3}"#,
                Err(InvalidToken::Malformed),
            ),
            (
                r#"{"t":1000,"p":{"account":null},"c":{},"v":2}"#,
                Err(InvalidToken::Malformed),
            ),
            (r#"{"t":1000,"v":2}"#, Err(InvalidToken::Malformed)),
            ("null", Err(InvalidToken::Malformed)),
            ("", Err(InvalidToken::Malformed)),
        ] {
            let filled = document.replace("ACCOUNT", &account.to_string());
            let filled = filled.replace("ROLE", &role.to_string());
            let token = encrypt(filled.as_bytes(), &keys());
            let opened = open(&token, &keys(), at(1000)).map(|(named, _)| named);
            assert_eq!(opened, expected, "{document}");
        }
    }

    /// Made with `openssl enc -aes-128-cbc -K … -iv …` over `gzip`, as the reference does it.
    #[test]
    fn another_program_makes_the_same() {
        let account = "bc8cd146-fecb-11e1-bd8a-bb6f54b49808".parse().unwrap();
        let (opened, _) = open(MADE_BY_OPENSSL, &keys(), at(1000)).unwrap();
        assert_eq!((opened.account, opened.user), (account, None));
    }

    #[test]
    fn other_keys_and_nonsense_open_nothing() {
        let token = seal(&named(), &keys(), at(1000));
        let other = AuthToken {
            key: [7; 16],
            ..keys()
        };
        assert_eq!(open(&token, &other, at(1000)), Err(InvalidToken::Malformed));
        let long = "A".repeat(TOKEN_BYTES_MAX + 4);
        for nonsense in ["", "A", "%%%", "AAAA", &token[..token.len() - 4], &long] {
            assert_eq!(
                open(nonsense, &keys(), at(1000)),
                Err(InvalidToken::Malformed)
            );
        }
    }

    #[test]
    fn what_decompresses_to_too_much_is_not_kept() {
        let bomb = format!("{{\"v\":2,\"x\":\"{}\"}}", "a".repeat(4 << 20));
        let token = encrypt(bomb.as_bytes(), &keys());
        assert!(token.len() <= TOKEN_BYTES_MAX, "{}", token.len());
        assert_eq!(
            open(&token, &keys(), at(1000)),
            Err(InvalidToken::Malformed)
        );
    }

    const MADE_BY_OPENSSL: &str = concat!(
        "JpQ7pSx9gyhlnh5ExCgKLBr9hk1GPWaXyAXqwIJykPSkVfqw9YteCxs/lQetZVrLpN+R9WFeWeuY",
        "qR4VPZ/jcfkOCLz7LzLlHZo7GETDd5I2wcUchSi1JGuyqjwetY5tRW73DxPiALihVUPRySt67ZQI",
        "3xZwJ8HVbVpXgW1zK+E=",
    );
}

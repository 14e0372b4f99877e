//! Tokens: a principal and an end of life under an HMAC. Whoever holds one acts as the principal; nobody
//! can make or change one without the store's secret. Nothing in it is confidential.
//!
//! ```text
//! base64url( version (1 byte) | JSON of Claims | HMAC-SHA-256 of all before (32 bytes) )
//! ```
//!
//! Version 2 has a subuser or active roles. A program that knows neither takes it for malformed; it would let its
//! bearer act as the whole account otherwise. Everything else is version 1.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libmanta::Timestamp;
use libmanta::mahi::{Bearer, InvalidToken, Principal};
use ring::hmac;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
const VERSION_WITH_ROLES: u8 = 2;
const TAG_BYTES: usize = 32;

/// Far above every token we make; the work for one that we did not make is bounded by it.
const TOKEN_BYTES_MAX: usize = 8192;

#[derive(Serialize, Deserialize)]
struct Claims {
    principal: Principal,
    expires: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Sealer {
    key: hmac::Key,
}

impl Sealer {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        // The secret may come to seal other things; what is derived from it for one use says so.
        let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&master, b"manta token");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        }
    }

    pub(crate) fn seal(&self, principal: &Principal, expires: Timestamp) -> String {
        let claims = Claims {
            principal: principal.clone(),
            expires,
        };
        let version = match principal.user.is_none() && principal.roles.is_empty() {
            true => VERSION,
            false => VERSION_WITH_ROLES,
        };
        let mut bytes = vec![version];
        let json = serde_json::to_vec(&claims).expect("plain data: Claims holds no maps");
        bytes.extend_from_slice(&json);
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn open(&self, token: &str, now: Timestamp) -> Result<Bearer, InvalidToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| InvalidToken::Malformed)?;
        let at = bytes
            .len()
            .checked_sub(TAG_BYTES)
            .ok_or(InvalidToken::Malformed)?;
        let (sealed, tag) = bytes.split_at(at);
        hmac::verify(&self.key, sealed, tag).map_err(|_| InvalidToken::Malformed)?;
        let Some((&(VERSION | VERSION_WITH_ROLES), json)) = sealed.split_first() else {
            return Err(InvalidToken::Malformed);
        };
        let Claims { principal, expires } =
            serde_json::from_slice(json).map_err(|_| InvalidToken::Malformed)?;
        match now >= expires {
            true => Err(InvalidToken::Expired),
            false => Ok(Bearer { principal, expires }),
        }
    }
}

#[cfg(test)]
mod tests {
    use libmanta::{Account, AccountId, Login};

    use super::*;

    fn principal() -> Principal {
        let login = Login::parse("alice").unwrap();
        Principal {
            from_job: true,
            ..Principal::of(&Account::new(AccountId::random(), login))
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_token_says_who_until_it_expires() {
        let sealer = Sealer::new(&[7; 32]);
        let alice = principal();
        let token = sealer.seal(&alice, at(1000));
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        let bearer = Bearer {
            principal: alice,
            expires: at(1000),
        };
        assert_eq!(sealer.open(&token, at(999)), Ok(bearer));
        assert_eq!(sealer.open(&token, at(1000)), Err(InvalidToken::Expired));
    }

    #[test]
    fn another_secret_or_any_other_bit_opens_nothing() {
        let token = Sealer::new(&[7; 32]).seal(&principal(), at(1000));
        let other = Sealer::new(&[8; 32]);
        assert_eq!(other.open(&token, at(0)), Err(InvalidToken::Malformed));
        let sealer = Sealer::new(&[7; 32]);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at_byte in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at_byte] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(
                sealer.open(&changed, at(0)),
                Err(InvalidToken::Malformed),
                "{at_byte}"
            );
        }
    }

    #[test]
    fn subusers_and_roles_are_restored_and_make_a_version_of_their_own() {
        let sealer = Sealer::new(&[7; 32]);
        let roles = (0..crate::HELD_MAX).map(|_| uuid::Uuid::new_v4()).collect();
        let user = libmanta::mahi::ActingUser {
            id: libmanta::UserId::random(),
            login: Login::parse(&"u".repeat(64)).unwrap(),
        };
        let bob = Principal {
            user: Some(user),
            roles,
            ..principal()
        };
        let token = sealer.seal(&bob, at(u64::MAX));
        assert!(token.len() <= TOKEN_BYTES_MAX, "{}", token.len());
        assert_eq!(sealer.open(&token, at(0)).unwrap().principal, bob);
        assert_eq!(URL_SAFE_NO_PAD.decode(&token).unwrap()[0], 2);
        let plain = sealer.seal(&principal(), at(1));
        assert_eq!(URL_SAFE_NO_PAD.decode(&plain).unwrap()[0], 1);
    }

    #[test]
    fn nonsense_is_malformed() {
        let sealer = Sealer::new(&[7; 32]);
        let long = "A".repeat(100_000);
        for token in ["", "A", "%%%", "\u{20ac}", "AAAA", long.as_str()] {
            assert_eq!(sealer.open(token, at(0)), Err(InvalidToken::Malformed));
        }
    }
}

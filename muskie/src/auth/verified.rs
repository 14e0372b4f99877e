//! What was verified once and need not be again.
//!
//! A verified signature is remembered by a digest of everything it covers, so that a client that signs a date
//! once a second costs one verification a second. Nothing else is remembered: account and key are looked up
//! and every time limit is compared for each request.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use httpsig::{Algorithm, PublicKey};
use libmanta::{AccountId, UserId};
use quick_cache::sync::Cache;
use ring::digest;
use uuid::Uuid;

use crate::errors::{Error, Result};
use crate::metrics::Metrics;

/// An entry is a digest, however long the headers of the request were: a full cache is about a mebibyte.
const VERIFIED_MAX: usize = 16_384;
const PARSED_KEYS_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct SignatureCache {
    verified: Cache<Verified, ()>,
    keys: Cache<String, Arc<PublicKey>>,
}

/// A key in somebody's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signer<'a> {
    pub(crate) account: AccountId,
    pub(crate) user: Option<UserId>,
    /// The name of the key there.
    pub(crate) fingerprint: &'a str,
    /// The key, as an OpenSSH line.
    pub(crate) line: &'a str,
}

/// What somebody is said to have signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) covered: &'a str,
    pub(crate) signature: &'a [u8],
}

/// SHA-256 over who signed what, with what, and how: whoever could find two questions with one digest could
/// pass for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Verified([u8; 32]);

impl Verified {
    fn new(signer: Signer<'_>, signed: Signed<'_>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(signer.account.as_uuid().as_bytes());
        let user = signer.user.as_ref().map_or(Uuid::nil(), |id| *id.as_uuid());
        context.update(user.as_bytes());
        // Lengths first, so that no byte can move from one part to the next.
        for part in [
            signer.fingerprint.as_bytes(),
            signed.algorithm.name().as_bytes(),
            signed.covered.as_bytes(),
            signed.signature,
        ] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_le_bytes());
            context.update(part);
        }
        let mut question = [0; 32];
        question.copy_from_slice(context.finish().as_ref());
        Self(question)
    }
}

impl Default for SignatureCache {
    fn default() -> Self {
        Self {
            verified: Cache::new(VERIFIED_MAX),
            keys: Cache::new(PARSED_KEYS_MAX),
        }
    }
}

impl SignatureCache {
    /// The parsed form of an OpenSSH line; `None` for one that does not parse.
    pub(crate) fn key(&self, line: &str) -> Option<Arc<PublicKey>> {
        if let Some(key) = self.keys.get(line) {
            return Some(key);
        }
        let key = Arc::new(PublicKey::parse_openssh(line).ok()?);
        self.keys.insert(line.to_owned(), key.clone());
        Some(key)
    }

    /// Whether the signature is the signer's over that text.
    pub(crate) fn check(
        &self,
        metrics: &Metrics,
        signer: Signer<'_>,
        signed: Signed<'_>,
    ) -> Result<()> {
        let question = Verified::new(signer, signed);
        if self.verified.get(&question).is_some() {
            metrics.signatures_from_cache.fetch_add(1, Relaxed);
            return Ok(());
        }
        // Registered keys parsed when they were added; one that does not any more matches nothing.
        let key = self.key(signer.line).ok_or(Error::InvalidSignature)?;
        key.verify(
            signed.algorithm,
            signed.covered.as_bytes(),
            signed.signature,
        )
        .map_err(|_| Error::InvalidSignature)?;
        metrics.signatures_verified.fetch_add(1, Relaxed);
        self.verified.insert(question, ());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_verified_signature_counts() {
        let algorithm = |name| Algorithm::parse(name).unwrap();
        let signer = Signer {
            account: AccountId::random(),
            user: None,
            fingerprint: "f",
            line: "",
        };
        let signed = Signed {
            algorithm: algorithm("ed25519-sha512"),
            covered: "date: x",
            signature: b"sig",
        };
        let question = Verified::new(signer, signed);
        assert_eq!(question, Verified::new(signer, signed));
        let account = AccountId::random();
        let user = Some(UserId::random());
        let fingerprint = "g";
        for other in [
            Verified::new(Signer { account, ..signer }, signed),
            Verified::new(Signer { user, ..signer }, signed),
            Verified::new(
                Signer {
                    fingerprint,
                    ..signer
                },
                signed,
            ),
            Verified::new(
                signer,
                Signed {
                    algorithm: algorithm("rsa-sha256"),
                    ..signed
                },
            ),
            Verified::new(
                signer,
                Signed {
                    covered: "date: y",
                    ..signed
                },
            ),
            Verified::new(
                signer,
                Signed {
                    signature: b"gis",
                    ..signed
                },
            ),
            // The same bytes in a row, cut elsewhere.
            Verified::new(
                signer,
                Signed {
                    covered: "date: xs",
                    signature: b"ig",
                    ..signed
                },
            ),
        ] {
            assert_ne!(question, other);
        }
    }
}

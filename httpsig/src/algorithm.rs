//! Names of signature algorithms, such as `rsa-sha256`.
//!
//! An ECDSA name does not say which curve: a P-384 key may sign with `ecdsa-sha256`, and then the hash is
//! SHA-256 and the arithmetic is P-384's.

use std::fmt;

/// The family of keys an algorithm name asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// RSA, PKCS#1 v1.5.
    Rsa,
    /// DSA, signatures in DER.
    Dsa,
    /// ECDSA over whatever curve the key has, signatures in DER.
    Ecdsa,
    /// Ed25519, which hashes by itself; its `sha512` is a convention of the name.
    Ed25519,
}

/// The hash a signature is made over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// A pair of scheme and hash from the list of pairs that Manta accepts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Algorithm {
    scheme: Scheme,
    hash: Hash,
}

/// Why a name is not an [`Algorithm`]. Both carry the name as it was sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AlgorithmError {
    /// Nothing that this protocol knows.
    #[error("{0} is not supported")]
    Unknown(String),
    /// A well-formed name that Manta does not allow, for example `hmac-sha256`.
    #[error("{0} is not a supported signing algorithm")]
    NotAllowed(String),
}

impl Algorithm {
    /// Every accepted algorithm. SHA-1 with RSA is here because older clients have nothing else.
    pub const ALL: [Algorithm; 10] = [
        Algorithm::new(Scheme::Rsa, Hash::Sha1),
        Algorithm::new(Scheme::Rsa, Hash::Sha256),
        Algorithm::new(Scheme::Rsa, Hash::Sha384),
        Algorithm::new(Scheme::Rsa, Hash::Sha512),
        Algorithm::new(Scheme::Dsa, Hash::Sha1),
        Algorithm::new(Scheme::Dsa, Hash::Sha256),
        Algorithm::new(Scheme::Ecdsa, Hash::Sha256),
        Algorithm::new(Scheme::Ecdsa, Hash::Sha384),
        Algorithm::new(Scheme::Ecdsa, Hash::Sha512),
        Algorithm::new(Scheme::Ed25519, Hash::Sha512),
    ];

    pub(crate) const fn new(scheme: Scheme, hash: Hash) -> Algorithm {
        Algorithm { scheme, hash }
    }

    /// Reads a name in any case, such as `RSA-SHA256`.
    pub fn parse(name: &str) -> Result<Algorithm, AlgorithmError> {
        let lower = name.to_ascii_lowercase();
        if let Some(algorithm) = Self::ALL.into_iter().find(|known| known.name() == lower) {
            return Ok(algorithm);
        }
        let well_formed = lower.split_once('-').is_some_and(|(scheme, hash)| {
            matches!(scheme, "rsa" | "dsa" | "ecdsa" | "ed25519" | "hmac")
                && matches!(hash, "sha1" | "sha256" | "sha384" | "sha512")
        });
        if well_formed {
            Err(AlgorithmError::NotAllowed(name.to_owned()))
        } else {
            Err(AlgorithmError::Unknown(name.to_owned()))
        }
    }

    #[must_use]
    pub fn scheme(self) -> Scheme {
        self.scheme
    }

    #[must_use]
    pub fn hash(self) -> Hash {
        self.hash
    }

    /// The name as it travels: lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.scheme, self.hash) {
            (Scheme::Rsa, Hash::Sha1) => "rsa-sha1",
            (Scheme::Rsa, Hash::Sha256) => "rsa-sha256",
            (Scheme::Rsa, Hash::Sha384) => "rsa-sha384",
            (Scheme::Rsa, Hash::Sha512) => "rsa-sha512",
            (Scheme::Dsa, Hash::Sha1) => "dsa-sha1",
            (Scheme::Dsa, Hash::Sha256) => "dsa-sha256",
            (Scheme::Dsa, Hash::Sha384) => "dsa-sha384",
            (Scheme::Dsa, Hash::Sha512) => "dsa-sha512",
            (Scheme::Ecdsa, Hash::Sha1) => "ecdsa-sha1",
            (Scheme::Ecdsa, Hash::Sha256) => "ecdsa-sha256",
            (Scheme::Ecdsa, Hash::Sha384) => "ecdsa-sha384",
            (Scheme::Ecdsa, Hash::Sha512) => "ecdsa-sha512",
            (Scheme::Ed25519, Hash::Sha1) => "ed25519-sha1",
            (Scheme::Ed25519, Hash::Sha256) => "ed25519-sha256",
            (Scheme::Ed25519, Hash::Sha384) => "ed25519-sha384",
            (Scheme::Ed25519, Hash::Sha512) => "ed25519-sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Hash {
    /// The digest of `message`, 20 to 64 bytes.
    pub(crate) fn digest(self, message: &[u8]) -> ring::digest::Digest {
        let algorithm = match self {
            Hash::Sha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &ring::digest::SHA256,
            Hash::Sha384 => &ring::digest::SHA384,
            Hash::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_in_both_cases() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Ok(algorithm));
            assert_eq!(
                Algorithm::parse(&algorithm.name().to_uppercase()),
                Ok(algorithm)
            );
        }
    }

    #[test]
    fn known_shapes_off_the_list_are_told_from_nonsense() {
        for name in [
            "hmac-sha256",
            "HMAC-SHA1",
            "ecdsa-sha1",
            "dsa-sha512",
            "ed25519-sha256",
        ] {
            assert_eq!(
                Algorithm::parse(name),
                Err(AlgorithmError::NotAllowed(name.into()))
            );
        }
        for name in [
            "rsa-md5",
            "rsa",
            "",
            "-",
            "rsa-sha256-x",
            "RSA-MD5",
            "foo-sha256",
        ] {
            let error = Algorithm::parse(name).unwrap_err();
            assert_eq!(error.to_string(), format!("{name} is not supported"));
        }
    }
}

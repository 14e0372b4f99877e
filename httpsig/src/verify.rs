//! Verification: which library checks which kind of signature.
//!
//! | key | hash | by |
//! | --- | --- | --- |
//! | RSA, 2048 bits and more | all | `ring` |
//! | RSA, 1024 to 2047 bits | SHA-1, 256, 512 | `ring` |
//! | RSA, 1024 to 2047 bits | SHA-384 | RustCrypto |
//! | P-256, P-384 | SHA-256, SHA-384 | `ring` |
//! | P-256, P-384 | SHA-512 | RustCrypto |
//! | P-521 | all | RustCrypto |
//! | Ed25519 | its own | `ring` |
//! | DSA | SHA-1, 256 | RustCrypto |

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use ring::signature as r;
use rsa::pkcs1v15::Pkcs1v15Sign;

use crate::algorithm::{Algorithm, Hash};
use crate::public_key::{Material, PublicKey};

/// Why a signature does not count. Clients are told the same in both cases.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The algorithm is for another kind of key.
    #[error("the algorithm does not fit the key")]
    WrongScheme,
    /// The signature is not this key's over this message, or is no signature at all.
    #[error("the signature does not match")]
    Mismatch,
}

impl PublicKey {
    /// Checks that `signature` is this key's over `message`.
    ///
    /// Takes some tens of microseconds with `ring`, and up to a few milliseconds for P-521 and DSA: servers
    /// cache what they verified.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        if algorithm.scheme() != self.scheme() {
            return Err(VerifyError::WrongScheme);
        }
        let hash = algorithm.hash();
        match &self.material {
            Material::Rsa { n, e } => verify_rsa(n, e, hash, message, signature),
            Material::Dsa(key) => match key.verify(hash, message, signature) {
                true => Ok(()),
                false => Err(VerifyError::Mismatch),
            },
            Material::Ed25519(key) => verify_ring(&r::ED25519, key, message, signature),
            Material::P256(point) => match hash {
                Hash::Sha256 => verify_ring(&r::ECDSA_P256_SHA256_ASN1, point, message, signature),
                Hash::Sha384 => verify_ring(&r::ECDSA_P256_SHA384_ASN1, point, message, signature),
                Hash::Sha1 | Hash::Sha512 => {
                    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                        .map_err(|_| VerifyError::Mismatch)?;
                    let signature = p256::ecdsa::Signature::from_der(signature);
                    verify_prehash::<_, _, 32>(&key, hash, message, signature)
                }
            },
            Material::P384(point) => match hash {
                Hash::Sha256 => verify_ring(&r::ECDSA_P384_SHA256_ASN1, point, message, signature),
                Hash::Sha384 => verify_ring(&r::ECDSA_P384_SHA384_ASN1, point, message, signature),
                Hash::Sha1 | Hash::Sha512 => {
                    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                        .map_err(|_| VerifyError::Mismatch)?;
                    let signature = p384::ecdsa::Signature::from_der(signature);
                    verify_prehash::<_, _, 48>(&key, hash, message, signature)
                }
            },
            Material::P521(point) => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .map_err(|_| VerifyError::Mismatch)?;
                let signature = p521::ecdsa::Signature::from_der(signature);
                verify_prehash::<_, _, 66>(&key, hash, message, signature)
            }
        }
    }
}

/// A digest as the number that ECDSA signs, `N` bytes of the curve's field.
///
/// A longer digest loses its tail. A shorter one gets zeros in front, which leave the number what it is;
/// RustCrypto would refuse SHA-256 with P-521 as too short.
pub(crate) fn ecdsa_prehash<const N: usize>(hash: Hash, message: &[u8]) -> [u8; N] {
    let digest = hash.digest(message);
    let digest = digest.as_ref();
    let mut padded = [0; N];
    if digest.len() >= N {
        padded.copy_from_slice(&digest[..N]);
    } else {
        padded[N - digest.len()..].copy_from_slice(digest);
    }
    padded
}

fn verify_prehash<K, S, const N: usize>(
    key: &K,
    hash: Hash,
    message: &[u8],
    signature: Result<S, p256::ecdsa::Error>,
) -> Result<(), VerifyError>
where
    K: PrehashVerifier<S>,
{
    let signature = signature.map_err(|_| VerifyError::Mismatch)?;
    key.verify_prehash(&ecdsa_prehash::<N>(hash, message), &signature)
        .map_err(|_| VerifyError::Mismatch)
}

fn verify_ring(
    algorithm: &'static dyn r::VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    r::UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .map_err(|_| VerifyError::Mismatch)
}

fn verify_rsa(
    n: &[u8],
    e: &[u8],
    hash: Hash,
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let small = bit_length(n) < 2048;
    let parameters: &r::RsaParameters = match hash {
        Hash::Sha1 => &r::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => &r::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        Hash::Sha384 if small => return verify_rsa_sha384_small(n, e, message, signature),
        Hash::Sha384 => &r::RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &r::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    };
    r::RsaPublicKeyComponents { n, e }
        .verify(parameters, message, signature)
        .map_err(|_| VerifyError::Mismatch)
}

fn verify_rsa_sha384_small(
    n: &[u8],
    e: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let key = rsa::RsaPublicKey::new(
        rsa::BigUint::from_bytes_be(n),
        rsa::BigUint::from_bytes_be(e),
    )
    .map_err(|_| VerifyError::Mismatch)?;
    let digest = Hash::Sha384.digest(message);
    key.verify(
        Pkcs1v15Sign::new::<sha2::Sha384>(),
        digest.as_ref(),
        signature,
    )
    .map_err(|_| VerifyError::Mismatch)
}

/// Of a big-endian number without leading zeros.
fn bit_length(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Scheme;

    #[test]
    fn a_digest_becomes_the_number_that_the_curve_signs() {
        let long: [u8; 32] = ecdsa_prehash(Hash::Sha512, b"x");
        assert_eq!(long, Hash::Sha512.digest(b"x").as_ref()[..32]);
        let short: [u8; 66] = ecdsa_prehash(Hash::Sha256, b"x");
        assert_eq!(short[..34], [0; 34]);
        assert_eq!(short[34..], *Hash::Sha256.digest(b"x").as_ref());
    }

    #[test]
    fn bits_are_counted_from_the_first_one() {
        assert_eq!(bit_length(&[]), 0);
        assert_eq!(bit_length(&[1, 0]), 9);
        assert_eq!(bit_length(&[0xff; 128]), 1024);
    }

    #[test]
    fn dsa_names_fit_no_other_key() {
        let key = PublicKey::from_ed25519([1; 32]);
        let dsa = Algorithm::new(Scheme::Dsa, Hash::Sha1);
        assert_eq!(key.verify(dsa, b"", b""), Err(VerifyError::WrongScheme));
    }
}

//! Signing, in the form each algorithm has on the wire: PKCS#1 v1.5, DER, or 64 raw bytes.

use p256::ecdsa::signature::hazmat::{PrehashSigner as _, RandomizedPrehashSigner as _};
use ring::rand::SystemRandom;
use ring::signature as r;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::rand_core::OsRng;

use crate::algorithm::{Algorithm, Hash};
use crate::private_key::{PrivateKey, Secret};
use crate::verify::ecdsa_prehash;

/// Why there is no signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignError {
    /// The algorithm is for another kind of key.
    #[error("the algorithm does not fit the key")]
    WrongScheme,
    /// The key could not sign: too short for the hash, or no random numbers to be had.
    #[error("the key could not sign")]
    Failed,
}

impl PrivateKey {
    /// Signs `message`. Takes up to some milliseconds for large RSA keys.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if algorithm.scheme() != self.public().scheme() {
            return Err(SignError::WrongScheme);
        }
        let hash = algorithm.hash();
        match &self.secret {
            Secret::Rsa { key, fast } => sign_rsa(key, fast.as_deref(), hash, message),
            Secret::Dsa(key) => key.sign(hash, message).ok_or(SignError::Failed),
            Secret::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key
                    .sign_prehash(&ecdsa_prehash::<32>(hash, message))
                    .map_err(|_| SignError::Failed)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Secret::P384(key) => {
                let signature: p384::ecdsa::Signature = key
                    .sign_prehash(&ecdsa_prehash::<48>(hash, message))
                    .map_err(|_| SignError::Failed)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Secret::P521(key) => {
                let signature: p521::ecdsa::Signature = key
                    .sign_prehash_with_rng(&mut OsRng, &ecdsa_prehash::<66>(hash, message))
                    .map_err(|_| SignError::Failed)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
        }
    }
}

fn sign_rsa(
    key: &rsa::RsaPrivateKey,
    fast: Option<&r::RsaKeyPair>,
    hash: Hash,
    message: &[u8],
) -> Result<Vec<u8>, SignError> {
    let encoding: Option<&'static dyn r::RsaEncoding> = match hash {
        Hash::Sha1 => None,
        Hash::Sha256 => Some(&r::RSA_PKCS1_SHA256),
        Hash::Sha384 => Some(&r::RSA_PKCS1_SHA384),
        Hash::Sha512 => Some(&r::RSA_PKCS1_SHA512),
    };
    if let (Some(pair), Some(encoding)) = (fast, encoding) {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| SignError::Failed)?;
        return Ok(signature);
    }
    let padding = match hash {
        Hash::Sha1 => Pkcs1v15Sign::new::<sha1::Sha1>(),
        Hash::Sha256 => Pkcs1v15Sign::new::<sha2::Sha256>(),
        Hash::Sha384 => Pkcs1v15Sign::new::<sha2::Sha384>(),
        Hash::Sha512 => Pkcs1v15Sign::new::<sha2::Sha512>(),
    };
    // Blinded, for the timing of the plain form would depend on the key.
    key.sign_with_rng(&mut OsRng, padding, hash.digest(message).as_ref())
        .map_err(|_| SignError::Failed)
}

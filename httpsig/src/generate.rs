//! Making a key.
//!
//! RSA with 2048 bits in PKCS#8 PEM, because that is what every client of the ecosystem reads and signs
//! with: the npm client refuses some curves, the PyPI one knows neither Ed25519 nor OpenSSH's own format
//! in all of its versions. More bits would make each request slower to sign and protect nothing that the
//! other 2048-bit keys of the world do not leave open.

use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;

use crate::private_key::PrivateKey;

const RSA_BITS: usize = 2048;

/// A new key as the files that clients read.
#[derive(Clone)]
pub struct GeneratedKey {
    /// PKCS#8 PEM, for a file only its owner may read.
    pub private_pem: String,
    /// The OpenSSH line, without a line end. Some clients look for it in a `.pub` file beside the other.
    pub public_openssh: String,
    /// The fingerprint that goes into `MANTA_KEY_ID`.
    pub md5_fingerprint: String,
}

/// The machine gave no random numbers, or the key could not be written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("could not make a key")]
pub struct GenerateError;

/// Makes a key. Takes between a tenth of a second and a few seconds of one processor.
pub fn generate(comment: &str) -> Result<GeneratedKey, GenerateError> {
    let key = rsa::RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|_| GenerateError)?;
    let private_pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| GenerateError)?
        .to_string();
    let key = PrivateKey::from_rsa(key).map_err(|_| GenerateError)?;
    let public = key.public().clone().with_comment(comment);
    Ok(GeneratedKey {
        private_pem,
        public_openssh: public.to_openssh(),
        md5_fingerprint: public.md5_fingerprint(),
    })
}

/// Never shows the private half.
impl std::fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneratedKey")
            .field("public_openssh", &self.public_openssh)
            .field("md5_fingerprint", &self.md5_fingerprint)
            .finish_non_exhaustive()
    }
}

//! Fingerprints of public keys.
//!
//! Manta's wire form is the MD5 as colon-separated lower-case hex pairs; `SHA256:` with unpadded base64 is
//! what `ssh-keygen -l` prints today. Either names a key here.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use md5::{Digest as _, Md5};

use crate::algorithm::Hash;

/// The digest of a key's SSH wire form.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fingerprint {
    Md5([u8; 16]),
    Sha256([u8; 32]),
}

/// Not a fingerprint in any of the forms that are understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is neither an MD5 fingerprint (aa:bb:…) nor a SHA256 one (SHA256:…)")]
pub struct FingerprintError(String);

impl Fingerprint {
    pub(crate) fn md5_of(wire: &[u8]) -> Fingerprint {
        Fingerprint::Md5(Md5::digest(wire).into())
    }

    pub(crate) fn sha256_of(wire: &[u8]) -> Fingerprint {
        let mut digest = [0; 32];
        digest.copy_from_slice(Hash::Sha256.digest(wire).as_ref());
        Fingerprint::Sha256(digest)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fingerprint::Md5(digest) => {
                for (index, byte) in digest.iter().enumerate() {
                    let colon = if index == 0 { "" } else { ":" };
                    write!(f, "{colon}{byte:02x}")?;
                }
                Ok(())
            }
            Fingerprint::Sha256(digest) => {
                write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(digest))
            }
        }
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Takes `aa:bb:…` (any case, with or without an `MD5:` in front) and `SHA256:…` (with or without
    /// padding).
    fn from_str(text: &str) -> Result<Fingerprint, FingerprintError> {
        let error = || FingerprintError(text.to_owned());
        let trimmed = text.trim();
        if let Some(encoded) = trimmed.strip_prefix("SHA256:") {
            let digest = STANDARD_NO_PAD
                .decode(encoded.trim_end_matches('='))
                .map_err(|_| error())?;
            return Ok(Fingerprint::Sha256(digest.try_into().map_err(|_| error())?));
        }
        let mut digest = [0; 16];
        let mut pairs = trimmed.strip_prefix("MD5:").unwrap_or(trimmed).split(':');
        for byte in &mut digest {
            let pair = pairs.next().ok_or_else(error)?;
            // `from_str_radix` alone would take a sign.
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(error());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
        }
        match pairs.next() {
            None => Ok(Fingerprint::Md5(digest)),
            Some(_) => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_read_back() {
        for fingerprint in [Fingerprint::md5_of(b"key"), Fingerprint::sha256_of(b"key")] {
            let text = fingerprint.to_string();
            assert_eq!(text.parse(), Ok(fingerprint));
        }
        let md5 = Fingerprint::md5_of(b"key");
        assert_eq!(
            format!("MD5:{}", md5.to_string().to_uppercase()).parse(),
            Ok(md5)
        );
        let sha256 = Fingerprint::sha256_of(b"key");
        assert_eq!(format!("{sha256}=").parse(), Ok(sha256));
    }

    #[test]
    fn refuses_what_is_neither() {
        let long = format!("{}:00", Fingerprint::md5_of(b""));
        let signed = Fingerprint::md5_of(b"").to_string().replacen("d4", "+4", 1);
        for text in [
            "",
            "aa",
            "SHA256:",
            "SHA256:AAAA",
            "sha256:x",
            "zz:zz",
            &long,
            &signed,
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}

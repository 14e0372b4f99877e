//! OpenSSH's own format for private keys, `-----BEGIN OPENSSH PRIVATE KEY-----`.
//!
//! ```text
//! "openssh-key-v1\0"  string cipher  string kdf  string kdf-options  u32 keys (1)
//! string public-key
//! string { u32 check  u32 check  string type  numbers…  string comment  padding 1 2 3 … }
//! ```
//!
//! Only `cipher = none` is read. The public key is stated outside the private part as well; the caller
//! compares, because a file in which they disagree is damaged or forged.

use rsa::BigUint;

use crate::dsa_key::{DsaPrivate, DsaPublic};
use crate::public_key::{KeyError, PublicKey};
use crate::wire::Fields;

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// What the file holds. Scalars are as long as the field of their curve.
pub(crate) struct OpensshKey {
    pub(crate) public: PublicKey,
    pub(crate) secret: OpensshSecret,
}

pub(crate) enum OpensshSecret {
    Rsa(Box<rsa::RsaPrivateKey>),
    Dsa(Box<DsaPrivate>),
    Ecdsa(Vec<u8>),
    Ed25519(Vec<u8>),
}

pub(crate) fn read(der: &[u8]) -> Result<OpensshKey, KeyError> {
    let malformed = KeyError::Malformed("OpenSSH");
    let outer = read_outer(der).ok_or(malformed.clone())?;
    if outer.keys != 1 {
        return Err(malformed);
    }
    let public = PublicKey::from_wire(outer.public)?;
    if outer.cipher != b"none" {
        return Err(KeyError::Encrypted);
    }
    let mut fields = Fields::new(outer.private);
    let (secret, comment) = read_private(&mut fields).ok_or(malformed.clone())?;
    // The padding counts up from one; anything else was not written by ssh-keygen.
    let padded = fields
        .rest()
        .iter()
        .zip(1u8..)
        .all(|(byte, expected)| *byte == expected);
    if !padded || fields.rest().len() > 16 {
        return Err(malformed);
    }
    let public = public.with_comment(&String::from_utf8_lossy(comment));
    Ok(OpensshKey { public, secret })
}

/// What is outside of the private part.
struct Outer<'a> {
    cipher: &'a [u8],
    keys: u32,
    public: &'a [u8],
    private: &'a [u8],
}

fn read_outer(der: &[u8]) -> Option<Outer<'_>> {
    let mut fields = Fields::new(der.strip_prefix(MAGIC)?);
    let cipher = fields.string()?;
    let (_kdf, _kdf_options) = (fields.string()?, fields.string()?);
    let keys = fields.number()?;
    let (public, private) = (fields.string()?, fields.string()?);
    Some(Outer {
        cipher,
        keys,
        public,
        private,
    })
}

fn read_private<'a>(fields: &mut Fields<'a>) -> Option<(OpensshSecret, &'a [u8])> {
    if fields.number()? != fields.number()? {
        return None;
    }
    let secret = match fields.string()? {
        b"ssh-rsa" => {
            let mut number = || fields.positive().map(BigUint::from_bytes_be);
            let (n, e, d) = (number()?, number()?, number()?);
            let _inverse_of_q = number()?;
            let primes = vec![number()?, number()?];
            let key = rsa::RsaPrivateKey::from_components(n, e, d, primes).ok()?;
            OpensshSecret::Rsa(Box::new(key))
        }
        b"ssh-dss" => {
            let mut number = || fields.positive();
            let (p, q, g) = (number()?, number()?, number()?);
            let (y, x) = (number()?, number()?);
            let public = DsaPublic::new(p, q, g, y).ok()?;
            OpensshSecret::Dsa(Box::new(DsaPrivate::new(&public, x).ok()?))
        }
        b"ssh-ed25519" => {
            fields.string()?;
            // The seed, and behind it the public key once more.
            OpensshSecret::Ed25519(fields.string()?.get(..32)?.to_vec())
        }
        name => {
            let length = match name {
                b"ecdsa-sha2-nistp256" => 32,
                b"ecdsa-sha2-nistp384" => 48,
                b"ecdsa-sha2-nistp521" => 66,
                _ => return None,
            };
            fields.string()?;
            fields.string()?;
            // A number, so zeros at its front are gone: put them back.
            let digits = fields.positive()?;
            let mut scalar = vec![0; length];
            let start = length.checked_sub(digits.len())?;
            scalar[start..].copy_from_slice(digits);
            OpensshSecret::Ecdsa(scalar)
        }
    };
    Some((secret, fields.string()?))
}

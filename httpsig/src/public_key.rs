//! Public keys: the forms they are written in, and the one form they are kept in.
//!
//! A key is checked once, when it is read: curve points lie on their curve, RSA sizes are within bounds.
//! Its identity is the SSH wire form, whichever file format it came from, so fingerprints agree with
//! `ssh-keygen -l`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::BigUint;
use rsa::pkcs8::der::Decode as _;
use rsa::pkcs8::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use crate::algorithm::{Algorithm, Hash, Scheme};
use crate::dsa_key::DsaPublic;
use crate::fingerprint::Fingerprint;
use crate::pem::find_key_block;
use crate::wire::{Fields, put_positive, put_string};

/// Smaller moduli were factored long ago; keys of 1024 bits are old, but their owners still have them.
const RSA_BITS_MIN: usize = 1024;
/// Verifying costs the square of the size, and a server does it for strangers.
const RSA_BITS_MAX: usize = 8192;
/// `ring` and RustCrypto both stop at 33 bits.
const RSA_EXPONENT_BITS_MAX: usize = 33;

pub(crate) const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const OID_DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
pub(crate) const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(crate) const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(crate) const OID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A public key that can verify signatures.
#[derive(Clone, Eq, PartialEq)]
pub struct PublicKey {
    pub(crate) material: Material,
    /// The SSH wire form of `material`.
    wire: Vec<u8>,
    comment: String,
}

/// The numbers of a key, big-endian and without leading zeros; points uncompressed and on their curve.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Dsa(Box<DsaPublic>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Ed25519([u8; 32]),
}

impl Material {
    fn ssh_name(&self) -> &'static str {
        match self {
            Material::Rsa { .. } => "ssh-rsa",
            Material::Dsa(_) => "ssh-dss",
            Material::P256(_) => "ecdsa-sha2-nistp256",
            Material::P384(_) => "ecdsa-sha2-nistp384",
            Material::P521(_) => "ecdsa-sha2-nistp521",
            Material::Ed25519(_) => "ssh-ed25519",
        }
    }
}

/// Why a text is not a usable key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// None of the formats that are understood.
    #[error("not a key in a known format")]
    UnknownFormat,
    /// The outside is a known format, the inside is damaged.
    #[error("malformed {0} key")]
    Malformed(&'static str),
    /// The private key needs a passphrase.
    #[error("the key is protected by a passphrase; load it into ssh-agent, or use one without")]
    Encrypted,
    /// A kind of key that cannot sign requests here.
    #[error("{0} keys are not supported; use RSA, ECDSA or Ed25519")]
    Unsupported(String),
    /// An RSA key outside the accepted sizes.
    #[error("an RSA key of {0} bits is not accepted; use {RSA_BITS_MIN} to {RSA_BITS_MAX}")]
    RsaSize(usize),
    /// A public key where a private one was asked for.
    #[error("this is a public key; the private one is needed")]
    NotPrivate,
}

impl PublicKey {
    /// Reads a key in any known form: an OpenSSH line, SPKI PEM or PKCS#1 PEM.
    pub fn parse(text: &str) -> Result<PublicKey, KeyError> {
        if !text.contains("-----BEGIN ") {
            return PublicKey::parse_openssh(text);
        }
        let block = find_key_block(text).ok_or(KeyError::UnknownFormat)?;
        match block.label.as_str() {
            "PUBLIC KEY" => PublicKey::from_spki(&block.der),
            "RSA PUBLIC KEY" => PublicKey::from_pkcs1(&block.der),
            _ => Err(KeyError::UnknownFormat),
        }
    }

    /// Reads an OpenSSH line, `ssh-rsa AAAA… comment`, with or without the comment.
    pub fn parse_openssh(line: &str) -> Result<PublicKey, KeyError> {
        let line = line.trim();
        let mut words = line.splitn(3, [' ', '\t']);
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
            return Err(KeyError::UnknownFormat);
        };
        if kind.starts_with("sk-") || kind.contains("-cert-v01@") {
            return Err(KeyError::Unsupported(kind.to_owned()));
        }
        let wire = STANDARD
            .decode(encoded)
            .map_err(|_| KeyError::UnknownFormat)?;
        // The name stands twice; a line in which the two differ is somebody's mistake.
        if Fields::new(&wire).string() != Some(kind.as_bytes()) {
            return Err(KeyError::UnknownFormat);
        }
        Ok(PublicKey::from_wire(&wire)?.with_comment(words.next().unwrap_or_default()))
    }

    /// Reads the SSH wire form, as ssh-agent gives it.
    pub fn from_wire(wire: &[u8]) -> Result<PublicKey, KeyError> {
        let malformed = KeyError::Malformed("SSH");
        let mut fields = Fields::new(wire);
        let name = fields.string().ok_or(malformed.clone())?;
        let key = match name {
            b"ssh-rsa" => {
                let e = fields.positive().ok_or(malformed.clone())?;
                let n = fields.positive().ok_or(malformed.clone())?;
                PublicKey::from_rsa(n, e)?
            }
            b"ssh-dss" => {
                let mut number = || fields.positive().ok_or(malformed.clone());
                let (p, q, g, y) = (number()?, number()?, number()?, number()?);
                PublicKey::from_dsa(DsaPublic::new(p, q, g, y)?)
            }
            b"ssh-ed25519" => {
                let key = fields.string().and_then(|key| key.try_into().ok());
                PublicKey::from_ed25519(key.ok_or(malformed.clone())?)
            }
            b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ecdsa-sha2-nistp521" => {
                let curve = fields.string().ok_or(malformed.clone())?;
                let point = fields.string().ok_or(malformed.clone())?;
                let key = PublicKey::from_sec1(point)?;
                if name != key.ssh_name().as_bytes() || !name.ends_with(curve) {
                    return Err(malformed);
                }
                key
            }
            other => {
                return Err(KeyError::Unsupported(
                    String::from_utf8_lossy(other).into_owned(),
                ));
            }
        };
        fields.end().ok_or(malformed)?;
        Ok(key)
    }

    pub(crate) fn from_rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, KeyError> {
        let (n, e) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&n.bits()) {
            return Err(KeyError::RsaSize(n.bits()));
        }
        let odd = |number: &BigUint| {
            number
                .to_bytes_le()
                .first()
                .is_some_and(|byte| byte & 1 == 1)
        };
        if !odd(&n) || !odd(&e) || e.bits() < 2 || e.bits() > RSA_EXPONENT_BITS_MAX {
            return Err(KeyError::Malformed("RSA"));
        }
        let (n, e) = (n.to_bytes_be(), e.to_bytes_be());
        Ok(PublicKey::new(Material::Rsa { n, e }))
    }

    /// Takes a point in SEC1 form; the length says the curve.
    pub(crate) fn from_sec1(point: &[u8]) -> Result<PublicKey, KeyError> {
        let bad = |_| KeyError::Malformed("ECDSA");
        let material = match point.len() {
            33 | 65 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(bad)?;
                Material::P256(key.to_encoded_point(false).as_bytes().to_vec())
            }
            49 | 97 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(bad)?;
                Material::P384(key.to_encoded_point(false).as_bytes().to_vec())
            }
            67 | 133 => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(bad)?;
                Material::P521(key.to_encoded_point(false).as_bytes().to_vec())
            }
            _ => return Err(KeyError::Malformed("ECDSA")),
        };
        Ok(PublicKey::new(material))
    }

    pub(crate) fn from_dsa(key: DsaPublic) -> PublicKey {
        PublicKey::new(Material::Dsa(Box::new(key)))
    }

    pub(crate) fn from_ed25519(key: [u8; 32]) -> PublicKey {
        PublicKey::new(Material::Ed25519(key))
    }

    fn from_spki(der: &[u8]) -> Result<PublicKey, KeyError> {
        let bad = |_| KeyError::Malformed("SPKI");
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(bad)?;
        let bits = spki
            .subject_public_key
            .as_bytes()
            .ok_or(KeyError::Malformed("SPKI"))?;
        match spki.algorithm.oid {
            OID_RSA => PublicKey::from_pkcs1(bits),
            OID_EC => {
                check_curve(spki.algorithm.parameters_oid().ok(), bits.len())?;
                PublicKey::from_sec1(bits)
            }
            OID_ED25519 => {
                let key = bits
                    .try_into()
                    .map_err(|_| KeyError::Malformed("Ed25519"))?;
                Ok(PublicKey::from_ed25519(key))
            }
            OID_DSA => {
                let parameters = spki.algorithm.parameters_any();
                let parameters = parameters.map_err(|_| KeyError::Malformed("SPKI"))?;
                Ok(PublicKey::from_dsa(DsaPublic::from_spki(parameters, bits)?))
            }
            other => Err(KeyError::Unsupported(other.to_string())),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<PublicKey, KeyError> {
        let key =
            rsa::pkcs1::RsaPublicKey::from_der(der).map_err(|_| KeyError::Malformed("RSA"))?;
        PublicKey::from_rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    fn new(material: Material) -> PublicKey {
        let wire = encode_wire(material.ssh_name(), &material);
        PublicKey {
            material,
            wire,
            comment: String::new(),
        }
    }

    /// The same key under another comment. A comment is text for people and no part of the identity of
    /// the key; line ends in it become blanks so that it stays on its line.
    #[must_use]
    pub fn with_comment(mut self, comment: &str) -> PublicKey {
        self.comment = comment.replace(['\n', '\r'], " ").trim().to_owned();
        self
    }

    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The SSH wire form, which fingerprints are made of.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// `d0:e0:…`, 16 pairs: the form that Manta's key ids use.
    #[must_use]
    pub fn md5_fingerprint(&self) -> String {
        Fingerprint::md5_of(&self.wire).to_string()
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn sha256_fingerprint(&self) -> String {
        Fingerprint::sha256_of(&self.wire).to_string()
    }

    /// Whether `fingerprint`, in either form, is this key's.
    #[must_use]
    pub fn has_fingerprint(&self, fingerprint: &Fingerprint) -> bool {
        match fingerprint {
            Fingerprint::Md5(_) => Fingerprint::md5_of(&self.wire) == *fingerprint,
            Fingerprint::Sha256(_) => Fingerprint::sha256_of(&self.wire) == *fingerprint,
        }
    }

    /// The key as an OpenSSH line without a line end.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        let encoded = STANDARD.encode(&self.wire);
        let line = format!("{} {encoded} {}", self.ssh_name(), self.comment);
        line.trim_end().to_owned()
    }

    /// The family of algorithms this key can verify.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self.material {
            Material::Rsa { .. } => Scheme::Rsa,
            Material::Dsa(_) => Scheme::Dsa,
            Material::P256(_) | Material::P384(_) | Material::P521(_) => Scheme::Ecdsa,
            Material::Ed25519(_) => Scheme::Ed25519,
        }
    }

    /// What clients sign with when nobody says otherwise; it is also what ssh-agent can do for the key.
    #[must_use]
    pub fn default_algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Rsa { .. } => Algorithm::new(Scheme::Rsa, Hash::Sha256),
            // The kind that ssh-keygen made knows nothing else, in ssh-agent least of all.
            Material::Dsa(key) if key.bits() <= 1024 => Algorithm::new(Scheme::Dsa, Hash::Sha1),
            Material::Dsa(_) => Algorithm::new(Scheme::Dsa, Hash::Sha256),
            Material::P256(_) => Algorithm::new(Scheme::Ecdsa, Hash::Sha256),
            Material::P384(_) => Algorithm::new(Scheme::Ecdsa, Hash::Sha384),
            Material::P521(_) => Algorithm::new(Scheme::Ecdsa, Hash::Sha512),
            Material::Ed25519(_) => Algorithm::new(Scheme::Ed25519, Hash::Sha512),
        }
    }

    fn ssh_name(&self) -> &'static str {
        self.material.ssh_name()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({} {})",
            self.ssh_name(),
            self.md5_fingerprint()
        )
    }
}

/// Refuses curves that have the length of one of ours and are another, such as secp256k1.
pub(crate) fn check_curve(
    oid: Option<ObjectIdentifier>,
    point_bytes: usize,
) -> Result<(), KeyError> {
    match (oid, point_bytes) {
        (Some(OID_P256), 33 | 65) | (Some(OID_P384), 49 | 97) | (Some(OID_P521), 67 | 133) => {
            Ok(())
        }
        (Some(OID_P256 | OID_P384 | OID_P521), _) => Err(KeyError::Malformed("ECDSA")),
        (Some(other), _) => Err(KeyError::Unsupported(format!("curve {other}"))),
        (None, _) => Err(KeyError::Unsupported("unnamed curve".to_owned())),
    }
}

fn encode_wire(name: &str, material: &Material) -> Vec<u8> {
    let mut wire = Vec::new();
    put_string(&mut wire, name.as_bytes());
    match material {
        Material::Rsa { n, e } => {
            put_positive(&mut wire, e);
            put_positive(&mut wire, n);
        }
        Material::Dsa(key) => {
            for number in key.numbers() {
                put_positive(&mut wire, &number);
            }
        }
        Material::P256(point) | Material::P384(point) | Material::P521(point) => {
            put_string(&mut wire, name.trim_start_matches("ecdsa-sha2-").as_bytes());
            put_string(&mut wire, point);
        }
        Material::Ed25519(key) => put_string(&mut wire, key),
    }
    wire
}

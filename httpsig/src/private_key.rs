//! Private keys: every form that `ssh-keygen` and `openssl` write without a passphrase.

use std::fmt;

use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::elliptic_curve::zeroize::Zeroizing;
use ring::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::pkcs8::PrivateKeyInfo;
use rsa::pkcs8::der::Decode as _;
use rsa::pkcs8::der::asn1::OctetStringRef;
use rsa::traits::PublicKeyParts as _;
use sec1::EcPrivateKey;

use crate::dsa_key::DsaPrivate;
use crate::openssh_private::{self, OpensshSecret};
use crate::pem::find_key_block;
use crate::public_key::{KeyError, OID_DSA, OID_EC, OID_ED25519, OID_RSA, PublicKey, check_curve};

/// A private key together with its public half.
pub struct PrivateKey {
    pub(crate) secret: Secret,
    public: PublicKey,
}

pub(crate) enum Secret {
    /// `ring` holds a second form of the key where it accepts it (2048 to 4096 bits); it signs several
    /// times faster, but not with SHA-1.
    Rsa {
        key: Box<rsa::RsaPrivateKey>,
        fast: Option<Box<RsaKeyPair>>,
    },
    Dsa(Box<DsaPrivate>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a key file: OpenSSH, PKCS#8, PKCS#1, SEC1 or the old form of DSA, in PEM armour.
    ///
    /// `Encrypted` when it needs a passphrase, whichever of the three ways it is protected.
    pub fn parse(text: &str) -> Result<PrivateKey, KeyError> {
        let Some(block) = find_key_block(text) else {
            return Err(match PublicKey::parse(text) {
                Ok(_) => KeyError::NotPrivate,
                Err(unsupported @ KeyError::Unsupported(_)) => unsupported,
                Err(_) => KeyError::UnknownFormat,
            });
        };
        if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
            return Err(KeyError::Encrypted);
        }
        let label = block.label;
        let der = Zeroizing::new(block.der);
        match label.as_str() {
            "OPENSSH PRIVATE KEY" => from_openssh(&der),
            "PRIVATE KEY" => from_pkcs8(&der),
            "RSA PRIVATE KEY" => from_pkcs1(&der),
            "EC PRIVATE KEY" => from_sec1(&der, None),
            "DSA PRIVATE KEY" => DsaPrivate::from_traditional(&der).map(PrivateKey::from_dsa),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Err(KeyError::NotPrivate),
            _ => Err(KeyError::UnknownFormat),
        }
    }

    pub(crate) fn from_rsa(key: rsa::RsaPrivateKey) -> Result<PrivateKey, KeyError> {
        let public = PublicKey::from_rsa(&key.n().to_bytes_be(), &key.e().to_bytes_be())?;
        let fast = key
            .to_pkcs1_der()
            .ok()
            .and_then(|der| RsaKeyPair::from_der(der.as_bytes()).ok())
            .map(Box::new);
        Ok(PrivateKey {
            secret: Secret::Rsa {
                key: Box::new(key),
                fast,
            },
            public,
        })
    }

    pub(crate) fn from_dsa(key: DsaPrivate) -> PrivateKey {
        PrivateKey {
            public: PublicKey::from_dsa(key.public()),
            secret: Secret::Dsa(Box::new(key)),
        }
    }

    /// The public half, with the comment of the file if it has one.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// Never shows the secret.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

fn from_openssh(der: &[u8]) -> Result<PrivateKey, KeyError> {
    let file = openssh_private::read(der)?;
    let private = match file.secret {
        OpensshSecret::Rsa(key) => PrivateKey::from_rsa(*key)?,
        OpensshSecret::Dsa(key) => PrivateKey::from_dsa(*key),
        OpensshSecret::Ecdsa(scalar) => from_scalar(&Zeroizing::new(scalar))?,
        OpensshSecret::Ed25519(seed) => from_seed(&Zeroizing::new(seed))?,
    };
    if private.public.wire() != file.public.wire() {
        return Err(KeyError::Malformed("OpenSSH"));
    }
    Ok(PrivateKey {
        secret: private.secret,
        public: file.public,
    })
}

fn from_pkcs8(der: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = PrivateKeyInfo::try_from(der).map_err(|_| KeyError::Malformed("PKCS#8"))?;
    match info.algorithm.oid {
        OID_RSA => from_pkcs1(info.private_key),
        OID_EC => from_sec1(info.private_key, info.algorithm.parameters_oid().ok()),
        OID_ED25519 => {
            // RFC 8410: the seed is an octet string inside the octet string.
            let seed = OctetStringRef::from_der(info.private_key)
                .map_err(|_| KeyError::Malformed("Ed25519"))?;
            from_seed(seed.as_bytes())
        }
        OID_DSA => DsaPrivate::from_pkcs8(&info).map(PrivateKey::from_dsa),
        other => Err(KeyError::Unsupported(other.to_string())),
    }
}

fn from_pkcs1(der: &[u8]) -> Result<PrivateKey, KeyError> {
    let key = rsa::RsaPrivateKey::from_pkcs1_der(der).map_err(|_| KeyError::Malformed("RSA"))?;
    PrivateKey::from_rsa(key)
}

/// `curve` comes from PKCS#8; a bare SEC1 file names it inside, or not at all.
fn from_sec1(
    der: &[u8],
    curve: Option<rsa::pkcs8::ObjectIdentifier>,
) -> Result<PrivateKey, KeyError> {
    let key = EcPrivateKey::from_der(der).map_err(|_| KeyError::Malformed("ECDSA"))?;
    let named = key
        .parameters
        .and_then(|parameters| parameters.named_curve());
    if let Some(oid) = curve.or(named) {
        check_curve(Some(oid), 2 * key.private_key.len() + 1)?;
    }
    from_scalar(key.private_key)
}

/// The length says the curve.
fn from_scalar(scalar: &[u8]) -> Result<PrivateKey, KeyError> {
    let bad = |_| KeyError::Malformed("ECDSA");
    let (secret, point) = match scalar.len() {
        32 => {
            let key =
                p256::SecretKey::from_slice(scalar).map_err(|_| KeyError::Malformed("ECDSA"))?;
            let point = key.public_key().to_encoded_point(false).as_bytes().to_vec();
            (Secret::P256(key.into()), point)
        }
        48 => {
            let key =
                p384::SecretKey::from_slice(scalar).map_err(|_| KeyError::Malformed("ECDSA"))?;
            let point = key.public_key().to_encoded_point(false).as_bytes().to_vec();
            (Secret::P384(key.into()), point)
        }
        66 => {
            let key = p521::ecdsa::SigningKey::from_slice(scalar).map_err(bad)?;
            let public = p521::ecdsa::VerifyingKey::from(&key);
            let point = public.to_encoded_point(false).as_bytes().to_vec();
            (Secret::P521(key), point)
        }
        _ => return Err(KeyError::Malformed("ECDSA")),
    };
    Ok(PrivateKey {
        secret,
        public: PublicKey::from_sec1(&point)?,
    })
}

fn from_seed(seed: &[u8]) -> Result<PrivateKey, KeyError> {
    let bad = KeyError::Malformed("Ed25519");
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| bad.clone())?;
    let public = pair.public_key().as_ref().try_into().map_err(|_| bad)?;
    Ok(PrivateKey {
        secret: Secret::Ed25519(pair),
        public: PublicKey::from_ed25519(public),
    })
}

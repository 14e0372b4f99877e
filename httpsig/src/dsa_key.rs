//! DSA keys: the bounds of their numbers, reading them from ASN.1, signing and verifying.
//!
//! DSA is here for the keys that were registered when it was what `ssh-keygen` made. RustCrypto's
//! arithmetic takes numbers of any size, so everything is measured before anything is computed with it.

use dsa::{Components, Signature, SigningKey, VerifyingKey};
use p256::ecdsa::signature::SignatureEncoding as _;
use p256::ecdsa::signature::hazmat::{PrehashVerifier as _, RandomizedPrehashSigner as _};
use rsa::BigUint;
use rsa::pkcs8::PrivateKeyInfo;
use rsa::pkcs8::der::Decode as _;
use rsa::pkcs8::der::asn1::{AnyRef, SequenceOf, UintRef};
use rsa::rand_core::OsRng;

use crate::algorithm::Hash;
use crate::public_key::KeyError;

/// From what `ssh-keygen` makes to the largest size of FIPS 186-4. Verifying costs a few milliseconds
/// there, and a server does it for strangers.
const P_BITS: std::ops::RangeInclusive<usize> = 1024..=3072;
/// The sizes of FIPS 186-4. Whole bytes: how much of a digest is signed depends on it.
const Q_BITS: [usize; 3] = [160, 224, 256];

const MALFORMED: KeyError = KeyError::Malformed("DSA");

/// The public half, within bounds, with `y` in the group that `p`, `q` and `g` make.
#[derive(Clone, PartialEq)]
pub(crate) struct DsaPublic(VerifyingKey);

// Big numbers are equal or they are not.
impl Eq for DsaPublic {}

impl DsaPublic {
    /// Checks four big-endian numbers and makes them a key.
    pub(crate) fn new(p: &[u8], q: &[u8], g: &[u8], y: &[u8]) -> Result<DsaPublic, KeyError> {
        let [p, q, g, y] = [p, q, g, y].map(BigUint::from_bytes_be);
        Ok(DsaPublic(
            VerifyingKey::from_components(group(p, q, g)?, checked_y(y)?).map_err(|_| MALFORMED)?,
        ))
    }

    /// `parameters` and the key itself as SPKI has them.
    pub(crate) fn from_spki(parameters: AnyRef<'_>, key: &[u8]) -> Result<DsaPublic, KeyError> {
        let [p, q, g] = decode_numbers(parameters)?;
        let y = UintRef::from_der(key).map_err(|_| MALFORMED)?;
        DsaPublic::new(p.as_bytes(), q.as_bytes(), g.as_bytes(), y.as_bytes())
    }

    /// `p`, `q`, `g` and `y`, without leading zeros.
    pub(crate) fn numbers(&self) -> [Vec<u8>; 4] {
        let group = self.0.components();
        [group.p(), group.q(), group.g(), self.0.y()].map(BigUint::to_bytes_be)
    }

    pub(crate) fn bits(&self) -> usize {
        self.0.components().p().bits()
    }

    /// Whether the DER signature is this key's over `message`.
    pub(crate) fn verify(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        Signature::try_from(signature).is_ok_and(|signature| {
            self.0
                .verify_prehash(hash.digest(message).as_ref(), &signature)
                .is_ok()
        })
    }
}

/// The private half.
pub(crate) struct DsaPrivate(SigningKey);

impl DsaPrivate {
    /// From the public half and the secret exponent, which must belong together.
    pub(crate) fn new(public: &DsaPublic, x: &[u8]) -> Result<DsaPrivate, KeyError> {
        let group = public.0.components();
        let x = BigUint::from_bytes_be(x);
        if x >= *group.q() || group.g().modpow(&x, group.p()) != *public.0.y() {
            return Err(MALFORMED);
        }
        let key = SigningKey::from_components(public.0.clone(), x).map_err(|_| MALFORMED)?;
        Ok(DsaPrivate(key))
    }

    /// PKCS#8, which leaves the public number to be computed.
    pub(crate) fn from_pkcs8(info: &PrivateKeyInfo<'_>) -> Result<DsaPrivate, KeyError> {
        let parameters = info.algorithm.parameters_any().map_err(|_| MALFORMED)?;
        let [p, q, g] = decode_numbers(parameters)?;
        let x = UintRef::from_der(info.private_key).map_err(|_| MALFORMED)?;
        let [p, q, g, x] = [p, q, g, x].map(|number| BigUint::from_bytes_be(number.as_bytes()));
        let group = group(p, q, g)?;
        if x >= *group.q() {
            return Err(MALFORMED);
        }
        let y = group.g().modpow(&x, group.p());
        let public = VerifyingKey::from_components(group, checked_y(y)?).map_err(|_| MALFORMED)?;
        DsaPrivate::new(&DsaPublic(public), &x.to_bytes_be())
    }

    /// What `openssl` wrote before there was PKCS#8: version, `p`, `q`, `g`, `y`, `x`.
    pub(crate) fn from_traditional(der: &[u8]) -> Result<DsaPrivate, KeyError> {
        let outer = AnyRef::from_der(der).map_err(|_| MALFORMED)?;
        let [_version, p, q, g, y, x] = decode_numbers(outer)?.map(|number| number.as_bytes());
        DsaPrivate::new(&DsaPublic::new(p, q, g, y)?, x)
    }

    pub(crate) fn public(&self) -> DsaPublic {
        DsaPublic(self.0.verifying_key().clone())
    }

    /// Signs with a fresh random number, in DER; `None` if there is none to be had.
    ///
    /// Not the deterministic way of RFC 6979: RustCrypto's draws it with the hash of the message, and
    /// with SHA-1 that is weaker than a key of 256 bits deserves.
    pub(crate) fn sign(&self, hash: Hash, message: &[u8]) -> Option<Vec<u8>> {
        self.0
            .sign_prehash_with_rng(&mut OsRng, hash.digest(message).as_ref())
            .ok()
            .map(|signature| signature.to_vec())
    }
}

/// A SEQUENCE of exactly `N` unsigned numbers.
fn decode_numbers<const N: usize>(sequence: AnyRef<'_>) -> Result<[UintRef<'_>; N], KeyError> {
    let numbers: SequenceOf<UintRef<'_>, N> = sequence.decode_as().map_err(|_| MALFORMED)?;
    let numbers: Vec<UintRef<'_>> = numbers.iter().copied().collect();
    numbers.try_into().map_err(|_| MALFORMED)
}

fn group(p: BigUint, q: BigUint, g: BigUint) -> Result<Components, KeyError> {
    if !P_BITS.contains(&p.bits()) || !Q_BITS.contains(&q.bits()) {
        let (p, q) = (p.bits(), q.bits());
        return Err(KeyError::Unsupported(format!("DSA ({p} and {q} bits)")));
    }
    let one = BigUint::from(1u8);
    let odd = |number: &BigUint| number % 2u8 == one;
    // With a generator of one, every signature would be right.
    if !odd(&p) || !odd(&q) || g <= one || g >= p || g.modpow(&q, &p) != one {
        return Err(MALFORMED);
    }
    Components::from_components(p, q, g).map_err(|_| MALFORMED)
}

/// Nothing larger than a modulus can be meant; the library would reduce it, at its length's cost.
fn checked_y(y: BigUint) -> Result<BigUint, KeyError> {
    if y.bits() > *P_BITS.end() {
        return Err(MALFORMED);
    }
    Ok(y)
}

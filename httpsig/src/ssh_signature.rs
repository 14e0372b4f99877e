//! Signatures as ssh-agent returns them, turned into the form HTTP signatures have.
//!
//! Layout (RFC 4253, 5656, 8332): `string name, string blob`. For RSA and Ed25519 the blob is the
//! signature; for ECDSA it holds `mpint r, mpint s`, which DER wraps differently, and for DSA the same two
//! numbers in 20 bytes each.

use crate::algorithm::{Algorithm, Hash, Scheme};
use crate::wire::Fields;

/// Two numbers below a `q` of 160 bits, the only size that SSH has.
const DSA_BYTES: usize = 40;

/// The agent's answer is not a signature of a known kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("ssh-agent returned a signature of an unknown form")]
pub struct SshSignatureError;

/// Which algorithm an agent's signature is, and its bytes as they go into a header.
pub fn decode_ssh_signature(blob: &[u8]) -> Result<(Algorithm, Vec<u8>), SshSignatureError> {
    let mut fields = Fields::new(blob);
    let name = fields.string().ok_or(SshSignatureError)?;
    let signature = fields.string().ok_or(SshSignatureError)?;
    fields.end().ok_or(SshSignatureError)?;
    let algorithm = match name {
        b"ssh-rsa" => Algorithm::new(Scheme::Rsa, Hash::Sha1),
        b"rsa-sha2-256" => Algorithm::new(Scheme::Rsa, Hash::Sha256),
        b"rsa-sha2-512" => Algorithm::new(Scheme::Rsa, Hash::Sha512),
        b"ssh-dss" => Algorithm::new(Scheme::Dsa, Hash::Sha1),
        b"ssh-ed25519" => Algorithm::new(Scheme::Ed25519, Hash::Sha512),
        b"ecdsa-sha2-nistp256" => Algorithm::new(Scheme::Ecdsa, Hash::Sha256),
        b"ecdsa-sha2-nistp384" => Algorithm::new(Scheme::Ecdsa, Hash::Sha384),
        b"ecdsa-sha2-nistp521" => Algorithm::new(Scheme::Ecdsa, Hash::Sha512),
        _ => return Err(SshSignatureError),
    };
    let (r, s) = match algorithm.scheme() {
        Scheme::Rsa | Scheme::Ed25519 => return Ok((algorithm, signature.to_vec())),
        Scheme::Ecdsa => {
            let mut fields = Fields::new(signature);
            let r = fields.positive().ok_or(SshSignatureError)?;
            let s = fields.positive().ok_or(SshSignatureError)?;
            fields.end().ok_or(SshSignatureError)?;
            (r, s)
        }
        Scheme::Dsa => {
            if signature.len() != DSA_BYTES {
                return Err(SshSignatureError);
            }
            let (r, s) = signature.split_at(DSA_BYTES / 2);
            (without_zeros(r)?, without_zeros(s)?)
        }
    };
    let mut body = der_integer(r)?;
    body.extend(der_integer(s)?);
    let mut der = vec![0x30];
    // Two integers of 521 bits need 138 bytes: more than the short form of a length can say.
    match u8::try_from(body.len()) {
        Ok(length @ ..=0x7f) => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => return Err(SshSignatureError),
    }
    der.extend(body);
    Ok((algorithm, der))
}

/// Zero is neither half of a signature.
fn without_zeros(number: &[u8]) -> Result<&[u8], SshSignatureError> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match &number[zeros..] {
        [] => Err(SshSignatureError),
        digits => Ok(digits),
    }
}

/// A positive number without leading zeros, as DER writes it.
fn der_integer(digits: &[u8]) -> Result<Vec<u8>, SshSignatureError> {
    let padding = usize::from(digits.first().is_some_and(|first| *first >= 0x80));
    let length = u8::try_from(digits.len() + padding).map_err(|_| SshSignatureError)?;
    if length > 0x7f {
        return Err(SshSignatureError);
    }
    let mut der = vec![0x02, length];
    der.extend(std::iter::repeat_n(0, padding));
    der.extend_from_slice(digits);
    Ok(der)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn ecdsa_becomes_der() {
        let rs = [string(&[0, 0x80, 1]), string(&[0x7f])].concat();
        let blob = [string(b"ecdsa-sha2-nistp256"), string(&rs)].concat();
        let (algorithm, der) = decode_ssh_signature(&blob).unwrap();
        assert_eq!(algorithm.name(), "ecdsa-sha256");
        assert_eq!(der, [0x30, 8, 2, 3, 0, 0x80, 1, 2, 1, 0x7f]);
    }

    #[test]
    fn dsa_becomes_der() {
        let mut numbers = [0; 40];
        (numbers[18], numbers[19], numbers[39]) = (0x80, 1, 0x7f);
        let blob = |numbers: &[u8]| [string(b"ssh-dss"), string(numbers)].concat();
        let (algorithm, der) = decode_ssh_signature(&blob(&numbers)).unwrap();
        assert_eq!(algorithm.name(), "dsa-sha1");
        assert_eq!(der, [0x30, 8, 2, 3, 0, 0x80, 1, 2, 1, 0x7f]);
        assert!(decode_ssh_signature(&blob(&numbers[1..])).is_err());
        assert!(decode_ssh_signature(&blob(&[0; 40])).is_err());
    }

    #[test]
    fn the_largest_curve_takes_the_long_length() {
        let rs = [string(&[1; 66]), string(&[1; 66])].concat();
        let blob = [string(b"ecdsa-sha2-nistp521"), string(&rs)].concat();
        let (_, der) = decode_ssh_signature(&blob).unwrap();
        assert_eq!(der[..5], [0x30, 0x81, 136, 2, 66]);
        assert_eq!(der.len(), 139);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = decode_ssh_signature(&bytes);
            let named = [string(b"ecdsa-sha2-nistp384"), string(&bytes)].concat();
            let _ = decode_ssh_signature(&named);
        }
    }
}

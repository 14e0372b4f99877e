//! Keys, fingerprints and HTTP signatures: parse, sign, verify. No I/O happens here.
//!
//! The server parses an `Authorization` header ([`Authorization`]), rebuilds the text that was signed
//! ([`signing_string`]) and asks the caller's [`PublicKey`] whether the signature is its own. The client
//! reads a [`PrivateKey`], builds the same text and signs it. Which keys belong to whom, how old a date
//! may be and what is cached are decided by the callers.
//!
//! `ring` does the work wherever it can. RustCrypto takes the rest: P-521, the hash and curve pairs that
//! `ring` leaves out, SHA-1 signing, RSA keys below 2048 bits, DSA, and key generation.
//!
//! A signed URL carries the same in its query: [`Presigned`] for the server, [`UnsignedUrl`] for clients.

mod algorithm;
mod authorization;
mod presigned;
mod signing_string;
mod unsigned_url;

mod dsa_key;
mod fingerprint;
mod pem;
mod public_key;
mod ssh_signature;
mod verify;
mod wire;

mod generate;
mod openssh_private;
mod private_key;
mod sign;

pub use algorithm::{Algorithm, AlgorithmError, Hash, Scheme};
pub use authorization::{Authorization, ParseError};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use generate::{GenerateError, GeneratedKey, generate};
pub use presigned::{Presigned, PresignedError, encode_query, presigned_text};
pub use private_key::PrivateKey;
pub use public_key::{KeyError, PublicKey};
pub use sign::SignError;
pub use signing_string::{MissingHeader, signing_string};
pub use ssh_signature::{SshSignatureError, decode_ssh_signature};
pub use unsigned_url::{UnsignedUrl, UrlRequest};
pub use verify::VerifyError;

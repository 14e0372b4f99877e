//! What can go wrong with accounts.

use libmanta::moray::MorayError;
use thiserror::Error;

/// Why an account could not be changed. Nothing was changed, except that after `Moray` the change may have
/// taken effect.
#[derive(Debug, Error)]
pub enum AccountError {
    #[error("\"{0}\" is not a login: a letter, then letters, digits and _-.@, 2 to 64 in all")]
    InvalidLogin(String),
    #[error("account {0} exists already")]
    LoginTaken(String),
    #[error("account {0} does not exist")]
    NoSuchAccount(String),
    #[error("not a public key")]
    InvalidKey(#[source] httpsig::KeyError),
    #[error("account {login} has no key {fingerprint}")]
    NoSuchKey { login: String, fingerprint: String },
    #[error("account {0} is being changed by too many others")]
    Contended(String),
    #[error("accounts cannot be read or written")]
    Moray(#[from] MorayError),
}

/// Why the accounts could not be loaded.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("accounts cannot be read")]
    Moray(#[from] MorayError),
    #[error("the record of account {key} does not decode")]
    Record {
        key: String,
        #[source]
        source: serde_json::Error,
    },
}

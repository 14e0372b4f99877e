//! What can go wrong with accounts.

use aperture::SyntaxError;
use libmanta::moray::MorayError;
use thiserror::Error;

/// Why an account, or something that belongs to one, could not be changed. Nothing was changed, except that
/// after `Moray` the change may have taken effect.
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
    /// `login` is that of an account, or `account/user`.
    #[error("account {login} has no key {fingerprint}")]
    NoSuchKey { login: String, fingerprint: String },
    #[error("account {account} has a subuser {user} already")]
    UserTaken { account: String, user: String },
    #[error("account {account} has no subuser {user}")]
    NoSuchUser { account: String, user: String },
    #[error(
        "\"{0}\" is not a name: a letter or digit, then letters, digits and _-.@, 64 at most in all"
    )]
    InvalidName(String),
    #[error("account {account} has a policy {policy} already")]
    PolicyTaken { account: String, policy: String },
    #[error("account {account} has no policy {policy}")]
    NoSuchPolicy { account: String, policy: String },
    /// `number` counts from 1.
    #[error("rule {number} does not parse")]
    InvalidRule {
        number: usize,
        #[source]
        source: SyntaxError,
    },
    #[error("rule {number} names who may do it; that is said by the members of roles instead")]
    RuleWithPrincipals { number: usize },
    #[error("a policy has 1 to {0} rules")]
    NumberOfRules(usize),
    #[error("account {account} has a role {role} already")]
    RoleTaken { account: String, role: String },
    #[error("account {account} has no role {role}")]
    NoSuchRole { account: String, role: String },
    #[error("policy {policy} is not attached to role {role}")]
    NotAttached { role: String, policy: String },
    #[error("{member} is not a member of role {role}")]
    NoSuchMember { role: String, member: String },
    #[error("account {0} may do everything below itself and needs no role for it")]
    OwnRole(String),
    #[error("{member} holds {max} roles already, as many as there may be")]
    TooManyRoles { member: String, max: usize },
    #[error(
        "account {account} would have more subusers, policies and roles than {max_bytes} bytes hold"
    )]
    TooLarge { account: String, max_bytes: usize },
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

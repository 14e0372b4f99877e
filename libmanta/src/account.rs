//! Accounts: the owners of everything.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use uuid::Uuid;

use crate::{AccountId, UserId};

/// A login that is syntactically allowed: a letter, then letters, digits, `_ - . @`; two to 64 characters.
/// Source: rest-api.md section 1.1 (which also lets `%` through, for the escaped form in URLs).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Login(String);

impl Login {
    /// `None` when the text is not a login.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        let rest_is_fine = bytes.all(|b| b.is_ascii_alphanumeric() || b"_-.@".contains(&b));
        (first.is_ascii_alphabetic() && rest_is_fine && (2..=64).contains(&text.len()))
            .then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Login {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("\"{text}\" is not a login"))
    }
}

impl From<Login> for String {
    fn from(login: Login) -> Self {
        login.0
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.0)
    }
}

/// An account: its public keys, its groups, its subusers and the names of its roles. What the roles allow is
/// asked of [`crate::mahi::Identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub login: Login,
    /// Member of the group `operators`: may read and write anywhere.
    pub operator: bool,
    /// An account that is not approved is blocked from every request.
    pub approved: bool,
    /// MD5 fingerprint (16 colon-separated hex pairs) → public key, one line in OpenSSH form.
    pub keys: BTreeMap<String, String>,
    /// Member of the group `role-operators`: an operator in requests that say `Role: _operator`.
    pub role_operator: bool,
    /// Member of the group `readers`: may read anywhere.
    pub reader: bool,
    /// No links may be made to objects of this account, nor by it.
    pub snaplinks_disabled: bool,
    /// Subusers by login.
    pub users: BTreeMap<String, User>,
    /// Name → id of every role that belongs to this account.
    pub roles: BTreeMap<String, Uuid>,
}

impl Account {
    /// An approved account that is member of no group and has nothing yet.
    #[must_use]
    pub fn new(id: AccountId, login: Login) -> Self {
        Self {
            id,
            login,
            operator: false,
            approved: true,
            keys: BTreeMap::new(),
            role_operator: false,
            reader: false,
            snaplinks_disabled: false,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }
}

/// A subuser: signs with keys of its own and may do what the roles it holds allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// Unique among the subusers of its account. One named `anonymous` stands for everybody without a key.
    pub login: Login,
    /// As those of an account.
    pub keys: BTreeMap<String, String>,
}

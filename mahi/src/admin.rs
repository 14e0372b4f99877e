//! Administration of a running store: JSON over HTTP/1 on a Unix socket that only its owner can open.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /accounts` | | 200, list of [`AccountView`] |
//! | `POST /accounts` | [`CreateAccount`] | 201, [`AccountView`] |
//! | `POST /accounts/:login/keys` | [`AddKey`] | 201, [`KeyView`] |
//! | `DELETE /accounts/:login/keys` | [`RemoveKey`] | 200, [`KeyView`] |
//!
//! What else a store has to offer its operator is answered by [`Others`].
//!
//! A refusal is 400, 404, 409 or 503 with a [`Refusal`]. Logins need no escaping in a path.

mod client;
mod server;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use client::{Client, ClientError};
pub use server::{Handle, serve, serve_with};

/// Commands that do not concern accounts: method, path and body to a document, or `None` for what is no
/// command. Refusals of theirs are answered with 400. Must not block.
pub type Others = Arc<
    dyn Fn(&http::Method, &str, &[u8]) -> Option<Result<serde_json::Value, Refusal>> + Send + Sync,
>;

use libmanta::Account;

/// An account, as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    pub id: String,
    pub login: String,
    pub operator: bool,
    pub approved: bool,
    pub keys: Vec<KeyView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// MD5, 16 colon-separated hex pairs.
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateAccount {
    pub login: String,
    #[serde(default)]
    pub operator: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddKey {
    /// A public key as OpenSSH or PEM has it.
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveKey {
    /// MD5 or `SHA256:` form.
    pub fingerprint: String,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A word for programs, such as `LoginTaken`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> Self {
        let key = |fingerprint: &String| KeyView {
            fingerprint: fingerprint.clone(),
        };
        Self {
            id: account.id.to_string(),
            login: account.login.to_string(),
            operator: account.operator,
            approved: account.approved,
            keys: account.keys.keys().map(key).collect(),
        }
    }
}

//! The identity port: who an account is, and what it may do.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Account, AccountId, Login, ObjectKey};

/// Looks up accounts, and makes and opens the tokens that jobs carry.
#[async_trait]
pub trait Identity: Send + Sync + fmt::Debug {
    async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, IdentityError>;

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Arc<Account>>, IdentityError>;

    /// A token that lets its bearer act as `principal`. Opaque, sealed, safe in a header.
    fn mint_token(&self, principal: &Principal) -> String;

    /// What a token says, if this store made it and it has not expired.
    fn open_token(&self, token: &str) -> Result<Principal, InvalidToken>;
}

/// Who a request acts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub account: AccountId,
    pub login: Login,
    pub operator: bool,
    /// The request comes from inside a job.
    pub from_job: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("accounts cannot be looked up: {reason}")]
pub struct IdentityError {
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidToken {
    #[error("the authentication token you provided is malformed")]
    Malformed,
    #[error("the authentication token you provided has expired")]
    Expired,
}

/// What a caller wants with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// Whether `caller` (`None`: anonymous) may touch what lies below `key`'s account.
/// Anyone reads `/public`; an owner and an operator do anything. Source: rest-api.md section 10.2 (1, 2).
#[must_use]
pub fn authorize(caller: Option<&Principal>, access: Access, key: &ObjectKey) -> bool {
    if access == Access::Read && key.is_public() {
        return true;
    }
    caller.is_some_and(|principal| principal.operator || principal.account == key.owner())
}

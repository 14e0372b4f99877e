//! The identity port: who an account is, and what it may do.
//!
//! Who holds which roles is asked of [`Identity`]; what that means for a request is decided by the pure
//! functions [`activate`] and [`authorize`], which every service that acts for somebody calls.

mod activate;
mod authorize;

use std::fmt;
use std::sync::Arc;

use aperture::Rule;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{Account, AccountId, Login, Timestamp, UserId};

pub use activate::{Activated, OPERATOR_ROLE, UnknownRole, activate};
pub use authorize::{
    ADMINISTRATOR_ROLE, ANONYMOUS_USER, Caller, Conditions, Context, Denied, Resource, authorize,
};

/// Looks up accounts, and makes and opens the tokens that jobs carry.
#[async_trait]
pub trait Identity: Send + Sync + fmt::Debug {
    async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, IdentityError>;

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Arc<Account>>, IdentityError>;

    /// The roles that an account (`user` is `None`) or one of its subusers holds, of its own account and of
    /// others, in no particular order. Empty when there is no such account or subuser.
    async fn held_roles(
        &self,
        account: AccountId,
        user: Option<UserId>,
    ) -> Result<Arc<[Held]>, IdentityError>;

    /// A role of any account, as it is now.
    async fn role(&self, id: Uuid) -> Result<Option<Arc<Role>>, IdentityError>;

    /// A token that lets its bearer act as `principal`, as long as tokens do, and not after `until`. Opaque,
    /// sealed, safe in a header.
    fn mint_token(&self, principal: &Principal, until: Option<Timestamp>) -> String;

    /// What a token says, if this store made it and it has not expired.
    fn open_token(&self, token: &str) -> Result<Bearer, InvalidToken>;
}

/// Whoever brings a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    pub principal: Principal,
    /// From then on the token is worth nothing.
    pub expires: Timestamp,
}

/// Who a request acts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub account: AccountId,
    pub login: Login,
    /// Acts as an operator in this request. Never true of a subuser.
    pub operator: bool,
    /// The request comes from inside a job.
    pub from_job: bool,
    /// The subuser of `account` that acts; `None` when the account itself does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<ActingUser>,
    /// Ids of the roles that are active in this request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Uuid>,
}

impl Principal {
    /// The account itself, operator if it is one, without active roles.
    #[must_use]
    pub fn of(account: &Account) -> Self {
        Self {
            account: account.id,
            login: account.login.clone(),
            operator: account.operator,
            from_job: false,
            user: None,
            roles: Vec::new(),
        }
    }
}

/// The subuser in a [`Principal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActingUser {
    pub id: UserId,
    pub login: Login,
}

/// A role: what its policies allow to whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub id: Uuid,
    /// Unique among the roles of its account.
    pub name: String,
    /// The account it belongs to, and on whose entries it counts.
    pub account: AccountId,
    /// Those of all its policies, in no particular order.
    pub rules: Vec<Rule>,
}

/// A role in somebody's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub role: Arc<Role>,
    /// Active in requests that name no roles.
    pub default: bool,
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

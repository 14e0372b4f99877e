//! How a command that is not done is answered.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::AccountError;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A word for programs, such as `LoginTaken`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

pub(super) type Refused = (StatusCode, Refusal);

pub(super) fn refuse(error: AccountError) -> Refused {
    let (status, code) = match &error {
        AccountError::InvalidLogin(_) => (StatusCode::BAD_REQUEST, "InvalidLogin"),
        AccountError::LoginTaken(_) => (StatusCode::CONFLICT, "LoginTaken"),
        AccountError::NoSuchAccount(_) => (StatusCode::NOT_FOUND, "NoSuchAccount"),
        AccountError::InvalidKey(_) => (StatusCode::BAD_REQUEST, "InvalidKey"),
        AccountError::NoSuchKey { .. } => (StatusCode::NOT_FOUND, "NoSuchKey"),
        AccountError::UserTaken { .. } => (StatusCode::CONFLICT, "UserTaken"),
        AccountError::NoSuchUser { .. } => (StatusCode::NOT_FOUND, "NoSuchUser"),
        AccountError::InvalidName(_) => (StatusCode::BAD_REQUEST, "InvalidName"),
        AccountError::PolicyTaken { .. } => (StatusCode::CONFLICT, "PolicyTaken"),
        AccountError::NoSuchPolicy { .. } => (StatusCode::NOT_FOUND, "NoSuchPolicy"),
        AccountError::InvalidRule { .. } => (StatusCode::BAD_REQUEST, "InvalidRule"),
        AccountError::RuleWithPrincipals { .. } => (StatusCode::BAD_REQUEST, "InvalidRule"),
        AccountError::NumberOfRules(_) => (StatusCode::BAD_REQUEST, "NumberOfRules"),
        AccountError::RoleTaken { .. } => (StatusCode::CONFLICT, "RoleTaken"),
        AccountError::NoSuchRole { .. } => (StatusCode::NOT_FOUND, "NoSuchRole"),
        AccountError::NotAttached { .. } => (StatusCode::NOT_FOUND, "NotAttached"),
        AccountError::NoSuchMember { .. } => (StatusCode::NOT_FOUND, "NoSuchMember"),
        AccountError::OwnRole(_) => (StatusCode::BAD_REQUEST, "OwnRole"),
        AccountError::TooManyRoles { .. } => (StatusCode::CONFLICT, "TooManyRoles"),
        AccountError::TooLarge { .. } => (StatusCode::CONFLICT, "TooLarge"),
        AccountError::Contended(_) => (StatusCode::SERVICE_UNAVAILABLE, "Contended"),
        AccountError::Moray(_) => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    refusal(status, code, message)
}

pub(super) fn refusal(status: StatusCode, code: &str, message: String) -> Refused {
    (
        status,
        Refusal {
            code: code.to_owned(),
            message,
        },
    )
}

//! What an operator sets on a whole account.

use std::sync::Arc;

use libmanta::Account;
use serde::{Deserialize, Serialize};

use crate::error::AccountError;
use crate::service::Service;

/// A change of an account; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Groups {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_operator: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snaplinks_disabled: Option<bool>,
}

impl Service {
    /// Puts an account into groups or takes it out, blocks it (`approved` is false) or lets it in again.
    pub async fn set_groups(
        &self,
        login: &str,
        groups: &Groups,
    ) -> Result<Arc<Account>, AccountError> {
        self.change(login, |account| {
            for (wanted, is) in [
                (groups.approved, &mut account.approved),
                (groups.operator, &mut account.operator),
                (groups.role_operator, &mut account.role_operator),
                (groups.reader, &mut account.reader),
                (groups.snaplinks_disabled, &mut account.snaplinks_disabled),
            ] {
                *is = wanted.unwrap_or(*is);
            }
            Ok(())
        })
        .await?;
        Ok(self.state(login)?.account.clone())
    }
}

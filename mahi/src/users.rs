//! Subusers.

use std::collections::BTreeMap;

use libmanta::{Login, User, UserId};

use crate::error::AccountError;
use crate::record::{StoredAccount, StoredUser};
use crate::service::Service;

impl Service {
    /// Makes a subuser without keys and roles.
    pub async fn create_user(&self, login: &str, user: &str) -> Result<User, AccountError> {
        let name = Login::parse(user).ok_or_else(|| AccountError::InvalidLogin(user.to_owned()))?;
        let id = UserId::random();
        self.change(login, |account| {
            if account.users.contains_key(&name) {
                return Err(AccountError::UserTaken {
                    account: login.to_owned(),
                    user: user.to_owned(),
                });
            }
            let keys = BTreeMap::new();
            account.users.insert(name.clone(), StoredUser { id, keys });
            Ok(())
        })
        .await?;
        Ok(User {
            id,
            login: name,
            keys: BTreeMap::new(),
        })
    }

    /// Takes a subuser away, out of all roles too. What it made stays: it belongs to the account.
    pub async fn remove_user(&self, login: &str, user: &str) -> Result<(), AccountError> {
        self.change(login, |account| {
            let id = account.user_mut(user)?.id;
            account.users.retain(|_, user| user.id != id);
            for role in account.roles.values_mut() {
                role.users.remove(&id);
            }
            Ok(())
        })
        .await
    }
}

impl StoredAccount {
    pub(crate) fn user_mut(&mut self, user: &str) -> Result<&mut StoredUser, AccountError> {
        let no_such_user = AccountError::NoSuchUser {
            account: self.login.to_string(),
            user: user.to_owned(),
        };
        let login = Login::parse(user);
        let found = login.and_then(|login| self.users.get_mut(&login));
        found.ok_or(no_such_user)
    }
}

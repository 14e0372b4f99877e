//! Public keys of accounts and of subusers.

use std::collections::BTreeMap;

use httpsig::{Fingerprint, PublicKey};

use crate::error::AccountError;
use crate::record::StoredAccount;
use crate::service::Service;

impl Service {
    /// Lets a key sign for the account: a public key as OpenSSH or PEM has it. Returns its MD5
    /// fingerprint. Repeating is harmless.
    pub async fn add_key(&self, login: &str, key: &str) -> Result<String, AccountError> {
        self.add_key_to(login, None, key).await
    }

    /// As [`Service::add_key`], for a subuser.
    pub async fn add_user_key(
        &self,
        login: &str,
        user: &str,
        key: &str,
    ) -> Result<String, AccountError> {
        self.add_key_to(login, Some(user), key).await
    }

    /// Takes a key away, named by its MD5 or SHA-256 fingerprint. Requests signed with it are refused from
    /// now on. Returns its MD5 fingerprint.
    pub async fn remove_key(&self, login: &str, fingerprint: &str) -> Result<String, AccountError> {
        self.remove_key_of(login, None, fingerprint).await
    }

    /// As [`Service::remove_key`], for a subuser.
    pub async fn remove_user_key(
        &self,
        login: &str,
        user: &str,
        fingerprint: &str,
    ) -> Result<String, AccountError> {
        self.remove_key_of(login, Some(user), fingerprint).await
    }

    async fn add_key_to(
        &self,
        login: &str,
        user: Option<&str>,
        key: &str,
    ) -> Result<String, AccountError> {
        let key = PublicKey::parse(key.trim()).map_err(AccountError::InvalidKey)?;
        let fingerprint = key.md5_fingerprint();
        let line = key.to_openssh();
        self.change(login, |account| {
            let keys = keys_of(account, user)?;
            keys.insert(fingerprint.clone(), line.clone());
            Ok(())
        })
        .await?;
        Ok(fingerprint)
    }

    async fn remove_key_of(
        &self,
        login: &str,
        user: Option<&str>,
        fingerprint: &str,
    ) -> Result<String, AccountError> {
        self.change(login, |account| {
            let no_such_key = || AccountError::NoSuchKey {
                login: match user {
                    Some(user) => format!("{login}/{user}"),
                    None => login.to_owned(),
                },
                fingerprint: fingerprint.to_owned(),
            };
            let keys = keys_of(account, user)?;
            let wanted: Fingerprint = fingerprint.parse().map_err(|_| no_such_key())?;
            let is_wanted = |line: &str| {
                PublicKey::parse_openssh(line).is_ok_and(|key| key.has_fingerprint(&wanted))
            };
            let found = keys.iter().find(|(_, line)| is_wanted(line));
            let removed = found.map(|(md5, _)| md5.clone()).ok_or_else(no_such_key)?;
            keys.remove(&removed);
            Ok(removed)
        })
        .await
    }
}

fn keys_of<'a>(
    account: &'a mut StoredAccount,
    user: Option<&str>,
) -> Result<&'a mut BTreeMap<String, String>, AccountError> {
    match user {
        Some(user) => Ok(&mut account.user_mut(user)?.keys),
        None => Ok(&mut account.keys),
    }
}

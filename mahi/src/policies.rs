//! Policies: named lists of rules.

use aperture::Rule;
use uuid::Uuid;

use crate::error::AccountError;
use crate::record::{StoredAccount, StoredPolicy};
use crate::service::Service;

/// Rules in a policy.
pub const RULES_MAX: usize = 64;

/// Longest name of a policy or role.
const NAME_BYTES_MAX: usize = 64;

impl Service {
    /// Makes a policy. Errors name the first rule that does not parse, and where.
    pub async fn create_policy(
        &self,
        login: &str,
        policy: &str,
        rules: &[String],
    ) -> Result<(), AccountError> {
        check_name(policy)?;
        let rules = check_rules(rules)?;
        let id = Uuid::new_v4();
        self.change(login, |account| {
            if account.policies.contains_key(policy) {
                return Err(AccountError::PolicyTaken {
                    account: login.to_owned(),
                    policy: policy.to_owned(),
                });
            }
            let rules = rules.clone();
            let stored = StoredPolicy { id, rules };
            account.policies.insert(policy.to_owned(), stored);
            Ok(())
        })
        .await
    }

    /// Replaces the rules of a policy. The next request is decided by the new ones.
    pub async fn set_rules(
        &self,
        login: &str,
        policy: &str,
        rules: &[String],
    ) -> Result<(), AccountError> {
        let rules = check_rules(rules)?;
        self.change(login, |account| {
            account.policy_mut(policy)?.rules = rules.clone();
            Ok(())
        })
        .await
    }

    /// Takes a policy away, from all roles too.
    pub async fn remove_policy(&self, login: &str, policy: &str) -> Result<(), AccountError> {
        self.change(login, |account| {
            let id = account.policy_mut(policy)?.id;
            account.policies.remove(policy);
            for role in account.roles.values_mut() {
                role.policies.remove(&id);
            }
            Ok(())
        })
        .await
    }
}

impl StoredAccount {
    pub(crate) fn policy_mut(&mut self, policy: &str) -> Result<&mut StoredPolicy, AccountError> {
        let no_such_policy = AccountError::NoSuchPolicy {
            account: self.login.to_string(),
            policy: policy.to_owned(),
        };
        self.policies.get_mut(policy).ok_or(no_such_policy)
    }
}

/// The rules without blanks around them.
fn check_rules(rules: &[String]) -> Result<Vec<String>, AccountError> {
    if !(1..=RULES_MAX).contains(&rules.len()) {
        return Err(AccountError::NumberOfRules(RULES_MAX));
    }
    let mut checked = Vec::with_capacity(rules.len());
    for (number, text) in (1..).zip(rules) {
        let text = text.trim_end();
        let rule =
            Rule::parse(text).map_err(|source| AccountError::InvalidRule { number, source })?;
        if rule.principals.is_some() {
            return Err(AccountError::RuleWithPrincipals { number });
        }
        checked.push(text.to_owned());
    }
    Ok(checked)
}

/// A name must be fit for the header `Role`, which lists them with commas, has `*` for all and begins those that
/// are not names with an underscore.
pub(crate) fn check_name(name: &str) -> Result<(), AccountError> {
    let first = name.bytes().next().unwrap_or_default();
    let is_name = first.is_ascii_alphanumeric()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.@".contains(&b));
    match is_name {
        true => Ok(()),
        false => Err(AccountError::InvalidName(name.to_owned())),
    }
}

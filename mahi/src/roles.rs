//! Roles: which policies they carry, and who holds them.

use std::collections::{BTreeMap, BTreeSet};

use libmanta::AccountId;
use uuid::Uuid;

use crate::error::AccountError;
use crate::known::Holder;
use crate::policies::check_name;
use crate::record::{StoredAccount, StoredRole};
use crate::service::Service;

/// Roles that one account or subuser can hold; a token names all that are active, and has to fit into a header.
/// Of an account that is a member of others' roles it is kept up to a race between two of them.
pub const HELD_MAX: usize = 128;

/// Who can be a member of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// A subuser of the role's account, by login.
    User(&'a str),
    /// Another account, by login.
    Account(&'a str),
}

impl Service {
    /// Makes a role with these policies and without members.
    pub async fn create_role(
        &self,
        login: &str,
        role: &str,
        policies: &[String],
    ) -> Result<(), AccountError> {
        check_name(role)?;
        let id = Uuid::new_v4();
        self.change(login, |account| {
            if account.roles.contains_key(role) {
                return Err(AccountError::RoleTaken {
                    account: login.to_owned(),
                    role: role.to_owned(),
                });
            }
            let ids = policies.iter().map(|name| Ok(account.policy_mut(name)?.id));
            let stored = StoredRole {
                id,
                policies: ids.collect::<Result<BTreeSet<_>, AccountError>>()?,
                users: BTreeMap::new(),
                accounts: BTreeMap::new(),
            };
            account.roles.insert(role.to_owned(), stored);
            Ok(())
        })
        .await
    }

    /// Takes a role away, from all who hold it. Tags of it on entries mean nothing from now on; a role of the
    /// same name made later is another one.
    pub async fn remove_role(&self, login: &str, role: &str) -> Result<(), AccountError> {
        self.change(login, |account| {
            account.role_mut(role)?;
            account.roles.remove(role);
            Ok(())
        })
        .await
    }

    /// Repeating is harmless.
    pub async fn attach_policy(
        &self,
        login: &str,
        role: &str,
        policy: &str,
    ) -> Result<(), AccountError> {
        self.change(login, |account| {
            let id = account.policy_mut(policy)?.id;
            account.role_mut(role)?.policies.insert(id);
            Ok(())
        })
        .await
    }

    pub async fn detach_policy(
        &self,
        login: &str,
        role: &str,
        policy: &str,
    ) -> Result<(), AccountError> {
        self.change(login, |account| {
            let id = account.policy_mut(policy)?.id;
            match account.role_mut(role)?.policies.remove(&id) {
                true => Ok(()),
                false => Err(AccountError::NotAttached {
                    role: role.to_owned(),
                    policy: policy.to_owned(),
                }),
            }
        })
        .await
    }

    /// Gives the role to a member; `default`: it is active in the member's requests that name no roles.
    /// Repeating sets `default` anew.
    pub async fn add_member(
        &self,
        login: &str,
        role: &str,
        member: Member<'_>,
        default: bool,
    ) -> Result<(), AccountError> {
        let other = self.other_account(login, member)?;
        let held_by_other = match other {
            Some(id) => self
                .known()
                .held(Holder::Account(id))
                .map_or(0, |h| h.len()),
            None => 0,
        };
        self.change(login, |account| {
            let too_many = |member: &str| AccountError::TooManyRoles {
                member: member.to_owned(),
                max: HELD_MAX,
            };
            match (member, other) {
                (Member::User(user), _) => {
                    let id = account.user_mut(user)?.id;
                    let roles = account.roles.values();
                    let held = roles.filter(|role| role.users.contains_key(&id)).count();
                    let role = account.role_mut(role)?;
                    if held >= HELD_MAX && !role.users.contains_key(&id) {
                        return Err(too_many(user));
                    }
                    role.users.insert(id, default);
                }
                (Member::Account(member), Some(id)) => {
                    let role = account.role_mut(role)?;
                    if held_by_other >= HELD_MAX && !role.accounts.contains_key(&id) {
                        return Err(too_many(member));
                    }
                    role.accounts.insert(id, default);
                }
                (Member::Account(member), None) => {
                    return Err(AccountError::NoSuchAccount(member.to_owned()));
                }
            }
            Ok(())
        })
        .await
    }

    /// Takes the role from a member. Tokens in which it is active are refused from now on.
    pub async fn remove_member(
        &self,
        login: &str,
        role: &str,
        member: Member<'_>,
    ) -> Result<(), AccountError> {
        let other = self.other_account(login, member)?;
        self.change(login, |account| {
            let (removed, member) = match (member, other) {
                (Member::User(user), _) => {
                    let id = account.user_mut(user)?.id;
                    (account.role_mut(role)?.users.remove(&id), user)
                }
                (Member::Account(member), Some(id)) => {
                    (account.role_mut(role)?.accounts.remove(&id), member)
                }
                (Member::Account(member), None) => (None, member),
            };
            let no_such_member = || AccountError::NoSuchMember {
                role: role.to_owned(),
                member: member.to_owned(),
            };
            removed.map(drop).ok_or_else(no_such_member)
        })
        .await
    }

    /// The id of a member that is another account.
    fn other_account(
        &self,
        login: &str,
        member: Member<'_>,
    ) -> Result<Option<AccountId>, AccountError> {
        match member {
            Member::User(_) => Ok(None),
            Member::Account(member) if member == login => {
                Err(AccountError::OwnRole(login.to_owned()))
            }
            Member::Account(member) => Ok(Some(self.state(member)?.account.id)),
        }
    }
}

impl StoredAccount {
    pub(crate) fn role_mut(&mut self, role: &str) -> Result<&mut StoredRole, AccountError> {
        let no_such_role = AccountError::NoSuchRole {
            account: self.login.to_string(),
            role: role.to_owned(),
        };
        self.roles.get_mut(role).ok_or(no_such_role)
    }
}

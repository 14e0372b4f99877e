//! What administrators see.

use std::collections::BTreeMap;

use libmanta::{Account, Login};
use serde::{Deserialize, Serialize};

use crate::known::{Known, State};
use crate::record::StoredUser;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    pub id: String,
    pub login: String,
    pub operator: bool,
    #[serde(default)]
    pub role_operator: bool,
    #[serde(default)]
    pub reader: bool,
    /// False: blocked.
    pub approved: bool,
    #[serde(default)]
    pub snaplinks_disabled: bool,
    pub keys: Vec<KeyView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// MD5, 16 colon-separated hex pairs.
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    pub id: String,
    pub login: String,
    pub keys: Vec<KeyView>,
    /// Names of the roles it holds, those first that are active by default.
    pub default_roles: Vec<String>,
    pub other_roles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    pub id: String,
    pub name: String,
    pub rules: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleView {
    pub id: String,
    pub name: String,
    /// Names.
    pub policies: Vec<String>,
    pub users: Vec<MemberView>,
    /// Members that are other accounts.
    pub accounts: Vec<MemberView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    pub login: String,
    pub default: bool,
}

/// Nothing more to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            login: account.login.to_string(),
            operator: account.operator,
            role_operator: account.role_operator,
            reader: account.reader,
            approved: account.approved,
            snaplinks_disabled: account.snaplinks_disabled,
            keys: keys(&account.keys),
        }
    }
}

pub(super) fn users(state: &State) -> Vec<UserView> {
    let users = state.stored.users.iter();
    users
        .map(|(login, user)| user_view(state, login, user))
        .collect()
}

fn user_view(state: &State, login: &Login, user: &StoredUser) -> UserView {
    let roles = |wanted: bool| {
        let all = state.stored.roles.iter();
        all.filter(|(_, role)| role.users.get(&user.id) == Some(&wanted))
            .map(|(name, _)| name.clone())
            .collect()
    };
    UserView {
        id: user.id.to_string(),
        login: login.to_string(),
        keys: keys(&user.keys),
        default_roles: roles(true),
        other_roles: roles(false),
    }
}

pub(super) fn policies(state: &State) -> Vec<PolicyView> {
    let policies = state.stored.policies.iter();
    let view = policies.map(|(name, policy)| PolicyView {
        id: policy.id.to_string(),
        name: name.clone(),
        rules: policy.rules.clone(),
    });
    view.collect()
}

/// `known` gives the other accounts their logins.
pub(super) fn roles(state: &State, known: &Known) -> Vec<RoleView> {
    let stored = &state.stored;
    let view = stored.roles.iter().map(|(name, role)| {
        let policies = stored.policies.iter();
        let policies = policies.filter(|(_, policy)| role.policies.contains(&policy.id));
        let users = stored.users.iter().filter_map(|(login, user)| {
            let default = *role.users.get(&user.id)?;
            let login = login.to_string();
            Some(MemberView { login, default })
        });
        let accounts = role.accounts.iter().map(|(id, default)| MemberView {
            login: match known.by_id(*id) {
                Some(other) => other.account.login.to_string(),
                None => id.to_string(),
            },
            default: *default,
        });
        let mut accounts: Vec<MemberView> = accounts.collect();
        accounts.sort_by(|a, b| a.login.cmp(&b.login));
        RoleView {
            id: role.id.to_string(),
            name: name.clone(),
            policies: policies.map(|(name, _)| name.clone()).collect(),
            users: users.collect(),
            accounts,
        }
    });
    view.collect()
}

fn keys(keys: &BTreeMap<String, String>) -> Vec<KeyView> {
    let view = |fingerprint: &String| KeyView {
        fingerprint: fingerprint.clone(),
    };
    keys.keys().map(view).collect()
}

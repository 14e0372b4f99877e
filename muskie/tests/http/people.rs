//! Subusers, roles and groups over the real accounts, made in memory so that each test says in a line what it
//! needs. How they are kept is tested where they are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use aperture::Rule;
use async_trait::async_trait;
use libmanta::mahi::{Bearer, Held, Identity, IdentityError, InvalidToken, Principal, Role};
use libmanta::{Account, AccountId, Login, Timestamp, User as Subuser, UserId};
use mahi::Service;
use uuid::Uuid;

use crate::store::User;

pub(crate) struct People {
    inner: Arc<Service>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Accounts that are not as the service has them.
    changed: HashMap<AccountId, Arc<Account>>,
    roles: HashMap<Uuid, Arc<Role>>,
    held: HashMap<(AccountId, Option<UserId>), Vec<Held>>,
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("People")
    }
}

impl People {
    pub(crate) fn new(inner: Arc<Service>) -> Self {
        Self {
            inner,
            state: Mutex::default(),
        }
    }

    fn now(&self, account: Arc<Account>) -> Arc<Account> {
        let state = self.state.lock().unwrap();
        state.changed.get(&account.id).cloned().unwrap_or(account)
    }

    async fn named(&self, login: &str) -> Arc<Account> {
        self.account(login).await.unwrap().unwrap()
    }

    pub(crate) async fn change(&self, login: &str, change: impl FnOnce(&mut Account)) {
        let mut account = (*self.named(login).await).clone();
        change(&mut account);
        let mut state = self.state.lock().unwrap();
        state.changed.insert(account.id, Arc::new(account));
    }

    /// A subuser who signs with `key`'s key; nobody can sign for one without.
    pub(crate) async fn add_user(&self, account: &str, login: &str, key: Option<&User>) {
        let keys = key.map(|user| {
            let public = user.key.public();
            (public.md5_fingerprint(), public.to_openssh())
        });
        let user = Subuser {
            id: UserId::random(),
            login: Login::parse(login).unwrap(),
            keys: keys.into_iter().collect(),
        };
        self.change(account, |account| {
            account.users.insert(login.to_owned(), user);
        })
        .await;
    }

    /// A role of `account` with these rules.
    pub(crate) async fn add_role(&self, account: &str, name: &str, rules: &[&str]) {
        let id = Uuid::new_v4();
        let owner = self.named(account).await.id;
        self.change(account, |account| {
            account.roles.insert(name.to_owned(), id);
        })
        .await;
        let role = Role {
            id,
            name: name.to_owned(),
            account: owner,
            rules: rules
                .iter()
                .map(|text| Rule::parse(text).unwrap())
                .collect(),
        };
        self.state.lock().unwrap().roles.insert(id, Arc::new(role));
    }

    pub(crate) async fn remove_role(&self, account: &str, name: &str) {
        let id = self.named(account).await.roles[name];
        self.change(account, |account| {
            account.roles.remove(name);
        })
        .await;
        let mut state = self.state.lock().unwrap();
        state.roles.remove(&id);
        for held in state.held.values_mut() {
            held.retain(|held| held.role.id != id);
        }
    }

    /// Puts a role of `account` into the hands of `holder`: `bob`, or `alice/jo` for a subuser.
    pub(crate) async fn give(&self, account: &str, name: &str, holder: &str, default: bool) {
        let id = self.named(account).await.roles[name];
        let key = self.holder(holder).await;
        let mut state = self.state.lock().unwrap();
        let role = state.roles[&id].clone();
        let held = state.held.entry(key).or_default();
        held.push(Held { role, default });
    }

    async fn holder(&self, holder: &str) -> (AccountId, Option<UserId>) {
        match holder.split_once('/') {
            None => (self.named(holder).await.id, None),
            Some((account, user)) => {
                let account = self.named(account).await;
                (account.id, Some(account.users[user].id))
            }
        }
    }
}

#[async_trait]
impl Identity for People {
    async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, IdentityError> {
        let account = self.inner.account(login).await?;
        Ok(account.map(|account| self.now(account)))
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Arc<Account>>, IdentityError> {
        let account = self.inner.account_by_id(id).await?;
        Ok(account.map(|account| self.now(account)))
    }

    async fn held_roles(
        &self,
        account: AccountId,
        user: Option<UserId>,
    ) -> Result<Arc<[Held]>, IdentityError> {
        let state = self.state.lock().unwrap();
        let held = state.held.get(&(account, user)).cloned();
        Ok(held.unwrap_or_default().into())
    }

    async fn role(&self, id: Uuid) -> Result<Option<Arc<Role>>, IdentityError> {
        Ok(self.state.lock().unwrap().roles.get(&id).cloned())
    }

    fn mint_token(&self, principal: &Principal, until: Option<Timestamp>) -> String {
        self.inner.mint_token(principal, until)
    }

    fn open_token(&self, token: &str) -> Result<Bearer, InvalidToken> {
        self.inner.open_token(token)
    }
}

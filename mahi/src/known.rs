//! Everything in memory: accounts by login and id, roles by id, and who holds which.

use std::collections::HashMap;
use std::sync::Arc;

use aperture::Rule;
use libmanta::mahi::{Held, Role};
use libmanta::{Account, AccountId, UserId};
use uuid::Uuid;

use crate::record::{AccountRecord, StoredAccount};

/// Each holder's roles and each role lie here as they are handed out, so that asking costs no allocation.
#[derive(Default)]
pub(crate) struct Known {
    by_login: HashMap<String, Arc<State>>,
    by_id: HashMap<AccountId, Arc<State>>,
    roles: HashMap<Uuid, Arc<Role>>,
    held: HashMap<Holder, Arc<[Held]>>,
}

/// An account, as its record of one revision says.
pub(crate) struct State {
    revision: u64,
    pub(crate) account: Arc<Account>,
    pub(crate) stored: StoredAccount,
    roles: Vec<Arc<Role>>,
}

/// Who can hold a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Account(AccountId),
    User(UserId),
}

impl State {
    pub(crate) fn new(record: &AccountRecord) -> Self {
        let stored = record.account.clone();
        let roles = stored.roles.iter().map(|(name, role)| {
            Arc::new(Role {
                id: role.id,
                name: name.clone(),
                account: stored.id,
                rules: parse(&stored, name, stored.rules(role)),
            })
        });
        Self {
            revision: record.revision,
            account: Arc::new(stored.account()),
            roles: roles.collect(),
            stored,
        }
    }

    /// Holder, role, and whether it is a default.
    fn memberships(&self) -> impl Iterator<Item = (Holder, Held)> {
        let stored_roles = self.stored.roles.values().zip(&self.roles);
        stored_roles.flat_map(|(stored, role)| {
            let users = stored.users.iter();
            let users = users.map(|(id, default)| (Holder::User(*id), *default));
            let accounts = stored.accounts.iter();
            let accounts = accounts.map(|(id, default)| (Holder::Account(*id), *default));
            users.chain(accounts).map(|(holder, default)| {
                let role = role.clone();
                (holder, Held { role, default })
            })
        })
    }
}

/// A rule that parsed when it was made parses now; should a later grammar refuse it, then it allows nothing,
/// which is all that a rule can do.
fn parse<'a>(
    account: &StoredAccount,
    role: &str,
    rules: impl Iterator<Item = &'a str>,
) -> Vec<Rule> {
    let parsed = rules.filter_map(|text| {
        let error = match Rule::parse(text) {
            Ok(rule) => return Some(rule),
            Err(error) => error,
        };
        let error: &dyn std::error::Error = &error;
        let login = account.login.as_str();
        tracing::error!(
            login,
            role,
            rule = text,
            error,
            "a stored rule does not parse"
        );
        None
    });
    parsed.collect()
}

impl Known {
    pub(crate) fn by_login(&self, login: &str) -> Option<&Arc<State>> {
        self.by_login.get(login)
    }

    pub(crate) fn by_id(&self, id: AccountId) -> Option<&Arc<State>> {
        self.by_id.get(&id)
    }

    pub(crate) fn role(&self, id: Uuid) -> Option<&Arc<Role>> {
        self.roles.get(&id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<State>> {
        self.by_login.values()
    }

    pub(crate) fn held(&self, holder: Holder) -> Option<&Arc<[Held]>> {
        self.held.get(&holder)
    }

    /// Takes a state in, unless a later one is here already. Returns the one that is now.
    pub(crate) fn remember(&mut self, state: Arc<State>) -> Arc<State> {
        let login = state.account.login.as_str();
        let before = self.by_login.get(login).cloned();
        if let Some(before) = &before
            && before.revision >= state.revision
        {
            return before.clone();
        }
        self.by_login.insert(login.to_owned(), state.clone());
        self.by_id.insert(state.account.id, state.clone());

        // Of every holder of one of this account's roles, then or now: those of other accounts stay.
        let mut changed: HashMap<Holder, Vec<Held>> = HashMap::new();
        let gone = before.iter().flat_map(|before| before.memberships());
        for (holder, _) in gone {
            changed.entry(holder).or_default();
        }
        for (holder, held) in state.memberships() {
            changed.entry(holder).or_default().push(held);
        }
        for (holder, mut held) in changed {
            let others = self
                .held
                .get(&holder)
                .into_iter()
                .flat_map(|all| all.iter());
            let others = others.filter(|held| held.role.account != state.account.id);
            held.extend(others.cloned());
            match held.is_empty() {
                true => drop(self.held.remove(&holder)),
                false => drop(self.held.insert(holder, held.into())),
            }
        }
        for role in before.iter().flat_map(|before| &before.roles) {
            self.roles.remove(&role.id);
        }
        for role in &state.roles {
            self.roles.insert(role.id, role.clone());
        }
        state
    }
}

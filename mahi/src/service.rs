//! The accounts, in memory and in moray.
//!
//! A change reads the record, writes it back on condition that nobody else did meanwhile, and tries again
//! if somebody did. Only then is memory brought up to date, and only forward, so that two changes that
//! finish in the other order do not undo each other there.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use libmanta::mahi::{
    ActingUser, Bearer, Held, Identity, IdentityError, InvalidToken, Principal, Role,
};
use libmanta::moray::{BatchError, Buckets, Expect, MorayError, Write};
use libmanta::{Account, AccountId, Clock, Login, Timestamp, UserId};
use uuid::Uuid;

use crate::config::Config;
use crate::error::{AccountError, OpenError};
use crate::known::{Holder, Known, State};
use crate::record::{self, AccountRecord, BUCKET, ROUTE, StoredAccount};
use crate::reference_token::{self, Named};
use crate::token::Sealer;

/// Records read in one go while loading.
const PAGE: usize = 500;

/// Of one account. Every change writes and parses its record as a whole.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// How often a change is tried again because of others. Administrators are few.
const ATTEMPTS_MAX: usize = 20;

/// The accounts of a store.
pub struct Service {
    buckets: Arc<dyn Buckets>,
    clock: Arc<dyn Clock>,
    config: Config,
    sealer: Sealer,
    known: RwLock<Known>,
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub login: String,
    pub operator: bool,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Loads every account. Errors: the records cannot be read, or one of them does not decode.
    pub async fn open(
        buckets: Arc<dyn Buckets>,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OpenError> {
        let sealer = Sealer::new(&config.secret);
        let service = Self {
            buckets,
            clock,
            config,
            sealer,
            known: RwLock::default(),
        };
        let mut from = String::new();
        loop {
            let page = service.buckets.scan(BUCKET, ROUTE, &from, PAGE).await?;
            let Some(last) = page.last() else { break };
            // The least key above the last one.
            from = format!("{}\0", last.key.key);
            for found in page {
                let key = found.key.key;
                let record = AccountRecord::decode(&found.value)
                    .map_err(|source| OpenError::Record { key, source })?;
                service.remember(&record);
            }
        }
        Ok(Arc::new(service))
    }

    /// All accounts in order of their logins.
    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts: Vec<_> = self.known().all().map(|s| s.account.clone()).collect();
        accounts.sort_by(|a, b| a.login.cmp(&b.login));
        accounts
    }

    pub(crate) fn state(&self, login: &str) -> Result<Arc<State>, AccountError> {
        let known = self.known();
        let state = known.by_login(login).cloned();
        state.ok_or_else(|| AccountError::NoSuchAccount(login.to_owned()))
    }

    pub(crate) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an approved account without keys. Durable when it returns.
    pub async fn create_account(&self, new: NewAccount) -> Result<Arc<Account>, AccountError> {
        let NewAccount { login, operator } = new;
        let login = Login::parse(&login).ok_or(AccountError::InvalidLogin(login))?;
        let id = AccountId::random();
        let account = StoredAccount {
            operator,
            ..StoredAccount::new(id, login)
        };
        let record = AccountRecord::first(account);
        let login = record.account.login.as_str();
        match self.write(&record, Expect::Absent).await {
            Ok(()) => Ok(self.remember(&record).account.clone()),
            Err(WriteError::Conflict) => Err(AccountError::LoginTaken(login.to_owned())),
            Err(WriteError::Moray(error)) => Err(error.into()),
        }
    }

    /// Applies `change` to the account as it is, again if somebody else changed it meanwhile. Durable and in
    /// effect when it returns. Nothing is written when `change` fails or changes nothing.
    pub(crate) async fn change<T>(
        &self,
        login: &str,
        mut change: impl FnMut(&mut StoredAccount) -> Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        let no_such_account = || AccountError::NoSuchAccount(login.to_owned());
        for _ in 0..ATTEMPTS_MAX {
            let found = self.buckets.get(&record::key(login)).await?;
            let found = found.ok_or_else(no_such_account)?;
            let current = AccountRecord::decode(&found.value).map_err(|error| {
                let reason = error.to_string();
                MorayError::Corrupt {
                    shard: ROUTE.to_owned(),
                    reason,
                }
            })?;
            let mut account = current.account.clone();
            let result = change(&mut account)?;
            if account == current.account {
                self.remember(&current);
                return Ok(result);
            }
            let next = current.next(account);
            if next.encode().len() > RECORD_BYTES_MAX {
                return Err(AccountError::TooLarge {
                    account: login.to_owned(),
                    max_bytes: RECORD_BYTES_MAX,
                });
            }
            match self.write(&next, Expect::Etag(found.etag)).await {
                Ok(()) => {
                    self.remember(&next);
                    return Ok(result);
                }
                Err(WriteError::Conflict) => {}
                Err(WriteError::Moray(error)) => return Err(error.into()),
            }
        }
        Err(AccountError::Contended(login.to_owned()))
    }

    async fn write(&self, record: &AccountRecord, expect: Expect) -> Result<(), WriteError> {
        let key = record::key(record.account.login.as_str());
        let write = Write {
            key,
            value: Some(record.encode()),
            expect,
        };
        self.buckets
            .batch(vec![write])
            .await
            .map_err(|error| match error {
                BatchError::Conflict(_) => WriteError::Conflict,
                BatchError::Moray(error) => WriteError::Moray(error),
                BatchError::Routes => WriteError::Moray(MorayError::Corrupt {
                    shard: ROUTE.to_owned(),
                    reason: error.to_string(),
                }),
            })
    }

    /// Brings memory up to the record, unless it is ahead of it already.
    fn remember(&self, record: &AccountRecord) -> Arc<State> {
        // Parsing its rules may take a moment; nobody waits for that.
        let state = Arc::new(State::new(record));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remember(state)
    }
}

enum WriteError {
    Conflict,
    Moray(MorayError),
}

#[async_trait]
impl Identity for Service {
    async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, IdentityError> {
        let known = self.known();
        Ok(known.by_login(login).map(|state| state.account.clone()))
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Arc<Account>>, IdentityError> {
        let known = self.known();
        Ok(known.by_id(id).map(|state| state.account.clone()))
    }

    async fn held_roles(
        &self,
        account: AccountId,
        user: Option<UserId>,
    ) -> Result<Arc<[Held]>, IdentityError> {
        let known = self.known();
        let holder = match user {
            None => Some(Holder::Account(account)),
            Some(id) => {
                let state = known.by_id(account);
                let is_user = state.is_some_and(|s| s.stored.users.values().any(|u| u.id == id));
                is_user.then_some(Holder::User(id))
            }
        };
        let held = holder.and_then(|holder| known.held(holder).cloned());
        Ok(held.unwrap_or_else(|| Arc::from([])))
    }

    async fn role(&self, id: Uuid) -> Result<Option<Arc<Role>>, IdentityError> {
        Ok(self.known().role(id).cloned())
    }

    /// In the format of the reference where that is configured, except for jobs: theirs stay in the store, and
    /// are better sealed.
    fn mint_token(&self, principal: &Principal, until: Option<Timestamp>) -> String {
        let now = self.clock.now();
        // That format has no end of its own in it.
        if let Some(keys) = &self.config.auth_token
            && !principal.from_job
            && until.is_none()
        {
            return reference_token::seal(&self.named(principal), keys, now);
        }
        let life = u64::try_from(self.config.token_life.as_millis()).unwrap_or(u64::MAX);
        let expires = Timestamp::from_millis(now.as_millis().saturating_add(life));
        let expires = until.map_or(expires, |until| expires.min(until));
        self.sealer.seal(principal, expires)
    }

    fn open_token(&self, token: &str) -> Result<Bearer, InvalidToken> {
        let now = self.clock.now();
        let opened = self.sealer.open(token, now);
        match (&self.config.auth_token, opened) {
            (Some(keys), Err(InvalidToken::Malformed)) => {
                let (named, expires) = reference_token::open(token, keys, now)?;
                let principal = self.principal(named).ok_or(InvalidToken::Malformed)?;
                Ok(Bearer { principal, expires })
            }
            (_, opened) => opened,
        }
    }
}

impl Service {
    fn named(&self, principal: &Principal) -> Named {
        let known = self.known();
        let of_account = |id: &&Uuid| {
            let role = known.role(**id);
            role.is_some_and(|role| role.account == principal.account)
        };
        let all = principal.roles.iter();
        let (roles, other_roles) = all.partition::<Vec<Uuid>, _>(of_account);
        Named {
            account: principal.account,
            user: principal.user.as_ref().map(|user| user.id),
            roles,
            other_roles,
            from_job: principal.from_job,
        }
    }

    /// `None` when there is no such account or subuser, or not any more.
    fn principal(&self, named: Named) -> Option<Principal> {
        let known = self.known();
        let state = known.by_id(named.account)?;
        let user = match named.user {
            None => None,
            Some(id) => {
                let mut users = state.account.users.values();
                let user = users.find(|user| user.id == id)?;
                let login = user.login.clone();
                Some(ActingUser { id, login })
            }
        };
        let account = &state.account;
        Some(Principal {
            // Those who must say that they are operators cannot say it in a token of this format.
            operator: account.operator && !account.role_operator && user.is_none(),
            from_job: named.from_job,
            user,
            roles: [named.roles, named.other_roles].concat(),
            ..Principal::of(account)
        })
    }
}

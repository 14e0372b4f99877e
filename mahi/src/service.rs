//! The accounts, in memory and in moray.
//!
//! A change reads the record, writes it back on condition that nobody else did meanwhile, and tries again
//! if somebody did. Only then is memory brought up to date, and only forward, so that two changes that
//! finish in the other order do not undo each other there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use httpsig::{Fingerprint, PublicKey};
use libmanta::mahi::{Held, Identity, IdentityError, InvalidToken, Principal, Role};
use libmanta::moray::{BatchError, Buckets, Expect, MorayError, Write};
use libmanta::{Account, AccountId, Clock, Login, Timestamp, UserId};
use uuid::Uuid;

use crate::config::Config;
use crate::error::{AccountError, OpenError};
use crate::record::{self, AccountRecord, BUCKET, ROUTE};
use crate::token::Sealer;

/// Records read in one go while loading.
const PAGE: usize = 500;

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

#[derive(Default)]
struct Known {
    by_login: HashMap<String, Cached>,
    by_id: HashMap<AccountId, String>,
}

struct Cached {
    revision: u64,
    account: Arc<Account>,
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
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut accounts: Vec<_> = known.by_login.values().map(|c| c.account.clone()).collect();
        accounts.sort_by(|a, b| a.login.cmp(&b.login));
        accounts
    }

    /// Makes an approved account without keys. Durable when it returns.
    pub async fn create_account(&self, new: NewAccount) -> Result<Arc<Account>, AccountError> {
        let NewAccount { login, operator } = new;
        let login = Login::parse(&login).ok_or(AccountError::InvalidLogin(login))?;
        let id = AccountId::random();
        let account = Account {
            operator,
            ..Account::new(id, login)
        };
        let record = AccountRecord::first(account);
        let login = record.account.login.as_str();
        match self.write(&record, Expect::Absent).await {
            Ok(()) => Ok(self.remember(&record)),
            Err(WriteError::Conflict) => Err(AccountError::LoginTaken(login.to_owned())),
            Err(WriteError::Moray(error)) => Err(error.into()),
        }
    }

    /// Lets a key sign for the account: a public key as OpenSSH or PEM has it. Returns its MD5
    /// fingerprint. Repeating is harmless.
    pub async fn add_key(&self, login: &str, key: &str) -> Result<String, AccountError> {
        let key = PublicKey::parse(key.trim()).map_err(AccountError::InvalidKey)?;
        let fingerprint = key.md5_fingerprint();
        let line = key.to_openssh();
        self.change(login, |account| {
            account.keys.insert(fingerprint.clone(), line.clone());
            Ok(())
        })
        .await?;
        Ok(fingerprint)
    }

    /// Takes a key away, named by its MD5 or SHA-256 fingerprint. Requests signed with it are refused from
    /// now on. Returns its MD5 fingerprint.
    pub async fn remove_key(&self, login: &str, fingerprint: &str) -> Result<String, AccountError> {
        let mut removed = String::new();
        self.change(login, |account| {
            let no_such_key = || AccountError::NoSuchKey {
                login: login.to_owned(),
                fingerprint: fingerprint.to_owned(),
            };
            let wanted: Fingerprint = fingerprint.parse().map_err(|_| no_such_key())?;
            let is_wanted = |line: &str| {
                PublicKey::parse_openssh(line).is_ok_and(|key| key.has_fingerprint(&wanted))
            };
            let found = account.keys.iter().find(|(_, line)| is_wanted(line));
            removed = found.map(|(md5, _)| md5.clone()).ok_or_else(no_such_key)?;
            account.keys.remove(&removed);
            Ok(())
        })
        .await?;
        Ok(removed)
    }

    async fn change(
        &self,
        login: &str,
        mut change: impl FnMut(&mut Account) -> Result<(), AccountError>,
    ) -> Result<(), AccountError> {
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
            change(&mut account)?;
            if account == current.account {
                self.remember(&current);
                return Ok(());
            }
            let next = current.next(account);
            match self.write(&next, Expect::Etag(found.etag)).await {
                Ok(()) => {
                    self.remember(&next);
                    return Ok(());
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
    fn remember(&self, record: &AccountRecord) -> Arc<Account> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let login = record.account.login.as_str();
        if let Some(cached) = known.by_login.get(login)
            && cached.revision >= record.revision
        {
            return cached.account.clone();
        }
        let account = Arc::new(record.account.clone());
        let cached = Cached {
            revision: record.revision,
            account: account.clone(),
        };
        known.by_id.insert(account.id, login.to_owned());
        known.by_login.insert(login.to_owned(), cached);
        account
    }
}

enum WriteError {
    Conflict,
    Moray(MorayError),
}

#[async_trait]
impl Identity for Service {
    async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, IdentityError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Ok(known
            .by_login
            .get(login)
            .map(|cached| cached.account.clone()))
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<Arc<Account>>, IdentityError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let cached = known
            .by_id
            .get(&id)
            .and_then(|login| known.by_login.get(login));
        Ok(cached.map(|cached| cached.account.clone()))
    }

    async fn held_roles(
        &self,
        _: AccountId,
        _: Option<UserId>,
    ) -> Result<Arc<[Held]>, IdentityError> {
        // No account has roles.
        Ok(Arc::from([]))
    }

    async fn role(&self, _: Uuid) -> Result<Option<Arc<Role>>, IdentityError> {
        Ok(None)
    }

    fn mint_token(&self, principal: &Principal) -> String {
        let life = u64::try_from(self.config.token_life.as_millis()).unwrap_or(u64::MAX);
        let expires = self.clock.now().as_millis().saturating_add(life);
        self.sealer.seal(principal, Timestamp::from_millis(expires))
    }

    fn open_token(&self, token: &str) -> Result<Principal, InvalidToken> {
        self.sealer.open(token, self.clock.now())
    }
}

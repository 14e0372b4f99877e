//! Places for uploads, of which one account never takes all: whoever is slow on purpose shuts out nobody
//! but themselves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libmanta::AccountId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Config;

#[derive(Debug)]
pub(crate) struct Uploads {
    places: Semaphore,
    per_account_max: usize,
    /// Only accounts with an upload under way.
    by_account: Mutex<HashMap<AccountId, usize>>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    uploads: &'a Uploads,
    account: AccountId,
    _permit: SemaphorePermit<'a>,
}

impl Uploads {
    pub(crate) fn new(config: &Config) -> Self {
        let percent = usize::from(config.uploads_per_account_percent.min(100));
        Self {
            places: Semaphore::new(config.uploads_max),
            per_account_max: (config.uploads_max.saturating_mul(percent) / 100).max(1),
            by_account: Mutex::default(),
        }
    }

    /// `None` when there is no place at all, or none for this account.
    pub(crate) fn admit(&self, account: AccountId) -> Option<Place<'_>> {
        let permit = self.places.try_acquire().ok()?;
        let mut by_account = self.by_account();
        let held = by_account.entry(account).or_default();
        if *held >= self.per_account_max {
            return None;
        }
        *held += 1;
        Some(Place {
            uploads: self,
            account,
            _permit: permit,
        })
    }

    fn by_account(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        // Nothing panics while it is held.
        self.by_account
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.uploads.by_account().entry(self.account) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(uploads_max: usize, uploads_per_account_percent: u8) -> Uploads {
        Uploads::new(&Config {
            uploads_max,
            uploads_per_account_percent,
            ..Config::default()
        })
    }

    #[test]
    fn an_account_has_its_share_and_others_the_rest() {
        let uploads = uploads(4, 50);
        let (alice, bob) = (AccountId::random(), AccountId::random());
        let hers = [uploads.admit(alice).unwrap(), uploads.admit(alice).unwrap()];
        assert!(uploads.admit(alice).is_none());
        let his = [uploads.admit(bob).unwrap(), uploads.admit(bob).unwrap()];
        assert!(uploads.admit(AccountId::random()).is_none());
        drop(hers);
        assert!(uploads.admit(alice).is_some());
        drop(his);
        assert!(uploads.by_account().is_empty());
        assert_eq!(uploads.places.available_permits(), 4);
    }

    #[test]
    fn a_share_is_at_least_one_and_at_most_everything() {
        let alice = AccountId::random();
        let small = uploads(1, 50);
        let _place = small.admit(alice).unwrap();
        let whole = uploads(3, 200);
        let _places = [(); 3].map(|()| whole.admit(alice).unwrap());
        assert!(whole.admit(alice).is_none());
    }
}

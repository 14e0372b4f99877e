//! So much of something for all, and for each account no more than a quarter of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libmanta::AccountId;

#[derive(Debug)]
pub(crate) struct Shares {
    all_max: usize,
    each_max: usize,
    /// Only accounts that have some.
    taken: Mutex<HashMap<AccountId, usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Shares>,
    account: AccountId,
}

impl Shares {
    pub(crate) fn new(all_max: usize) -> Arc<Self> {
        Arc::new(Self {
            all_max,
            each_max: (all_max / 4).max(1),
            taken: Mutex::default(),
        })
    }

    /// `None` when all are taken, or the account has its share.
    pub(crate) fn take(self: &Arc<Self>, account: AccountId) -> Option<Share> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&account).copied().unwrap_or(0);
        if all >= self.all_max || own >= self.each_max {
            return None;
        }
        taken.insert(account, own + 1);
        Some(Share {
            of: Arc::clone(self),
            account,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        // Nothing panics while it is held.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.lock();
        if let Some(own) = taken.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_share_and_others_the_rest() {
        let shares = Shares::new(8);
        let accounts = [(); 5].map(|()| AccountId::random());
        let mut taken = Vec::new();
        for account in &accounts[..4] {
            taken.extend([(); 2].map(|()| shares.take(*account).unwrap()));
            assert!(shares.take(*account).is_none());
        }
        assert!(shares.take(accounts[4]).is_none(), "all are taken");
        drop(taken.pop());
        assert!(shares.take(accounts[0]).is_none());
        taken.push(shares.take(accounts[4]).unwrap());
        drop(taken);
        assert!(shares.lock().is_empty());
    }
}

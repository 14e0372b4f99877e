//! Places for uploads: whoever is slow on purpose shuts out nobody but themselves.
//!
//! An account alone may have its share of all places, so the first ones to come may leave none. Then an
//! account that has less than what each would get if all were divided gets its place from the one that has
//! most, whose slowest upload is cut. However many uploads a few accounts keep open, and however little
//! they send, every other account finds a place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libmanta::AccountId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Rates are compared over at least this, so that a burst at the start is none.
const RATE_OVER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Uploads {
    uploads_max: usize,
    per_account_max: usize,
    /// Uploads that were cut and have not noticed yet: their places are given away already.
    leaving_max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Only accounts with an upload under way.
    by_account: HashMap<AccountId, Vec<Arc<Upload>>>,
    held: usize,
    leaving: usize,
}

/// What an upload has to show for its place.
#[derive(Debug)]
pub(crate) struct Upload {
    begun: Instant,
    received_bytes: AtomicU64,
    cut: CancellationToken,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    state: Arc<Mutex<State>>,
    account: AccountId,
    upload: Arc<Upload>,
}

impl Upload {
    pub(crate) fn received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received_bytes.fetch_add(bytes, Relaxed);
    }

    /// Somebody else needs the place more.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    pub(crate) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    fn bytes_per_s(&self) -> u64 {
        let millis = self.begun.elapsed().max(RATE_OVER).as_millis();
        let bytes = u128::from(self.received_bytes.load(Relaxed)) * 1000;
        u64::try_from(bytes / millis).unwrap_or(u64::MAX)
    }
}

impl Place {
    pub(crate) fn upload(&self) -> Arc<Upload> {
        self.upload.clone()
    }
}

impl Uploads {
    pub(crate) fn new(config: &Config) -> Self {
        let percent = usize::from(config.uploads_per_account_percent.min(100));
        Self {
            uploads_max: config.uploads_max,
            per_account_max: (config.uploads_max.saturating_mul(percent) / 100).max(1),
            leaving_max: (config.uploads_max / 4).max(1),
            state: Arc::default(),
        }
    }

    /// `None` when this account has what it may have. Its body must watch [`Place::upload`].
    pub(crate) fn admit(&self, account: AccountId) -> Option<Place> {
        let mut state = lock(&self.state);
        let own = state.by_account.get(&account).map_or(0, Vec::len);
        if own >= self.per_account_max || self.uploads_max == 0 {
            return None;
        }
        if state.held >= self.uploads_max {
            self.make_room(&mut state, own)?;
        }
        let upload = Arc::new(Upload {
            begun: Instant::now(),
            received_bytes: AtomicU64::new(0),
            cut: CancellationToken::new(),
        });
        state.held += 1;
        let uploads = state.by_account.entry(account).or_default();
        uploads.push(upload.clone());
        Some(Place {
            state: self.state.clone(),
            account,
            upload,
        })
    }

    /// Cuts the slowest upload of the account that has most, if one with `own` places has a better right.
    fn make_room(&self, state: &mut State, own: usize) -> Option<()> {
        let accounts = state.by_account.len() + usize::from(own == 0);
        let fair = (self.uploads_max / accounts).max(1);
        if own >= fair || state.leaving >= self.leaving_max {
            return None;
        }
        let most = state.by_account.iter_mut().max_by_key(|(_, of)| of.len());
        let (account, uploads) = most.filter(|(_, of)| of.len() > own + 1)?;
        let account = *account;
        let slowest = uploads
            .iter()
            .enumerate()
            .min_by_key(|(_, u)| u.bytes_per_s());
        let cut = uploads.swap_remove(slowest?.0);
        cut.cut.cancel();
        let held = uploads.len();
        tracing::info!(%account, held, "upload cut to make room for another account");
        state.held -= 1;
        state.leaving += 1;
        Some(())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing panics while it is held.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        let uploads = state.by_account.get_mut(&self.account);
        let at = uploads.and_then(|uploads| {
            let at = uploads.iter().position(|u| Arc::ptr_eq(u, &self.upload))?;
            uploads.swap_remove(at);
            Some(uploads.is_empty())
        });
        match at {
            Some(last) => {
                state.held -= 1;
                if last {
                    state.by_account.remove(&self.account);
                }
            }
            // Given away before.
            None => state.leaving -= 1,
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

    fn fill(uploads: &Uploads, account: AccountId) -> Vec<Place> {
        std::iter::from_fn(|| uploads.admit(account)).collect()
    }

    fn is_empty(uploads: &Uploads) -> bool {
        let state = lock(&uploads.state);
        state.by_account.is_empty() && state.held == 0 && state.leaving == 0
    }

    #[test]
    fn an_account_has_its_share_and_others_the_rest() {
        let uploads = uploads(4, 50);
        let (alice, bob) = (AccountId::random(), AccountId::random());
        let hers = fill(&uploads, alice);
        let his = fill(&uploads, bob);
        assert_eq!((hers.len(), his.len()), (2, 2));
        drop(hers);
        assert_eq!(fill(&uploads, alice).len(), 2);
        drop(his);
        assert!(is_empty(&uploads));
    }

    #[test]
    fn however_many_come_first_everybody_finds_a_place() {
        let uploads = uploads(16, 50);
        let mut places: Vec<_> = (0..2)
            .flat_map(|_| fill(&uploads, AccountId::random()))
            .collect();
        assert_eq!(lock(&uploads.state).held, 16, "they have taken everything");
        for newcomer in 0..12 {
            let place = uploads.admit(AccountId::random());
            places.push(place.unwrap_or_else(|| panic!("no place for newcomer {newcomer}")));
            let state = lock(&uploads.state);
            assert_eq!(state.held, 16);
            let most = state.by_account.values().map(Vec::len).max().unwrap();
            drop(state);
            // Those that were cut notice, and go.
            places.retain(|place| !place.upload.is_cut());
            assert_eq!(places.len(), 16, "{most}");
        }
        drop(places);
        assert!(is_empty(&uploads));
    }

    #[test]
    fn nobody_takes_more_than_their_part_from_others() {
        let uploads = uploads(8, 100);
        let (alice, bob) = (AccountId::random(), AccountId::random());
        let hers = fill(&uploads, alice);
        let mut his = Vec::new();
        while let Some(place) = uploads.admit(bob) {
            his.push(place);
            if his.len() == 2 {
                assert!(uploads.admit(bob).is_none(), "two have not noticed yet");
                break;
            }
        }
        let mut hers: Vec<_> = hers.into_iter().filter(|p| !p.upload.is_cut()).collect();
        his.extend(fill(&uploads, bob));
        hers.retain(|place| !place.upload.is_cut());
        assert_eq!((hers.len(), his.len()), (4, 4));
        assert!(uploads.admit(alice).is_none() && uploads.admit(bob).is_none());
    }

    #[test]
    fn the_slowest_goes() {
        let uploads = uploads(3, 100);
        let alice = AccountId::random();
        let hers = fill(&uploads, alice);
        for (place, bytes) in hers.iter().zip([50_000, 40, 70_000]) {
            place.upload.received(bytes);
        }
        let _his = uploads.admit(AccountId::random()).unwrap();
        let cut: Vec<_> = hers.iter().map(|place| place.upload.is_cut()).collect();
        assert_eq!(cut, [false, true, false]);
    }

    #[test]
    fn a_share_is_at_least_one_and_at_most_everything() {
        let alice = AccountId::random();
        let small = uploads(1, 50);
        let _place = small.admit(alice).unwrap();
        // One against one: who came first stays.
        assert!(small.admit(AccountId::random()).is_none());
        let whole = uploads(3, 200);
        assert_eq!(fill(&whole, alice).len(), 3);
        assert!(uploads(0, 50).admit(alice).is_none());
    }
}

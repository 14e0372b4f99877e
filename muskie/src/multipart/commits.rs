//! The commits that this process works on: one of each upload at a time, and not too many of all together.
//!
//! A commit goes on when its client has left, so what bounds requests does not bound commits: without this,
//! somebody who asks and leaves could have any number of them read the same parts.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libmanta::{AccountId, ObjectKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Multipart;
use crate::errors::{Error, Result};

/// Permits by what they are for; only for what somebody has one of, or waits for one.
type Permits<K> = Mutex<HashMap<K, Shared>>;

#[derive(Debug)]
struct Shared {
    semaphore: Arc<Semaphore>,
    interested: usize,
}

#[derive(Debug)]
pub(crate) struct Commits {
    places: Arc<Semaphore>,
    places_max: usize,
    per_account_max: usize,
    /// Longest wait for all that a commit needs.
    wait: Duration,
    /// By their directories, a single one each.
    uploads: Arc<Permits<ObjectKey>>,
    accounts: Arc<Permits<AccountId>>,
    waiting: AtomicUsize,
}

/// Leave to commit an upload, until dropped. The fields go in this order: the upload is forgotten last.
#[derive(Debug)]
pub(crate) struct Leave {
    _place: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    _account: Interest<AccountId>,
    _turn: OwnedSemaphorePermit,
    _upload: Interest<ObjectKey>,
}

/// Somebody has a permit, or waits for one.
#[derive(Debug)]
struct Interest<K: Eq + Hash> {
    permits: Arc<Permits<K>>,
    key: K,
    semaphore: Arc<Semaphore>,
}

impl<K: Clone + Eq + Hash> Interest<K> {
    fn new(permits: &Arc<Permits<K>>, key: K, count: usize) -> Self {
        let mut all = lock(permits);
        let shared = all.entry(key.clone()).or_insert_with(|| Shared {
            semaphore: Arc::new(Semaphore::new(count)),
            interested: 0,
        });
        shared.interested += 1;
        let semaphore = shared.semaphore.clone();
        drop(all);
        Self {
            permits: permits.clone(),
            key,
            semaphore,
        }
    }
}

impl<K: Eq + Hash> Interest<K> {
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        acquire(&self.semaphore).await
    }
}

impl<K: Eq + Hash> Drop for Interest<K> {
    fn drop(&mut self) {
        let mut permits = lock(&self.permits);
        if let Some(shared) = permits.get_mut(&self.key) {
            shared.interested -= 1;
            if shared.interested == 0 {
                permits.remove(&self.key);
            }
        }
    }
}

/// Counts somebody who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Commits {
    pub(crate) fn new(config: &Multipart) -> Self {
        let places_max = config.commits_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            per_account_max: (places_max / 4).max(1),
            wait: config.commit_wait,
            uploads: Arc::default(),
            accounts: Arc::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits until nobody here commits this upload; whoever comes after somebody mostly finds it done. Then
    /// waits until its account has less than its share of the places, and for a place. `Throttled` if not all
    /// of that comes in time. Cancel-safe.
    pub(crate) async fn enter(&self, directory: &ObjectKey) -> Result<Leave> {
        let entered = tokio::time::timeout(self.wait, self.wait_for_all(directory)).await;
        entered.map_err(|_| Error::Throttled)?
    }

    async fn wait_for_all(&self, directory: &ObjectKey) -> Result<Leave> {
        let upload = Interest::new(&self.uploads, directory.clone(), 1);
        let _waiting = Waiting::new(&self.waiting);
        let turn = upload.permit().await?;
        let account = Interest::new(&self.accounts, directory.owner(), self.per_account_max);
        let share = account.permit().await?;
        Ok(Leave {
            _place: acquire(&self.places).await?,
            _share: share,
            _account: account,
            _turn: turn,
            _upload: upload,
        })
    }

    /// For the metrics.
    pub(crate) fn render(&self, out: &mut String) {
        let under_way = self.places_max - self.places.available_permits();
        for (name, value) in [
            ("muskie_multipart_commits", under_way),
            (
                "muskie_multipart_commits_waiting",
                self.waiting.load(Relaxed),
            ),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# TYPE {name} gauge\n{name} {value}");
        }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    // Nobody closes it.
    let permit = semaphore.clone().acquire_owned().await;
    permit.map_err(|_| Error::Internal)
}

fn lock<K>(permits: &Permits<K>) -> MutexGuard<'_, HashMap<K, Shared>> {
    // Nothing panics while it is held.
    permits.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use libmanta::AccountId;

    use super::*;

    fn commits(commits_max: usize, commit_wait: Duration) -> Commits {
        Commits::new(&Multipart {
            commits_max,
            commit_wait,
            ..Multipart::default()
        })
    }

    fn upload(name: &str) -> ObjectKey {
        ObjectKey::new(AccountId::random(), ["uploads", "1", name]).unwrap()
    }

    fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn an_upload_is_committed_once_at_a_time_and_forgotten_afterwards() {
        let commits = commits(9, Duration::from_secs(60));
        let (one, other) = (upload("1"), upload("2"));
        let first = commits.enter(&one).await.unwrap();
        let mut second = Box::pin(commits.enter(&one));
        let mut gives_up = Box::pin(commits.enter(&one));
        assert!(poll(&mut second).is_pending() && poll(&mut gives_up).is_pending());
        drop(commits.enter(&other).await.unwrap());
        assert_eq!(commits.waiting.load(Relaxed), 2);
        drop(first);
        drop(gives_up);
        drop(second.await.unwrap());
        assert!(lock(&commits.uploads).is_empty());
        assert_eq!(commits.waiting.load(Relaxed), 0);
        assert_eq!(commits.places.available_permits(), 9);
    }

    #[tokio::test]
    async fn who_finds_no_place_in_time_is_sent_away() {
        let commits = commits(1, Duration::from_millis(1));
        let (one, other) = (upload("1"), upload("2"));
        let first = commits.enter(&one).await.unwrap();
        let refused = commits.enter(&other).await;
        assert_eq!(refused.unwrap_err(), Error::Throttled);
        drop(first);
        drop(commits.enter(&other).await.unwrap());
        assert!(lock(&commits.uploads).is_empty());
    }

    #[tokio::test]
    async fn who_waits_too_long_for_another_commit_of_the_upload_is_sent_away() {
        let commits = commits(9, Duration::from_millis(1));
        let one = upload("1");
        let first = commits.enter(&one).await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(60), commits.enter(&one)).await;
        let refused = second.expect("waits for as long as the other takes");
        assert_eq!(refused.unwrap_err(), Error::Throttled);
        drop(first);
        drop(commits.enter(&one).await.unwrap());
        assert!(lock(&commits.uploads).is_empty());
    }

    #[tokio::test]
    async fn an_account_has_its_share_and_others_the_rest() {
        let commits = commits(8, Duration::from_millis(1));
        let alice = AccountId::random();
        let of_alice = |name| ObjectKey::new(alice, ["uploads", "1", name]).unwrap();
        let first = commits.enter(&of_alice("1")).await.unwrap();
        let second = commits.enter(&of_alice("2")).await.unwrap();
        let third = commits.enter(&of_alice("3")).await;
        assert_eq!(third.unwrap_err(), Error::Throttled);
        drop(commits.enter(&upload("1")).await.unwrap());
        drop(first);
        drop(commits.enter(&of_alice("3")).await.unwrap());
        drop(second);
        assert!(lock(&commits.accounts).is_empty() && lock(&commits.uploads).is_empty());
    }
}

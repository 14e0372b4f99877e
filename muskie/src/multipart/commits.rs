//! The commits that this process works on: one of each upload at a time, and not too many of all together.
//!
//! A commit goes on when its client has left, so what bounds requests does not bound commits: without this,
//! somebody who asks and leaves could have any number of them read the same parts.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libmanta::ObjectKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Multipart;
use crate::errors::{Error, Result};

/// Uploads by their directories, each with a single permit; only those that somebody commits or waits for.
type Uploads = Mutex<HashMap<ObjectKey, Arc<Semaphore>>>;

#[derive(Debug)]
pub(crate) struct Commits {
    places: Arc<Semaphore>,
    places_max: usize,
    /// Longest wait for a place.
    wait: Duration,
    uploads: Arc<Uploads>,
    waiting: AtomicUsize,
}

/// Leave to commit an upload, until dropped. The fields go in this order: the upload is forgotten last.
#[derive(Debug)]
pub(crate) struct Leave {
    _place: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _interest: Interest,
}

/// Somebody commits the upload, or waits to.
#[derive(Debug)]
struct Interest {
    uploads: Arc<Uploads>,
    directory: ObjectKey,
    turn: Arc<Semaphore>,
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut uploads = lock(&self.uploads);
        // Ours and the map's: more are made only under the lock.
        if Arc::strong_count(&self.turn) <= 2 {
            uploads.remove(&self.directory);
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
            wait: config.commit_wait,
            uploads: Arc::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits until nobody here commits this upload; whoever comes after somebody mostly finds it done. Then
    /// waits for a place, `Throttled` if there is none in time. Cancel-safe.
    pub(crate) async fn enter(&self, directory: &ObjectKey) -> Result<Leave> {
        let interest = self.interest(directory);
        let _waiting = Waiting::new(&self.waiting);
        let turn = interest.turn.clone().acquire_owned().await;
        let turn = turn.map_err(|_| Error::Internal)?;
        let place = tokio::time::timeout(self.wait, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| Error::Throttled)?;
        Ok(Leave {
            _place: place.map_err(|_| Error::Internal)?,
            _turn: turn,
            _interest: interest,
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

    fn interest(&self, directory: &ObjectKey) -> Interest {
        let mut uploads = lock(&self.uploads);
        let turn = uploads
            .entry(directory.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(1)))
            .clone();
        Interest {
            uploads: self.uploads.clone(),
            directory: directory.clone(),
            turn,
        }
    }
}

fn lock(uploads: &Uploads) -> MutexGuard<'_, HashMap<ObjectKey, Arc<Semaphore>>> {
    // Nothing panics while it is held.
    uploads.lock().unwrap_or_else(PoisonError::into_inner)
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
}

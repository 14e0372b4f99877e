//! Letting go of what the kernel takes its time for: unmounting a file system writes. Beside what goes on, but
//! never so much of it at once that others wait for a thread: reads of objects use the same ones.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

#[derive(Clone, Debug)]
pub(crate) struct Background {
    /// Whoever owns these waits for all of it.
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
}

impl Background {
    /// Lets go of at most `most` things at once.
    pub(crate) fn new(tasks: TaskTracker, most: usize) -> Self {
        let permits = Arc::new(Semaphore::new(most));
        Self { tasks, permits }
    }

    /// Begins to drop `what` off the runtime; the handle is for who wants to wait until it is gone. Waits while too
    /// much is being dropped; given up meanwhile, `what` is dropped where it is.
    pub(crate) async fn let_go<T: Send + 'static>(&self, what: T) -> JoinHandle<()> {
        // Never closed; without a permit there would still be nothing better to do.
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        self.tasks.spawn_blocking(move || {
            drop(what);
            drop(permit);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Is gone when told so.
    struct Slow(mpsc::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[tokio::test]
    async fn no_more_than_so_much_goes_at_once() {
        let background = Background::new(TaskTracker::new(), 2);
        let (ends, slow): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| mpsc::channel())
            .map(|(end, waits)| (end, Slow(waits)))
            .unzip();
        let mut slow = slow.into_iter();
        let first = background.let_go(slow.next()).await;
        let second = background.let_go(slow.next()).await;
        let third = background.let_go(slow.next());
        tokio::pin!(third);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut third).await;
        assert!(early.is_err(), "three at once");
        ends[1].send(()).unwrap();
        second.await.unwrap();
        let third = tokio::time::timeout(Duration::from_secs(10), third);
        let third = third.await.unwrap();
        assert!(!first.is_finished() && !third.is_finished());
        drop(ends);
        first.await.unwrap();
        third.await.unwrap();
    }
}

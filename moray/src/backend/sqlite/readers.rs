//! Reads, beside the writer: each borrows a connection for one short read transaction.
//!
//! A point read takes about ten microseconds when its pages are in memory, less than handing it to another
//! thread and back, so it runs where it is asked for. When one takes long, the pages are on a disk: then the
//! next ones run on threads that may block. Pages of listings always do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libmanta::moray::MorayError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema;
use crate::config::Config;
use crate::error::{Fault, unavailable};
use crate::stats::Stats;

/// An inline read that takes longer than this has waited for a disk. Half a millisecond is what a task may
/// keep its thread for.
const WARM_MAX: Duration = Duration::from_micros(500);
/// Reads that go to blocking threads after that, before the next one is tried inline.
const COLD_READS: u64 = 256;
/// More blocking reads at a time than this would only fight for the disk.
const BLOCKING_READS_MAX: usize = 4;
/// Connections that are kept when nobody uses them.
const IDLE_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Readers {
    config: Config,
    stats: Arc<Stats>,
    pool: Mutex<Pool>,
    returned: Condvar,
    blocking: Semaphore,
    cold: AtomicU64,
}

#[derive(Debug)]
struct Pool {
    is_open: bool,
    idle: Vec<Connection>,
    lent: usize,
}

impl Readers {
    /// Closed until [`open`](Self::open).
    pub(crate) fn new(config: Config, stats: Arc<Stats>) -> Self {
        Self {
            config,
            stats,
            pool: Mutex::new(Pool {
                is_open: false,
                idle: Vec::new(),
                lent: 0,
            }),
            returned: Condvar::new(),
            blocking: Semaphore::new(BLOCKING_READS_MAX),
            cold: AtomicU64::new(0),
        }
    }

    pub(super) fn open(&self) {
        self.pool().is_open = true;
    }

    /// Refuses new reads and waits for those under way. False if some are left after `patience`.
    pub(super) fn close(&self, patience: Duration) -> bool {
        let mut pool = self.pool();
        pool.is_open = false;
        pool.idle.clear();
        let (pool, _) = self
            .returned
            .wait_timeout_while(pool, patience, |pool| pool.lent > 0)
            .unwrap_or_else(PoisonError::into_inner);
        pool.lent == 0
    }

    /// One entry or record. Dropping the future abandons nothing but the answer.
    pub(crate) async fn point<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, MorayError> {
        if self
            .cold
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_ok()
        {
            return self.blocking(read).await;
        }
        Stats::add(&self.stats.reads_inline, 1);
        let begun = Instant::now();
        let answer = self.read(read);
        if begun.elapsed() > WARM_MAX {
            self.cold.store(COLD_READS, Ordering::Relaxed);
        }
        answer
    }

    /// Anything longer.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, MorayError> {
        Stats::add(&self.stats.reads_blocking, 1);
        let name = &self.config.name;
        let permit = self.blocking.acquire().await;
        let _permit = permit.map_err(|error| unavailable(name, error))?;
        let readers = Arc::clone(self);
        tokio::task::spawn_blocking(move || readers.read(read))
            .await
            .map_err(|error| unavailable(name, error))?
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, MorayError> {
        let name = &self.config.name;
        let loan = self.borrow().map_err(|fault| fault.into_moray(name))?;
        let Some(loan) = loan else {
            return Err(unavailable(name, "the store is being checked or is closed"));
        };
        read(loan.db()).map_err(|fault| fault.into_moray(name))
    }

    fn borrow(&self) -> Result<Option<Loan<'_>>, Fault> {
        let idle = {
            let mut pool = self.pool();
            if !pool.is_open {
                return Ok(None);
            }
            pool.lent += 1;
            pool.idle.pop()
        };
        // From here on the loan gives itself back, also when opening fails.
        let mut loan = Loan {
            readers: self,
            connection: idle,
        };
        if loan.connection.is_none() {
            loan.connection = Some(schema::open_reader(&self.config)?);
        }
        Ok(Some(loan))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection out of the pool.
struct Loan<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Loan<'_> {
    fn db(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("a loan holds a connection: filled in Readers::borrow")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool();
        pool.lent -= 1;
        if pool.is_open && pool.idle.len() < IDLE_MAX {
            pool.idle.extend(self.connection.take());
        } else {
            // Closed before whoever waits for the last loan goes on.
            drop(self.connection.take());
        }
        self.readers.returned.notify_all();
    }
}

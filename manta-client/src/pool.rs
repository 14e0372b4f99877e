//! Connections to the one server a client talks to, kept for the next request.
//!
//! A connection is a hyper sender and the task that moves its bytes. The task belongs to the connection:
//! dropping a [`Connection`] stops it at once. That matters when an upload was refused before its body was
//! asked for; the task would wait for that body for ever.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::body::RequestBody;
use crate::connector::{AbsoluteForm, Connector, is_worth_another_try};
use crate::error::Error;

/// Servers and balancers close idle connections after a minute or two; ours go first.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// What cannot be sent twice only goes over a connection that was in use a moment ago: the older it is,
/// the likelier it is being closed from the other side just now.
const FRESH_MAX: Duration = Duration::from_secs(2);
/// A connection that was just given back needs a moment to notice; one that needs longer is not worth it.
const READY_MAX: Duration = Duration::from_millis(50);
const RETRY_DELAY_MIN: Duration = Duration::from_millis(500);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(4);

pub(crate) struct Pool {
    connector: Connector,
    absolute_form: Option<AbsoluteForm>,
    /// How often a connection is tried before giving up, at least once.
    attempts: u32,
    /// One for each connection that may be in use at once.
    permits: Arc<Semaphore>,
    /// The most recently used last. Bounded by the number of permits.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// One connection, in nobody's use.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Which idle connections will do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reuse {
    /// Any: if it turns out to be closed, the request is simply sent again.
    Any,
    /// Only one used a moment ago, for the request cannot be repeated.
    Fresh,
}

impl Pool {
    /// `connections_max` exchanges are under way at once; the next one waits.
    pub(crate) fn new(connector: Connector, attempts: u32, connections_max: usize) -> Pool {
        Pool {
            absolute_form: connector.absolute_form(),
            connector,
            attempts,
            permits: Arc::new(Semaphore::new(connections_max.max(1))),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Leave to have one more connection in use. `None` never happens: nobody closes the semaphore.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().acquire_owned().await.ok()
    }

    pub(crate) fn absolute_form(&self) -> Option<&AbsoluteForm> {
        self.absolute_form.as_ref()
    }

    /// An idle connection that is still open.
    pub(crate) async fn reuse(&self, reuse: Reuse) -> Option<Connection> {
        let age_max = match reuse {
            Reuse::Any => IDLE_MAX,
            Reuse::Fresh => FRESH_MAX,
        };
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|idle| idle.since.elapsed() < IDLE_MAX);
                // The last one is the youngest: if it is too old, they all are.
                if idle.last()?.since.elapsed() >= age_max {
                    return None;
                }
                idle.pop()?.connection
            };
            if connection.sender.is_closed() {
                continue;
            }
            let ready = tokio::time::timeout(READY_MAX, connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    /// Makes a connection; failures are retried after a pause with jitter, for nothing was sent yet.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let mut delay = RETRY_DELAY_MIN;
        let mut attempt = 1;
        loop {
            match self.connect_once().await {
                Ok(connection) => return Ok(connection),
                Err(source) if attempt >= self.attempts || !is_worth_another_try(&source) => {
                    let authority = self.connector.name();
                    return Err(Error::Connect { authority, source });
                }
                Err(error) => {
                    tracing::debug!(%error, attempt, "cannot connect, will try again");
                    tokio::time::sleep(delay.mul_f64(rand::random_range(0.5..1.0))).await;
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                    attempt += 1;
                }
            }
        }
    }

    async fn connect_once(&self) -> std::io::Result<Connection> {
        let stream = self.connector.connect().await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        // Its errors also reach whoever waits for the answer.
        let task = tokio::spawn(async move {
            if let Err(error) = driver.with_upgrades().await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Connection { sender, task })
    }

    fn put(&self, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let idle = Idle {
            connection,
            since: Instant::now(),
        };
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(idle);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.connector.name())
    }
}

/// A connection in use by one exchange.
pub(crate) struct Lease {
    connection: Connection,
    pool: Arc<Pool>,
    sent: Arc<AtomicBool>,
    /// Given back with the connection.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    pub(crate) fn new(
        connection: Connection,
        pool: Arc<Pool>,
        sent: Arc<AtomicBool>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Lease {
        Lease {
            connection,
            pool,
            sent,
            _permit: permit,
        }
    }

    /// The answer was read to its end. If the request went out whole, the connection can be used again.
    pub(crate) fn release(self) {
        if self.sent.load(Ordering::Acquire) {
            self.pool.put(self.connection);
        }
    }
}

//! Load at a fixed rate, however fast the answers come: latency counts from the moment a request was due, so
//! that one slow answer is charged with all that had to wait behind it.
//!
//! Surprise: each connection has a thread, and real-time priority. Timers of the runtime are a millisecond coarse,
//! which is what is to be measured; a thread that sleeps is woken within microseconds. The priority stands for a
//! client on a machine of its own: what is measured is how long the store takes, not how long the client waits
//! for a core behind commands in zones. It needs root.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::connection::{Connection, Request};
use crate::histogram::Histogram;
use crate::signer::Signer;

/// GET requests of objects of the same size.
#[derive(Clone, Debug)]
pub(crate) struct Paced {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) signer: Arc<Signer>,
    pub(crate) connections: u32,
    /// Between two requests of all connections together, which take turns.
    pub(crate) interval: Duration,
    /// What is due during the warm-up is not counted.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) answer_bytes: usize,
}

/// Runs the load; `path` names the object of a request by its number. When dropped the threads end with the
/// request they are at.
pub(crate) async fn run<F>(load: &Paced, path: F) -> Result<Histogram>
where
    F: Fn(u64) -> String + Clone + Send + 'static,
{
    let stop = Stop(Arc::default());
    let started = Instant::now();
    let mut running = JoinSet::new();
    for first in 0..load.connections {
        let (load, path, stop) = (load.clone(), path.clone(), Arc::clone(&stop.0));
        running.spawn_blocking(move || drive(&load, first, started, &stop, path));
    }
    let mut latencies = Histogram::default();
    while let Some(connection) = running.join_next().await {
        latencies.merge(&connection.context("a connection panicked")??);
    }
    Ok(latencies)
}

/// Ends the threads when nobody waits for them any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn drive(
    load: &Paced,
    first: u32,
    started: Instant,
    stop: &AtomicBool,
    path: impl Fn(u64) -> String,
) -> Result<Histogram> {
    take_priority().context("take real-time priority")?;
    // Fifty microseconds otherwise, added to each sleep.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).context("ask for exact sleep")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("start a runtime")?;
    let mut connection = runtime.block_on(Connection::open(load.address))?;
    let mut latencies = Histogram::default();
    for number in (u64::from(first)..).step_by(load.connections as usize) {
        let due = due(load.interval, number);
        if due >= load.warm_up + load.measured || stop.load(Ordering::Relaxed) {
            break;
        }
        let path = path(number);
        std::thread::sleep((started + due).saturating_duration_since(Instant::now()));
        let request = Request::new("GET", &path);
        let answer = runtime.block_on(connection.call(&load.signer, &request))?;
        let answer = answer.expect(200)?;
        let bytes = answer.body.len();
        ensure!(
            bytes == load.answer_bytes,
            "the answer to GET {path} has {bytes} bytes"
        );
        if due >= load.warm_up {
            latencies.record(started.elapsed() - due);
        }
    }
    Ok(latencies)
}

/// For this thread only.
fn take_priority() -> std::io::Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 is this thread, and `lowest` is only read.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// When a request is due, from the start.
fn due(interval: Duration, number: u64) -> Duration {
    let ns = interval.as_nanos() * u128::from(number);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_due_whatever_became_of_the_last() {
        let interval = Duration::from_millis(1);
        assert_eq!(due(interval, 0), Duration::ZERO);
        assert_eq!(due(interval, 12_000), Duration::from_secs(12));
        assert_eq!(due(Duration::from_nanos(333), 3), Duration::from_nanos(999));
    }
}

//! Load: so many connections, each sending its next request when the answer to its last one is complete.
//!
//! Surprise: all connections live on the thread of the caller. A second thread would take from the store, on
//! the same cores, more than it adds here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::connection::{Connection, Request};
use crate::histogram::Histogram;
use crate::processes::own_thread_time;
use crate::signer::Signer;

/// What the connections do.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) signer: Arc<Signer>,
    pub(crate) connections: usize,
    pub(crate) length: Length,
    pub(crate) method: &'static str,
    pub(crate) content_type: Option<&'static str>,
    /// With the header; otherwise each target itself is.
    pub(crate) is_signed: bool,
    pub(crate) body: Arc<[u8]>,
    /// Any other answer ends everything.
    pub(crate) status: u16,
    /// Of each answer's body.
    pub(crate) answer_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// What is answered during the warm-up is not counted.
    Time {
        warm_up: Duration,
        measured: Duration,
    },
    /// So many requests in all, everything counted.
    Requests(u64),
}

#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of requests that were sent and answered within the measured time.
    pub(crate) latencies: Histogram,
    pub(crate) took: Duration,
    /// Processor time of the load generator in all, warm-up included.
    pub(crate) client_busy: Duration,
}

impl Outcome {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.total() as f64 / self.took.as_secs_f64()
    }
}

/// Runs the load. `target` appends the path of a request, by connection and by number within it. May be
/// dropped at any await; the connections go with it.
pub(crate) async fn run<F>(load: &Load, target: F) -> Result<Outcome>
where
    F: Fn(&mut String, usize, u64) + Clone + Send + 'static,
{
    // Connected before the clock starts, and one for each so that no queue before the store forms.
    let mut open = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        open.push(Connection::open(load.address).await?);
    }
    let busy_before = own_thread_time()?;
    let started = Instant::now();
    let mut running = JoinSet::new();
    for (number, connection) in open.into_iter().enumerate() {
        let window = Window::new(load.length, load.connections, started, number);
        running.spawn(drive(
            load.clone(),
            connection,
            number,
            window,
            target.clone(),
        ));
    }
    let mut latencies = Histogram::default();
    while let Some(connection) = running.join_next().await {
        latencies.merge(&connection.context("a connection panicked")??);
    }
    let took = match load.length {
        Length::Time { measured, .. } => measured,
        Length::Requests(_) => started.elapsed(),
    };
    Ok(Outcome {
        latencies,
        took,
        client_busy: own_thread_time()?.saturating_sub(busy_before),
    })
}

/// When a connection stops, and what it counts.
#[derive(Clone, Copy, Debug)]
struct Window {
    counted_from: Instant,
    until: Option<Instant>,
    requests: u64,
}

impl Window {
    fn new(length: Length, connections: usize, started: Instant, number: usize) -> Self {
        match length {
            Length::Time { warm_up, measured } => {
                let counted_from = started + warm_up;
                Self {
                    counted_from,
                    until: Some(counted_from + measured),
                    requests: u64::MAX,
                }
            }
            Length::Requests(all) => {
                let (connections, number) = (connections as u64, number as u64);
                let requests = all / connections + u64::from(number < all % connections);
                Self {
                    counted_from: started,
                    until: None,
                    requests,
                }
            }
        }
    }
}

async fn drive<F>(
    load: Load,
    mut connection: Connection,
    number: usize,
    window: Window,
    target: F,
) -> Result<Histogram>
where
    F: Fn(&mut String, usize, u64),
{
    let mut latencies = Histogram::default();
    let mut path = String::new();
    for count in 0..window.requests {
        path.clear();
        target(&mut path, number, count);
        let request = Request {
            is_signed: load.is_signed,
            ..Request::new(load.method, &path).body(load.content_type, &load.body)
        };
        let sent = Instant::now();
        if window.until.is_some_and(|until| sent >= until) {
            break;
        }
        let answer = connection
            .call(&load.signer, &request)
            .await?
            .expect(load.status)?;
        ensure!(
            answer.body.len() == load.answer_bytes,
            "the answer to {} {path} has {} bytes",
            load.method,
            answer.body.len()
        );
        let answered = Instant::now();
        let in_time = window.until.is_none_or(|until| answered <= until);
        if sent >= window.counted_from && in_time {
            latencies.record(answered - sent);
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_shared_out_without_losing_one() {
        let sum = |all: u64, connections: usize| -> u64 {
            let window = |n| Window::new(Length::Requests(all), connections, Instant::now(), n);
            (0..connections).map(|number| window(number).requests).sum()
        };
        assert_eq!(sum(100_000, 64), 100_000);
        assert_eq!(sum(3, 64), 3);
    }

    #[test]
    fn the_warm_up_comes_before_what_is_counted() {
        let started = Instant::now();
        let length = Length::Time {
            warm_up: Duration::from_secs(2),
            measured: Duration::from_secs(10),
        };
        let window = Window::new(length, 64, started, 5);
        assert_eq!(window.counted_from - started, Duration::from_secs(2));
        assert_eq!(window.until, Some(started + Duration::from_secs(12)));
    }
}

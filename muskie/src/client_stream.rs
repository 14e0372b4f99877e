//! The socket of a client, with patience that ends and a farewell that is heard.
//!
//! HTTP itself is spoken above. Two things are decided here because they concern bytes: how long a client
//! may rest, dawdle over the head of a request, or leave a response untaken; and what happens on close
//! when a refused upload is still arriving. Closing a socket with unread bytes resets the connection and
//! takes the answer with it, so what still comes is read and thrown away for a while, within limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::config::Config;
use crate::server::Place;
use crate::transport::Transport;

/// What the requests of a connection tell its socket.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    /// A request is being worked on, so it is not the client that lets us wait.
    pub(crate) busy: AtomicBool,
    /// Requests begun so far. Tells one rest from the next when both end between two polls.
    pub(crate) requests: AtomicU64,
    /// It is no HTTP any more, and whoever speaks it decides how long to wait.
    pub(crate) upgraded: AtomicBool,
    /// Something refused is still on its way in.
    pub(crate) linger: AtomicBool,
    /// Its place among all connections, also when it is no HTTP any more.
    pub(crate) _place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    idle: Duration,
    head: Duration,
    write: Duration,
    drain: Duration,
    drain_bytes_max: u64,
}

impl From<&Config> for Patience {
    fn from(config: &Config) -> Self {
        Self {
            idle: config.idle,
            head: config.head_timeout,
            write: config.response_stall,
            drain: config.drain,
            drain_bytes_max: config.drain_bytes_max,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ClientStream {
    socket: Transport,
    state: Arc<ConnectionState>,
    patience: Patience,
    /// Between requests: since when nothing came, or since when a head is coming.
    resting: Option<Instant>,
    head_begun: Option<Instant>,
    requests_seen: u64,
    read_timer: Timer,
    write_waiting: Option<Instant>,
    write_timer: Timer,
    farewell: Option<Farewell>,
}

#[derive(Debug)]
struct Farewell {
    until: Instant,
    left_bytes: u64,
    scratch: Box<[u8]>,
}

impl ClientStream {
    pub(crate) fn new(socket: Transport, state: Arc<ConnectionState>, patience: Patience) -> Self {
        Self {
            socket,
            state,
            patience,
            resting: None,
            head_begun: None,
            requests_seen: 0,
            read_timer: Timer::default(),
            write_waiting: None,
            write_timer: Timer::default(),
            farewell: None,
        }
    }

    /// Nothing to read. An error once that has lasted too long.
    fn wait_for_request(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let upgraded = self.state.upgraded.load(Ordering::Acquire);
        if upgraded || self.state.busy.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.notice_requests();
        let deadline = match self.head_begun {
            Some(begun) => begun + self.patience.head,
            None => *self.resting.get_or_insert_with(Instant::now) + self.patience.idle,
        };
        ready!(self.read_timer.poll_until(deadline, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// A request since the last look ends what was measured before it.
    fn notice_requests(&mut self) {
        let requests = self.state.requests.load(Ordering::Acquire);
        if requests != self.requests_seen {
            self.requests_seen = requests;
            (self.resting, self.head_begun) = (None, None);
        }
    }

    fn after_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_waiting = None;
            return result;
        }
        let since = *self.write_waiting.get_or_insert_with(Instant::now);
        ready!(self.write_timer.poll_until(since + self.patience.write, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before && !self.state.busy.load(Ordering::Acquire) {
                    self.notice_requests();
                    self.head_begun.get_or_insert_with(Instant::now);
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.wait_for_request(cx),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.after_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.after_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_flush(cx);
        self.after_write(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let farewell = match &mut this.farewell {
            Some(farewell) => farewell,
            None => {
                // Of TLS this writes too.
                let shut = Pin::new(&mut this.socket).poll_shutdown(cx);
                ready!(this.after_write(cx, shut))?;
                if !this.state.linger.load(Ordering::Acquire) {
                    return Poll::Ready(Ok(()));
                }
                this.farewell.insert(Farewell {
                    until: Instant::now() + this.patience.drain,
                    left_bytes: this.patience.drain_bytes_max,
                    scratch: vec![0; 16 << 10].into(),
                })
            }
        };
        while farewell.left_bytes > 0 {
            let mut buf = ReadBuf::new(&mut farewell.scratch);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buf) {
                Poll::Pending => {
                    ready!(this.read_timer.poll_until(farewell.until, cx));
                    break;
                }
                // The client has closed its side, or is gone: nothing more comes.
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) if buf.filled().is_empty() => break,
                Poll::Ready(Ok(())) => {
                    let read = u64::try_from(buf.filled().len()).unwrap_or(u64::MAX);
                    farewell.left_bytes = farewell.left_bytes.saturating_sub(read);
                    if Instant::now() >= farewell.until {
                        break;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A timer that is set seldom: moving its deadline later costs nothing until it fires.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

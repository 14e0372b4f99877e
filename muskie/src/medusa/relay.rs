//! Both ends of a session, joined: every text and binary message goes over as it came. At most one message a
//! direction is held, so an end that takes nothing holds the other one back.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::reflector::Socket;

/// How long an end may take to hear that the session is over.
const PARTING: Duration = Duration::from_secs(2);

/// What an end is told when the session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    code: CloseCode,
    reason: Utf8Bytes,
}

impl Farewell {
    pub(super) fn away(reason: &'static str) -> Self {
        Self {
            code: CloseCode::Away,
            reason: Utf8Bytes::from_static(reason),
        }
    }

    pub(super) fn job_over() -> Self {
        Self::away("the job has ended")
    }

    pub(super) fn closing() -> Self {
        Self::away("the server is shutting down")
    }

    /// Passes on, or returns, what an end said when it closed.
    pub(super) fn answer(said: Option<CloseFrame>) -> Self {
        match said {
            // Codes that must not be sent are not passed on.
            Some(said) if said.code.is_allowed() => Self {
                code: said.code,
                reason: said.reason,
            },
            _ => Self {
                code: CloseCode::Normal,
                reason: Utf8Bytes::default(),
            },
        }
    }

    /// For the end whose message could not be read.
    pub(super) fn blame(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self {
                code: CloseCode::Size,
                reason: Utf8Bytes::from_static("the message is too long"),
            },
            Error::Protocol(_) | Error::Utf8(_) => Self {
                code: CloseCode::Protocol,
                reason: Utf8Bytes::from_static("this is not the websocket protocol"),
            },
            _ => Self::away("the connection ended"),
        }
    }
}

/// How one direction came to its end.
enum Ended {
    /// It was closed with or without a word.
    Closed(Option<CloseFrame>),
    Unreadable(Error),
    /// The other end takes nothing more.
    Undeliverable,
}

/// Passes messages on until an end leaves, nothing has passed for `idle`, the job is `over`, or `closing` is
/// cancelled. Then both are told, as far as they still hear.
pub(super) async fn join(
    master: Socket,
    slave: Socket,
    idle: Duration,
    over: impl Future<Output = ()>,
    closing: CancellationToken,
) {
    let heard = Heard::now();
    let (mut master_sink, mut master_stream) = master.split();
    let (mut slave_sink, mut slave_stream) = slave.split();
    let (to_master, to_slave) = tokio::select! {
        ended = pump(&mut master_stream, &mut slave_sink, &heard) =>
            farewells(ended, "the terminal is gone", "the zone is gone"),
        ended = pump(&mut slave_stream, &mut master_sink, &heard) => {
            let (to_slave, to_master) = farewells(ended, "the zone is gone", "the terminal is gone");
            (to_master, to_slave)
        }
        () = heard.nothing_for(idle) => both(&Farewell::away("nothing was said for too long")),
        () = over => both(&Farewell::job_over()),
        () = closing.cancelled() => both(&Farewell::closing()),
    };
    let part_from = async |sink, stream: SplitStream<Socket>, farewell| {
        if let Ok(socket) = stream.reunite(sink) {
            part(socket, farewell).await;
        }
    };
    tokio::join!(
        part_from(master_sink, master_stream, to_master),
        part_from(slave_sink, slave_stream, to_slave),
    );
}

/// What to tell the end that spoke last and the other one.
fn farewells(ended: Ended, gone: &'static str, other_gone: &'static str) -> (Farewell, Farewell) {
    match ended {
        Ended::Closed(Some(frame)) => both(&Farewell::answer(Some(frame))),
        Ended::Closed(None) => (Farewell::away(gone), Farewell::away(gone)),
        Ended::Unreadable(error) => (Farewell::blame(&error), Farewell::away(gone)),
        Ended::Undeliverable => (Farewell::away(other_gone), Farewell::away(other_gone)),
    }
}

fn both(farewell: &Farewell) -> (Farewell, Farewell) {
    (farewell.clone(), farewell.clone())
}

async fn pump(
    from: &mut SplitStream<Socket>,
    to: &mut SplitSink<Socket, Message>,
    heard: &Heard,
) -> Ended {
    loop {
        let message = match from.next().await {
            None => return Ended::Closed(None),
            Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) => {
                return Ended::Closed(None);
            }
            Some(Err(error)) => return Ended::Unreadable(error),
            Some(Ok(message)) => message,
        };
        heard.something();
        match message {
            Message::Close(frame) => {
                let nothing_said = CloseFrame {
                    code: CloseCode::Normal,
                    reason: Utf8Bytes::default(),
                };
                return Ended::Closed(Some(frame.unwrap_or(nothing_said)));
            }
            Message::Text(_) | Message::Binary(_) => {
                if to.send(message).await.is_err() {
                    return Ended::Undeliverable;
                }
            }
            // Pings were answered when they were read.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Closes in good order: says so, and reads until the other side has heard it, or time is up.
pub(super) async fn part(mut socket: Socket, farewell: Farewell) {
    let frame = CloseFrame {
        code: farewell.code,
        reason: farewell.reason,
    };
    let parting = async {
        // One that closed first is only answered, which reading does.
        let _ = socket.close(Some(frame)).await;
        loop {
            match socket.next().await {
                Some(Ok(_)) => {}
                Some(Err(Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_))) => break,
                None | Some(Err(_)) => return,
            }
        }
        // Closing with unread bytes would take our word away again.
        let mut scratch = [0; 4096];
        while socket
            .get_mut()
            .read(&mut scratch)
            .await
            .is_ok_and(|n| n > 0)
        {}
    };
    let _ = tokio::time::timeout(PARTING, parting).await;
}

/// When something passed last, in milliseconds since the beginning.
struct Heard {
    begun: Instant,
    at: AtomicU64,
}

impl Heard {
    fn now() -> Self {
        Self {
            begun: Instant::now(),
            at: AtomicU64::new(0),
        }
    }

    fn something(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at.store(millis, Relaxed);
    }

    async fn nothing_for(&self, idle: Duration) {
        loop {
            let until = self.begun + Duration::from_millis(self.at.load(Relaxed)) + idle;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

//! The body of a request, read as long as its client keeps pace. Nothing is read before a handler asks, and asking is
//! what makes the server say `100 Continue`; so whoever has checks to make, makes them first.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::errors::{Error, Result};
use crate::pace::Pace;
use crate::turnstile::Turn;
use crate::uploads::{Place, Upload};

/// A body that nobody wants is read up to here, so that the connection can go on.
const DISCARD_BYTES_MAX: u64 = 64 << 10;

pub(crate) struct RequestBody {
    incoming: Incoming,
    /// What the connection becomes, if the client wants it to become something else.
    upgrade: Option<OnUpgrade>,
    /// The client waits for `100 Continue` before it sends anything.
    expects_continue: bool,
    /// `None` waits for ever.
    pace: Option<Pace>,
    received_bytes: u64,
    complete: bool,
    /// Among those that are worked on; over when we begin to wait for the client.
    turn: Option<Turn>,
    /// The place it takes, if it is one of those that are counted.
    upload: Option<Arc<Upload>>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, expects_continue: bool, pace: Pace) -> Self {
        let complete = incoming.is_end_stream();
        Self {
            incoming,
            upgrade: None,
            expects_continue,
            pace: Some(pace),
            received_bytes: 0,
            complete,
            turn: None,
            upload: None,
        }
    }

    pub(crate) fn with_upgrade(mut self, upgrade: Option<OnUpgrade>) -> Self {
        self.upgrade = upgrade;
        self
    }

    pub(crate) fn take_upgrade(&mut self) -> Option<OnUpgrade> {
        self.upgrade.take()
    }

    pub(crate) fn take_turn(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    pub(crate) fn end_turn(&mut self) {
        self.turn = None;
    }

    /// From now on it is cut when somebody else has a better right to the place.
    pub(crate) fn take_place(&mut self, place: &Place) {
        self.upload = Some(place.upload());
    }

    /// Lets the client take its time.
    pub(crate) fn without_stall_limit(&mut self) {
        self.pace = None;
    }

    /// Its length, where the request says it; `Some(0)` also when there is no body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Everything has been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next bytes; `None` at the end. Errors: `UploadAbandoned` when the client is gone,
    /// `MalformedBody` when it sends what are no chunks, `UploadTimeout` when it sends nothing, or too
    /// little, for too long, `Throttled` when its place is needed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.complete {
                return Ok(None);
            }
            self.end_turn();
            match self.frame_unless_cut().await? {
                None => self.complete = true,
                Some(frame) => {
                    // Trailers mean nothing here.
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    if let Some(upload) = &self.upload {
                        upload.received(bytes.len());
                    }
                    self.received_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    self.complete = self.incoming.is_end_stream();
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    async fn frame_unless_cut(&mut self) -> Result<Option<Frame<Bytes>>> {
        let Some(upload) = self.upload.clone() else {
            return self.frame().await;
        };
        if upload.is_cut() {
            return Err(Error::Throttled);
        }
        tokio::select! {
            biased;
            frame = self.frame() => frame,
            () = upload.cut() => Err(Error::Throttled),
        }
    }

    async fn frame(&mut self) -> Result<Option<Frame<Bytes>>> {
        let Some(pace) = &mut self.pace else {
            return self.incoming.frame().await.transpose().map_err(broken);
        };
        loop {
            let begun = Instant::now();
            let frame = tokio::time::timeout(pace.next_look(), self.incoming.frame()).await;
            let in_time = match &frame {
                Ok(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    pace.keeps(begun.elapsed(), u64::try_from(bytes).unwrap_or(u64::MAX))
                }
                // However slow it was, it is over.
                Ok(None | Some(Err(_))) => true,
                Err(_) => pace.keeps(begun.elapsed(), 0),
            };
            if !in_time {
                return Err(Error::UploadTimeout);
            }
            if let Ok(frame) = frame {
                return frame.transpose().map_err(broken);
            }
        }
    }

    /// Reads a small body that does not matter. A larger one, or one that has not been asked for yet,
    /// stays where it is, and the connection will close after the response.
    pub(crate) async fn discard(&mut self) -> Result<()> {
        if self.expects_continue {
            return Ok(());
        }
        while self.received_bytes < DISCARD_BYTES_MAX {
            if self.next().await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The whole body, if it is no longer than `limit` bytes.
    pub(crate) async fn collect(&mut self, limit: usize) -> Result<Bytes> {
        let too_large = Error::PayloadTooLarge { limit };
        if self
            .length()
            .is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX))
        {
            return Err(too_large);
        }
        let mut collected = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if collected.len() + bytes.len() > limit {
                return Err(too_large);
            }
            collected.extend_from_slice(&bytes);
        }
        Ok(collected.freeze())
    }
}

/// The client's fault, or its end: what does not parse is told from what does not come.
fn broken(error: hyper::Error) -> Error {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Error::MalformedBody,
        _ => Error::UploadAbandoned,
    }
}

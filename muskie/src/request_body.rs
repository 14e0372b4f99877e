//! The body of a request, read under a time limit. Nothing is read before a handler asks, and asking is
//! what makes the server say `100 Continue`; so whoever has checks to make, makes them first.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::errors::{Error, Result};

/// A body that nobody wants is read up to here, so that the connection can go on.
const DISCARD_BYTES_MAX: u64 = 64 << 10;

pub(crate) struct RequestBody {
    incoming: Incoming,
    /// The client waits for `100 Continue` before it sends anything.
    expects_continue: bool,
    /// `None` waits for ever.
    stall: Option<Duration>,
    received_bytes: u64,
    complete: bool,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, expects_continue: bool, stall: Duration) -> Self {
        let complete = incoming.is_end_stream();
        Self {
            incoming,
            expects_continue,
            stall: Some(stall),
            received_bytes: 0,
            complete,
        }
    }

    /// Lets the client take its time.
    pub(crate) fn without_stall_limit(&mut self) {
        self.stall = None;
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
    /// `UploadTimeout` when it sends nothing for too long. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.complete {
                return Ok(None);
            }
            let frame = match self.stall {
                Some(stall) => tokio::time::timeout(stall, self.incoming.frame())
                    .await
                    .map_err(|_| Error::UploadTimeout)?,
                None => self.incoming.frame().await,
            };
            match frame {
                None => self.complete = true,
                Some(Err(_)) => return Err(Error::UploadAbandoned),
                Some(Ok(frame)) => {
                    // Trailers mean nothing here.
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    self.received_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    self.complete = self.incoming.is_end_stream();
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
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

//! Bytes on their way: what a request sends, and what comes back.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::TryStreamExt as _;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::error::Error;
use crate::pool::Lease;

/// Large enough that a chunk costs little, small enough that many transfers fit into memory.
const READ_BYTES: usize = 64 * 1024;

type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// What a request sends.
pub enum Payload {
    Empty,
    Bytes(Bytes),
    /// With a length it is sent with `Content-Length`; a stream that ends before it, or has a piece that
    /// goes beyond it, fails the request. Without a length it is sent chunked.
    Stream {
        stream: ByteStream,
        length: Option<u64>,
    },
}

impl Payload {
    pub fn stream(
        stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        length: Option<u64>,
    ) -> Payload {
        Payload::Stream {
            stream: Box::pin(stream),
            length,
        }
    }

    pub fn reader(reader: impl AsyncRead + Send + 'static, length: Option<u64>) -> Payload {
        Payload::stream(ReaderStream::with_capacity(reader, READ_BYTES), length)
    }

    /// A second copy, for sending once more. A stream has none.
    pub(crate) fn duplicate(&self) -> Option<Payload> {
        match self {
            Payload::Empty => Some(Payload::Empty),
            Payload::Bytes(bytes) => Some(Payload::Bytes(bytes.clone())),
            Payload::Stream { .. } => None,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Empty => f.write_str("Empty"),
            Payload::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Payload::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Payload::Bytes(text.into())
    }
}

/// The body of a request as hyper pulls it.
pub(crate) struct RequestBody {
    payload: Payload,
    /// Bytes that a stream of known length still owes.
    owed: Option<u64>,
    /// Resolves when the server wants the body; until then nothing is read from the source.
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Set when the last byte was handed to hyper. A connection may only be used again after that.
    sent: Arc<AtomicBool>,
}

impl RequestBody {
    pub(crate) fn new(
        payload: Payload,
        gate: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ) -> RequestBody {
        let owed = match &payload {
            Payload::Stream { length, .. } => *length,
            Payload::Empty | Payload::Bytes(_) => None,
        };
        let empty = matches!(&payload, Payload::Empty) || owed == Some(0);
        RequestBody {
            payload,
            owed,
            gate,
            sent: Arc::new(AtomicBool::new(empty)),
        }
    }

    pub(crate) fn sent(&self) -> Arc<AtomicBool> {
        self.sent.clone()
    }

    /// The payload of a request that was never sent.
    pub(crate) fn into_payload(self) -> Payload {
        self.payload
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(gate) = &mut this.gate {
            ready!(gate.as_mut().poll(cx));
            this.gate = None;
        }
        let next = match &mut this.payload {
            Payload::Empty => None,
            Payload::Bytes(bytes) if bytes.is_empty() => None,
            Payload::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                this.sent.store(true, Ordering::Release);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Payload::Stream { stream, .. } => ready!(stream.as_mut().poll_next(cx)?),
        };
        let length = next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if let Some(owed) = &mut this.owed {
            let enough = if next.is_some() {
                length <= *owed
            } else {
                *owed == 0
            };
            if !enough {
                let error = io::Error::other("the source is not as long as was announced");
                return Poll::Ready(Some(Err(error)));
            }
            *owed -= length;
        }
        // With a length given, hyper stops asking after the last byte.
        if next.is_none() || this.owed == Some(0) {
            this.sent.store(true, Ordering::Release);
        }
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.payload {
            Payload::Empty => true,
            Payload::Bytes(bytes) => bytes.is_empty(),
            Payload::Stream { .. } => self.owed == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            Payload::Empty => SizeHint::with_exact(0),
            Payload::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Stream { .. } => self
                .owed
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// The body of an answer. Read to its end it gives its connection back; dropped before, it closes it.
pub struct Body {
    incoming: Incoming,
    lease: Option<Lease>,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, lease: Lease) -> Body {
        let mut body = Body {
            incoming,
            lease: Some(lease),
        };
        body.release_at_end();
        body
    }

    /// The next piece, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await;
            match frame.transpose()? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, but at most `bytes_max`: what is beyond is cut off.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            let room = bytes_max.saturating_sub(all.len());
            all.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if room < chunk.len() {
                break;
            }
        }
        Ok(all.freeze())
    }

    /// Reads and forgets what is left, so that the connection can be used again.
    pub async fn drain(mut self) -> Result<(), Error> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }

    /// The body as a stream of pieces.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        futures_util::stream::try_unfold(self, async |mut body: Body| {
            Ok(body.chunk().await?.map(|chunk| (chunk, body)))
        })
    }

    /// The body as something to read from; an error arrives as an `io::Error` that has ours inside.
    pub fn into_reader(self) -> impl AsyncRead + Send {
        tokio_util::io::StreamReader::new(Box::pin(self.into_stream().map_err(io::Error::other)))
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.release();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if frame.is_none()
            && let Some(lease) = self.lease.take()
        {
            lease.release();
        }
        self.release_at_end();
        Poll::Ready(frame.map(|frame| frame.map_err(Error::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("size", &self.size_hint())
            .finish_non_exhaustive()
    }
}

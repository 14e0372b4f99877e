//! The body of a response. It carries the record of its request to the very end, because only then is
//! known how much was sent and whether it was everything.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};

use crate::exchange::Exchange;

/// Ends a response early: the connection is cut, because the status has been sent already.
#[derive(Debug)]
pub(crate) struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rest of the response cannot be had")
    }
}

impl std::error::Error for CutShort {}

pub(crate) enum Content {
    Empty,
    Full(Bytes),
    /// With its length in bytes, where that is known and promised.
    Stream(BoxStream<'static, Result<Bytes, CutShort>>, Option<u64>),
}

pub(crate) struct ResponseBody {
    content: Content,
    exchange: Option<Box<Exchange>>,
}

impl ResponseBody {
    pub(crate) fn new(content: Content, exchange: Box<Exchange>) -> Self {
        let mut body = Self {
            content,
            exchange: Some(exchange),
        };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    fn finish(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.sent_everything();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        let next = match &mut this.content {
            Content::Empty => None,
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Empty;
                Some(Ok(bytes))
            }
            Content::Stream(stream, left) => match stream.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => {
                    if let (Some(Ok(bytes)), Some(left)) = (&next, left) {
                        *left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    }
                    next
                }
            },
        };
        match next {
            Some(Ok(bytes)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(bytes.len());
                }
                if this.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(Err(cut)) => {
                if let Some(mut exchange) = this.exchange.take() {
                    exchange.cut_short();
                }
                this.content = Content::Empty;
                Poll::Ready(Some(Err(cut)))
            }
            None => {
                this.finish();
                this.content = Content::Empty;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Stream(_, left) => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Content::Stream(_, Some(left)) => SizeHint::with_exact(*left),
            Content::Stream(_, None) => SizeHint::default(),
        }
    }
}

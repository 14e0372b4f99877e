//! How much a zone says to its local Manta, and how much it hears.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes on all connections of one zone, heads of requests and answers included. Only grows.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// To the zone.
    received: AtomicU64,
    /// By the zone.
    sent: AtomicU64,
}

impl Traffic {
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A connection from a zone.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    traffic: Arc<Traffic>,
}

impl<S> Counted<S> {
    pub(crate) fn new(inner: S, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }

    fn written(&self, result: io::Result<usize>) -> io::Result<usize> {
        if let Ok(bytes) = result {
            let bytes = bytes as u64;
            self.traffic.received.fetch_add(bytes, Ordering::Relaxed);
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let bytes = (buffer.filled().len() - before) as u64;
        self.traffic.sent.fetch_add(bytes, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        Poll::Ready(self.written(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, parts));
        Poll::Ready(self.written(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_directions_are_counted() {
        let traffic = Arc::new(Traffic::default());
        let (zone, ours) = tokio::io::duplex(16);
        let mut ours = Counted::new(ours, Arc::clone(&traffic));
        let speaks = async move {
            let mut zone = zone;
            zone.write_all(&[1; 100]).await.unwrap();
            let mut heard = vec![0; 7];
            zone.read_exact(&mut heard).await.unwrap();
        };
        let answers = async {
            ours.read_exact(&mut [0; 100]).await.unwrap();
            let parts = [IoSlice::new(b"abc"), IoSlice::new(b"d")];
            let written = ours.write_vectored(&parts).await.unwrap();
            ours.write_all(&b"abcdefg"[written..]).await.unwrap();
        };
        tokio::join!(speaks, answers);
        assert_eq!((traffic.sent(), traffic.received()), (100, 7));
    }
}

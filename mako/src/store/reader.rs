//! The reading end of a copy: one verified chunk with the caller, the next one on its way.
//!
//! The next one is on its way only while the node's budget for that lasts. A client that reads slowly, or not
//! at all, otherwise pins what was read ahead for it, and there may be thousands of those. Beyond the budget
//! a reader reads single blocks, each when it is asked for.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use libmanta::mako::{CopyReader, SharkError};
use libmanta::{AccountId, ObjectId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::open_copy::OpenCopy;
use super::read::read_cached;
use super::{Node, Stopped, joined};
use crate::error::ReadError;

/// Bytes of one node in chunks that nobody asked for yet: enough for 128 readers to stay ahead, which is more
/// than a disk serves at full speed.
pub(crate) const READ_AHEAD_BYTES: usize = 32 << 20;

pub(crate) struct Reader {
    node: Arc<Node>,
    object_id: ObjectId,
    copy: Arc<OpenCopy>,
    next: Next,
    /// Where the chunk after `next` begins, and where the range ends.
    rest: Range<u64>,
}

enum Next {
    Ready(Bytes),
    /// The permit is in the result, so that it is held as long as the bytes are, even when the reader is gone
    /// before they are read.
    Reading(JoinHandle<(Result<Bytes, ReadError>, OwnedSemaphorePermit)>),
    /// The budget is spent: the rest is read when it is asked for.
    OnDemand,
    /// The range is at its end, or an error was reported.
    Nothing,
}

impl Reader {
    pub(crate) async fn open(
        node: &Arc<Node>,
        creator: AccountId,
        object_id: ObjectId,
        range: Range<u64>,
    ) -> Result<Self, SharkError> {
        if let Some((file, bytes)) = read_cached(&node.disk, creator, object_id) {
            let copy = OpenCopy::Whole(file);
            let range = clamped(range, copy.size_bytes());
            let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            let bytes = bytes.slice(within(range.start)..within(range.end));
            return Ok(Self::new(
                node,
                object_id,
                copy,
                bytes,
                range.end..range.end,
            ));
        }
        let opened = node.blocking(move |node| {
            let copy = OpenCopy::open(&node.disk, creator, object_id)?;
            let range = clamped(range, copy.size_bytes());
            // Somebody asks for it right away, so it needs no permit; but when memory is short, it is small.
            let first_end = if node.read_ahead.available_permits() > 0 {
                copy.chunk_end(range.start, range.end)
            } else {
                copy.block_end(range.start, range.end)
            };
            let bytes = if range.is_empty() {
                Bytes::new()
            } else {
                copy.read(&node.disk, range.start, first_end)?
            };
            Ok((copy, bytes, first_end..range.end))
        });
        match joined(opened).await.map_err(|Stopped| node.stopped())? {
            Ok((copy, bytes, rest)) => Ok(Self::new(node, object_id, copy, bytes, rest)),
            Err(error) => Err(node.unreadable(object_id, error)),
        }
    }

    fn new(
        node: &Arc<Node>,
        object_id: ObjectId,
        copy: OpenCopy,
        first: Bytes,
        rest: Range<u64>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            object_id,
            copy: Arc::new(copy),
            next: if first.is_empty() {
                Next::Nothing
            } else {
                Next::Ready(first)
            },
            rest,
        }
    }

    /// Begins with the next chunk, if there is one and the budget allows it.
    fn read_ahead(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let start = self.rest.start;
        let end = self.copy.chunk_end(start, self.rest.end);
        let Some(permit) = self.permit(end - start) else {
            self.next = Next::OnDemand;
            return;
        };
        self.rest.start = end;
        let copy = Arc::clone(&self.copy);
        self.next = Next::Reading(
            self.node
                .blocking(move |node| (copy.read(&node.disk, start, end), permit)),
        );
    }

    fn permit(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.node.read_ahead)
            .try_acquire_many_owned(bytes)
            .ok()
    }

    /// The next block, now.
    async fn read_block(&mut self) -> Result<Result<Bytes, ReadError>, Stopped> {
        let start = self.rest.start;
        let end = self.copy.block_end(start, self.rest.end);
        self.rest.start = end;
        let copy = Arc::clone(&self.copy);
        joined(
            self.node
                .blocking(move |node| copy.read(&node.disk, start, end)),
        )
        .await
    }
}

#[async_trait]
impl CopyReader for Reader {
    fn size_bytes(&self) -> u64 {
        self.copy.size_bytes()
    }

    async fn read(&mut self) -> Result<Option<Bytes>, SharkError> {
        let bytes = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => return Ok(None),
            Next::Ready(bytes) => bytes,
            Next::Reading(task) => {
                let (read, permit) = joined(task).await.map_err(|Stopped| self.node.stopped())?;
                drop(permit);
                read.map_err(|error| self.node.unreadable(self.object_id, error))?
            }
            Next::OnDemand => {
                let read = self.read_block().await;
                let read = read.map_err(|Stopped| self.node.stopped())?;
                read.map_err(|error| self.node.unreadable(self.object_id, error))?
            }
        };
        self.read_ahead();
        self.node.disk.stats.bytes_out.add(bytes.len() as u64);
        Ok(Some(bytes))
    }
}

/// The part of `range` that lies in a copy of `size` bytes.
fn clamped(range: Range<u64>, size: u64) -> Range<u64> {
    let end = range.end.min(size);
    range.start.min(end)..end
}

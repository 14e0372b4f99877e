//! The writing end of a copy.
//!
//! Bytes gather in memory and go to the disk in batches of half a mebibyte, one batch on the disk while
//! the next one gathers, so a copy has about one mebibyte in flight. A copy that fits one batch touches
//! the disk only when it is committed: one trip to a blocking thread creates, writes, syncs, renames, and
//! syncs the directory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use libmanta::mako::{CopyWriter, SharkError, SizeHint};
use libmanta::{AccountId, ObjectId};
use tokio::task::JoinHandle;

use super::capacity::Reservation;
use super::durable_write::Temporary;
use super::{Node, Stopped, joined};
use crate::error::DiskError;

/// Most bytes in a batch. Larger ones make a trip to a blocking thread (some 20 µs) no cheaper in
/// proportion to the write itself (some 200 µs).
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Fewest, however many copies are being written.
const BATCH_BYTES_MIN: usize = 16 * 1024;
/// What all batches of a node together should stay below: a thousand slow uploads must not each hold half
/// a mebibyte.
const BATCHES_BYTES: usize = 32 * 1024 * 1024;
/// Pieces below this are copied together: a client that sends single bytes must not make us keep a
/// buffer, and whatever larger buffer it is a part of, for each.
const PIECE_BYTES_MIN: usize = 4 * 1024;

pub(crate) struct Writer {
    node: Arc<Node>,
    creator: AccountId,
    object_id: ObjectId,
    size: SizeHint,
    reservation: Reservation,
    accepted_bytes: u64,
    batch: Batch,
    stage: Stage,
}

enum Stage {
    /// Nothing is on the disk.
    Buffering,
    /// The last batch but one is being written. Dropping the handle drops the temporary when it is, and
    /// that removes it.
    Writing(JoinHandle<Result<Temporary, DiskError>>),
    /// Something failed, or a future was dropped half-way.
    Broken,
}

impl Writer {
    pub(crate) fn new(
        node: Arc<Node>,
        creator: AccountId,
        object_id: ObjectId,
        size: SizeHint,
        reservation: Reservation,
    ) -> Self {
        node.writers.fetch_add(1, Ordering::Relaxed);
        Self {
            node,
            creator,
            object_id,
            size,
            reservation,
            accepted_bytes: 0,
            batch: Batch::default(),
            stage: Stage::Buffering,
        }
    }

    fn batch_bytes_max(&self) -> usize {
        let writers = self.node.writers.load(Ordering::Relaxed).max(1);
        (BATCHES_BYTES / writers).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX)
    }

    /// Waits for the batch before, then sends this one off.
    async fn flush(&mut self) -> Result<(), SharkError> {
        let temporary = match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Buffering => None,
            Stage::Writing(task) => Some(self.written(task).await?),
            Stage::Broken => return Err(self.broken()),
        };
        let parts = self.batch.take();
        self.stage = Stage::Writing(self.node.blocking(move |node| {
            let temporary = match temporary {
                Some(temporary) => temporary,
                None => Temporary::create(&node.disk)?,
            };
            appended(temporary, &parts)
        }));
        Ok(())
    }

    async fn written(
        &self,
        task: JoinHandle<Result<Temporary, DiskError>>,
    ) -> Result<Temporary, SharkError> {
        joined(task)
            .await
            .map_err(|Stopped| self.node.stopped())?
            .map_err(|error| self.node.failed(error))
    }

    fn broken(&self) -> SharkError {
        self.node
            .misused("write", "an earlier write of this copy did not succeed")
    }

    async fn finish(mut self: Box<Self>) -> Result<(), SharkError> {
        let temporary = match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Buffering => None,
            Stage::Writing(task) => Some(self.written(task).await?),
            Stage::Broken => return Err(self.broken()),
        };
        let parts = self.batch.take();
        let (creator, object_id) = (self.creator, self.object_id);
        let published = self.node.blocking(move |node| {
            let mut temporary = match temporary {
                Some(temporary) => temporary,
                None => Temporary::create(&node.disk)?,
            };
            temporary.append(&parts)?;
            temporary.publish(creator, object_id)
        });
        joined(published)
            .await
            .map_err(|Stopped| self.node.stopped())?
            .map_err(|error| self.node.failed(error))
    }
}

#[async_trait]
impl CopyWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), SharkError> {
        if matches!(self.stage, Stage::Broken) {
            return Err(self.broken());
        }
        let (SizeHint::Exactly(most) | SizeHint::AtMost(most)) = self.size;
        let coming = bytes.len() as u64;
        if coming > most - self.accepted_bytes {
            self.stage = Stage::Broken;
            return Err(self
                .node
                .misused("write", "more bytes came than were announced"));
        }
        if let Err(refusal) = self.reservation.take(coming) {
            self.stage = Stage::Broken;
            return Err(self.node.refused(refusal));
        }
        self.accepted_bytes += coming;
        self.batch.push(bytes);
        if self.batch.bytes >= self.batch_bytes_max() {
            self.flush().await?;
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), SharkError> {
        if let SizeHint::Exactly(size) = self.size
            && size != self.accepted_bytes
        {
            return Err(self
                .node
                .misused("commit", "fewer bytes came than were announced"));
        }
        // A task of its own, because it must run to its end when this future is dropped.
        let node = Arc::clone(&self.node);
        let finished = node.tracker.spawn(self.finish());
        joined(finished).await.map_err(|Stopped| node.stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.node.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn appended(mut temporary: Temporary, parts: &[Bytes]) -> Result<Temporary, DiskError> {
    let before = temporary.size_bytes();
    temporary.append(parts)?;
    temporary.write_back_since(before);
    Ok(temporary)
}

/// Bytes that wait for the disk, in order.
#[derive(Debug, Default)]
struct Batch {
    parts: Vec<Bytes>,
    /// Small pieces after the last part, put together.
    small: BytesMut,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() < PIECE_BYTES_MIN {
            self.small.extend_from_slice(&piece);
        } else {
            self.seal();
            self.parts.push(piece);
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.seal();
        self.bytes = 0;
        std::mem::take(&mut self.parts)
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.parts.push(std::mem::take(&mut self.small).freeze());
        }
    }
}

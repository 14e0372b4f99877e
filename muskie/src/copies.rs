//! An object being read from one of its copies, or, when that one fails, from the next: at the start, and
//! in the middle too, because every copy has the same bytes at the same place.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use libmanta::mako::{CopyReader, Shark, SharkError};
use libmanta::{AccountId, Object, ObjectId, StorageId};
use rand::seq::SliceRandom as _;

use crate::response_body::CutShort;
use crate::server::Server;

/// Up to here an object is read before the response begins, in one piece.
const WHOLE_BYTES_MAX: u64 = 64 << 10;

pub(crate) struct ObjectReader {
    server: Arc<Server>,
    reader: Box<dyn CopyReader>,
    /// Who serves it now.
    storage_id: StorageId,
    /// Copies not tried yet, next one last.
    untried: Vec<Arc<dyn Shark>>,
    creator: AccountId,
    object_id: ObjectId,
    /// What is still to come.
    range: Range<u64>,
}

/// No copy can be read.
#[derive(Debug)]
pub(crate) struct NoCopy;

impl ObjectReader {
    /// Opens some copy. `range` must lie within the object and not be empty.
    pub(crate) async fn open(
        server: &Arc<Server>,
        object: &Object,
        range: Range<u64>,
    ) -> Result<Self, NoCopy> {
        let known = |id: &StorageId| {
            let shark = server.shark_by_id.get(id).cloned();
            if shark.is_none() {
                tracing::warn!(
                    storage_id = id.as_str(),
                    "a copy is on a node we do not know"
                );
            }
            shark
        };
        let mut untried: Vec<_> = object.copies.iter().filter_map(known).collect();
        untried.shuffle(&mut rand::rng());
        let (creator, object_id) = (object.creator, object.object_id);
        let (storage_id, reader) =
            next_copy(server, &mut untried, creator, object_id, range.clone()).await?;
        let server = server.clone();
        Ok(Self {
            server,
            reader,
            storage_id,
            untried,
            creator,
            object_id,
            range,
        })
    }

    pub(crate) fn storage_id(&self) -> &StorageId {
        &self.storage_id
    }

    /// The rest is short enough to be read at once.
    pub(crate) fn is_small(&self) -> bool {
        self.range.end - self.range.start <= WHOLE_BYTES_MAX
    }

    /// Everything that is left.
    pub(crate) async fn read_all(&mut self) -> Result<Bytes, NoCopy> {
        let Some(first) = self.read().await? else {
            return Ok(Bytes::new());
        };
        if self.range.is_empty() {
            return Ok(first);
        }
        let mut all = BytesMut::from(first);
        while let Some(bytes) = self.read().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    pub(crate) fn into_stream(self) -> BoxStream<'static, Result<Bytes, CutShort>> {
        futures_util::stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            match reader.read().await {
                Ok(None) => None,
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
                Err(NoCopy) => Some((Err(CutShort), None)),
            }
        })
        .boxed()
    }

    /// The next bytes; `None` when the range is through. A copy that ends too early has failed.
    async fn read(&mut self) -> Result<Option<Bytes>, NoCopy> {
        while !self.range.is_empty() {
            let error = match self.reader.read().await {
                Ok(Some(mut bytes)) => {
                    // A copy that has more than the object is not trusted beyond its end.
                    let left = self.range.end - self.range.start;
                    bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    self.range.start += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    if bytes.is_empty() {
                        continue;
                    }
                    return Ok(Some(bytes));
                }
                Ok(None) => SharkError::Damaged {
                    storage_id: self.storage_id.clone(),
                    object_id: self.object_id,
                    reason: String::from("it ends before the object does"),
                },
                Err(error) => error,
            };
            failed(&self.server, &error);
            let range = self.range.clone();
            let (server, untried) = (&self.server, &mut self.untried);
            let (storage_id, reader) =
                next_copy(server, untried, self.creator, self.object_id, range).await?;
            (self.storage_id, self.reader) = (storage_id, reader);
        }
        Ok(None)
    }
}

async fn next_copy(
    server: &Server,
    untried: &mut Vec<Arc<dyn Shark>>,
    creator: AccountId,
    object_id: ObjectId,
    range: Range<u64>,
) -> Result<(StorageId, Box<dyn CopyReader>), NoCopy> {
    while let Some(shark) = untried.pop() {
        match shark.open(creator, object_id, range.clone()).await {
            Ok(reader) => return Ok((shark.storage_id().clone(), reader)),
            Err(error) => failed(server, &error),
        }
    }
    Err(NoCopy)
}

fn failed(server: &Server, error: &SharkError) {
    server.metrics.copies_failed_on_read.fetch_add(1, Relaxed);
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "a copy cannot be read"
    );
}

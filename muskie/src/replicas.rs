//! The copies of an object being written, all at once. They are as fast as the slowest.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use libmanta::mako::{CopyWriter, Shark, SharkError, SizeHint};
use libmanta::{AccountId, ObjectId, StorageId};

use crate::errors::{Error, Result};
use crate::picker::{self, PickError, Wanted};
use crate::server::Server;

/// How many sets of nodes are tried before the first byte is asked for.
const SETS_MAX: usize = 3;

/// Dropping it removes what was written.
pub(crate) struct Replicas {
    writers: Vec<(Arc<dyn Shark>, Box<dyn CopyWriter>)>,
    creator: AccountId,
    object_id: ObjectId,
    room_bytes: u64,
    /// What the nodes agreed to take.
    bound_bytes: u64,
    written_bytes: u64,
}

/// An object that is about to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewObject {
    pub(crate) creator: AccountId,
    pub(crate) object_id: ObjectId,
    pub(crate) copies: usize,
    pub(crate) length: Length,
}

/// What is known of the length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Known(u64),
    /// A ceiling that the client set itself, so room for all of it is demanded.
    Bounded(u64),
    /// Our own ceiling. It is larger than many stores, so whatever room there is will do.
    Open(u64),
}

impl Length {
    fn room_bytes(self) -> u64 {
        match self {
            Self::Known(bytes) | Self::Bounded(bytes) => bytes,
            Self::Open(_) => 1,
        }
    }

    /// Most that may come.
    pub(crate) fn max_bytes(self) -> u64 {
        match self {
            Self::Known(bytes) | Self::Bounded(bytes) | Self::Open(bytes) => bytes,
        }
    }

    /// What to announce to `nodes`.
    fn hint(self, nodes: &[Arc<dyn Shark>]) -> SizeHint {
        match self {
            Self::Known(bytes) => SizeHint::Exactly(bytes),
            Self::Bounded(bytes) => SizeHint::AtMost(bytes),
            Self::Open(max) => {
                let least = nodes
                    .iter()
                    .map(|shark| shark.capacity().available_bytes)
                    .min();
                let least = least.unwrap_or_default();
                // What is free may be a little less when the node looks itself.
                SizeHint::AtMost(max.min(least - least / 8))
            }
        }
    }
}

impl Replicas {
    /// Opens a copy on each node of a set; when a node fails, another set is tried without it.
    /// Errors: `NotEnoughSpace`, `StorageExhausted`.
    pub(crate) async fn open(server: &Server, object: NewObject) -> Result<Self> {
        let NewObject {
            creator,
            object_id,
            copies,
            length,
        } = object;
        let room_bytes = length.room_bytes();
        let no_space = no_space(room_bytes);
        let mut except: Vec<StorageId> = Vec::new();
        let mut ran_out = false;
        for _ in 0..SETS_MAX {
            let wanted = Wanted {
                copies,
                room_bytes,
                except: &except,
            };
            let chosen = match picker::pick(&server.sharks, wanted, &mut rand::rng()) {
                Ok(chosen) => chosen,
                Err(PickError::NotEnoughSpace) => return Err(no_space),
                Err(PickError::NotEnoughNodes) => break,
            };
            let size = length.hint(&chosen);
            let (SizeHint::Exactly(bound_bytes) | SizeHint::AtMost(bound_bytes)) = size;
            let opened = join_all(chosen.iter().map(|s| s.create(creator, object_id, size))).await;
            let mut writers = Vec::with_capacity(copies);
            for (shark, result) in chosen.into_iter().zip(opened) {
                match result {
                    Ok(writer) => writers.push((shark, writer)),
                    Err(error) => {
                        ran_out |= matches!(error, SharkError::NotEnoughSpace { .. });
                        failed(server, &error, "opened");
                        except.push(shark.storage_id().clone());
                    }
                }
            }
            if writers.len() == copies {
                return Ok(Self {
                    writers,
                    creator,
                    object_id,
                    room_bytes,
                    bound_bytes,
                    written_bytes: 0,
                });
            }
        }
        Err(if ran_out {
            no_space
        } else {
            Error::StorageExhausted
        })
    }

    /// Opens a copy on each of `nodes`; no others will do. Errors: `NotEnoughSpace`, `StorageExhausted`.
    pub(crate) async fn open_on(
        server: &Server,
        object: NewObject,
        nodes: &[StorageId],
    ) -> Result<Self> {
        let known = nodes.iter().map(|id| server.shark_by_id.get(id).cloned());
        let known: Option<Vec<_>> = known.collect();
        let nodes = known.ok_or(Error::StorageExhausted)?;
        let room_bytes = object.length.room_bytes();
        let size = object.length.hint(&nodes);
        let (SizeHint::Exactly(bound_bytes) | SizeHint::AtMost(bound_bytes)) = size;
        let (creator, object_id) = (object.creator, object.object_id);
        let opened = join_all(nodes.iter().map(|s| s.create(creator, object_id, size))).await;
        let mut writers = Vec::with_capacity(nodes.len());
        for (shark, result) in nodes.into_iter().zip(opened) {
            let writer = result.map_err(|error| broken(server, &error, room_bytes))?;
            writers.push((shark, writer));
        }
        Ok(Self {
            writers,
            creator,
            object_id,
            room_bytes,
            bound_bytes,
            written_bytes: 0,
        })
    }

    pub(crate) fn storage_ids(&self) -> Vec<StorageId> {
        self.writers
            .iter()
            .map(|(shark, _)| shark.storage_id().clone())
            .collect()
    }

    /// Appends to every copy. After an error only dropping makes sense.
    pub(crate) async fn write(&mut self, server: &Server, bytes: &Bytes) -> Result<()> {
        self.written_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.written_bytes > self.bound_bytes {
            return Err(no_space(self.written_bytes));
        }
        let writes = self
            .writers
            .iter_mut()
            .map(|(_, writer)| writer.write(bytes.clone()));
        let room_bytes = self.room_bytes;
        try_join_all(writes)
            .await
            .map_err(|error| broken(server, &error, room_bytes))?;
        Ok(())
    }

    /// Makes every copy durable, or none: if one fails the others are removed again.
    pub(crate) async fn commit(self, server: &Server) -> Result<Written> {
        let (sharks, writers): (Vec<_>, Vec<_>) = self.writers.into_iter().unzip();
        let results = join_all(writers.into_iter().map(CopyWriter::commit)).await;
        let written = Written {
            sharks,
            creator: self.creator,
            object_id: self.object_id,
        };
        for result in results {
            if let Err(error) = result {
                let error = broken(server, &error, self.room_bytes);
                written.discard().await;
                return Err(error);
            }
        }
        Ok(written)
    }
}

/// Durable copies that no entry refers to yet.
pub(crate) struct Written {
    sharks: Vec<Arc<dyn Shark>>,
    creator: AccountId,
    object_id: ObjectId,
}

impl Written {
    /// Removes the copies, for an object that certainly got no entry. What stays behind is swept later.
    pub(crate) async fn discard(self) {
        let deletes = self
            .sharks
            .iter()
            .map(|s| s.delete(self.creator, self.object_id));
        for error in join_all(deletes).await.into_iter().filter_map(Result::err) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a copy without an entry is left to the sweep");
        }
    }
}

/// A copy broke off in the middle; there is no going back to the bytes that are through.
fn broken(server: &Server, error: &SharkError, room_bytes: u64) -> Error {
    failed(server, error, "written");
    match error {
        SharkError::NotEnoughSpace { .. } => no_space(room_bytes),
        SharkError::NoSuchCopy { .. }
        | SharkError::Damaged { .. }
        | SharkError::Io { .. }
        | SharkError::Unavailable { .. } => Error::StorageExhausted,
    }
}

fn no_space(room_bytes: u64) -> Error {
    Error::NotEnoughSpace {
        megabytes: room_bytes.div_ceil(1 << 20),
    }
}

fn failed(server: &Server, error: &SharkError, during: &'static str) {
    server.metrics.copies_failed_on_write.fetch_add(1, Relaxed);
    tracing::warn!(
        error = error as &dyn std::error::Error,
        during,
        "a copy failed"
    );
}

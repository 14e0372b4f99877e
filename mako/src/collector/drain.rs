//! Emptying the delete log.
//!
//! The order is bytes, then log entry: the entry is what remembers the bytes. Doing it twice is harmless.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use libmanta::Timestamp;
use libmanta::moray::{Deleted, LogCursor};

use super::{CollectError, Worker};

/// Entries taken from the log at a time, for each shard.
const PAGE: usize = 256;
/// Copies unlinked at a time. Unlinking waits for the journal, so a few in parallel are faster; many would
/// stand in the way of requests.
const IN_PARALLEL: usize = 8;
/// What one pass has come to.
#[derive(Default)]
struct Pass {
    cursor: LogCursor,
    /// Entries that stay because a node did not answer.
    passed_over: u64,
    first_error: Option<CollectError>,
}

impl Worker {
    /// One pass over everything that is old enough.
    pub(super) async fn drain(&self) {
        self.update(|status| status.drain.start(self.clock.now()));
        let before = self.clock.now().minus(self.config.grace);
        let mut pass = Pass::default();
        let read_log = loop {
            if self.stop.is_cancelled() {
                break Ok(());
            }
            match self.drain_page(before, &mut pass).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let error = read_log.err().or(pass.first_error);
        if let Some(error) = &error {
            let entries = pass.passed_over;
            tracing::warn!(%error, entries, "deleted copies could not all be unlinked, trying again");
        }
        self.update(|status| {
            status.entries_waiting = pass.passed_over;
            status
                .drain
                .end(self.clock.now(), error.map(|error| error.to_string()));
        });
    }

    /// Whether there may be more.
    async fn drain_page(&self, before: Timestamp, pass: &mut Pass) -> Result<bool, CollectError> {
        let entries = self.log.deleted(before, &pass.cursor, PAGE).await?;
        if entries.is_empty() {
            return Ok(false);
        }
        for entry in &entries {
            pass.cursor.pass(entry);
        }
        let results: Vec<_> = stream::iter(entries)
            .map(|entry| async move {
                let unlinked = self.unlink(&entry).await;
                (entry, unlinked)
            })
            .buffer_unordered(IN_PARALLEL)
            .collect()
            .await;
        let (mut gone, mut copies) = (Vec::new(), 0);
        for (entry, unlinked) in results {
            match unlinked {
                Ok(unlinked) => {
                    copies += unlinked;
                    gone.push(entry);
                }
                Err(error) => {
                    pass.passed_over += 1;
                    pass.first_error.get_or_insert(error);
                }
            }
        }
        if !gone.is_empty() {
            self.log.forget(&gone).await?;
        }
        self.update(|status| {
            status.entries_forgotten += gone.len() as u64;
            status.copies_collected += copies;
        });
        Ok(true)
    }

    /// Unlinks every copy of an entry, as far as possible. Returns how many were there.
    async fn unlink(&self, entry: &Deleted) -> Result<u64, CollectError> {
        let mut result = Ok(0);
        for storage_id in &entry.copies {
            let unlinked = match self.by_id.get(storage_id) {
                Some(shark) => Arc::clone(shark)
                    .delete(entry.creator, entry.object_id)
                    .await
                    .map_err(CollectError::from),
                None => Err(CollectError::UnknownNode(storage_id.clone())),
            };
            match (unlinked, &mut result) {
                (Ok(was_there), Ok(count)) => *count += u64::from(was_there),
                (Err(error), Ok(_)) => result = Err(error),
                (_, Err(_)) => {}
            }
        }
        result
    }
}

//! One walk over all nodes in search of copies that no metadata names, page by page.

use std::time::Duration;

use libmanta::ObjectId;
use libmanta::mako::StoredCopy;
use tokio::time::Instant;

use super::{CollectError, Worker};

/// Copies looked at in one step.
const PAGE: usize = 512;
/// Longest pause after a step. Steps are followed by a pause of their own length, so that a sweep takes at
/// most half of what it uses.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Added to the collector's own age in the first sweep, for the resolution of file times.
const SLACK: Duration = Duration::from_secs(1);

/// How far a sweep has come.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Which node is being walked, as an index.
    node: usize,
    after: Option<ObjectId>,
    pub(super) next_step: Instant,
    first_error: Option<CollectError>,
}

impl Sweep {
    pub(super) fn begin() -> Self {
        Self {
            node: 0,
            after: None,
            next_step: Instant::now(),
            first_error: None,
        }
    }
}

impl Worker {
    /// One page further; `None` when every node is done.
    pub(super) async fn sweep_step(&self, mut sweep: Sweep) -> Option<Sweep> {
        let began = Instant::now();
        match self.sweep_page(sweep.node, sweep.after).await {
            Ok(Some(last)) => sweep.after = Some(last),
            end => {
                if let Err(error) = end {
                    tracing::warn!(%error, "sweep of a storage node broke off");
                    sweep.first_error.get_or_insert(error);
                }
                sweep.node += 1;
                sweep.after = None;
            }
        }
        if sweep.node >= self.sharks.len() {
            let error = sweep.first_error.map(|error| error.to_string());
            self.update(|status| status.sweep.end(self.clock.now(), error));
            return None;
        }
        sweep.next_step = Instant::now() + began.elapsed().min(PAUSE_MAX);
        Some(sweep)
    }

    /// The last object id of the page; `None` when there was none.
    async fn sweep_page(
        &self,
        node: usize,
        after: Option<ObjectId>,
    ) -> Result<Option<ObjectId>, CollectError> {
        let Some(shark) = self.sharks.get(node) else {
            return Ok(None);
        };
        let page = shark.copies(after, PAGE).await?;
        let Some(last) = page.last().map(|copy| copy.object_id) else {
            return Ok(None);
        };
        let old: Vec<StoredCopy> = page.into_iter().filter(|copy| self.is_old(copy)).collect();
        if old.is_empty() {
            return Ok(Some(last));
        }
        let ids: Vec<ObjectId> = old.iter().map(|copy| copy.object_id).collect();
        let referenced = self.log.referenced(&ids).await?;
        for (copy, referenced) in old.into_iter().zip(referenced) {
            if !referenced && shark.delete(copy.creator, copy.object_id).await? {
                tracing::info!(
                    storage_id = %shark.storage_id(),
                    object_id = %copy.object_id,
                    size_bytes = copy.size_bytes,
                    "copy without metadata removed"
                );
                self.update(|status| status.copies_swept += 1);
            }
        }
        Ok(Some(last))
    }

    /// Whether the PUT that wrote it cannot be in flight any more; the module above says why.
    fn is_old(&self, copy: &StoredCopy) -> bool {
        let age = self.clock.now().since(copy.stored);
        let older_than_us = self.started.elapsed() + SLACK;
        age > self.config.sweep_age.min(older_than_us)
    }
}

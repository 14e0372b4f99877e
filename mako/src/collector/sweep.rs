//! A walk over all nodes in search of copies that no metadata names, page by page.
//!
//! Each node is walked to count them first, and a second time to delete them only when there are some and
//! their number is one that crashes leave. More than that says something else: that the metadata is not this
//! node's, or not all there. Copies cannot be made again; the space they take can wait for a person.

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

/// A node may have this many copies without metadata whatever else it has: a few uploads cut short in a store
/// that is new, or that was emptied.
const UNNAMED_FEW: u64 = 16;
/// Up to [`UNNAMED_MANY`], there must be a named copy for each this many unnamed ones. A store that died
/// while it was filled for the first time may have many more unnamed than named; metadata that is not the
/// node's names none, or the few that were written since.
const UNNAMED_FOR_EACH_NAMED: u64 = 16;
/// A crash leaves at most one copy on a node for each upload in flight, and the front door lets in at most
/// some hundreds. Beyond, at least half of the copies must be named: metadata that came back from an old
/// backup, or lost a shard, still names some.
const UNNAMED_MANY: u64 = 1024;

/// What one walk over a node found among the copies that are old enough.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    named: u64,
    unnamed: u64,
}

impl Census {
    /// Whether crashes can have left so many.
    fn is_plausible(self) -> bool {
        self.unnamed <= UNNAMED_FEW
            || (self.unnamed <= self.named.saturating_mul(UNNAMED_FOR_EACH_NAMED)
                && (self.unnamed <= UNNAMED_MANY || self.unnamed <= self.named))
    }
}

#[derive(Debug)]
enum Pass {
    Counting(Census),
    /// At most as many as were counted: what happens to the metadata in between must not matter either.
    Deleting {
        left: u64,
    },
}

/// How far a sweep has come.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Which node is being walked, as an index.
    node: usize,
    pass: Pass,
    after: Option<ObjectId>,
    pub(super) next_step: Instant,
    first_error: Option<CollectError>,
}

impl Sweep {
    pub(super) fn begin() -> Self {
        Self {
            node: 0,
            pass: Pass::Counting(Census::default()),
            after: None,
            next_step: Instant::now(),
            first_error: None,
        }
    }

    fn next_node(&mut self) {
        self.node += 1;
        self.pass = Pass::Counting(Census::default());
        self.after = None;
    }
}

impl Worker {
    /// One page further; `None` when every node is done.
    pub(super) async fn sweep_step(&self, mut sweep: Sweep) -> Option<Sweep> {
        let began = Instant::now();
        match self
            .sweep_page(sweep.node, sweep.after, &mut sweep.pass)
            .await
        {
            Ok(Some(last)) => sweep.after = Some(last),
            Ok(None) => self.end_pass(&mut sweep),
            Err(error) => {
                tracing::warn!(%error, "sweep of a storage node broke off");
                sweep.first_error.get_or_insert(error);
                sweep.next_node();
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

    /// Decides what follows on a walk that came to the end of a node.
    fn end_pass(&self, sweep: &mut Sweep) {
        let (Pass::Counting(census), Some(shark)) = (&sweep.pass, self.sharks.get(sweep.node))
        else {
            return sweep.next_node();
        };
        let census = *census;
        if census.unnamed == 0 {
            return sweep.next_node();
        }
        if census.is_plausible() {
            sweep.pass = Pass::Deleting {
                left: census.unnamed,
            };
            sweep.after = None;
            return;
        }
        tracing::error!(
            storage_id = %shark.storage_id(),
            unnamed = census.unnamed,
            named = census.named,
            "metadata does not name most copies of a storage node, so none is removed; \
             check that this is the node's metadata and that all of it is there"
        );
        sweep.first_error.get_or_insert(CollectError::Implausible {
            storage_id: shark.storage_id().clone(),
            unnamed: census.unnamed,
            named: census.named,
        });
        sweep.next_node();
    }

    /// The last object id of the page; `None` when there was none, or nothing more is to be done.
    async fn sweep_page(
        &self,
        node: usize,
        after: Option<ObjectId>,
        pass: &mut Pass,
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
        let left = match pass {
            Pass::Counting(census) => {
                let named = referenced.iter().filter(|named| **named).count() as u64;
                census.named += named;
                census.unnamed += old.len() as u64 - named;
                return Ok(Some(last));
            }
            Pass::Deleting { left } => left,
        };
        for (copy, referenced) in old.into_iter().zip(referenced) {
            if referenced {
                continue;
            }
            if *left == 0 {
                // The rest grew old meanwhile, and is the next sweep's.
                return Ok(None);
            }
            *left -= 1;
            if shark.delete(copy.creator, copy.object_id).await? {
                tracing::info!(
                    storage_id = %shark.storage_id(),
                    object_id = %copy.object_id,
                    size_bytes = copy.size_bytes,
                    "copy without metadata removed"
                );
                self.update(|status| status.copies_swept += 1);
            }
        }
        Ok((*left > 0).then_some(last))
    }

    /// Whether the PUT that wrote it cannot be in flight any more; the module above says why.
    fn is_old(&self, copy: &StoredCopy) -> bool {
        let age = self.clock.now().since(copy.stored);
        let older_than_us = self.started.elapsed() + SLACK;
        age > self.config.sweep_age.min(older_than_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crashes_leave_is_plausible_and_foreign_metadata_is_not() {
        for (named, unnamed, plausible) in [
            (0, 0, true),
            (0, 16, true),
            (0, 17, false),
            (1, 17, false),
            (2, 17, true),
            (63, 1024, false),
            (64, 1024, true),
            (1024, 1025, false),
            (1025, 1025, true),
            (1_000_000, 1_000_001, false),
            (1_000_001, 1_000_000, true),
            (u64::MAX, 5000, true),
        ] {
            let census = Census { named, unnamed };
            assert_eq!(census.is_plausible(), plausible, "{census:?}");
        }
    }
}

//! The shards behind their ring.

use std::sync::{Arc, OnceLock};

use libmanta::ObjectKey;
use libmanta::moray::links::Logged;
use libmanta::moray::shard::Shard;
use tokio::sync::mpsc;

use crate::ring::{Ring, RingError};
use crate::stats::Stats;

/// The metadata port over all shards. Holds no state but errands it is about to run, which are logged: any
/// number of routers may work on the same shards, and one that dies leaves nothing that the next request or
/// [`Upkeeper`](crate::Upkeeper) does not put right.
#[derive(Debug)]
pub struct Router {
    ring: Ring,
    /// In the order of [`Ring::shards`].
    pub(crate) shards: Vec<Arc<dyn Shard>>,
    /// To whoever runs errands beside the requests, if there is one.
    pub(crate) errands: OnceLock<mpsc::Sender<Logged>>,
    pub(crate) stats: Stats,
}

impl Router {
    /// Needs exactly the shards that are on the ring, in any order.
    pub fn new(ring: Ring, shards: Vec<Arc<dyn Shard>>) -> Result<Self, RingError> {
        let mut shards = shards;
        shards.sort_by(|a, b| a.name().cmp(b.name()));
        for pair in shards.windows(2) {
            if pair[0].name() == pair[1].name() {
                return Err(RingError::Twice(pair[0].name().to_owned()));
            }
        }
        if let Some(unknown) = shards
            .iter()
            .find(|shard| !ring.shards().iter().any(|name| name == shard.name()))
        {
            return Err(RingError::UnknownShard(unknown.name().to_owned()));
        }
        if let Some(missing) = ring
            .shards()
            .iter()
            .find(|name| !shards.iter().any(|shard| shard.name() == name.as_str()))
        {
            return Err(RingError::MissingShard(missing.clone()));
        }
        Ok(Self {
            ring,
            shards,
            errands: OnceLock::new(),
            stats: Stats::default(),
        })
    }

    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Where the entry `key` lies, beside its siblings.
    pub(crate) fn entry_shard(&self, key: &ObjectKey) -> &Arc<dyn Shard> {
        self.shard(key.entry_route())
    }

    /// Where the row and the children of `directory` lie.
    pub(crate) fn row_shard(&self, directory: &ObjectKey) -> &Arc<dyn Shard> {
        self.shard(directory.row_route())
    }

    pub(crate) fn shard(&self, route: &str) -> &Arc<dyn Shard> {
        &self.shards[self.index_of(route)]
    }

    /// The place in `shards` of the one that holds what is routed so.
    pub(crate) fn index_of(&self, route: &str) -> usize {
        self.ring.shard_of(route)
    }
}

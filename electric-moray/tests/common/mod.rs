//! A router over real shards in a temporary directory.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

pub mod unreliable;

use std::sync::Arc;

use electric_moray::{Ring, Router};
use libmanta::moray::shard::Shard;
use libmanta::{Entry, EntryKind, ObjectId, ObjectKey};
use uuid::Uuid;

/// A number in the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text}, not a number"))
    })
}

/// An object whose id the test chooses.
pub fn object_with(key: ObjectKey, id: u128) -> Entry {
    let mut entry = testkit::moray::object(key);
    if let EntryKind::Object(object) = &mut entry.kind {
        object.object_id = ObjectId::from_uuid(Uuid::from_u128(id));
    }
    entry
}

pub struct Store {
    pub shards: Vec<Arc<moray::Shard>>,
    pub router: Router,
    // Last: removed after the shards are closed.
    _directory: tempfile::TempDir,
}

impl Store {
    pub fn open(shards: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shards: Vec<_> = (1..=shards)
            .map(|n| {
                let name = format!("{n}.moray.local");
                let path = directory.path().join(&name);
                moray::Shard::open(moray::Config::new(name, path)).unwrap()
            })
            .collect();
        let router = route(&shards, |shard| shard);
        Self {
            shards,
            router,
            _directory: directory,
        }
    }

    /// Another router over the same shards, each seen through `wrap`.
    pub fn routed(&self, wrap: impl FnMut(Arc<dyn Shard>) -> Arc<dyn Shard>) -> Router {
        route(&self.shards, wrap)
    }
}

fn route(
    shards: &[Arc<moray::Shard>],
    mut wrap: impl FnMut(Arc<dyn Shard>) -> Arc<dyn Shard>,
) -> Router {
    let names: Vec<_> = shards.iter().map(|shard| shard.name().to_owned()).collect();
    let ring = Ring::new(Ring::VNODES_DEFAULT, &names).unwrap();
    let shards = shards
        .iter()
        .map(|shard| wrap(Arc::clone(shard) as Arc<dyn Shard>))
        .collect();
    Router::new(ring, shards).unwrap()
}

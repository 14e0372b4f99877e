//! What an operator may set, and the parts a test may replace.

use std::path::PathBuf;
use std::sync::Arc;

use libmanta::{Clock, SystemClock};
use uuid::Uuid;

use crate::backend::sqlite::CommitFaults;

/// Settings of one shard.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name by which the ring knows the shard, such as `1.moray.local`.
    pub name: String,
    /// The database file. Its directory must exist; `-wal` and `-shm` files appear beside it.
    pub path: PathBuf,
    /// Whether a missing or empty file is made a new shard. A store that has its shards must say no: a new
    /// file in the place of a lost one would take its names away, and the sweep their bytes.
    pub may_create: bool,
    /// The store that the shard belongs to. It is written into a file that has none yet, and a file with
    /// another one is refused. `None` neither writes nor checks.
    pub store_id: Option<Uuid>,
    /// Changes that may wait for the writer; above that they are refused as overloaded.
    pub queue_requests_max: usize,
    /// Approximate bytes of waiting changes; above that they are refused as overloaded.
    pub queue_bytes_max: usize,
    /// Page cache of the writer, in KiB. A reader has a quarter of it.
    pub cache_kib: u32,
}

impl Config {
    /// The defaults. 4,096 waiting changes are about half a second of work; 32 MiB hold them when each
    /// carries the largest headers a client may send.
    #[must_use]
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            may_create: true,
            store_id: None,
            queue_requests_max: 4096,
            queue_bytes_max: 32 << 20,
            cache_kib: 8192,
        }
    }
}

/// What a shard takes from outside.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Dates the delete log.
    pub clock: Arc<dyn Clock>,
    /// Lets a test make COMMIT fail; `None` otherwise.
    pub commit_faults: Option<CommitFaults>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            commit_faults: None,
        }
    }
}

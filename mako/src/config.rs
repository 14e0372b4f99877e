//! What an operator may set about one storage node.

use std::path::PathBuf;
use std::time::Duration;

use libmanta::StorageId;
use uuid::Uuid;

/// Settings of one storage node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name. A directory remembers it and is refused under any other.
    pub storage_id: StorageId,
    /// The store that the node is part of. A directory remembers it and is refused in any other, because
    /// every store calls its first node the same, and a store's sweep deletes copies that its metadata does
    /// not name. `None` (the default) neither writes nor checks it.
    pub store_id: Option<Uuid>,
    /// The availability zone it stands in.
    pub datacenter: String,
    /// Where the copies lie: must be empty or a storage node's already.
    pub directory: PathBuf,
    /// Whether a missing or empty directory becomes a new node (the default). When it was one before, it
    /// must not: an empty directory is then a disk that is not mounted, and the node is down until it is.
    pub may_create: bool,
    /// How much of the file system may be in use, by anybody, before new copies are refused: percent,
    /// 1 to 100, default 90. File systems slow down and fragment when they are almost full.
    pub utilisation_max_percent: u8,
    /// How often a node that failed is tried again: default 5 s.
    pub probe_interval: Duration,
}

impl Config {
    /// The defaults above.
    #[must_use]
    pub fn new(
        storage_id: StorageId,
        datacenter: impl Into<String>,
        directory: impl Into<PathBuf>,
    ) -> Self {
        Self {
            storage_id,
            store_id: None,
            datacenter: datacenter.into(),
            directory: directory.into(),
            may_create: true,
            utilisation_max_percent: 90,
            probe_interval: Duration::from_secs(5),
        }
    }
}

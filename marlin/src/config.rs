//! What marlin is told (settings) and given (parts).

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libmanta::mahi::Identity;
use libmanta::mako::Shark;
use libmanta::moray::{Buckets, Namespace};
use libmanta::triton::Zones;
use libmanta::{AccountId, Clock};

/// Settings an operator may change.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this machine, in what is kept of its tasks.
    pub node: Arc<str>,
    /// Where the public API listens, such as `http://127.0.0.1:8080`. Plain HTTP; tasks' requests, outputs
    /// and archives go there.
    pub front_door: String,
    /// Commands that run at a time. One more than there are cores: while one waits for its input or its
    /// end, the cores have something to do.
    pub streams: usize,
    /// A job whose input stays open this long after the last input is closed. Source: marlin.md
    /// section 3.1 (3).
    pub input_idle: Duration,
    /// How long a zone waits for more tasks of its group while nobody else wants it.
    pub zone_idle: Duration,
    /// How long an account or job may hold more zones than its share while others have none, and what then
    /// lies between two of its tasks that are killed and tried again. Source: marlin.md section 6.6.
    pub hog_grace: Duration,
    pub hog_kill: Duration,
    /// Between records of what a task uses while it runs. Of jobs with `frequentCheckpoint` they come every 5 s.
    /// Source: marlin.md section 16.
    pub checkpoint: Duration,
    /// Shares of accounts, by login, in relation to each other; 1 for whoever is not named.
    pub weights: HashMap<String, NonZeroU32>,
    /// How long the records of an archived job stay. Source: marlin.md section 14 (5).
    pub linger: Duration,
    /// Where assets are kept while a group of tasks uses them. Files there have no names.
    pub scratch_dir: PathBuf,
    /// Directory, as zones see it, of the tools `mpipe`, `mcat`, `mls` and so on; first in `PATH`.
    pub tools_dir: String,
    /// Connections that one zone may hold open to its local Manta.
    pub connections_per_zone: usize,
    /// How long a request that changes a job waits for the records. After that it is answered with
    /// [`JobError::Unavailable`](libmanta::marlin::JobError::Unavailable), though it may still take effect.
    pub answer_within: Duration,
    /// Whether commands may make their own requests fail (`POST /my/jobs/task/perturb?p=0.5`), for tests.
    pub perturb: bool,
}

impl Config {
    /// The defaults, for a front door and a scratch directory.
    #[must_use]
    pub fn new(front_door: &str, scratch_dir: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            node: "localhost".into(),
            front_door: front_door.trim_end_matches('/').to_owned(),
            streams: cores + 1,
            input_idle: Duration::from_secs(3600),
            zone_idle: Duration::from_secs(2),
            hog_grace: Duration::from_secs(300),
            hog_kill: Duration::from_secs(15),
            checkpoint: Duration::from_secs(300),
            weights: HashMap::new(),
            linger: Duration::from_secs(86_400),
            scratch_dir,
            tools_dir: "/opt/marlin/bin".to_owned(),
            connections_per_zone: 64,
            answer_within: Duration::from_secs(10),
            perturb: false,
        }
    }
}

/// Parts: who stands behind the ports.
#[derive(Clone)]
pub struct Deps {
    /// `Err` when this machine cannot run jobs; the text is what users are told.
    pub zones: Result<Arc<dyn Zones>, String>,
    pub buckets: Arc<dyn Buckets>,
    pub namespace: Arc<dyn Namespace>,
    pub identity: Arc<dyn Identity>,
    /// All storage nodes; the local ones are asked for files.
    pub sharks: Vec<Arc<dyn Shark>>,
    pub clock: Arc<dyn Clock>,
    /// Whether an account may create jobs under the isolation in use; the text says why not.
    pub may_run: Arc<dyn Fn(AccountId) -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps")
            .field("zones", &self.zones)
            .field("sharks", &self.sharks)
            .finish_non_exhaustive()
    }
}

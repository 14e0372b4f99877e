//! Starting and stopping the zones of one machine.
//!
//! Almost nothing here outlives a crash: processes die with the thread that started the zygote, mounts and
//! loop devices are descriptors. What has names, cgroups and the image's directory, is named after the state
//! directory, and the next host to start there removes it before it makes its first slot. Empty cgroups of
//! hosts that are dead and never come back are swept by whichever host starts next.

mod layout;

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use libmanta::triton::{
    Command, ExitStatus, Isolation, Zone, ZoneError, ZoneSpec, ZoneStats, Zones,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::background::Background;
use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::cores::Cores;
use crate::during::during;
use crate::lease::Lease;
use crate::origin::{Choice, Origin};
use crate::pool::{Empty, Make, Pool, Slop};
use crate::reset_times::ResetTimes;
use crate::scratch;
use crate::slot::{Plant, Slot};
use crate::uids::{Name, SLOTS_MAX, UidBlock};
use layout::Layout;

/// Scratches kept ready: two, because a zone that ends takes one at once and making one takes longer than
/// making a zone.
const SCRATCHES: usize = 2;

/// The zones of one machine. Stop it with [`Zones::shutdown`]; dropping it without kills everything as well,
/// but blocks the thread for some milliseconds.
#[derive(Debug)]
pub struct Host {
    isolation: Isolation,
    description: String,
    pool: Arc<Pool>,
    /// Who asks for the configured default means the default, also where that had to be made smaller.
    wanted_disk_bytes: u64,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    rest: Mutex<Option<Rest>>,
}

/// What shutdown takes apart last.
#[derive(Debug)]
struct Rest {
    cgroups: Option<Cgroups>,
    /// Image and scratches.
    directories: [PathBuf; 2],
    _name: Option<Name>,
    _uids: Option<UidBlock>,
    _lock: File,
}

impl Host {
    /// Makes the slots and tries `true` in the first; the others become ready in the background. Takes a
    /// second, more while the machine's `/usr` is not in memory. Must be called on a tokio runtime.
    ///
    /// Errors: [`ZoneError::Unsupported`] says what this machine lacks and the ways out.
    pub async fn start(config: Config) -> Result<Arc<Self>, ZoneError> {
        if config.slots == 0 || config.slots > SLOTS_MAX {
            return Err(ZoneError::Unsupported(format!(
                "1 to {SLOTS_MAX} zones, not {}",
                config.slots
            )));
        }
        let made = tokio::task::spawn_blocking(move || Layout::make(config)).await;
        let layout = made.map_err(|error| during("make the zones")(io::Error::other(error)))??;
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let scratches = scratch::Pool::new(layout.maker, layout.config.disk_bytes, SCRATCHES);
        tasks.spawn(Arc::clone(&scratches).fill(shutdown.clone()));
        let description = format!("{}, disk: {}", layout.description, scratches.describe());
        let cores = layout.cores.and_then(|(first, range)| {
            Cores::listen(first, range, layout.config.slots)
                .inspect_err(|error| tracing::warn!(%error, "core dumps of descendants not seen"))
                .ok()
        });
        if let Some(cores) = &cores {
            tasks.spawn(Arc::clone(cores).watch(shutdown.clone()));
        }
        let plant = Plant {
            pool: scratches,
            background: Background::new(tasks.clone(), layout.config.slots + SCRATCHES),
            memory_bytes: layout.config.memory_bytes,
            processes: layout.config.processes,
            flavour: layout.flavour,
            rlimits: layout.isolation == Isolation::UserNamespace && layout.cgroups.is_none(),
            moves: Arc::default(),
        };
        let pool = Pool::new(
            plant,
            cores,
            layout.config.disk_bytes,
            Arc::new(layout.host),
            Arc::new(layout.images),
            layout.config.slots,
            slop(&layout.config).map_err(during("read the size of the machine"))?,
            tasks.clone(),
            shutdown.clone(),
        );
        let rest = Rest {
            cgroups: layout.cgroups,
            directories: layout.directories,
            _name: layout.name,
            _uids: layout.uids,
            _lock: layout.lock,
        };
        let host = Arc::new(Self {
            isolation: layout.isolation,
            description,
            pool,
            wanted_disk_bytes: layout.wanted_disk_bytes,
            tasks,
            shutdown,
            rest: Mutex::new(Some(rest)),
        });
        let mut slots = layout.slots.into_iter();
        if let Some(first) = slots.next()
            && let Err(error) = host.try_out(first).await
        {
            host.shutdown().await;
            return Err(error);
        }
        for slot in slots {
            let make = host.pool.usual(Arc::clone(&host.pool.host));
            host.pool.recycle(slot, None, make, None);
        }
        let giving_back = Arc::clone(&host.pool);
        let idle = layout.config.image_idle;
        host.tasks
            .spawn(giving_back.give_back(idle, host.shutdown.clone()));
        tracing::info!(zones = host.description, "zones started");
        Ok(host)
    }

    /// How this machine's zones are made: for logs and for `manta doctor`.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// How long zones took to be made anew, since the start.
    #[must_use]
    pub fn reset_times(&self) -> &ResetTimes {
        &self.pool.reset_times
    }

    /// Whether zones are born in their cgroups. Where the kernel does not allow that they are moved there, which takes
    /// milliseconds longer.
    #[must_use]
    pub fn zones_are_born(&self) -> bool {
        !self.pool.plant.moves.load(Ordering::Relaxed)
    }

    /// What zones of the newest image in `range` come from.
    async fn origin(&self, range: String) -> Result<Arc<Origin>, ZoneError> {
        let mut passed = Vec::new();
        loop {
            let images = Arc::clone(&self.pool.images);
            let (range, but) = (range.clone(), passed.clone());
            let chosen = tokio::task::spawn_blocking(move || images.choose(&range, &but)).await;
            let chosen = chosen.map_err(io::Error::other);
            match chosen.map_err(during("choose an image"))?? {
                Choice::Host => return Ok(Arc::clone(&self.pool.host)),
                Choice::Imported(image) => match self.pool.origin(image.clone()).await {
                    // Removed since it was chosen: another one may do.
                    Err(ZoneError::NoImage) => passed.push(image),
                    origin => return origin,
                },
            }
        }
    }

    /// Whether a zone works here is found out by using one, not guessed from versions.
    async fn try_out(&self, slot: Slot) -> Result<(), ZoneError> {
        let refuse = |what: String| ZoneError::Unsupported(layout::refusal(self.isolation, &what));
        let origin = Arc::clone(&self.pool.host);
        let made = slot
            .provision(&self.pool.plant, &origin.nursery, self.pool.disk_bytes)
            .await;
        let live = Arc::new(made.map_err(|error| refuse(error.to_string()))?);
        let spec = ZoneSpec {
            memory_bytes: self.pool.plant.memory_bytes,
            disk_bytes: self.pool.disk_bytes,
            image: None,
        };
        let charged = Slop::default();
        let zone = Empty { slot, live, origin };
        let mut lease = Lease::new(Arc::clone(&self.pool), zone, &spec, charged).await?;
        let null = || {
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map(Into::into)
        };
        let open = during("open /dev/null");
        let command = Command {
            argv: ["/bin/bash", "--norc", "-c", "true"]
                .map(str::to_owned)
                .into(),
            env: Vec::new(),
            stdin: null().map_err(&open)?,
            stdout: null().map_err(&open)?,
            stderr: null().map_err(&open)?,
        };
        let exit = lease
            .run(command)
            .await
            .map_err(|error| refuse(error.to_string()))?;
        if exit.status == ExitStatus::Code(0) {
            return Ok(());
        }
        Err(refuse(format!(
            "a trial command ended with {:?}",
            exit.status
        )))
    }
}

#[async_trait]
impl Zones for Host {
    fn isolation(&self) -> Isolation {
        self.isolation
    }

    fn capacity(&self) -> usize {
        self.pool.capacity()
    }

    async fn images(&self) -> Vec<String> {
        let images = Arc::clone(&self.pool.images);
        let host_version = images.host_version;
        let versions = tokio::task::spawn_blocking(move || images.versions()).await;
        versions.unwrap_or_else(|error| {
            tracing::error!(%error, "listing the images panicked");
            vec![host_version.to_string()]
        })
    }

    async fn acquire(&self, spec: ZoneSpec) -> Result<Box<dyn Zone>, ZoneError> {
        let disk_bytes = match layout::disk_bytes(spec.disk_bytes) {
            default if default == self.wanted_disk_bytes => self.pool.disk_bytes,
            other => other,
        };
        let spec = ZoneSpec {
            memory_bytes: layout::memory_bytes(spec.memory_bytes),
            disk_bytes,
            ..spec
        };
        let origin = match &spec.image {
            Some(range) => self.origin(range.clone()).await?,
            None => Arc::clone(&self.pool.host),
        };
        let charge = Charge {
            pool: Some(Arc::clone(&self.pool)),
            slop: self.pool.charge(&spec)?,
        };
        let zone = self.pool.acquire(Make { disk_bytes, origin }).await?;
        let lease = Lease::new(Arc::clone(&self.pool), zone, &spec, charge.hand_over()).await?;
        Ok(Box::new(lease))
    }

    fn stats(&self) -> ZoneStats {
        self.pool.stats()
    }

    async fn shutdown(&self) {
        let rest = self
            .rest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(rest) = rest else { return };
        self.shutdown.cancel();
        let (ready, leased) = self.pool.close();
        let lives: Vec<_> = ready
            .iter()
            .map(|zone| Arc::clone(&zone.live))
            .chain(leased)
            .collect();
        for live in &lives {
            live.kill();
        }
        for live in &lives {
            live.gone().await;
            self.pool.plant.background.let_go(live.take_parts()).await;
        }
        drop((ready, lives));
        self.tasks.close();
        self.tasks.wait().await;
        let scratches = Arc::clone(&self.pool.plant.pool);
        let origins = self.pool.take_origins();
        let ended = tokio::task::spawn_blocking(move || rest.remove(&origins, &scratches));
        if ended.await.is_err() {
            tracing::error!("shutdown panicked");
        }
    }
}

impl Rest {
    /// Ends the zygotes and removes what has a name. Blocks.
    fn remove(self, origins: &[Arc<Origin>], scratches: &scratch::Pool) {
        origins.iter().for_each(|origin| origin.stop());
        if let Err(error) = scratches.release() {
            tracing::error!(%error, "scratch not released");
        }
        if let Some(cgroups) = &self.cgroups
            && let Err(error) = cgroups.remove()
        {
            tracing::error!(%error, "cgroups not removed");
        }
        for directory in &self.directories {
            if let Err(error) = crate::remove_tree::remove_tree(directory) {
                tracing::error!(%error, "directory not removed");
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let rest = self
            .rest
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(rest) = rest else { return };
        self.shutdown.cancel();
        let (ready, leased) = self.pool.close();
        for live in ready.iter().map(|zone| &zone.live).chain(&leased) {
            live.kill();
            drop(live.take_parts());
        }
        self.pool.plant.pool.empty();
        rest.remove(&self.pool.take_origins(), &self.pool.plant.pool);
    }
}

/// Slop set aside until a lease has it: acquiring may be given up.
struct Charge {
    pool: Option<Arc<Pool>>,
    slop: Slop,
}

impl Charge {
    fn hand_over(mut self) -> Slop {
        self.pool = None;
        self.slop
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.refund(self.slop);
        }
    }
}

/// Source of the shares: marlin.md section 6.5.
fn slop(config: &Config) -> io::Result<Slop> {
    let memory = match config.memory_slop_bytes {
        Some(bytes) => bytes,
        None => {
            let machine = rustix::system::sysinfo();
            (machine.totalram as u64 * u64::from(machine.mem_unit)) / 5
        }
    };
    let disk = match config.disk_slop_bytes {
        Some(bytes) => bytes,
        None => {
            let figures = rustix::fs::statvfs(&config.state_dir)?;
            figures.f_blocks * figures.f_frsize / 100 * 15
        }
    };
    Ok(Slop { memory, disk })
}

/// Makes and locks the state directory.
fn lock_state(directory: &Path) -> io::Result<(PathBuf, File)> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let directory = directory.canonicalize()?;
    let lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok((directory, lock)),
        Err(std::fs::TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} is in use by another process", directory.display()),
        )),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

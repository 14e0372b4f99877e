//! Who has which zone: ready ones, those who wait for one, those lent out, slots that are disabled.
//!
//! A slot is always in exactly one place: in `ready`, in a lease, or in a task that resets or provisions it
//! (`uninit` or `disabled`). Nobody waits while a zone is ready.

mod origins;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libmanta::triton::{ZoneError, ZoneSpec, ZoneStats};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cores::Cores;
use crate::live::Live;
use crate::origin::{Images, Origin};
use crate::reset_times::ResetTimes;
use crate::slot::{Plant, Slot};
use origins::Origins;

/// A disabled slot is tried again after this.
const REPROBE: Duration = Duration::from_secs(600);
/// Pause after a failed attempt of a slot that may not be disabled, growing to the second value.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) plant: Plant,
    pub(crate) cores: Option<Arc<Cores>>,
    pub(crate) disk_bytes: u64,
    /// Of zones that nobody has asked anything of.
    pub(crate) host: Arc<Origin>,
    pub(crate) images: Arc<Images>,
    slots: usize,
    slop: Slop,
    handle: Handle,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    state: Mutex<State>,
    pub(crate) reset_times: ResetTimes,
}

/// What all zones together may use above their defaults. Source: marlin.md section 6.5.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slop {
    pub(crate) memory: u64,
    pub(crate) disk: u64,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Empty>,
    waiters: VecDeque<Deliver>,
    /// Zones in use, so that shutdown can end them.
    leased: HashMap<usize, Arc<Live>>,
    /// Of imported images.
    origins: Origins,
    disabled: usize,
    used: Slop,
    resets: u64,
    closed: bool,
}

/// A zone nobody uses, and its slot.
#[derive(Debug)]
pub(crate) struct Empty {
    pub(crate) slot: Slot,
    pub(crate) live: Arc<Live>,
    pub(crate) origin: Arc<Origin>,
}

/// What a zone is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Make {
    pub(crate) disk_bytes: u64,
    pub(crate) origin: Arc<Origin>,
}

/// Where the outcome of making one particular zone goes.
pub(crate) type Deliver = oneshot::Sender<io::Result<Empty>>;

/// A zone on its way from the pool to a lease. Dropping it puts it back.
#[derive(Debug)]
pub(crate) struct Reserved {
    pool: Arc<Pool>,
    zone: Option<Empty>,
}

impl Reserved {
    fn take(mut self) -> Option<Empty> {
        self.zone.take()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(zone) = self.zone.take() {
            self.pool.publish(zone);
        }
    }
}

impl Pool {
    #[expect(
        clippy::too_many_arguments,
        reason = "parts, put together in one place"
    )]
    pub(crate) fn new(
        plant: Plant,
        cores: Option<Arc<Cores>>,
        disk_bytes: u64,
        host: Arc<Origin>,
        images: Arc<Images>,
        slots: usize,
        slop: Slop,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let (handle, state) = (Handle::current(), Mutex::default());
        Arc::new(Self {
            plant,
            cores,
            disk_bytes,
            host,
            images,
            slots,
            slop,
            handle,
            tasks,
            shutdown,
            state,
            reset_times: ResetTimes::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots - self.lock().disabled
    }

    pub(crate) fn stats(&self) -> ZoneStats {
        let state = self.lock();
        let (ready, busy, disabled) = (state.ready.len(), state.leased.len(), state.disabled);
        let uninit = self.slots.saturating_sub(ready + busy + disabled);
        ZoneStats {
            uninit,
            ready,
            busy,
            disabled,
            resets: state.resets,
        }
    }

    /// Waits for a zone that is like `wanted`, first come first served. Cancel-safe.
    pub(crate) async fn acquire(self: &Arc<Self>, wanted: Make) -> Result<Empty, ZoneError> {
        loop {
            let reserved = self.reserve(&wanted).await?;
            let Some(zone) = reserved.zone.as_ref() else {
                continue;
            };
            let alive = zone.live.is_alive();
            if alive && zone.is_like(&wanted) {
                let Some(zone) = reserved.take() else {
                    continue;
                };
                return self.lend(zone);
            }
            let Some(zone) = reserved.take() else {
                continue;
            };
            if !alive {
                // Died while it waited: the zygote was killed.
                let make = self.usual(zone.origin);
                self.recycle(zone.slot, Some(zone.live), make, None);
                continue;
            }
            let (deliver, made) = oneshot::channel();
            self.recycle(zone.slot, Some(zone.live), wanted, Some(deliver));
            let made = Waiting {
                pool: Arc::clone(self),
                receiver: made,
            }
            .arrival()
            .await;
            return match made {
                None => Err(ZoneError::ShutDown),
                Some(Ok(zone)) => self.lend(zone),
                Some(Err(error)) if error.kind() == io::ErrorKind::StorageFull => {
                    Err(ZoneError::NotEnoughDisk)
                }
                Some(Err(source)) => Err(ZoneError::Io {
                    during: "make a zone with that image and a disk of that size",
                    source,
                }),
            };
        }
    }

    fn lend(&self, zone: Empty) -> Result<Empty, ZoneError> {
        let mut state = self.lock();
        if state.closed {
            return Err(ZoneError::ShutDown);
        }
        state.leased.insert(zone.slot.index, Arc::clone(&zone.live));
        Ok(zone)
    }

    async fn reserve(self: &Arc<Self>, wanted: &Make) -> Result<Reserved, ZoneError> {
        let waiting = {
            let mut state = self.lock();
            if state.closed {
                return Err(ZoneError::ShutDown);
            }
            let like = state.ready.iter().position(|zone| zone.is_like(wanted));
            if let Some(zone) = state.ready.remove(like.unwrap_or(0)) {
                return Ok(Reserved {
                    pool: Arc::clone(self),
                    zone: Some(zone),
                });
            }
            let (sender, receiver) = oneshot::channel();
            // Those who gave up leave their end here: clear them out so that the queue stays as long as
            // the number of those who wait.
            state.waiters.retain(|waiter| !waiter.is_closed());
            state.waiters.push_back(sender);
            receiver
        };
        match (Waiting {
            pool: Arc::clone(self),
            receiver: waiting,
        })
        .arrival()
        .await
        {
            Some(Ok(zone)) => Ok(Reserved {
                pool: Arc::clone(self),
                zone: Some(zone),
            }),
            _ => Err(ZoneError::ShutDown),
        }
    }

    /// Gives a ready zone to who has waited longest. One that comes after the end is ended, or its disk would
    /// stay mounted while shutdown waits for it.
    fn publish(&self, mut zone: Empty) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            zone.live.kill();
            if let Some(parts) = zone.live.take_parts() {
                self.tasks
                    .spawn_blocking_on(move || drop(parts), &self.handle);
            }
            return;
        }
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.send(Ok(zone)) {
                Err(Ok(back)) => zone = back,
                _ => return,
            }
        }
        state.ready.push_back(zone);
    }

    /// A zone of the usual size.
    pub(crate) fn usual(&self, origin: Arc<Origin>) -> Make {
        let disk_bytes = self.disk_bytes;
        Make { disk_bytes, origin }
    }

    /// Throws `live` away and makes a fresh zone in `slot`, in the background; for `deliver` if that still
    /// listens, else for whoever is next.
    pub(crate) fn recycle(
        self: &Arc<Self>,
        slot: Slot,
        live: Option<Arc<Live>>,
        make: Make,
        deliver: Option<Deliver>,
    ) {
        self.lock().leased.remove(&slot.index);
        let pool = Arc::clone(self);
        let given_back = live.is_some().then(Instant::now);
        self.tasks.spawn_on(
            async move { pool.renew(slot, live, make, deliver, given_back).await },
            &self.handle,
        );
    }

    async fn renew(
        self: Arc<Self>,
        mut slot: Slot,
        mut live: Option<Arc<Live>>,
        mut make: Make,
        mut deliver: Option<Deliver>,
        given_back: Option<Instant>,
    ) {
        let mut pause = RETRY.0;
        loop {
            let reason = match self.renew_once(&mut slot, live.as_ref(), &make).await {
                Ok(fresh) => {
                    if let Some(given_back) = given_back {
                        self.reset_times.record(given_back.elapsed());
                    }
                    let zone = Empty {
                        slot,
                        live: Arc::new(fresh),
                        origin: make.origin,
                    };
                    self.hand_over(zone, deliver);
                    return self.let_go(live.as_ref()).await;
                }
                Err(reason) => reason,
            };
            if let Some(dead) = live.take_if(|live| !live.is_alive()) {
                self.let_go(Some(&dead)).await;
            }
            if self.shutdown.is_cancelled() {
                return;
            }
            if let Some(deliver) = deliver.take() {
                // Size or image were special, and probably the reason: tell who wanted it, and carry on without.
                make = self.usual(Arc::clone(&self.host));
                let _ = deliver.send(Err(reason));
                continue;
            }
            if let Some(image) = &make.origin.image {
                // Nobody waits for it, and what is wrong with an image must cost no slot.
                tracing::warn!(%image, %reason, "no zone of an image");
                make = self.usual(Arc::clone(&self.host));
                continue;
            }
            if self.disable() {
                tracing::error!(slot = slot.name, %reason, "zone slot disabled");
                let woken = tokio::time::timeout(REPROBE, self.shutdown.cancelled()).await;
                self.lock().disabled -= 1;
                if woken.is_ok() {
                    return;
                }
            } else {
                tracing::error!(slot = slot.name, %reason, "zone slot fails, too many are disabled");
                let _ = tokio::time::timeout(pause, self.shutdown.cancelled()).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }

    async fn renew_once(
        &self,
        slot: &mut Slot,
        live: Option<&Arc<Live>>,
        make: &Make,
    ) -> io::Result<Live> {
        if let Some(live) = live {
            slot.reset(&self.plant, live).await?;
            self.lock().resets += 1;
            if [make.disk_bytes, live.scratch_bytes()] != [self.disk_bytes; 2] {
                // This one, or whoever else wants a large disk, may need the room.
                self.let_go(Some(live)).await;
            }
        }
        if self.shutdown.is_cancelled() {
            return Err(io::Error::other("shut down"));
        }
        let nursery = &make.origin.nursery;
        slot.provision(&self.plant, nursery, make.disk_bytes).await
    }

    /// Begins to take apart what a dead zone held, if there is anything left of that.
    async fn let_go(&self, dead: Option<&Arc<Live>>) {
        if let Some(parts) = dead.and_then(|dead| dead.take_parts()) {
            self.plant.background.let_go(parts).await;
        }
    }

    fn hand_over(&self, zone: Empty, deliver: Option<Deliver>) {
        let Some(deliver) = deliver else {
            return self.publish(zone);
        };
        if let Err(Ok(zone)) = deliver.send(Ok(zone)) {
            // Nobody waits for this very zone any more.
            self.publish(zone);
        }
    }

    /// Whether one more slot may be disabled: at most one in twenty, but one in any case. More than that is
    /// a fault of the machine or of ours, and taking slots away would hide it.
    fn disable(&self) -> bool {
        let mut state = self.lock();
        let allowed = state.disabled < (self.slots / 20).max(1) && self.slots > 1;
        if allowed {
            state.disabled += 1;
        }
        allowed
    }

    /// Sets aside what `spec` wants above the defaults.
    pub(crate) fn charge(&self, spec: &ZoneSpec) -> Result<Slop, ZoneError> {
        let wanted = Slop {
            memory: spec.memory_bytes.saturating_sub(self.plant.memory_bytes),
            disk: spec.disk_bytes.saturating_sub(self.disk_bytes),
        };
        let mut state = self.lock();
        if wanted.memory > self.slop.memory.saturating_sub(state.used.memory) && wanted.memory > 0 {
            return Err(ZoneError::NotEnoughMemory);
        }
        if wanted.disk > self.slop.disk.saturating_sub(state.used.disk) && wanted.disk > 0 {
            return Err(ZoneError::NotEnoughDisk);
        }
        state.used.memory += wanted.memory;
        state.used.disk += wanted.disk;
        Ok(wanted)
    }

    pub(crate) fn refund(&self, charged: Slop) {
        let mut state = self.lock();
        state.used.memory -= charged.memory;
        state.used.disk -= charged.disk;
    }

    /// Ends every zone, in use or not. Returns what must be waited for and let go of.
    pub(crate) fn close(&self) -> (Vec<Empty>, Vec<Arc<Live>>) {
        let mut state = self.lock();
        state.closed = true;
        state.waiters.clear();
        let ready = state.ready.drain(..).collect();
        let leased = state.leased.drain().map(|(_, live)| live).collect();
        (ready, leased)
    }
}

impl Empty {
    fn is_like(&self, wanted: &Make) -> bool {
        self.live.scratch_bytes() == wanted.disk_bytes && Arc::ptr_eq(&self.origin, &wanted.origin)
    }
}

/// A place in the queue. A zone that arrives after its owner has given up goes to the next.
struct Waiting {
    pool: Arc<Pool>,
    receiver: oneshot::Receiver<io::Result<Empty>>,
}

impl Waiting {
    /// `None`: nothing will come any more. Cancel-safe.
    async fn arrival(mut self) -> Option<io::Result<Empty>> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Ok(zone)) = self.receiver.try_recv() {
            self.pool.publish(zone);
        }
    }
}

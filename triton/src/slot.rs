//! A slot: what is slow to make and no tenant has dirtied, kept from zone to zone. And the two ways
//! between slot and zone: provision, reset. Source: zones.md section 4.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::background::Background;
use crate::cgroup::{SlotCgroup, Way};
use crate::core_files::{self, Pattern};
use crate::live::{Live, Making, Unmade};
use crate::network::{self, Network};
use crate::nursery::Nursery;
use crate::scratch::Pool;
use crate::wire::{Flavour, Provision};

/// After this, `cgroup.kill`.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// After this the slot is disabled: a task is stuck in the kernel.
const DEATH_DEADLINE: Duration = Duration::from_secs(30);
/// The kernel's counters lag behind the death of the last process by a moment.
const EMPTY_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) uid_base: u32,
    /// Full flavour.
    pub(crate) kept: Option<Kept>,
    pub(crate) cgroup: Option<Arc<SlotCgroup>>,
}

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) user_namespace: OwnedFd,
    /// Another one after a tenant whose connections outlive it.
    pub(crate) network: Network,
}

/// What all slots are worked on with.
#[derive(Clone, Debug)]
pub(crate) struct Plant {
    pub(crate) pool: Arc<Pool>,
    /// Unmounting goes on here, also after a zone's slot is in use again.
    pub(crate) background: Background,
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u32,
    pub(crate) flavour: Flavour,
    /// Plain flavour without cgroups: only resource limits.
    pub(crate) rlimits: bool,
    /// Zones cannot be [born](Way::Born) in their cgroups here: found out by trying.
    pub(crate) moves: Arc<AtomicBool>,
}

impl Slot {
    /// Makes a zone of `disk_bytes` with limits at their defaults.
    pub(crate) async fn provision(
        &self,
        plant: &Plant,
        nursery: &Nursery,
        disk_bytes: u64,
    ) -> io::Result<Live> {
        // The second time in fresh cgroups, which cures what was done to those of the slot.
        for _ in 0..2 {
            if plant.moves.load(Ordering::Relaxed) {
                break;
            }
            let made = self.attempt(plant, nursery, disk_bytes, Way::Born).await;
            let error = match made {
                Err(Unmade::Stillborn(error)) if self.cgroup.is_some() => error,
                made => return made.map_err(Unmade::into_io),
            };
            tracing::info!(slot = self.name, %error, "a zone died at birth");
            self.kill_cgroup().await?;
        }
        let made = self.attempt(plant, nursery, disk_bytes, Way::Moved).await;
        // What is wrong is not the slot's: it would be the same the next time.
        if made.is_ok() && !plant.moves.swap(true, Ordering::Relaxed) {
            tracing::warn!("zones cannot be born in their cgroups here; moving them takes longer");
        }
        made.map_err(Unmade::into_io)
    }

    async fn attempt(
        &self,
        plant: &Plant,
        nursery: &Nursery,
        disk_bytes: u64,
        way: Way,
    ) -> Result<Live, Unmade> {
        let mut descriptors = Vec::new();
        if let Some(kept) = &self.kept {
            descriptors.push(kept.user_namespace.try_clone()?);
            descriptors.push(kept.network.namespace.try_clone()?);
        }
        let mut born_in_cgroup = false;
        if let Some(cgroup) = self.cgroup.clone() {
            let (memory, processes) = (plant.memory_bytes, plant.processes);
            // A lower limit than there was makes the kernel look for memory to take away.
            let limited = tokio::task::spawn_blocking(move || {
                cgroup.set_memory(memory)?;
                cgroup.set_processes(processes)?;
                cgroup.entrance(way)
            });
            let entrance = limited.await.map_err(io::Error::other).flatten()?;
            born_in_cgroup = entrance.directory.is_some();
            descriptors.extend(entrance.directory);
            descriptors.extend(entrance.files);
        }
        let scratch = plant.pool.take(disk_bytes).await?;
        // Asked anew for each zone, since the machine's administrator may change it at any time.
        let cores = Pattern::of_machine().filter(|_| plant.flavour == Flavour::Full);
        let provision = Provision {
            hostname: self.name.clone(),
            uid_base: self.uid_base,
            born_in_cgroup,
            // Counts as the zone's memory like all it uses; more than half of it would be of no use.
            shm_bytes: plant.memory_bytes / 2,
            scratch: scratch.directory(),
            data_bytes: plant.rlimits.then_some(plant.memory_bytes),
            processes: plant.rlimits.then_some(plant.processes.into()),
            core_bytes: cores.as_ref().map_or(0, |_| core_files::BYTES_MAX),
            core_directory: cores.and_then(Pattern::into_directory),
            memory_bytes: plant.memory_bytes,
        };
        let making = Making {
            provision,
            descriptors,
        };
        let live = Live::make(nursery, plant.flavour, scratch, making, &plant.background).await;
        // Not before: making another one takes as long as making a zone, and the same cores.
        plant.pool.refill();
        live
    }

    /// Ends `live` and sees to it that nothing of it is left but its mounts and its disk. These are to be let go of when
    /// the next zone is there, since the kernel makes and unmakes mounts one after the other. An error disables the
    /// slot.
    pub(crate) async fn reset(&mut self, plant: &Plant, live: &Live) -> io::Result<()> {
        live.kill();
        if tokio::time::timeout(KILL_PATIENCE, live.gone())
            .await
            .is_err()
        {
            tracing::warn!(slot = self.name, "zone does not die, killing its cgroup");
            if let Err(error) = self.kill_cgroup().await {
                tracing::error!(slot = self.name, %error, "cgroup not killed");
            }
            if tokio::time::timeout(DEATH_DEADLINE, live.gone())
                .await
                .is_err()
            {
                return Err(io::Error::other("processes do not die"));
            }
        }
        if let Some(cgroup) = self.cgroup.clone() {
            // Not worth a timer, which takes longer than the kernel.
            let empty = tokio::task::spawn_blocking(move || {
                await_empty(&cgroup)?;
                if cgroup.mounts_hold_much() {
                    return Ok(true);
                }
                cgroup.give_back();
                Ok(false)
            });
            let hold_much = empty.await.map_err(io::Error::other).flatten()?;
            if hold_much && let Some(cgroup) = self.cgroup.clone() {
                // The next zone would pay for it.
                let going = plant.background.let_go(live.take_parts()).await;
                if tokio::time::timeout(DEATH_DEADLINE, going).await.is_err() {
                    return Err(io::Error::other("mounts do not go"));
                }
                let given = tokio::task::spawn_blocking(move || cgroup.give_back());
                given.await.map_err(io::Error::other)?;
            }
        }
        if let Some(kept) = &mut self.kept
            && !kept.network.clear()?
        {
            tracing::debug!(
                slot = self.name,
                "sockets outlive their zone, making another network"
            );
            let made = tokio::task::spawn_blocking(network::make);
            kept.network = made.await.map_err(io::Error::other).flatten()?;
        }
        Ok(())
    }

    async fn kill_cgroup(&self) -> io::Result<()> {
        let Some(cgroup) = self.cgroup.clone() else {
            return Ok(());
        };
        let killed = tokio::task::spawn_blocking(move || cgroup.kill()).await;
        killed.map_err(io::Error::other).flatten()
    }
}

/// Blocks, usually for no time at all.
fn await_empty(cgroup: &SlotCgroup) -> io::Result<()> {
    let deadline = Instant::now() + EMPTY_DEADLINE;
    loop {
        let left = cgroup.population()?;
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "{left} processes left in the cgroup"
            )));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

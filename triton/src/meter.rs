//! What a zone uses, from two sources: its cgroup, which counts everything at once, and what zone init heard of
//! the processes it has waited for.
//!
//! Disks are of the second kind only: in cgroups of the first version the kernel does not know whose a page was when it
//! is written at last, while each process is charged with it when it makes it dirty.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libmanta::triton::{Meter, Reading};

use crate::cgroup::SlotCgroup;
use crate::wire::Ended;

/// By commands of one lease that have ended.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    user_us: AtomicU64,
    system_us: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

impl Spent {
    pub(crate) fn add(&self, ended: &Ended) {
        for (sum, part) in [
            (&self.user_us, ended.user_us),
            (&self.system_us, ended.system_us),
            (&self.read_bytes, ended.read_bytes),
            (&self.written_bytes, ended.written_bytes),
        ] {
            sum.fetch_add(part, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
pub(crate) struct ZoneMeter {
    pub(crate) cgroup: Option<Arc<SlotCgroup>>,
    pub(crate) spent: Arc<Spent>,
}

impl Meter for ZoneMeter {
    fn read(&self) -> Reading {
        let spent = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        let mut reading = Reading {
            cpu_user: Duration::from_micros(spent(&self.spent.user_us)),
            cpu_system: Duration::from_micros(spent(&self.spent.system_us)),
            read_bytes: spent(&self.spent.read_bytes),
            written_bytes: spent(&self.spent.written_bytes),
            ..Reading::default()
        };
        if let Some(cgroup) = &self.cgroup {
            // A cgroup that is just being made anew, after its zone was killed, is as good as unused.
            let [user, system] = cgroup.cpu_parts().unwrap_or_default();
            (reading.cpu_user, reading.cpu_system) = (user, system);
            reading.oom_kills = cgroup.oom_kills().unwrap_or_default();
            reading.memory_bytes = cgroup.memory_bytes().unwrap_or_default();
            reading.memory_peak_bytes = cgroup.peak_bytes().unwrap_or_default();
        }
        reading
    }
}

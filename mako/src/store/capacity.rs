//! How much fits: the limit, what is promised to copies in flight, and whether the node works at all.
//!
//! The numbers are the file system's, measured at most once a second, less what was taken since. A node
//! that failed is not writable until a probe succeeds; while it is asked for its capacity, probes run at
//! the configured interval. Nothing here blocks; the probe itself is in `store/probe.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libmanta::mako::{Capacity, SizeHint};

/// How long measured numbers are good for.
const FRESH: Duration = Duration::from_secs(1);

/// What the file system says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) total_bytes: u64,
    pub(crate) used_bytes: u64,
    /// What this process may still take, which can be less than what is free.
    pub(crate) available_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Space {
    state: Mutex<State>,
    utilisation_max_percent: u8,
    probe_interval: Duration,
}

#[derive(Debug)]
struct State {
    usage: Usage,
    /// Promised to copies in flight and not yet written.
    reserved_bytes: u64,
    fault: Option<String>,
    next_probe: Instant,
    probing: bool,
}

/// Why a copy is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Failed(String),
}

impl Space {
    /// Not writable until it was measured.
    pub(crate) fn new(utilisation_max_percent: u8, probe_interval: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                usage: Usage::default(),
                reserved_bytes: 0,
                fault: Some(String::from("not measured yet")),
                next_probe: Instant::now(),
                probing: false,
            }),
            utilisation_max_percent: utilisation_max_percent.clamp(1, 100),
            probe_interval,
        }
    }

    pub(crate) fn capacity(&self) -> Capacity {
        let state = self.lock();
        let available_bytes = self.headroom(&state);
        Capacity {
            total_bytes: state.usage.total_bytes,
            available_bytes,
            writable: state.fault.is_none() && available_bytes > 0,
        }
    }

    /// Why the node takes no copies, apart from being full.
    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// Admits a copy. Of an exact size everything is set aside. Of a size that is only bounded, the bound
    /// must fit, but bytes are set aside as they come: bounds are generous, and a few uploads of unknown
    /// size would otherwise fill the disk with promises.
    pub(crate) fn reserve(self: &Arc<Self>, size: SizeHint) -> Result<Reservation, Refusal> {
        let mut state = self.lock();
        if let Some(fault) = &state.fault {
            return Err(Refusal::Failed(fault.clone()));
        }
        let (needed_bytes, left_bytes) = match size {
            SizeHint::Exactly(bytes) => (bytes, bytes),
            SizeHint::AtMost(bytes) => (bytes, 0),
        };
        if needed_bytes > self.headroom(&state) {
            return Err(Refusal::Full);
        }
        state.reserved_bytes = state.reserved_bytes.saturating_add(left_bytes);
        drop(state);
        Ok(Reservation {
            space: Arc::clone(self),
            left_bytes,
        })
    }

    /// The numbers were measured and the node works.
    pub(crate) fn measured(&self, usage: Usage) {
        let mut state = self.lock();
        state.usage = usage;
        state.fault = None;
        state.probing = false;
        state.next_probe = Instant::now() + FRESH;
    }

    /// The node does not work. Returns whether it did until now.
    pub(crate) fn failed(&self, reason: String) -> bool {
        let mut state = self.lock();
        state.probing = false;
        state.next_probe = Instant::now() + self.probe_interval;
        state.fault.replace(reason).is_none()
    }

    /// The disk was full just now, whatever the numbers said.
    pub(crate) fn filled(&self) {
        let mut state = self.lock();
        state.usage.available_bytes = 0;
        state.next_probe = Instant::now() + FRESH.min(self.probe_interval);
    }

    /// Whether the caller is to measure or probe now. It must then call `measured` or `failed`.
    pub(crate) fn claim_probe(&self) -> bool {
        let mut state = self.lock();
        let claimed = !state.probing && Instant::now() >= state.next_probe;
        state.probing |= claimed;
        claimed
    }

    /// Bytes that may still be promised.
    fn headroom(&self, state: &State) -> u64 {
        let percent = u64::from(self.utilisation_max_percent);
        // In this order it cannot overflow; what the division loses is below 100 bytes.
        let limit_bytes = state.usage.total_bytes / 100 * percent;
        limit_bytes
            .saturating_sub(state.usage.used_bytes)
            .min(state.usage.available_bytes)
            .saturating_sub(state.reserved_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Space promised to one copy. Dropping it gives back what was not used.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
    left_bytes: u64,
}

impl Reservation {
    /// Takes `bytes` for data that is about to be written.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Refusal> {
        let mut state = self.space.lock();
        let promised = bytes.min(self.left_bytes);
        if bytes - promised > self.space.headroom(&state) {
            return Err(Refusal::Full);
        }
        self.left_bytes -= promised;
        state.reserved_bytes -= promised;
        // Until it is measured again.
        state.usage.used_bytes = state.usage.used_bytes.saturating_add(bytes);
        state.usage.available_bytes = state.usage.available_bytes.saturating_sub(bytes);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.lock().reserved_bytes -= self.left_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Arc<Space> {
        let space = Space::new(90, Duration::ZERO);
        space.measured(Usage {
            total_bytes: 1000,
            used_bytes: 100,
            available_bytes: 850,
        });
        Arc::new(space)
    }

    #[test]
    fn copies_in_flight_count_against_the_limit() {
        let space = space();
        assert_eq!(space.capacity().available_bytes, 800);
        let first = space.reserve(SizeHint::Exactly(500)).unwrap();
        assert_eq!(space.capacity().available_bytes, 300);
        assert_eq!(
            space.reserve(SizeHint::Exactly(301)).unwrap_err(),
            Refusal::Full
        );
        let second = space.reserve(SizeHint::Exactly(300)).unwrap();
        assert!(!space.capacity().writable);
        drop(first);
        drop(second);
        assert_eq!(space.capacity().available_bytes, 800);
    }

    #[test]
    fn what_was_written_stays_taken_and_the_rest_is_given_back() {
        let space = space();
        let mut reservation = space.reserve(SizeHint::Exactly(500)).unwrap();
        reservation.take(200).unwrap();
        assert_eq!(space.capacity().available_bytes, 300);
        drop(reservation);
        assert_eq!(space.capacity().available_bytes, 600);
    }

    #[test]
    fn a_bound_must_fit_but_only_what_comes_is_taken() {
        let space = space();
        assert_eq!(
            space.reserve(SizeHint::AtMost(801)).unwrap_err(),
            Refusal::Full
        );
        let mut one = space.reserve(SizeHint::AtMost(800)).unwrap();
        let mut two = space.reserve(SizeHint::AtMost(800)).unwrap();
        one.take(700).unwrap();
        assert_eq!(two.take(101).unwrap_err(), Refusal::Full);
        two.take(100).unwrap();
    }

    #[test]
    fn a_failed_node_is_probed_once_at_a_time() {
        let space = space();
        assert!(!space.claim_probe(), "it was measured a moment ago");
        assert!(space.failed(String::from("gone")));
        assert!(!space.failed(String::from("still gone")));
        assert!(!space.capacity().writable);
        assert!(space.claim_probe());
        assert!(!space.claim_probe());
        space.measured(Usage::default());
        assert_eq!(space.fault(), None);
    }

    #[test]
    fn numbers_beyond_any_disk_do_not_overflow() {
        let space = Arc::new(Space::new(100, Duration::ZERO));
        space.measured(Usage {
            total_bytes: u64::MAX,
            used_bytes: 0,
            available_bytes: u64::MAX,
        });
        let huge = SizeHint::Exactly(u64::MAX);
        assert_eq!(space.reserve(huge).unwrap_err(), Refusal::Full);
        assert!(space.reserve(SizeHint::AtMost(u64::MAX / 2)).is_ok());
    }
}

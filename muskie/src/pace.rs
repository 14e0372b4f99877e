//! How slow a client may send: never nothing for too long, and never next to nothing for ever.
//!
//! The clock runs only while we wait for the client. So one that is held up by our own disks is not blamed,
//! and one byte now and then does not keep a place that others wait for.

use std::time::Duration;

/// The window moves in steps of this part of it.
const SLOTS: usize = 8;

#[derive(Debug)]
pub(crate) struct Pace {
    /// How long nothing may come, and over how long an average is taken.
    window: Duration,
    window_bytes_min: u64,
    slot: Duration,
    /// Bytes of the latest slots that are over, in a ring.
    slots: [u64; SLOTS],
    /// Slots over so far; the next one goes where this points in the ring.
    over: usize,
    slot_waited: Duration,
    slot_bytes: u64,
    silent: Duration,
}

impl Pace {
    /// `rate_min` is in bytes per second; zero asks for no more than signs of life.
    pub(crate) fn new(window: Duration, rate_min: u64) -> Self {
        let window_bytes_min = u128::from(rate_min).saturating_mul(window.as_millis()) / 1000;
        Self {
            window,
            window_bytes_min: u64::try_from(window_bytes_min).unwrap_or(u64::MAX),
            slot: (window / 8).max(Duration::from_millis(1)),
            slots: [0; SLOTS],
            over: 0,
            slot_waited: Duration::ZERO,
            slot_bytes: 0,
            silent: Duration::ZERO,
        }
    }

    /// How long to wait at most before `keeps` should be asked.
    pub(crate) fn next_look(&self) -> Duration {
        let slot = self.slot.saturating_sub(self.slot_waited);
        slot.min(self.window.saturating_sub(self.silent))
    }

    /// Takes down that `bytes` came after `waited`. Whether the client is fast enough.
    pub(crate) fn keeps(&mut self, waited: Duration, bytes: u64) -> bool {
        self.silent += waited;
        if self.silent >= self.window && bytes == 0 {
            return false;
        }
        if bytes > 0 {
            self.silent = Duration::ZERO;
        }
        self.slot_waited += waited;
        while self.slot_waited >= self.slot {
            self.slot_waited -= self.slot;
            self.slots[self.over % SLOTS] = std::mem::take(&mut self.slot_bytes);
            self.over += 1;
            if self.over >= SLOTS && self.slots.iter().sum::<u64>() < self.window_bytes_min {
                return false;
            }
        }
        self.slot_bytes += bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(40);
    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until a client is given up that sends `bytes` every `gap` seconds; `None` if it never is.
    fn given_up(rate_min: u64, gap: u32, bytes: u64) -> Option<u32> {
        let mut pace = Pace::new(WINDOW, rate_min);
        (1..1000).find(|second| {
            let came = if second % gap == 0 { bytes } else { 0 };
            !pace.keeps(SECOND, came)
        })
    }

    #[test]
    fn who_sends_nothing_is_given_up_after_the_window() {
        assert_eq!(given_up(0, 1000, 0), Some(40));
        assert_eq!(given_up(1024, 1000, 0), Some(40));
        assert_eq!(given_up(0, 39, 1), None);
    }

    #[test]
    fn who_sends_next_to_nothing_is_given_up_too() {
        assert_eq!(given_up(1024, 39, 1), Some(40));
        assert_eq!(given_up(1024, 1, 1000), Some(40));
        assert_eq!(given_up(1024, 1, 1100), None);
        // What comes in pieces counts like what flows.
        assert_eq!(given_up(1024, 30, 100_000), None);
    }

    #[test]
    fn what_was_fast_before_counts_no_longer_than_the_window() {
        let mut pace = Pace::new(WINDOW, 1024);
        assert!(pace.keeps(SECOND, 1 << 30));
        let slow = (1..).find(|_| !pace.keeps(SECOND, 1)).unwrap();
        assert!((40..=50).contains(&slow), "{slow}");
    }

    #[test]
    fn our_own_time_is_not_the_clients() {
        let mut pace = Pace::new(WINDOW, 1024);
        // Every piece was there already when we came for it.
        assert!((0..100_000).all(|_| pace.keeps(Duration::ZERO, 1)));
    }

    #[test]
    fn there_is_always_something_to_wait_for() {
        let mut pace = Pace::new(Duration::ZERO, 1024);
        assert!(!pace.keeps(Duration::ZERO, 0));
        let pace = Pace::new(WINDOW, 1024);
        assert_eq!(pace.next_look(), WINDOW / 8);
    }
}

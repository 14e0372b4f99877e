//! Trying again when others were faster: a bounded number of times, with random pauses.

use std::time::Duration;

use rand::Rng;

/// Attempts before the caller is told to come back later. Inserts alone never need more than a few; operations
/// on the same names chase each other only while every one of these is unlucky.
pub(crate) const ATTEMPTS_MAX: u32 = 40;
/// The pause before attempt *n* is random below 2^n times this …
const BACKOFF_MIN: Duration = Duration::from_micros(250);
/// … but never above this. All pauses together stay below two seconds.
const BACKOFF_MAX: Duration = Duration::from_millis(64);

/// The pause before an attempt, counted from 0. The first two follow at once.
pub(crate) async fn pause_before(attempt: u32) {
    if attempt < 2 {
        return;
    }
    let max = BACKOFF_MIN
        .saturating_mul(1 << attempt.min(16))
        .min(BACKOFF_MAX);
    let pause = rand::rng().random_range(Duration::ZERO..=max);
    tokio::time::sleep(pause).await;
}

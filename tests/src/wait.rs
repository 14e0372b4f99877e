//! Waiting for a condition, with a deadline and never longer than needed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks. Short against what is waited for, long against the cost of looking.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `look` until it returns something. `what` completes "gave up waiting for".
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look().with_context(|| format!("look for {what}"))? {
            return Ok(found);
        }
        if started.elapsed() > patience {
            bail!("gave up waiting for {what} after {patience:?}");
        }
        std::thread::sleep(PAUSE);
    }
}

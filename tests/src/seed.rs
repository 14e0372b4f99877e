//! Randomness that can be repeated: `MANTA_TEST_SEED` sets it, and each use prints it.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A generator for `purpose`. Tests show their output when they fail, and with it the seed.
pub fn generator(purpose: &str) -> StdRng {
    let seed = number("MANTA_TEST_SEED").unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |now| now.as_nanos() as u64)
    });
    eprintln!("{purpose}: repeat with MANTA_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// A number from the environment, with which `cargo xtask soak` makes a test longer.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

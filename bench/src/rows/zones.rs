//! What a zone costs: to be made anew after each use, and to be kept ready.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::connection::Request;
use crate::job::{Job, Phase, all_archived};
use crate::metrics;
use crate::report::{Floor, Sample};
use crate::store::{Origin, Store};

pub(crate) const METHOD: &str = "Reset: 100 jobs `true` on one object, each begun when the last was archived and \
    all zones were ready; the store's own histogram of the time from the return of a zone to a fresh one in its \
    place, whose buckets are a millisecond wide. Idle: MemAvailable of the machine with a fresh store of 1 zone, \
    less that with one of 65, by 64; each the largest seen in 5 s after all of its zones were ready.";

const JOBS: usize = 100;
const RESET: &str = "manta_zone_reset_seconds";
const FEW: usize = 1;
const MANY: usize = 65;

pub(crate) async fn run(store: &Store, origin: &Origin, round: usize) -> Result<Vec<Sample>> {
    let reset = resets(store).await?;
    // Whichever comes second finds more of the machine's caches warm.
    let (few, many);
    if round.is_multiple_of(2) {
        few = available(origin, FEW).await?;
        many = available(origin, MANY).await?;
    } else {
        many = available(origin, MANY).await?;
        few = available(origin, FEW).await?;
    }
    Ok(vec![
        Sample::new("reset of a zone", "ms", Floor::AtMost(5.0), reset * 1000.0),
        Sample::new(
            "idle zone",
            "MiB",
            Floor::AtMost(1.0),
            (few - many) / 1024.0 / (MANY - FEW) as f64,
        ),
    ])
}

/// Seconds, the median.
async fn resets(store: &Store) -> Result<f64> {
    let mut connection = store.connect().await?;
    let object = store.path("stor/reset");
    let put = Request::new("PUT", &object).body(None, b"x");
    connection.call(store.signer(), &put).await?.expect(204)?;
    let inputs = [object];
    let job = Job {
        phases: &[Phase::Map("true")],
        inputs: &inputs,
        between_polls: Duration::from_millis(5),
    };
    let before = store.metrics().await?;
    let zones = metrics::sum(&before, "manta_zones")?;
    for _ in 0..JOBS {
        job.run(store, &mut connection).await?;
        all_archived(store).await?;
        store.zones_are("ready", zones).await?;
    }
    metrics::median(&before, &store.metrics().await?, RESET)
}

/// KiB that programs could have while a store with so many zones does nothing.
async fn available(origin: &Origin, zones: usize) -> Result<f64> {
    let settings = format!("[jobs]\nzones = {zones}\n");
    let store = Store::start_with(origin, &format!("zones-{zones}"), &settings).await?;
    store.zones_are("ready", zones as f64).await?;
    rustix::fs::sync();
    let mut most = 0.0_f64;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(memory_available()?);
    }
    store.stop().await?;
    Ok(most)
}

fn memory_available() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.context("find the available memory")
}

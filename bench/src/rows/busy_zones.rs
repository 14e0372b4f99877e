//! Whether jobs starve the object path: reading at a fixed rate, with every zone at work and with none.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::small_objects::{GET_OBJECTS, GET_STEP, OBJECT_BYTES};
use crate::connection::{Connection, Request};
use crate::histogram::Histogram;
use crate::job::{Job, Phase, all_archived};
use crate::metrics;
use crate::paced::{self, Paced};
use crate::report::{Floor, Sample};
use crate::store::Store;

pub(crate) const METHOD: &str = "GET of 4 KiB, 1,000 a second on 4 connections in turn, over the objects of the \
    row `get`, 10 s after 2 s that are not counted. A request is due at its time whether or not the last one was \
    answered, and its latency counts from then. The client has real-time priority, in place of a machine of its own. \
    Busy: as many jobs as there are zones, each repeating \
    `wc` of an object of 1 MiB, its result written to the zone's disk, without end; measured once the store says \
    that every zone is in use, and cancelled afterwards. The two take turns at going first.";

const INPUT_BYTES: usize = 1 << 20;
const EXEC: &str = "while wc < \"$MANTA_INPUT_FILE\" > /tmp/counts; do :; done";

/// Expects the objects of the row `get`.
pub(crate) async fn prepare(store: &Store) -> Result<()> {
    let path = store.path("stor/busy");
    let text = crate::content::text(0, INPUT_BYTES);
    let put = Request::new("PUT", &path).body(None, &text);
    let mut connection = store.connect().await?;
    connection.call(store.signer(), &put).await?.expect(204)?;
    Ok(())
}

pub(crate) async fn run(store: &Store, round: usize) -> Result<Vec<Sample>> {
    let (idle, busy);
    if round.is_multiple_of(2) {
        idle = latencies(store).await?;
        busy = while_busy(store).await?;
    } else {
        busy = while_busy(store).await?;
        idle = latencies(store).await?;
    }
    let ms = |of: &Histogram, quantile| of.quantile(quantile).as_secs_f64() * 1000.0;
    let info = |what, value| Sample::new(what, "ms", Floor::Nothing, value);
    Ok(vec![
        Sample::new(
            "GET 4 KiB at 1,000/s, 99 % within, every zone busy against idle",
            "×",
            Floor::AtMost(2.0),
            ms(&busy, 0.99) / ms(&idle, 0.99),
        ),
        info("99 % within, every zone busy", ms(&busy, 0.99)),
        info("99 % within, idle", ms(&idle, 0.99)),
        info("half within, every zone busy", ms(&busy, 0.5)),
        info("half within, idle", ms(&idle, 0.5)),
    ])
}

async fn latencies(store: &Store) -> Result<Histogram> {
    let load = Paced {
        address: store.address(),
        signer: Arc::clone(store.signer()),
        connections: 4,
        interval: Duration::from_millis(1),
        warm_up: Duration::from_secs(2),
        measured: Duration::from_secs(10),
        answer_bytes: OBJECT_BYTES,
    };
    let root = store.path("stor/get");
    paced::run(&load, move |number| {
        format!("{root}/{}", number * GET_STEP % GET_OBJECTS)
    })
    .await
}

async fn while_busy(store: &Store) -> Result<Histogram> {
    let mut connection = store.connect().await?;
    let zones = metrics::sum(&store.metrics().await?, "manta_zones")?;
    let input = [store.path("stor/busy")];
    let job = Job {
        phases: &[Phase::Map(EXEC)],
        inputs: &input,
        between_polls: Duration::from_millis(10),
    };
    let mut jobs = Vec::new();
    let latencies = async {
        for _ in 0..zones as usize {
            jobs.push(job.start(store, &mut connection).await?);
        }
        store.zones_are("busy", zones).await?;
        let latencies = latencies(store).await?;
        let busy = store.zones("busy").await?;
        ensure!(
            busy == zones,
            "{busy} of {zones} zones were busy to the end"
        );
        Ok(latencies)
    }
    .await;
    // They have no end of their own, however the measurement went.
    for job in &jobs {
        cancel(store, &mut connection, job).await?;
    }
    all_archived(store).await?;
    store.zones_are("ready", zones).await?;
    latencies
}

async fn cancel(store: &Store, connection: &mut Connection, job: &str) -> Result<()> {
    let target = format!("{job}/live/cancel");
    let request = Request::new("POST", &target);
    connection
        .call(store.signer(), &request)
        .await?
        .expect(202)?;
    Ok(())
}

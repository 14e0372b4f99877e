//! A job of a hundred thousand tiny tasks: how fast the store gets through them, and what it keeps in memory.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::memory::{Peak, watched};
use crate::job::{Job, Phase, all_archived};
use crate::load::{self, Length, Load};
use crate::report::{Floor, Sample};
use crate::store::{Origin, Store};

pub(crate) const METHOD: &str = "`true` on each of 100,000 objects of 4 KiB, one task and one empty output each. \
    A store of its own, kept for all runs; the objects are put once, over 100 directories. The clock runs from the \
    first byte of `POST /jobs`, all names following in one request, until a status, asked every 100 ms, says \
    `done`. Memory is that of all processes but those in zones: the largest sum of resident sizes seen every 200 ms \
    until the job is archived, less the sum before the first object was put. MB are 1,000,000 bytes.";

const OBJECTS: u64 = 100_000;
const OBJECT_BYTES: usize = 4096;
const DIRECTORIES: u64 = 100;
const CONNECTIONS: usize = 64;
/// Looking costs a millisecond or two, which is missing to the store.
const LOOK: Duration = Duration::from_millis(200);

/// The store and what is in it.
#[derive(Debug)]
pub(crate) struct Many {
    store: Store,
    objects: Vec<String>,
    /// Resident memory of the fresh store.
    before: u64,
}

pub(crate) async fn prepare(origin: &Origin) -> Result<Many> {
    let store = Store::start(origin, "tasks").await?;
    let before = Peak::quiet(&store).await?;
    let root = store.path("stor/tiny");
    store.make_directory(&root).await?;
    for directory in 0..DIRECTORIES {
        store.make_directory(&format!("{root}/{directory}")).await?;
    }
    let name = move |number: u64| format!("{root}/{}/{number}", number % DIRECTORIES);
    let objects = (0..OBJECTS).map(&name).collect();
    let load = Load {
        address: store.address(),
        signer: Arc::clone(store.signer()),
        connections: CONNECTIONS,
        length: Length::Requests(OBJECTS),
        method: "PUT",
        content_type: None,
        is_signed: true,
        body: crate::content::noise(0, OBJECT_BYTES).into(),
        status: 204,
        answer_bytes: 0,
    };
    load::run(&load, move |target, connection, number| {
        // The shares of connections differ by one at most, so these numbers have no gap.
        let _ = write!(
            target,
            "{}",
            name(number * CONNECTIONS as u64 + connection as u64)
        );
    })
    .await?;
    Ok(Many {
        store,
        objects,
        before,
    })
}

impl Many {
    pub(crate) async fn run(&self) -> Result<Vec<Sample>> {
        let mut connection = self.store.connect().await?;
        let job = Job {
            phases: &[Phase::Map("true")],
            inputs: &self.objects,
            between_polls: Duration::from_millis(100),
        };
        rustix::fs::sync();
        let mut peak = Peak::now(&self.store);
        let work = async {
            let done = job.run(&self.store, &mut connection).await?;
            all_archived(&self.store).await?;
            Ok(done.took)
        };
        let took = watched(&mut peak, LOOK, work).await?;
        let grown = peak.highest.saturating_sub(self.before);
        Ok(vec![
            Sample::new(
                "tasks of a job of 100,000",
                "/s",
                Floor::AtLeast(500.0),
                OBJECTS as f64 / took.as_secs_f64(),
            ),
            Sample::new(
                "growth of resident memory meanwhile",
                "MB",
                Floor::Below(200.0),
                grown as f64 / 1e6,
            ),
        ])
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.store.stop().await
    }
}

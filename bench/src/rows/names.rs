//! What it costs to give an object another name, against storing an object of no bytes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::connection::{Connection, Request};
use crate::report::{Floor, Sample};
use crate::store::Store;

pub(crate) const METHOD: &str = "One connection; PUT of an empty object, a link to an object of 4 KiB, its rename \
    within a directory and its rename into another directory take turns, 300 of each after 20 that are not \
    counted. Each link has a new object as its source, so that the first of its links is measured; there are 40 \
    other directories, of which some lie in the same shard and some do not. Medians.";

const WARM_UP: usize = 20;
const OTHERS: usize = 40;
const COUNTED: usize = 300;
const LINK: &str = "application/json; type=link";
const RENAME: &str = "application/json; type=rename";

/// `round` keeps the names of runs apart.
pub(crate) async fn run(store: &Store, round: usize) -> Result<Vec<Sample>> {
    let root = store.path(&format!("stor/names-{round}"));
    let here = format!("{root}/here");
    for directory in [&root, &here] {
        store.make_directory(directory).await?;
    }
    let there = |number| format!("{root}/there-{}", number % OTHERS);
    for other in 0..OTHERS {
        store.make_directory(&there(other)).await?;
    }
    let mut connection = store.connect().await?;
    let body = crate::content::noise(0, 4096);
    let mut took: [Vec<Duration>; 4] = Default::default();
    for number in 0..WARM_UP + COUNTED {
        let name = |kind: &str| format!("{here}/{kind}-{number}");
        for kind in ["linked", "near", "far"] {
            let path = name(kind);
            let put = Request::new("PUT", &path).body(None, &body);
            connection.call(store.signer(), &put).await?.expect(204)?;
        }
        let targets = [
            name("empty"),
            name("link"),
            name("nearer"),
            format!("{}/far-{number}", there(number)),
        ];
        let sources = [None, Some("linked"), Some("near"), Some("far")].map(|kind| kind.map(name));
        let types = [None, Some(LINK), Some(RENAME), Some(RENAME)];
        for (at, took) in took.iter_mut().enumerate() {
            let request = Request {
                content_type: types[at],
                location: sources[at].as_deref(),
                ..Request::new("PUT", &targets[at])
            };
            took.push(timed(&mut connection, store, &request).await?);
        }
    }
    let mut medians = [0.0; 4];
    for (median, took) in medians.iter_mut().zip(&mut took) {
        let counted = took.get_mut(WARM_UP..).context("every turn was taken")?;
        counted.sort_unstable();
        let middle = counted.get(COUNTED / 2).context("there is a middle")?;
        *median = middle.as_secs_f64() * 1000.0;
    }
    let [put, link, near, far] = medians;
    let ratio = |what, value: f64| Sample::new(what, "× PUT", Floor::Below(2.0), value / put);
    Ok(vec![
        ratio("link, half within", link),
        ratio("rename within a directory, half within", near),
        // Where the shards differ, three commits depend on each other, against one of a PUT (docs/adr/0006).
        Sample::new(
            "rename to another directory, half within",
            "× PUT",
            Floor::Nothing,
            far / put,
        ),
        Sample::new(
            "PUT of an empty object, half within",
            "ms",
            Floor::Nothing,
            put,
        ),
    ])
}

async fn timed(
    connection: &mut Connection,
    store: &Store,
    request: &Request<'_>,
) -> Result<Duration> {
    let started = Instant::now();
    connection
        .call(store.signer(), request)
        .await?
        .expect(204)?;
    Ok(started.elapsed())
}

//! A tree of a hundred thousand objects: listed by one request, and removed by the command that users type.

use std::fmt::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::connection::Request;
use crate::load::{self, Length, Load};
use crate::report::{Floor, Sample};
use crate::store::{Origin, Store};

pub(crate) const METHOD: &str = "1,000 directories with 100 empty objects each, made anew for each run, which is \
    not counted. Listed completely by one request with `recursive=true` and one connection, 3 times after one time \
    that is not counted; then removed by `mrm -r`, from its start to its end.";

const DIRECTORIES: u64 = 1000;
const OBJECTS_EACH: u64 = 100;
const CONNECTIONS: usize = 64;
const LISTINGS: usize = 3;

/// `round` keeps the names of runs apart.
pub(crate) async fn run(store: &Store, origin: &Origin, round: usize) -> Result<Vec<Sample>> {
    let root = store.path(&format!("stor/tree-{round}"));
    store.make_directory(&root).await?;
    let entries = DIRECTORIES + DIRECTORIES * OBJECTS_EACH;
    fill(
        store,
        &root,
        Some("application/json; type=directory"),
        DIRECTORIES,
        |n| n.to_string(),
    )
    .await?;
    fill(store, &root, None, DIRECTORIES * OBJECTS_EACH, |n| {
        format!("{}/{}", n % DIRECTORIES, n / DIRECTORIES)
    })
    .await?;

    let target = format!("{root}?recursive=true");
    let mut connection = store.connect().await?;
    let mut took = 0.0;
    for turn in 0..=LISTINGS {
        let started = Instant::now();
        let answer = connection
            .call(store.signer(), &Request::new("GET", &target))
            .await?
            .expect(200)?;
        let lines = answer.body.iter().filter(|byte| **byte == b'\n').count() as u64;
        ensure!(
            lines == entries,
            "the listing has {lines} of {entries} entries"
        );
        if turn > 0 {
            took += started.elapsed().as_secs_f64();
        }
    }
    let started = Instant::now();
    let status = Command::new(&origin.manta)
        .args(["mrm", "-r", &root])
        .env_clear()
        .envs(store.client_environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .context("start mrm")?;
    let removed = started.elapsed().as_secs_f64();
    ensure!(status.success(), "mrm -r ended with {status}");
    let answer = connection
        .call(store.signer(), &Request::new("GET", &root))
        .await?;
    ensure!(answer.status == 404, "mrm -r left the tree there");
    Ok(vec![
        Sample::new(
            "list 100,000 objects in 1,000 directories",
            "entries/s",
            Floor::AtLeast(150_000.0),
            (LISTINGS as u64 * entries) as f64 / took,
        ),
        Sample::new("mrm -r of that tree", "s", Floor::Below(10.0), removed),
    ])
}

async fn fill(
    store: &Store,
    root: &str,
    content_type: Option<&'static str>,
    count: u64,
    name: impl Fn(u64) -> String + Clone + Send + 'static,
) -> Result<()> {
    let load = Load {
        address: store.address(),
        signer: Arc::clone(store.signer()),
        connections: CONNECTIONS,
        length: Length::Requests(count),
        method: "PUT",
        content_type,
        is_signed: true,
        body: Arc::from([]),
        status: 204,
        answer_bytes: 0,
    };
    let root = root.to_owned();
    load::run(&load, move |target, connection, number| {
        let number = number * CONNECTIONS as u64 + connection as u64;
        let _ = write!(target, "{root}/{}", name(number));
    })
    .await?;
    Ok(())
}

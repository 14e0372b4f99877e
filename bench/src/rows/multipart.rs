//! The commit of a large upload in parts, and what it has to read again.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::connection::{Connection, Request};
use crate::content::noise;
use crate::metrics;
use crate::report::{Floor, Sample};
use crate::store::Store;

pub(crate) const METHOD: &str = "An upload of 32 parts of 8 MiB, two copies, committed: once with its parts put \
    one after the other, once with 4 clients that put every fourth part each. The commit is timed from request \
    to answer; what it read of the parts is counted by the store.";

const PARTS: usize = 32;
const PART_BYTES: usize = 8 << 20;
const CLIENTS: usize = 4;
const READ: &str = "muskie_multipart_bytes_read_at_commit_total";

pub(crate) async fn run(store: &Store) -> Result<Vec<Sample>> {
    let in_order = commit(store, 1).await?;
    let in_parallel = commit(store, CLIENTS).await?;
    Ok(vec![
        Sample::new(
            "commit 256 MiB, parts in order",
            "ms",
            Floor::Nothing,
            in_order.commit_ms,
        ),
        Sample::new(
            "read again at that commit",
            "MiB",
            Floor::AtMost(0.0),
            in_order.read_mib,
        ),
        Sample::new(
            "commit 256 MiB, parts from 4 clients",
            "ms",
            Floor::Nothing,
            in_parallel.commit_ms,
        ),
        Sample::new(
            "read again at that commit, 4 clients",
            "MiB",
            Floor::Nothing,
            in_parallel.read_mib,
        ),
    ])
}

struct Commit {
    commit_ms: f64,
    read_mib: f64,
}

async fn commit(store: &Store, clients: usize) -> Result<Commit> {
    let mut connection = store.connect().await?;
    let object = store.path("stor/multipart");
    let document = json!({"objectPath": object}).to_string();
    let uploads = store.path("uploads");
    let create = Request::new("POST", &uploads).body(Some("application/json"), document.as_bytes());
    let created = connection
        .call(store.signer(), &create)
        .await?
        .expect(201)?;
    let created: Value = serde_json::from_slice(created.body).context("understand an upload")?;
    let directory = created["partsDirectory"]
        .as_str()
        .context("an upload has a directory")?
        .to_owned();
    let bytes = noise(7, PART_BYTES);
    let putting = (0..clients).map(|client| {
        let (directory, bytes) = (&directory, &bytes);
        async move {
            let mut connection = store.connect().await?;
            let mut etags = Vec::new();
            for number in (client..PARTS).step_by(clients) {
                let etag = put(store, &mut connection, directory, number, bytes).await?;
                etags.push((number, etag));
            }
            anyhow::Ok(etags)
        }
    });
    let etags = futures_util::future::try_join_all(putting).await?;
    let mut etags: Vec<_> = etags.into_iter().flatten().collect();
    etags.sort_unstable();
    let etags: Vec<String> = etags.into_iter().map(|(_, etag)| etag).collect();
    let before = metrics::sum(&store.metrics().await?, READ)?;
    let list = json!({"parts": etags}).to_string();
    let target = format!("{directory}/commit");
    let request = Request::new("POST", &target).body(Some("application/json"), list.as_bytes());
    let begun = Instant::now();
    connection
        .call(store.signer(), &request)
        .await?
        .expect(201)?;
    let commit_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let read = metrics::sum(&store.metrics().await?, READ)? - before;
    let head = Request::new("HEAD", &object);
    let answer = connection.call(store.signer(), &head).await?.expect(200)?;
    let length = (PARTS * PART_BYTES).to_string();
    ensure!(
        answer.header("content-length") == Some(length.as_str()),
        "the object has another size"
    );
    let delete = Request::new("DELETE", &object);
    connection
        .call(store.signer(), &delete)
        .await?
        .expect(204)?;
    Ok(Commit {
        commit_ms,
        read_mib: read / f64::from(1 << 20),
    })
}

async fn put(
    store: &Store,
    connection: &mut Connection,
    directory: &str,
    number: usize,
    bytes: &[u8],
) -> Result<String> {
    let target = format!("{directory}/{number}");
    let request = Request::new("PUT", &target).body(None, bytes);
    let answer = connection
        .call(store.signer(), &request)
        .await?
        .expect(204)?;
    Ok(answer
        .header("etag")
        .context("a part has an etag")?
        .to_owned())
}

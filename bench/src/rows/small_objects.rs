//! Objects of 4 KiB: how many are stored durably, and how many are read, in a second.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::connection::Request;
use crate::load::{self, Length, Load, Outcome};
use crate::report::{Floor, Sample};
use crate::store::Store;

pub(crate) const PUT_METHOD: &str = "64 connections, each sending its next PUT of a new object when the last \
    one was answered, over 16 directories; default durability (2 copies, each synced before the answer); 10 s \
    after 2 s that are not counted.";
pub(crate) const GET_METHOD: &str = "16 connections, each sending its next signed GET when the last answer \
    was complete, over 1,000 objects in turn; 10 s after 2 s that are not counted.";

pub(super) const OBJECT_BYTES: usize = 4096;
const LENGTH: Length = Length::Time {
    warm_up: Duration::from_secs(2),
    measured: Duration::from_secs(10),
};
const PUT_CONNECTIONS: usize = 64;
const PUT_DIRECTORIES: usize = 16;
pub(super) const GET_CONNECTIONS: usize = 16;
/// More than one, so that no single row is favoured, few enough to be in the page cache.
pub(super) const GET_OBJECTS: u64 = 1000;
/// A step that shares no factor with the number of objects visits all of them before one comes again.
pub(super) const GET_STEP: u64 = 387;

/// `round` keeps the names of runs apart: overwriting is another thing than creating.
pub(crate) async fn put(store: &Store, round: usize) -> Result<Vec<Sample>> {
    let root = store.path(&format!("stor/put-{round}"));
    store.make_directory(&root).await?;
    for directory in 0..PUT_DIRECTORIES {
        store.make_directory(&format!("{root}/{directory}")).await?;
    }
    let load = Load {
        address: store.address(),
        signer: Arc::clone(store.signer()),
        connections: PUT_CONNECTIONS,
        length: LENGTH,
        method: "PUT",
        content_type: None,
        is_signed: true,
        body: content(),
        status: 204,
        answer_bytes: 0,
    };
    let outcome = load::run(&load, move |target, connection, number| {
        let directory = connection % PUT_DIRECTORIES;
        // Writing to a string cannot fail.
        let _ = write!(target, "{root}/{directory}/{connection}-{number}");
    });
    let outcome = outcome.await?;
    Ok(vec![
        Sample::new(
            "PUT 4 KiB, 2 copies, 64 connections",
            "/s",
            Floor::AtLeast(800.0),
            outcome.rate(),
        ),
        Sample::new(
            "PUT 4 KiB, 99 % within",
            "ms",
            Floor::AtMost(250.0),
            ms(&outcome, 0.99),
        ),
        Sample::new(
            "PUT 4 KiB, half within",
            "ms",
            Floor::Nothing,
            ms(&outcome, 0.5),
        ),
        Sample::new(
            "load generator, of one core",
            "%",
            Floor::Nothing,
            client_share(&outcome),
        ),
    ])
}

/// Makes the objects that are read.
pub(crate) async fn prepare_get(store: &Store) -> Result<()> {
    let root = store.path("stor/get");
    store.make_directory(&root).await?;
    let load = Load {
        address: store.address(),
        signer: Arc::clone(store.signer()),
        connections: GET_CONNECTIONS,
        length: Length::Requests(GET_OBJECTS),
        method: "PUT",
        content_type: None,
        is_signed: true,
        body: content(),
        status: 204,
        answer_bytes: 0,
    };
    let path = root.clone();
    load::run(&load, move |target, connection, number| {
        // The shares of connections differ by one at most, so these numbers have no gap.
        let object = number * GET_CONNECTIONS as u64 + connection as u64;
        let _ = write!(target, "{path}/{object}");
    })
    .await?;
    let mut connection = store.connect().await?;
    let first = format!("{root}/0");
    let answer = connection
        .call(store.signer(), &Request::new("GET", &first))
        .await?
        .expect(200)?;
    anyhow::ensure!(
        answer.body == &*content(),
        "the store gave back other bytes"
    );
    Ok(())
}

pub(crate) async fn get(store: &Store) -> Result<Vec<Sample>> {
    let root = store.path("stor/get");
    let load = Load {
        address: store.address(),
        signer: Arc::clone(store.signer()),
        connections: GET_CONNECTIONS,
        length: LENGTH,
        method: "GET",
        content_type: None,
        is_signed: true,
        body: Arc::from([]),
        status: 200,
        answer_bytes: OBJECT_BYTES,
    };
    let outcome = load::run(&load, move |target, connection, number| {
        let object = (connection as u64 * 61 + number * GET_STEP) % GET_OBJECTS;
        let _ = write!(target, "{root}/{object}");
    });
    let outcome = outcome.await?;
    Ok(vec![
        Sample::new(
            "GET 4 KiB, signed, 16 connections",
            "/s",
            Floor::AtLeast(10_000.0),
            outcome.rate(),
        ),
        Sample::new(
            "GET 4 KiB, 99 % within",
            "ms",
            Floor::Nothing,
            ms(&outcome, 0.99),
        ),
        Sample::new(
            "GET 4 KiB, half within",
            "ms",
            Floor::Nothing,
            ms(&outcome, 0.5),
        ),
        Sample::new(
            "load generator, of one core",
            "%",
            Floor::Nothing,
            client_share(&outcome),
        ),
    ])
}

/// Bytes that do not compress, the same in every run.
fn content() -> Arc<[u8]> {
    crate::content::noise(0, OBJECT_BYTES).into()
}

fn ms(outcome: &Outcome, quantile: f64) -> f64 {
    outcome.latencies.quantile(quantile).as_secs_f64() * 1000.0
}

/// Over the warm-up as well, which the processor time includes.
fn client_share(outcome: &Outcome) -> f64 {
    let Length::Time { warm_up, measured } = LENGTH else {
        return f64::NAN;
    };
    100.0 * outcome.client_busy.as_secs_f64() / (warm_up + measured).as_secs_f64()
}

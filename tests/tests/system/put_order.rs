//! One PUT, system call by system call: both copies are on the disk under their names, and the metadata
//! that names them, before the client hears of it.

use anyhow::{Context, Result, ensure};
use tests::crash::{self, Kind, Operation, Record, Step};
use tests::wire::Request;
use tests::{Launch, trace};

const ID: &str = "00000000-0000-4000-8000-0000000a5ced";

#[test]
fn a_put_is_on_the_disk_before_it_is_answered() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let traced = scratch.path().join("trace");
    // On the file system of the data directory, which then links to it; a copy could not be followed.
    let binary = scratch.path().join("manta");
    if std::fs::hard_link(tests::manta()?, &binary).is_err() {
        std::fs::copy(tests::manta()?, &binary).context("copy manta")?;
    }
    let mut store = Launch::new()
        .plain_processes()
        .binary(&binary)
        .under(trace::command(&traced))
        .start()?;
    let payload: Vec<u8> = (0..9000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let name = "an-object-with-a-name-of-its-own";
    let request = Request::new("PUT", &store.path(&format!("stor/{name}")))
        .header("x-request-id", ID)
        .body(payload.clone());
    store.client()?.call(&request)?.expect(204)?;
    let storage = store.storage_directories()?;
    store.kill()?;

    let text = std::fs::read_to_string(&traced).context("read the trace")?;
    let record = crash::record(&trace::parse(&text)?, store.data_dir())?;
    let answered = record
        .answered(ID)
        .context("find the answer in the trace")?;

    let copies = copies_of(&record, &payload);
    ensure!(
        copies.len() == 2,
        "two copies are wanted, {} were written",
        copies.len()
    );
    let mut nodes = Vec::new();
    let mut copies_durable = 0;
    for copy in copies {
        let path = record.path_of(copy).context("a copy has a name")?;
        let absolute = store.data_dir().join(path.trim_start_matches('/'));
        nodes.push(
            storage
                .iter()
                .find(|node| absolute.starts_with(node))
                .cloned(),
        );
        let written = durable(
            &record,
            |step| matches!(step, Step::Bytes { inode, .. } | Step::Resize { inode, .. } | Step::Attribute { inode, .. } if *inode == copy),
        )?;
        let (named, name_durable) = name_of(&record, copy)?;
        ensure!(
            written < named.entered,
            "the copy {path} got its name before its bytes were synced"
        );
        ensure!(
            name_durable < answered,
            "the directory of {path} was synced after the answer"
        );
        copies_durable = copies_durable.max(name_durable);
    }
    nodes.sort();
    nodes.dedup();
    ensure!(
        nodes.len() == 2 && !nodes.contains(&None),
        "the copies lie on two storage nodes"
    );

    let is_log = |inode: usize| {
        record
            .path_of(inode)
            .is_some_and(|path| path.ends_with("-wal"))
    };
    let log: Vec<&Operation> = record
        .operations
        .iter()
        .filter(|operation| match &operation.step {
            Step::Bytes { inode, bytes, .. } => is_log(*inode) && contains(bytes, name.as_bytes()),
            _ => false,
        })
        .filter(|operation| operation.entered < answered)
        .collect();
    ensure!(!log.is_empty(), "no metadata was written before the answer");
    for operation in log {
        ensure!(
            operation.entered > copies_durable,
            "metadata was written before the copies were durable"
        );
        let durable = operation
            .durable
            .context("the metadata log was never synced")?;
        ensure!(
            durable < answered,
            "the metadata log was synced after the answer"
        );
    }
    store.finish()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Files into which the payload was written.
fn copies_of(record: &Record, payload: &[u8]) -> Vec<usize> {
    let probe = &payload[payload.len() / 2..][..64];
    let mut found: Vec<usize> = record
        .operations
        .iter()
        .filter_map(|operation| match &operation.step {
            Step::Bytes { inode, bytes, .. } if contains(bytes, probe) => Some(*inode),
            _ => None,
        })
        .filter(|inode| record.inodes[*inode].kind == Kind::File)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Line on which the last of these operations became durable.
fn durable(record: &Record, of_interest: impl Fn(&Step) -> bool) -> Result<usize> {
    let operations = record
        .operations
        .iter()
        .filter(|operation| of_interest(&operation.step));
    operations
        .map(|operation| operation.durable.context("some of a copy was never synced"))
        .try_fold(0, |latest, durable| {
            durable.map(|durable: usize| durable.max(latest))
        })
}

/// The operation that gave a file its last name, and when that became durable.
fn name_of(record: &Record, file: usize) -> Result<(&Operation, usize)> {
    let named = record
        .operations
        .iter()
        .rev()
        .find(|operation| match &operation.step {
            Step::Names(changes) => changes.iter().any(|(_, _, inode)| *inode == Some(file)),
            _ => false,
        });
    let named = named.context("a copy has a name")?;
    Ok((
        named,
        named
            .durable
            .context("the directory of a copy was never synced")?,
    ))
}

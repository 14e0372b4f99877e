//! `kill -9` proves no sync. Here a real run is recorded call by call, and then the power fails at a
//! thousand places of it, each time losing what no sync had covered. See `tests::crash` for what is
//! assumed.
//!
//! Surprise: the store that is checked on each of these disks is the real binary, started and asked over
//! HTTP, so that "the store starts" is part of what is shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tests::crash::{self, Keep, Record, Step};
use tests::seed::{generator, number};
use tests::{Client, Launch, Signer, trace};

use crate::tree::{self, Change, Tree};

/// As many as the store would see from a few clients; enough to make it commit in groups.
const WORKERS: u32 = 4;

const KEEPS: [Keep; 5] = [
    Keep::Nothing,
    Keep::Torn,
    Keep::Some(50),
    Keep::Some(90),
    Keep::Everything,
];

/// A recorded run and what its clients know.
struct Run {
    record: Record,
    changes: Vec<Vec<Change>>,
    /// Line on which the answer to each change began to be sent; found once, since looking takes long.
    answered: Vec<Vec<usize>>,
    account: String,
    signer: Signer,
    /// Line on which the ready line was written: from here on the account and its key must be there.
    ready: usize,
    /// What the run left behind.
    data_dir: PathBuf,
    _store: tests::Store,
    _disks: Disks,
}

impl Run {
    fn root(&self, worker: usize) -> String {
        format!("/{}/stor/w{worker}", self.account)
    }
}

/// `binary` is on the file system of the data directory, which then links to it and need not copy it.
fn settings(binary: &Path) -> Launch {
    // Jobs are not what is crashed here, and a store without zones starts faster.
    Launch::new()
        .binary(binary)
        .argument("--isolation")
        .argument("off")
}

fn record_a_run(changes_each: usize, random: &mut StdRng) -> Result<Run> {
    let scratch = tempfile::tempdir()?;
    let traced = scratch.path().join("trace");
    let disks = Disks::make(&std::env::temp_dir())?;
    let mut store = settings(&disks.binary)
        .setting("housekeeping.delete_grace_ms = 100")
        .setting("housekeeping.collect_interval_ms = 100")
        .under(trace::command(&traced))
        .start()?;
    let account = store.account().to_owned();
    let signer = store.signer()?;
    let mut client = store.client()?;
    let mut changes = Vec::new();
    for worker in 0..WORKERS {
        let root = format!("/{account}/stor/w{worker}");
        client.mkdir(&root)?.expect(204)?;
        changes.push(tree::plan(&root, worker, changes_each, random));
    }
    let address = store.address();
    std::thread::scope(|scope| {
        let workers: Vec<_> = changes
            .iter()
            .map(|changes| {
                let mut client = Client::new(address, Some(signer.clone()));
                scope.spawn(move || -> Result<()> {
                    for change in changes {
                        let response = client.call(&change.request)?;
                        ensure!(
                            response.status == 204,
                            "{:?}: {}",
                            change.request,
                            response.text()
                        );
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
        })
    })?;
    // A clean stop, so that the power can fail during one as well.
    store.stop()?;
    let text = std::fs::read_to_string(&traced).context("read the trace")?;
    let record = crash::record(&trace::parse(&text)?, store.data_dir())?;
    let ready = record
        .answered("\"keyId\"")
        .context("find the ready line in the trace")?;
    let data_dir = store.data_dir().to_path_buf();
    let answered = changes
        .iter()
        .map(|changes| {
            let line = |change: &Change| {
                record
                    .answered(&change.id)
                    .context("find an answer in the trace")
            };
            changes.iter().map(line).collect()
        })
        .collect::<Result<_>>()?;
    Ok(Run {
        data_dir,
        answered,
        record,
        changes,
        account,
        signer,
        ready,
        _store: store,
        _disks: disks,
    })
}

/// What the tree of a worker may be after a cut: as acknowledged, or with the change under way.
fn allowed(run: &Run, worker: usize, cut: usize) -> (Option<&Tree>, Option<&Tree>) {
    let changes = &run.changes[worker];
    let acknowledged = run.answered[worker]
        .iter()
        .take_while(|line| **line <= cut)
        .count();
    let after = |count: usize| count.checked_sub(1).map(|index| &changes[index].after);
    (
        after(acknowledged),
        changes.get(acknowledged).map(|change| &change.after),
    )
}

/// Starts a store on what a power failure at `cut` left, and looks for what was acknowledged before.
fn check(run: &Run, cut: usize, keep: Keep, random: &mut StdRng, disks: &Disks) -> Result<()> {
    let disk = tempfile::tempdir_in(&disks.directory)?;
    crash::materialise(&run.record, cut, keep, random, disk.path())?;
    let mut store = settings(&disks.binary)
        .data_dir(disk.path())
        .start()
        .context("the store must start")?;
    if cut >= run.ready {
        let mut client = Client::new(store.address(), Some(run.signer.clone()));
        for worker in 0..run.changes.len() {
            let root = run.root(worker);
            let (before, after) = allowed(run, worker, cut);
            let exists = client.head(&root)?.status;
            if exists == 404 && before.is_none() {
                continue;
            }
            ensure!(exists == 200, "{root} answers {exists}");
            let found = tree::read(&mut client, &root)?;
            let empty = Tree::new();
            let before = before.unwrap_or(&empty);
            if found != *before && Some(&found) != after {
                bail!(
                    "{root} is not as acknowledged:\n{}",
                    tree::difference(before, &found)
                );
            }
        }
    }
    store.kill()
}

/// Where disks are put together, and a copy of the binary on the same file system.
struct Disks {
    directory: TempDir,
    binary: PathBuf,
}

impl Disks {
    fn make(directory: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("manta-crash-")
            .tempdir_in(directory)?;
        let binary = directory.path().join("manta");
        let original = tests::manta()?;
        if std::fs::hard_link(&original, &binary).is_err() {
            std::fs::copy(&original, &binary).context("copy manta")?;
        }
        Ok(Self { directory, binary })
    }

    /// Memory is as good a disk as any for what is read once, and much faster; but some systems refuse to
    /// run programs from it.
    fn fast() -> Result<Self> {
        if let Ok(memory) = Self::make(Path::new("/dev/shm")) {
            let runs = Command::new(&memory.binary)
                .arg("--version")
                .stdout(Stdio::null())
                .status();
            if runs.is_ok_and(|status| status.success()) {
                return Ok(memory);
            }
        }
        Self::make(&std::env::temp_dir())
    }
}

/// Checks `count` cuts spread over the run, two at a time, until one fails.
fn check_cuts(run: &Run, count: usize, random: &mut StdRng) -> Result<()> {
    let moments = &run.record.moments;
    let cuts: Vec<(usize, Keep, u64)> = (0..count)
        .map(|number| {
            let moment = moments[number * moments.len() / count];
            (moment, KEEPS[number % KEEPS.len()], random.random())
        })
        .collect();
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let disks = Disks::fast()?;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((cut, keep, seed)) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = check(run, *cut, *keep, &mut StdRng::seed_from_u64(*seed), &disks);
                    if let Err(error) = result {
                        let error = error
                            .context(format!("power failure after line {cut}, keeping {keep:?}"));
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        failure.get_or_insert(error);
                        next.store(cuts.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[test]
fn no_acknowledged_write_is_lost_when_the_power_fails() -> Result<()> {
    let mut random = generator("crash replay");
    let changes = number("MANTA_TEST_REPLAY_WRITES").unwrap_or(60) as usize;
    let cuts = number("MANTA_TEST_CUTS").unwrap_or(1000) as usize;
    let run = record_a_run(changes, &mut random)?;
    crash::compare(&run.record, &run.data_dir)?;
    let changing = run.record.moments.len();
    ensure!(changing > 1000, "only {changing} moments to cut at");
    eprintln!(
        "cutting {cuts} times in {changing} moments, {} operations",
        run.record.operations.len()
    );
    check_cuts(&run, cuts, &mut random)
}

/// The harness must notice when syncs are missing: forget those that made operations of one kind durable,
/// and an acknowledged write must be found lost.
fn found_when_forgotten(forget: impl Fn(&Record, &Step) -> bool) -> Result<()> {
    let mut random = generator("crash replay without syncs");
    let mut run = record_a_run(12, &mut random)?;
    let record = run.record.clone();
    let mut forgotten = 0;
    for operation in &mut run.record.operations {
        // The start itself is left alone, so that what is found missing is what was acknowledged.
        if operation.entered > run.ready && forget(&record, &operation.step) {
            operation.durable = None;
            forgotten += 1;
        }
    }
    ensure!(forgotten > 0, "there was nothing to forget");
    // Not the end of the run: a clean stop folds the log into the database and syncs that.
    let last = run.answered.iter().flatten().copied().max();
    let last = last.context("something was acknowledged")?;
    let disks = Disks::fast()?;
    for _ in 0..5 {
        if check(&run, last, Keep::Nothing, &mut random, &disks).is_err() {
            return Ok(());
        }
    }
    bail!("{forgotten} operations were never synced, and nothing was found missing")
}

fn is_log(record: &Record, inode: usize) -> bool {
    record.inodes[inode].name.ends_with(b"-wal")
}

#[test]
fn a_metadata_log_that_is_not_synced_is_found() -> Result<()> {
    found_when_forgotten(|record, step| match step {
        Step::Bytes { inode, .. } => is_log(record, *inode),
        _ => false,
    })
}

#[test]
fn copies_that_are_not_synced_are_found() -> Result<()> {
    found_when_forgotten(|record, step| match step {
        Step::Bytes { inode, .. } => !is_log(record, *inode),
        _ => false,
    })
}

#[test]
fn names_that_are_not_synced_are_found() -> Result<()> {
    found_when_forgotten(|_, step| matches!(step, Step::Names(_)))
}

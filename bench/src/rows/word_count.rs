//! `wc` over many objects: what a job costs beyond the commands it runs.
//!
//! Surprise: the plain shell side, which we are held against, does not make its outputs durable, while the
//! job does. A variant that does is shown beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::connection::{Connection, Request};
use crate::content;
use crate::cpu_group::CpuGroup;
use crate::job::{Job, all_archived, outputs};
use crate::processes::{machine_busy, own_thread_time};
use crate::report::{Floor, Sample};
use crate::store::{FirstLook, Store};

pub(crate) const METHOD: &str = "A job with the single map phase `wc` over 1,000 objects of 1 MiB of text, \
    one task each, its outputs stored as objects with 2 synced copies, against \
    `xargs -P2 -n1 bash --norc -c 'wc < \"in/$0\" > \"out/$0\"'` on the bare host over the same bytes in files, \
    with the LANG that a zone has. Everything is in the page cache. Wall time of the job runs from the first \
    byte of `POST /jobs` to `done`, asked every 10 ms. Processor time is what the kernel counted for control \
    groups: of xargs on one side, of the store and of its zones on the other, there until the job is archived. \
    Floors hold against plain xargs, which syncs nothing; \"synced\" is the same followed by an fsync of each \
    output and of their directory by the bench itself. \"Whole machine\" takes the busy time of all cores \
    instead, kernel threads and the polling client included. The sides take turns at going first.";

const OBJECTS: usize = 1000;
const OBJECT_BYTES: usize = 1 << 20;
const UPLOADS_AT_ONCE: usize = 4;
const SCRIPT: &str = "wc < \"in/$0\" > \"out/$0\"";
const BETWEEN_POLLS: Duration = Duration::from_millis(10);

/// The objects and the same bytes in files.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    objects: Vec<String>,
    host: PathBuf,
    /// `LANG` of a zone.
    lang: String,
}

/// Makes the inputs, runs both sides once, and checks that their outputs agree.
pub(crate) async fn prepare(store: &Store) -> Result<Inputs> {
    let root = store.path("stor/wc");
    store.make_directory(&root).await?;
    let host = store.scratch().join("wc");
    fs::create_dir_all(host.join("in")).context("make a directory for inputs")?;
    fs::create_dir(host.join("out")).context("make a directory for outputs")?;
    let objects: Vec<String> = (0..OBJECTS)
        .map(|number| format!("{root}/{number}"))
        .collect();
    let mut uploads = JoinSet::new();
    for first in 0..UPLOADS_AT_ONCE {
        let mine: Vec<(usize, String)> = objects
            .iter()
            .cloned()
            .enumerate()
            .skip(first)
            .step_by(UPLOADS_AT_ONCE)
            .collect();
        let (signer, directory) = (Arc::clone(store.signer()), host.join("in"));
        let mut connection = store.connect().await?;
        uploads.spawn(async move {
            for (number, path) in mine {
                let text = content::text(number as u64, OBJECT_BYTES);
                fs::write(directory.join(number.to_string()), &text).context("write an input")?;
                let put = Request::new("PUT", &path).body(Some("text/plain"), &text);
                connection.call(&signer, &put).await?.expect(204)?;
            }
            Ok(())
        });
    }
    while let Some(upload) = uploads.join_next().await {
        let done: Result<()> = upload.context("an upload panicked")?;
        done?;
    }
    let mut connection = store.connect().await?;
    let ask = Job {
        exec: "printf %s \"$LANG\"",
        inputs: &objects[..1],
        between_polls: BETWEEN_POLLS,
    };
    let asked = ask.run(store, &mut connection).await?;
    let lang = outputs(&asked, store, &mut connection)
        .await?
        .pop()
        .context("a zone has a LANG")?;
    ensure!(
        !lang.is_empty(),
        "a zone has no LANG, so the two sides cannot be compared"
    );
    let inputs = Inputs {
        objects,
        host,
        lang,
    };
    on_the_host(&inputs, Durability::Cached).await?;
    let warm_up = inputs.job().run(store, &mut connection).await?;
    compare(
        &inputs.host,
        outputs(&warm_up, store, &mut connection).await?,
    )?;
    Ok(inputs)
}

impl Inputs {
    fn job(&self) -> Job<'_> {
        Job {
            exec: "wc",
            inputs: &self.objects,
            between_polls: BETWEEN_POLLS,
        }
    }
}

fn compare(host: &Path, mut from_job: Vec<String>) -> Result<()> {
    let mut from_host = (0..OBJECTS)
        .map(|number| fs::read_to_string(host.join("out").join(number.to_string())))
        .collect::<std::io::Result<Vec<_>>>()
        .context("read an output of the host")?;
    from_host.sort();
    from_job.sort();
    ensure!(
        from_host == from_job,
        "the job and the host do not count the same words"
    );
    Ok(())
}

pub(crate) async fn run(store: &mut Store, inputs: &Inputs, round: usize) -> Result<Vec<Sample>> {
    let mut connection = store.connect().await?;
    let (host, job, synced);
    if round.is_multiple_of(2) {
        host = on_the_host(inputs, Durability::Cached).await?;
        job = in_the_store(store, &mut connection, inputs).await?;
        synced = on_the_host(inputs, Durability::Synced).await?;
    } else {
        synced = on_the_host(inputs, Durability::Synced).await?;
        job = in_the_store(store, &mut connection, inputs).await?;
        host = on_the_host(inputs, Durability::Cached).await?;
    }
    let ratio = |ours: Duration, theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
    let info = |what, unit, value| Sample::new(what, unit, Floor::Nothing, value);
    Ok(vec![
        Sample::new(
            "wc over 1,000 × 1 MiB, processor time against xargs",
            "×",
            Floor::AtMost(1.4),
            ratio(job.cpu, host.cpu),
        ),
        Sample::new(
            "wc over 1,000 × 1 MiB, wall time against xargs",
            "×",
            Floor::AtMost(1.6),
            ratio(job.wall, host.wall),
        ),
        info(
            "processor time against xargs, synced",
            "×",
            ratio(job.cpu, synced.cpu),
        ),
        info(
            "wall time against xargs, synced",
            "×",
            ratio(job.wall, synced.wall),
        ),
        info(
            "whole machine against xargs",
            "×",
            ratio(job.machine, host.machine),
        ),
        info("wall time of the job", "s", job.wall.as_secs_f64()),
        info("wall time of xargs", "s", host.wall.as_secs_f64()),
        info("wall time of xargs, synced", "s", synced.wall.as_secs_f64()),
        info("processor time of the job", "s", job.cpu.as_secs_f64()),
        info("processor time of xargs", "s", host.cpu.as_secs_f64()),
    ])
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    machine: Duration,
}

async fn in_the_store(
    store: &mut Store,
    connection: &mut Connection,
    inputs: &Inputs,
) -> Result<Cost> {
    settle();
    let machine_before = machine_busy()?;
    let before = store.cpu_time(FirstLook::Yes)?;
    let done = inputs.job().run(store, connection).await?;
    all_archived(store).await?;
    let cpu = store.cpu_time(FirstLook::No)? - before;
    Ok(Cost {
        wall: done.took,
        cpu,
        machine: machine_busy()?.saturating_sub(machine_before),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    Cached,
    Synced,
}

async fn on_the_host(inputs: &Inputs, durability: Durability) -> Result<Cost> {
    let outputs = inputs.host.join("out");
    fs::remove_dir_all(&outputs).context("remove old outputs")?;
    fs::create_dir(&outputs).context("make a directory for outputs")?;
    settle();
    let group = CpuGroup::make("xargs")?;
    let mut command = Command::new("xargs");
    command
        .args(["-P2", "-n1", "bash", "--norc", "-c", SCRIPT])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", &inputs.lang)
        .current_dir(&inputs.host)
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    group.adopt(&mut command)?;
    let names: Vec<String> = (0..OBJECTS).map(|number| format!("{number}\n")).collect();
    let machine_before = machine_busy()?;
    let started = Instant::now();
    let mut xargs = command.spawn().context("start xargs")?;
    let mut stdin = xargs.stdin.take().context("its input is a pipe")?;
    stdin
        .write_all(names.concat().as_bytes())
        .await
        .context("name the inputs")?;
    drop(stdin);
    let status = xargs.wait().await.context("wait for xargs")?;
    let mut own = Duration::ZERO;
    if durability == Durability::Synced {
        let before = own_thread_time()?;
        sync_all(&outputs)?;
        own = own_thread_time()?.saturating_sub(before);
    }
    let wall = started.elapsed();
    ensure!(status.success(), "xargs ended with {status}");
    let machine = machine_busy()?.saturating_sub(machine_before);
    Ok(Cost {
        wall,
        cpu: group.used()? + own,
        machine,
    })
}

/// Every file of a directory, then the directory, one after the other.
fn sync_all(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).context("list the outputs")? {
        let path = entry.context("list the outputs")?.path();
        File::open(&path)
            .and_then(|file| file.sync_all())
            .with_context(|| format!("sync {}", path.display()))?;
    }
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .context("sync the directory of outputs")
}

/// Lets nobody pay for what was written before.
fn settle() {
    rustix::fs::sync();
}

//! `wc` over many objects: what a job costs beyond the commands it runs, and what the other ways cost.
//!
//! Surprise: the plain shell side, which we are held against, does not make its outputs durable, while the
//! job does. A variant that does is shown beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::twins::{Twins, renew, settle};
use crate::connection::Connection;
use crate::content;
use crate::cpu_group::CpuGroup;
use crate::job::{Job, Phase, all_archived, outputs};
use crate::machine;
use crate::processes::{machine_busy, own_thread_time};
use crate::report::{Floor, Sample};
use crate::store::{FirstLook, Origin, Store};

pub(crate) const METHOD: &str = "A job with the single map phase `wc` over 1,000 objects of 1 MiB of text, \
    one task each, its outputs stored as objects with 2 synced copies, against \
    `xargs -P2 -n1 bash --norc -c 'wc < \"in/$0\" > \"out/$0\"'` on the bare host over the same bytes in files, \
    with the LANG that a zone has. Everything is in the page cache. Wall time of the job runs from the first \
    byte of `POST /jobs` to `done`, asked every 10 ms. Processor time is what the kernel counted for control \
    groups: of xargs on one side, of the store and of its zones on the other, there until the job is archived. \
    Floors hold against plain xargs, which syncs nothing; \"synced\" is the same followed by an fsync of each \
    output and of their directory by the bench itself. \"Whole machine\" takes the busy time of all cores \
    instead, kernel threads and the polling client included. GNU parallel runs \
    `parallel --will-cite -j2 'wc < in/{} > out/{}'`, each command in bash. \"Download\" is `msync -r -p 16` of \
    the directory of the objects into an empty one, then the same xargs over what came. The sides take turns at \
    going first.";

const OBJECTS: usize = 1000;
const OBJECT_BYTES: usize = 1 << 20;
const BETWEEN_POLLS: Duration = Duration::from_millis(10);

/// The objects, the same bytes in files, and what the sides need.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    twins: Twins,
    /// `LANG` of a zone.
    lang: String,
    manta: PathBuf,
    /// Of the user that downloads.
    environment: Vec<(&'static str, String)>,
    has_parallel: bool,
}

/// Makes the inputs, runs every side once, and checks that their outputs agree.
pub(crate) async fn prepare(store: &Store, origin: &Origin) -> Result<Inputs> {
    let text = |seed| content::text(seed, OBJECT_BYTES);
    let twins = Twins::make(store, "wc", OBJECTS, text).await?;
    let mut connection = store.connect().await?;
    let ask = Job {
        phases: &[Phase::Map("printf %s \"$LANG\"")],
        inputs: &twins.objects[..1],
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
    let environment = store
        .client_environment()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    let inputs = Inputs {
        twins,
        lang,
        manta: origin.manta.clone(),
        environment,
        has_parallel: machine::has_program("parallel"),
    };
    let warm_up = inputs.job().run(store, &mut connection).await?;
    let mut expected = outputs(&warm_up, store, &mut connection).await?;
    expected.sort();
    for side in inputs.sides().filter(|side| *side != Side::Job) {
        inputs.on_the_host(side).await?;
        let same = counts(&inputs.twins.host.join("out"))? == expected;
        ensure!(same, "the job and {side:?} do not count the same words");
    }
    Ok(inputs)
}

/// Every output of a side on the host, sorted.
fn counts(directory: &Path) -> Result<Vec<String>> {
    let mut counts = (0..OBJECTS)
        .map(|number| fs::read_to_string(directory.join(number.to_string())))
        .collect::<std::io::Result<Vec<_>>>()
        .context("read an output of the host")?;
    counts.sort();
    Ok(counts)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Xargs,
    Job,
    Synced,
    Parallel,
    Download,
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    machine: Duration,
}

pub(crate) async fn run(store: &mut Store, inputs: &Inputs, round: usize) -> Result<Vec<Sample>> {
    let mut connection = store.connect().await?;
    let mut sides: Vec<Side> = inputs.sides().collect();
    let first = round % sides.len();
    sides.rotate_left(first);
    let mut costs = Vec::new();
    for side in sides {
        let cost = match side {
            Side::Job => inputs.in_the_store(store, &mut connection).await?,
            other => inputs.on_the_host(other).await?,
        };
        costs.push((side, cost));
    }
    let cost = |wanted| costs.iter().find(|(side, _)| *side == wanted).map(|c| c.1);
    let of = |wanted| cost(wanted).with_context(|| format!("{wanted:?} was run"));
    let (host, job, synced) = (of(Side::Xargs)?, of(Side::Job)?, of(Side::Synced)?);
    let download = of(Side::Download)?;
    let ratio = |ours: Duration, theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
    let times = |what, floor, ratio| Sample::new(what, "×", floor, ratio);
    let seconds = |what, time: Duration| Sample::new(what, "s", Floor::Nothing, time.as_secs_f64());
    let mut samples = vec![
        times(
            "wc over 1,000 × 1 MiB, processor time against xargs",
            Floor::AtMost(1.15),
            ratio(job.cpu, host.cpu),
        ),
        times(
            "wc over 1,000 × 1 MiB, wall time against xargs",
            Floor::AtMost(1.25),
            ratio(job.wall, host.wall),
        ),
        times(
            "wall time against download, then xargs",
            Floor::AtMost(0.5),
            ratio(job.wall, download.wall),
        ),
        times(
            "processor time against xargs, synced",
            Floor::Nothing,
            ratio(job.cpu, synced.cpu),
        ),
        times(
            "wall time against xargs, synced",
            Floor::Nothing,
            ratio(job.wall, synced.wall),
        ),
        times(
            "whole machine against xargs",
            Floor::Nothing,
            ratio(job.machine, host.machine),
        ),
        seconds("wall time of the job", job.wall),
        seconds("wall time of xargs", host.wall),
        seconds("wall time of xargs, synced", synced.wall),
        seconds("wall time of download, then xargs", download.wall),
        seconds("processor time of the job", job.cpu),
        seconds("processor time of xargs", host.cpu),
    ];
    if let Some(parallel) = cost(Side::Parallel) {
        samples.push(times(
            "wall time against GNU parallel",
            Floor::AtMost(0.7),
            ratio(job.wall, parallel.wall),
        ));
        samples.push(seconds("wall time of GNU parallel", parallel.wall));
    }
    Ok(samples)
}

impl Inputs {
    /// A part of the row that cannot be measured here, if so.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        (!self.has_parallel).then_some("wall time against GNU parallel: it is not installed")
    }

    fn sides(&self) -> impl Iterator<Item = Side> {
        let parallel = self.has_parallel.then_some(Side::Parallel);
        [Side::Xargs, Side::Job, Side::Synced, Side::Download]
            .into_iter()
            .chain(parallel)
    }

    fn job(&self) -> Job<'_> {
        Job {
            phases: &[Phase::Map("wc")],
            inputs: &self.twins.objects,
            between_polls: BETWEEN_POLLS,
        }
    }

    async fn in_the_store(&self, store: &mut Store, connection: &mut Connection) -> Result<Cost> {
        settle();
        let machine_before = machine_busy()?;
        let before = store.cpu_time(FirstLook::Yes)?;
        let done = self.job().run(store, connection).await?;
        all_archived(store).await?;
        let cpu = store.cpu_time(FirstLook::No)? - before;
        Ok(Cost {
            wall: done.took,
            cpu,
            machine: machine_busy()?.saturating_sub(machine_before),
        })
    }

    async fn on_the_host(&self, side: Side) -> Result<Cost> {
        let outputs = self.twins.host.join("out");
        renew(&outputs)?;
        let copies = self.twins.host.join("copies");
        if side == Side::Download {
            renew(&copies)?;
        }
        settle();
        let group = CpuGroup::make("host")?;
        let machine_before = machine_busy()?;
        let started = Instant::now();
        let mut own = Duration::ZERO;
        match side {
            Side::Parallel => {
                let mut parallel = self.shell("parallel", &group)?;
                parallel
                    .args(["--will-cite", "-j2", "wc < in/{} > out/{}"])
                    .env("SHELL", "/bin/bash")
                    .env("HOME", &self.twins.host);
                self.feed(parallel).await?;
            }
            Side::Download => {
                let mut msync = Command::new(&self.manta);
                msync
                    .args(["msync", "-q", "-r", "-p", "16", &self.twins.root])
                    .arg(&copies)
                    .env_clear()
                    .envs(self.environment.iter().cloned())
                    .stdin(Stdio::null())
                    .kill_on_drop(true);
                group.adopt(&mut msync)?;
                succeeded("msync", msync.status().await.context("start msync")?)?;
                self.feed(self.xargs("copies", &group)?).await?;
            }
            Side::Xargs | Side::Synced | Side::Job => {
                self.feed(self.xargs("in", &group)?).await?;
            }
        }
        if side == Side::Synced {
            let before = own_thread_time()?;
            sync_all(&outputs)?;
            own = own_thread_time()?.saturating_sub(before);
        }
        let wall = started.elapsed();
        let machine = machine_busy()?.saturating_sub(machine_before);
        Ok(Cost {
            wall,
            cpu: group.used()? + own,
            machine,
        })
    }

    fn xargs(&self, inputs: &str, group: &CpuGroup) -> Result<Command> {
        let mut xargs = self.shell("xargs", group)?;
        xargs
            .args(["-P2", "-n1", "bash", "--norc", "-c"])
            .arg(format!("wc < \"{inputs}/$0\" > \"out/$0\""));
        Ok(xargs)
    }

    /// A program with the environment of a task, in the directory of the files.
    fn shell(&self, program: &str, group: &CpuGroup) -> Result<Command> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", &self.lang)
            .current_dir(&self.twins.host)
            .kill_on_drop(true);
        group.adopt(&mut command)?;
        Ok(command)
    }

    /// Runs a program that takes the names of the files from its standard input.
    async fn feed(&self, mut command: Command) -> Result<()> {
        let name = format!("{:?}", command.as_std().get_program());
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let mut stdin = child.stdin.take().context("its input is a pipe")?;
        stdin
            .write_all(self.twins.names().as_bytes())
            .await
            .context("name the inputs")?;
        drop(stdin);
        let status = child.wait().await;
        succeeded(&name, status.with_context(|| format!("wait for {name}"))?)
    }
}

fn succeeded(name: &str, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
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

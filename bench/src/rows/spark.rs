//! Counting words in two phases, against Spark on the same bytes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::Advice;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::twins::{Twins, renew, settle};
use crate::content;
use crate::job::{Job, Phase, all_archived, outputs};
use crate::machine;
use crate::report::{Floor, Sample};
use crate::store::Store;

pub(crate) const METHOD: &str = "How often each word occurs in 1,000 objects of 1 MiB of text with a vocabulary of \
    20,000 words: a job that counts in each object with awk and `msplit -n 4`, then adds up in 4 reducers with \
    awk, against `pyspark`, `local[2]`, DataFrames, 4 shuffle partitions, on the same bytes in files \
    (`bench/spark/word_count.py`). The job's outputs are durable, Spark's need not be. Cold: nothing of the inputs \
    is in the page cache, and Spark's time includes the start of its process; its own files are cached. Warm: the \
    same again, at once, Spark in the same session. The job from the first byte of `POST /jobs` to `done`, asked \
    every 10 ms. The counts of both are compared after every run. The two take turns at going first.";

/// A Python environment with Spark, as `cargo xtask bench` makes it.
const ENVIRONMENT: &str = "MANTA_BENCH_SPARK";
const SCRIPT: &str = include_str!("../../spark/word_count.py");
const OBJECTS: usize = 1000;
const OBJECT_BYTES: usize = 1 << 20;
const MAP: &str = "awk '{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) print w \"\\t\" n[w] }' \
    | msplit -n 4";
const REDUCE: &str = "awk -F '\\t' '{ n[$1] += $2 } END { for (w in n) print n[w], w }'";
const BETWEEN_POLLS: Duration = Duration::from_millis(10);

/// Why this row cannot run here, if so.
pub(crate) fn obstacle() -> Option<String> {
    if python().is_none() {
        return Some(format!(
            "needs pyspark, which `cargo xtask bench` installs and names in {ENVIRONMENT}"
        ));
    }
    (!machine::has_program("java")).then(|| "needs a Java runtime for Spark".to_owned())
}

fn python() -> Option<PathBuf> {
    let environment = PathBuf::from(std::env::var_os(ENVIRONMENT)?);
    let python = environment.join("bin/python");
    python.is_file().then_some(python)
}

pub(crate) async fn prepare(store: &Store) -> Result<Twins> {
    let text = |seed| content::prose(seed, OBJECT_BYTES);
    Twins::make(store, "words", OBJECTS, text).await
}

pub(crate) async fn run(store: &Store, twins: &Twins, round: usize) -> Result<Vec<Sample>> {
    let (ours, theirs);
    if round.is_multiple_of(2) {
        ours = by_job(store, twins).await?;
        theirs = by_spark(store, twins).await?;
    } else {
        theirs = by_spark(store, twins).await?;
        ours = by_job(store, twins).await?;
    }
    let same = ours.counts == theirs.counts;
    ensure!(same, "the job and Spark do not count the same words");
    let ratio = |what, a: Duration, b: Duration| {
        Sample::new(
            what,
            "×",
            Floor::Below(1.0),
            a.as_secs_f64() / b.as_secs_f64(),
        )
    };
    let seconds = |what, time: Duration| Sample::new(what, "s", Floor::Nothing, time.as_secs_f64());
    Ok(vec![
        ratio(
            "words of 1,000 × 1 MiB counted, cold, against Spark",
            ours.cold,
            theirs.cold,
        ),
        ratio(
            "words of 1,000 × 1 MiB counted, warm, against Spark",
            ours.warm,
            theirs.warm,
        ),
        seconds("the job, cold", ours.cold),
        seconds("the job, warm", ours.warm),
        seconds("Spark, cold", theirs.cold),
        seconds("Spark, warm", theirs.warm),
    ])
}

struct Outcome {
    cold: Duration,
    warm: Duration,
    /// Lines of the result, sorted.
    counts: Vec<String>,
}

async fn by_job(store: &Store, twins: &Twins) -> Result<Outcome> {
    let mut connection = store.connect().await?;
    let job = Job {
        phases: &[
            Phase::Map(MAP),
            Phase::Reduce {
                exec: REDUCE,
                reducers: 4,
            },
        ],
        inputs: &twins.objects,
        between_polls: BETWEEN_POLLS,
    };
    settle();
    uncache(&store.data().join("storage"))?;
    let cold = job.run(store, &mut connection).await?.took;
    all_archived(store).await?;
    settle();
    let warm = job.run(store, &mut connection).await?;
    all_archived(store).await?;
    let texts = outputs(&warm, store, &mut connection).await?;
    Ok(Outcome {
        cold,
        warm: warm.took,
        counts: sorted_lines(&texts),
    })
}

async fn by_spark(store: &Store, twins: &Twins) -> Result<Outcome> {
    let results = twins.host.join("results");
    renew(&results)?;
    settle();
    uncache(&twins.files())?;
    let started = Instant::now();
    let mut spark = Spark::start(store.scratch(), &twins.host)?;
    spark.count(&twins.files(), &results.join("cold")).await?;
    let cold = started.elapsed();
    settle();
    let started = Instant::now();
    spark.count(&twins.files(), &results.join("warm")).await?;
    let warm = started.elapsed();
    spark.end().await?;
    let mut texts = Vec::new();
    for entry in fs::read_dir(results.join("warm")).context("list the result of Spark")? {
        let path = entry.context("list the result of Spark")?.path();
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b"part-") {
            texts.push(fs::read_to_string(&path).context("read the result of Spark")?);
        }
    }
    Ok(Outcome {
        cold,
        warm,
        counts: sorted_lines(&texts),
    })
}

/// A session of Spark in a process of its own, ended when dropped.
struct Spark {
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Spark {
    fn start(scratch: &Path, directory: &Path) -> Result<Self> {
        let script = directory.join("word_count.py");
        fs::write(&script, SCRIPT).context("write the script for Spark")?;
        let log = File::create(directory.join("spark.log")).context("make a log for Spark")?;
        let temporary = format!("-Djava.io.tmpdir={} -XX:-UsePerfData", directory.display());
        let mut command = Command::new(python().context("there is a Python with Spark")?);
        command
            .arg(script)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory)
            .env("LANG", "C.UTF-8")
            // The name of the machine may have an address that is not there.
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            .env("SPARK_LOCAL_DIRS", scratch)
            // It leaves files there.
            .env("JAVA_TOOL_OPTIONS", temporary)
            .env("TMPDIR", directory)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn().context("start Spark")?;
        let stdin = child.stdin.take().context("its input is a pipe")?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        Ok(Self {
            child,
            stdin,
            answers: BufReader::new(stdout).lines(),
        })
    }

    async fn count(&mut self, source: &Path, target: &Path) -> Result<()> {
        let line = format!("{}\t{}\n", source.display(), target.display());
        self.stdin
            .write_all(line.as_bytes())
            .await
            .context("ask Spark")?;
        let answer = self.answers.next_line().await.context("hear from Spark")?;
        let log = || {
            let directory = target.ancestors().nth(2).unwrap_or(target);
            fs::read_to_string(directory.join("spark.log")).unwrap_or_default()
        };
        ensure!(
            answer.as_deref() == Some("done"),
            "Spark answered {answer:?}; its log is\n{}",
            log()
        );
        Ok(())
    }

    async fn end(self) -> Result<()> {
        let Self {
            mut child, stdin, ..
        } = self;
        drop(stdin);
        let status = child.wait().await.context("wait for Spark")?;
        ensure!(status.success(), "Spark ended with {status}");
        Ok(())
    }
}

fn sorted_lines(texts: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = texts
        .iter()
        .flat_map(|text| text.lines().map(str::to_owned))
        .collect();
    lines.sort_unstable();
    lines
}

/// Drops what the page cache holds of every file below a directory. They must be synced.
fn uncache(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).context("list files")? {
        let entry = entry.context("list files")?;
        let path = entry.path();
        if entry.file_type().context("look at a file")?.is_dir() {
            uncache(&path)?;
        } else {
            // A store collects what was deleted, so a file may be gone.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
                .with_context(|| format!("drop {} from the page cache", path.display()))?;
        }
    }
    Ok(())
}

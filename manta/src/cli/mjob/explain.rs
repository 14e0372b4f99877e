//! `mjob explain`: every task of a job, as a table for people or as JSON for programs; streamed, because a
//! job may have millions.

use clap::Args;
use manta_client::{Client, Error, LiveList};
use serde::Deserialize;

use super::wait::Status;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::printable::printable;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// One JSON object to a line
    #[arg(short = 'j', long)]
    json: bool,
    /// With the command line that repeats it for every task, not only for those that failed
    #[arg(short = 'l', long)]
    long: bool,
    #[arg(value_name = "JOBID")]
    ids: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// A task as the server tells of it; what it does not know is missing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Task {
    phase: u64,
    state: String,
    attempts: u64,
    task_id: String,
    input: Option<String>,
    reducer: Option<u64>,
    node: String,
    zone: String,
    wait_ms: Option<u64>,
    run_ms: Option<u64>,
    commit_ms: Option<u64>,
    cpu_ms: Option<u64>,
    peak_memory_bytes: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    received_bytes: Option<u64>,
    sent_bytes: Option<u64>,
    gb_seconds: Option<f64>,
    exit_code: Option<i64>,
    signal: Option<String>,
    outputs: u64,
    code: Option<String>,
    message: String,
    stderr: Option<String>,
    core: Option<String>,
    repeat: String,
}

impl Explain {
    pub(super) async fn run(self) -> Result<(), Failure> {
        super::report::at_least_one_job(&self.ids)?;
        let client = self.connection.client().await?;
        let mut output = Output::new();
        for id in &self.ids {
            if self.json {
                let mut lines = client.job_list(id, LiveList::Tasks).await?;
                while let Some(line) = lines.next().await? {
                    output.line(&line)?;
                }
            } else {
                self.print(&client, id, &mut output).await?;
            }
        }
        output.finish()
    }

    async fn print(&self, client: &Client, id: &str, output: &mut Output) -> Result<(), Failure> {
        let status = Status::read(client.job(id).await?)?;
        let mut lines = client.job_list(id, LiveList::Tasks).await?;
        output.line(&summary(id, &status))?;
        output.line(&row(&HEADS))?;
        while let Some(line) = lines.next().await? {
            let task = Task::read(&line)?;
            output.line(&row(&task.cells()))?;
            for line in task.remarks(self.long) {
                output.line(&format!("    {line}"))?;
            }
        }
        Ok(())
    }
}

fn summary(id: &str, status: &Status) -> String {
    let stats = &status.stats;
    format!(
        "job {id}: {}, {} of {} tasks done, {} retried, {} outputs, {} errors",
        printable(&status.state),
        stats.tasks_done,
        stats.tasks,
        stats.retries,
        stats.outputs,
        stats.errors
    )
}

/// Longer cells push the rest of their line to the right; the last column has no end.
const COLUMNS: usize = 12;
const WIDTHS: [usize; COLUMNS] = [5, 8, 9, 5, 8, 8, 8, 8, 7, 7, 20, 0];
const HEADS: [&str; COLUMNS] = [
    "PHASE", "TASK", "STATE", "TRIES", "WAIT", "RUN", "COMMIT", "CPU", "MEMORY", "EXIT", "ZONE",
    "INPUT",
];

/// Which column that is. Outsiders are not told: the names of machines are nobody's business.
const ZONE: usize = 10;

/// What outsiders may see of a task.
pub(super) fn public_heads() -> impl Iterator<Item = &'static str> {
    let heads = HEADS.into_iter().enumerate();
    heads.filter(|(at, _)| *at != ZONE).map(|(_, head)| head)
}

fn row(cells: &[impl AsRef<str>; COLUMNS]) -> String {
    let cells = cells.iter().zip(WIDTHS);
    let line: Vec<String> = cells
        .map(|(cell, width)| format!("{:width$}", cell.as_ref()))
        .collect();
    line.join(" ").trim_end().to_owned()
}

impl Task {
    pub(super) fn read(line: &str) -> Result<Task, Error> {
        serde_json::from_str(line).map_err(|error| Error::Malformed(format!("a task: {error}")))
    }

    fn cells(&self) -> [String; COLUMNS] {
        let none = || "-".to_owned();
        let time = |millis: Option<u64>| millis.map_or_else(none, duration);
        let exit = match (self.exit_code, &self.signal) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => printable(signal),
            (None, None) => none(),
        };
        let zone = match self.zone.as_str() {
            "" => none(),
            zone => printable(&format!("{}:{zone}", self.node)),
        };
        let input = match (&self.input, self.reducer) {
            (Some(input), _) => printable(input),
            (None, Some(index)) => format!("(reducer {index})"),
            (None, None) => none(),
        };
        let id = match self.task_id.get(..8) {
            Some(id) => printable(id),
            None => none(),
        };
        [
            self.phase.to_string(),
            id,
            printable(&self.state),
            self.attempts.to_string(),
            time(self.wait_ms),
            time(self.run_ms),
            time(self.commit_ms),
            time(self.cpu_ms),
            self.peak_memory_bytes.map_or_else(none, bytes),
            exit,
            zone,
            input,
        ]
    }

    /// What does not fit into a line: why it failed, and how to see it fail again.
    fn remarks(&self, long: bool) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(code) = &self.code {
            remarks.push(format!("{}: {}", printable(code), printable(&self.message)));
        }
        for (what, name) in [("stderr", &self.stderr), ("core", &self.core)] {
            if let Some(name) = name {
                remarks.push(format!("{what}: {}", printable(name)));
            }
        }
        remarks.extend(self.resources().filter(|_| long));
        if (long || self.state == "failed") && !self.repeat.is_empty() {
            // A script may have lines, which the shell wants as they are.
            let lines: Vec<String> = self.repeat.split('\n').map(printable).collect();
            remarks.push(format!("repeat: {}", lines.join("\n")));
        }
        remarks
    }

    /// What has no column. All of it is known, or nothing.
    fn resources(&self) -> Option<String> {
        Some(format!(
            "used: {:.3} GB-seconds; disk: {} read, {} written; network: {} in, {} out",
            self.gb_seconds?,
            bytes(self.read_bytes?),
            bytes(self.written_bytes?),
            bytes(self.received_bytes?),
            bytes(self.sent_bytes?),
        ))
    }

    /// Its cells below [`public_heads`].
    pub(super) fn public_cells(&self) -> Vec<String> {
        let cells = self.cells().into_iter().enumerate();
        cells
            .filter(|(at, _)| *at != ZONE)
            .map(|(_, cell)| cell)
            .collect()
    }
}

fn duration(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..60_000 => format!("{}.{:02}s", millis / 1000, millis % 1000 / 10),
        60_000..3_600_000 => format!("{}m{:02}s", millis / 60_000, millis / 1000 % 60),
        _ => format!("{}h{:02}m", millis / 3_600_000, millis / 60_000 % 60),
    }
}

fn bytes(count: u64) -> String {
    let (mut count, mut units) = (count, ["B", "K", "M", "G", "T"].iter());
    let mut unit = units.next();
    while count >= 10_240
        && let Some(next) = units.next()
    {
        count /= 1024;
        unit = Some(next);
    }
    format!("{count}{}", unit.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_a_line_and_a_failed_one_says_why() {
        let line = r#"{"phase":0,"state":"failed","attempts":1,"taskId":"0123456789","input":"/u/stor/a\n",
            "node":"n","zone":"z1","waitMs":7,"runMs":1234,"commitMs":61000,"cpuMs":7260000,
            "peakMemoryBytes":3145728,"exitCode":7,"outputs":0,"code":"UserTaskError","message":"exited",
            "stderr":"/u/e","repeat":"mlogin -c false",
            "core":"/u/core","readBytes":0,"writtenBytes":5,"receivedBytes":10240,"sentBytes":7,"gbSeconds":1.234}"#;
        let task = Task::read(line).unwrap();
        let expected = "0     01234567 failed    1     7ms      1.23s    1m01s    2h01m    3072K   7       \
                        n:z1                 /u/stor/a\\n";
        assert_eq!(row(&task.cells()), expected);
        let remarks = [
            "UserTaskError: exited",
            "stderr: /u/e",
            "core: /u/core",
            "repeat: mlogin -c false",
        ];
        assert_eq!(task.remarks(false), remarks);
        let used = "used: 1.234 GB-seconds; disk: 0B read, 5B written; network: 10K in, 7B out";
        assert_eq!(task.remarks(true)[3], used);
        let bare = Task::read(r#"{"phase":1,"state":"done","reducer":2,"repeat":"x"}"#).unwrap();
        let expected = "1     -        done      0     -        -        -        -        -       -       \
                        -                    (reducer 2)";
        assert_eq!(row(&bare.cells()), expected);
        assert_eq!(
            (bare.remarks(false).len(), bare.remarks(true).len()),
            (0, 1)
        );
        assert!(Task::read("[").is_err());
        let (heads, cells) = (public_heads().collect::<Vec<_>>(), task.public_cells());
        assert_eq!((heads.len(), cells.len()), (COLUMNS - 1, COLUMNS - 1));
        assert!(!heads.contains(&"ZONE") && !cells.contains(&"n:z1".to_owned()));
        assert!(row(&HEADS).starts_with("PHASE TASK     STATE     TRIES WAIT     RUN "));
    }

    #[test]
    fn sizes_keep_their_first_digits() {
        for (count, text) in [
            (0, "0B"),
            (10_239, "10239B"),
            (10_240, "10K"),
            (3 << 30, "3072M"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}

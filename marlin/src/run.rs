//! How an attempt at a task went: measured by the agent, and kept with the commit, so that a job can be
//! explained after its end.
//!
//! There is one for each commit of a job's log, so what can be told from elsewhere is not in it: when it was
//! committed is the time of its segment, and what it worked on is in its failure, if it has one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libmanta::Timestamp;
use libmanta::triton::{Exit, ExitStatus};
use serde::{Deserialize, Serialize};

/// An attempt that got a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// When the agent got it.
    pub(crate) queued: Timestamp,
    /// From then until a zone took it.
    pub(crate) wait_ms: u64,
    /// From then until its command had ended, or could not be started.
    pub(crate) run_ms: u64,
    /// The machine.
    pub(crate) node: Arc<str>,
    pub(crate) zone: String,
    /// `None` when the command did not run, or not to an end of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<CommandEnd>,
    /// What the whole attempt used, `init` included. Not known of those from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<Resources>,
    /// What it worked on, unless its failure says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<String>,
    /// The job's input that stems from, unless it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
}

/// How a command ended, and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommandEnd {
    /// The exit code; of a command that a signal ended, the signal's number, negated.
    pub(crate) status: i32,
    pub(crate) cpu_ms: u64,
    pub(crate) peak_bytes: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) core_dumped: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) out_of_memory: bool,
    /// It was the `init` of the phase.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) init: bool,
}

/// What an attempt used of its zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub(crate) cpu_ms: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) read_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) written_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) received_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) sent_bytes: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl CommandEnd {
    pub(crate) fn new(exit: Exit, init: bool) -> Self {
        Self {
            status: match exit.status {
                ExitStatus::Code(code) => code,
                ExitStatus::Signal(signal) => -signal,
            },
            cpu_ms: millis(exit.cpu),
            peak_bytes: exit.peak_memory_bytes,
            core_dumped: exit.core_dumped,
            out_of_memory: exit.out_of_memory,
            init,
        }
    }
}

/// When an attempt was handed to the agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) at: Timestamp,
    pub(crate) since: Instant,
}

/// An attempt in its zone.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    run: Box<Run>,
    since: Instant,
}

impl Stopwatch {
    pub(crate) fn start(queued: Queued, node: &Arc<str>, zone: &str) -> Self {
        let since = Instant::now();
        let run = Box::new(Run {
            queued: queued.at,
            wait_ms: millis(since.saturating_duration_since(queued.since)),
            run_ms: 0,
            node: Arc::clone(node),
            zone: zone.to_owned(),
            end: None,
            used: None,
            input: None,
            origin: None,
        });
        Self { run, since }
    }

    /// `end` is how its command ended, if it did so by itself.
    pub(crate) fn stop(mut self, end: Option<CommandEnd>, used: Resources) -> Box<Run> {
        self.run.run_ms = millis(self.since.elapsed());
        self.run.end = end;
        self.run.used = Some(used);
        self.run
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: what was written once must be read for ever.
    #[test]
    fn runs_keep_their_golden_bytes() {
        let mut run = Run {
            queued: Timestamp::from_millis(1000),
            wait_ms: 2,
            run_ms: 3,
            node: "n".into(),
            zone: "z1".to_owned(),
            end: None,
            used: None,
            input: None,
            origin: None,
        };
        let text = |run: &Run| serde_json::to_string(run).unwrap();
        let short = r#"{"queued":1000,"wait_ms":2,"run_ms":3,"node":"n","zone":"z1"}"#;
        assert_eq!(text(&run), short);
        assert_eq!(serde_json::from_str::<Run>(short).unwrap(), run);
        run.end = Some(CommandEnd {
            status: -9,
            cpu_ms: 4,
            peak_bytes: 5,
            core_dumped: true,
            out_of_memory: true,
            init: true,
        });
        run.input = Some("/u/stor/a".to_owned());
        run.origin = Some("/u/stor/b".to_owned());
        let long = concat!(
            r#"{"queued":1000,"wait_ms":2,"run_ms":3,"node":"n","zone":"z1","#,
            r#""end":{"status":-9,"cpu_ms":4,"peak_bytes":5,"core_dumped":true,"#,
            r#""out_of_memory":true,"init":true},"input":"/u/stor/a","origin":"/u/stor/b"}"#,
        );
        assert_eq!(text(&run), long);
        assert_eq!(serde_json::from_str::<Run>(long).unwrap(), run);
        run.used = Some(Resources {
            cpu_ms: 6,
            read_bytes: 0,
            written_bytes: 7,
            received_bytes: 8,
            sent_bytes: 9,
        });
        (run.end, run.input, run.origin) = (None, None, None);
        let used = concat!(
            r#"{"queued":1000,"wait_ms":2,"run_ms":3,"node":"n","zone":"z1","#,
            r#""used":{"cpu_ms":6,"written_bytes":7,"received_bytes":8,"sent_bytes":9}}"#,
        );
        assert_eq!(text(&run), used);
        assert_eq!(serde_json::from_str::<Run>(used).unwrap(), run);
    }

    #[test]
    fn a_signal_is_a_negative_status() {
        let exit = Exit {
            status: ExitStatus::Signal(15),
            core_dumped: false,
            out_of_memory: false,
            wall: Duration::from_secs(1),
            cpu: Duration::from_millis(7),
            peak_memory_bytes: 9,
        };
        let end = CommandEnd::new(exit, false);
        assert_eq!((end.status, end.cpu_ms, end.peak_bytes), (-15, 7, 9));
        let text = serde_json::to_string(&end).unwrap();
        assert_eq!(text, r#"{"status":-15,"cpu_ms":7,"peak_bytes":9}"#);
    }
}

//! What every task of a job did, as documents: one for each commit of its log.
//!
//! Beside what is recorded of the task there is the command line that runs its command again on the same
//! input, by hand, in a zone like the one it had.

use libmanta::marlin::{JobDefinition, Phase, PhaseKind};
use libmanta::{JobId, Timestamp};
use serde_json::{Value, json};

use crate::agent::group::{DISK_GIB, MEMORY_MIB};
use crate::names;
use crate::record::{Commit, Failure, JobRecord, Work};
use crate::run::{CommandEnd, Resources};
use crate::task_id::task_id;

/// Whose tasks they are.
#[derive(Clone, Debug)]
pub(crate) struct Explained {
    id: JobId,
    definition: JobDefinition,
}

impl Explained {
    pub(crate) fn new(job: &JobRecord) -> Self {
        Self {
            id: job.id,
            definition: job.definition.clone(),
        }
    }

    /// The document of a task that was committed at `time`.
    pub(crate) fn commit(&self, commit: &Commit, time: Timestamp) -> Value {
        let run = commit.run.as_deref();
        let failure = commit.failure.as_ref();
        let state = match (commit.attempts, failure) {
            (0, _) => "refused",
            (_, Some(_)) => "failed",
            (_, None) => "done",
        };
        let mut task = json!({
            "phase": commit.phase,
            "state": state,
            "attempts": commit.attempts,
            "outputs": commit.outputs.len(),
            "timeCommitted": time.to_iso(),
        });
        if commit.attempts > 0 {
            task["taskId"] = task_id(self.id, commit.work, commit.attempts)
                .to_string()
                .into();
        }
        if let Work::Reducer { index, .. } = commit.work {
            task["reducer"] = index.into();
        }
        let input = run.and_then(|run| run.input.as_deref());
        let origin = run.and_then(|run| run.origin.as_deref()).or(input);
        let input = input.or(failure.and_then(|f| f.input.as_deref()));
        let origin = origin.or(failure.and_then(|f| f.origin.as_deref()));
        set(&mut task, "input", input);
        // A reducer has none, and what follows one stems from no input.
        set(
            &mut task,
            "p0input",
            origin.filter(|_| commit.phase == 0 || origin != input),
        );
        if let Some(run) = run {
            let started = plus(run.queued, run.wait_ms);
            let ended = plus(started, run.run_ms);
            task["node"] = (*run.node).into();
            task["zone"] = run.zone.as_str().into();
            task["timeQueued"] = run.queued.to_iso().into();
            task["timeStarted"] = started.to_iso().into();
            task["timeEnded"] = ended.to_iso().into();
            task["waitMs"] = run.wait_ms.into();
            task["runMs"] = run.run_ms.into();
            task["commitMs"] = time.as_millis().saturating_sub(ended.as_millis()).into();
            if let Some(end) = &run.end {
                set_end(&mut task, end);
            }
            if let Some(used) = &run.used {
                set_used(&mut task, used);
            }
            if let Some(phase) = self.definition.phases.get(commit.phase) {
                task["gbSeconds"] = gb_seconds(phase, run.run_ms).into();
            }
        }
        set_failure(&mut task, failure);
        self.set_repeat(&mut task, commit.phase, input);
        task
    }

    /// The document of a task that the cancellation at `time` ended.
    pub(crate) fn cancelled(&self, failure: &Failure, time: Timestamp) -> Value {
        let mut task = json!({
            "phase": failure.phase,
            "state": "cancelled",
            "timeCommitted": time.to_iso(),
        });
        if let Some(id) = failure.task {
            task["taskId"] = id.to_string().into();
        }
        let input = failure.input.as_deref();
        set(&mut task, "input", input);
        set(&mut task, "p0input", failure.origin.as_deref());
        set_failure(&mut task, Some(failure));
        self.set_repeat(&mut task, failure.phase, input);
        task
    }

    fn set_repeat(&self, task: &mut Value, phase: usize, input: Option<&str>) {
        if let Some(phase) = self.definition.phases.get(phase) {
            task["repeat"] = repeat(phase, input).into();
        }
    }
}

fn set(task: &mut Value, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        task[name] = value.into();
    }
}

fn set_end(task: &mut Value, end: &CommandEnd) {
    match end.status {
        code @ 0.. => task["exitCode"] = code.into(),
        signal => task["signal"] = names::signal(-signal).into(),
    }
    task["cpuMs"] = end.cpu_ms.into();
    task["peakMemoryBytes"] = end.peak_bytes.into();
    for (name, is_so) in [
        ("coreDumped", end.core_dumped),
        ("outOfMemory", end.out_of_memory),
        ("init", end.init),
    ] {
        if is_so {
            task[name] = true.into();
        }
    }
}

fn set_used(task: &mut Value, used: &Resources) {
    // More than that of the command that ended last: there may have been an `init` before.
    task["cpuMs"] = used.cpu_ms.into();
    task["readBytes"] = used.read_bytes.into();
    task["writtenBytes"] = used.written_bytes.into();
    task["receivedBytes"] = used.received_bytes.into();
    task["sentBytes"] = used.sent_bytes.into();
}

/// What an account would be charged for: gigabytes by seconds. Memory and disk come in pairs, and who wants more of
/// one pays for the pair that has it. Source: marlin.md section 16.
fn gb_seconds(phase: &Phase, millis: u64) -> f64 {
    let memory_gb = phase.memory.unwrap_or(MEMORY_MIB).div_ceil(1024);
    let disk_gb = phase.disk.unwrap_or(DISK_GIB);
    let covers = |gb: &u32| memory_gb <= *gb && disk_gb <= 32 * gb;
    let most = LARGEST_GB;
    let billed = [1, 2, 4, 8, 16].into_iter().find(covers).unwrap_or(most);
    (u64::from(billed) * millis) as f64 / 1000.0
}

/// The last of the pairs.
const LARGEST_GB: u32 = 32;

fn set_failure(task: &mut Value, failure: Option<&Failure>) {
    if let Some(Failure { error, .. }) = failure {
        task["code"] = json!(error.code);
        task["message"] = error.message.as_str().into();
        set(task, "stderr", error.stderr.as_deref());
        set(task, "core", error.core.as_deref());
    }
}

fn plus(time: Timestamp, millis: u64) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(millis))
}

/// The command line that does by hand what a task of the phase did. The input of a task is its stdin, which a
/// terminal has in its place here; what a reducer read is not one object, and comes from the terminal.
fn repeat(phase: &Phase, input: Option<&str>) -> String {
    let mut words = vec!["mlogin".to_owned()];
    for asset in phase.assets.iter().flatten() {
        words.extend(["-s".to_owned(), quote(asset)]);
    }
    let numbers = [("--memory", phase.memory), ("--disk", phase.disk)];
    for (option, number) in numbers {
        if let Some(number) = number {
            words.extend([option.to_owned(), number.to_string()]);
        }
    }
    let texts = [("--init", &phase.init), ("--image", &phase.image)];
    for (option, text) in texts {
        if let Some(text) = text {
            words.extend([option.to_owned(), quote(text)]);
        }
    }
    let map = input.filter(|_| phase.kind == PhaseKind::Map);
    let command = match map {
        Some(_) => format!("exec < \"$MANTA_INPUT_FILE\"; {}", phase.exec),
        None => phase.exec.clone(),
    };
    words.extend(["-c".to_owned(), quote(&command)]);
    if let Some(input) = map {
        words.push(quote(input));
    }
    words.join(" ")
}

/// A word that a shell takes as it is.
fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ErrorCode, Output, TaskError};
    use crate::run::Run;

    fn explained() -> Explained {
        Explained {
            id: JobId::random(),
            definition: JobDefinition {
                name: String::new(),
                transient: false,
                phases: vec![
                    Phase::new(PhaseKind::Map, "wc"),
                    Phase::new(PhaseKind::Reduce, "cat"),
                ],
                options: None,
            },
        }
    }

    fn document(job: &Explained, commit: Commit) -> Value {
        job.commit(&commit, Timestamp::from_millis(10_000))
    }

    #[test]
    fn times_add_up() {
        let job = explained();
        let work = Work::Item(7);
        let commit = Commit {
            work,
            phase: 0,
            attempts: 2,
            outputs: vec![Output {
                name: "/u/x".to_owned(),
                reducer: None,
                reference: false,
            }],
            failure: None,
            run: Some(Box::new(Run {
                queued: Timestamp::from_millis(1000),
                wait_ms: 200,
                run_ms: 3000,
                node: "node".into(),
                zone: "z1".to_owned(),
                end: Some(CommandEnd {
                    status: 0,
                    cpu_ms: 5,
                    peak_bytes: 6,
                    core_dumped: false,
                    out_of_memory: true,
                    init: false,
                }),
                used: Some(Resources {
                    cpu_ms: 8,
                    read_bytes: 9,
                    written_bytes: 10,
                    received_bytes: 11,
                    sent_bytes: 12,
                }),
                input: Some("/u/stor/a".to_owned()),
                origin: None,
            })),
        };
        let expected = json!({
            "phase": 0, "state": "done", "attempts": 2, "outputs": 1,
            "taskId": task_id(job.id, work, 2).to_string(),
            "input": "/u/stor/a", "p0input": "/u/stor/a", "node": "node", "zone": "z1",
            "timeQueued": "1970-01-01T00:00:01.000Z", "timeStarted": "1970-01-01T00:00:01.200Z",
            "timeEnded": "1970-01-01T00:00:04.200Z", "timeCommitted": "1970-01-01T00:00:10.000Z",
            "waitMs": 200, "runMs": 3000, "commitMs": 5800,
            "exitCode": 0, "cpuMs": 8, "peakMemoryBytes": 6, "outOfMemory": true,
            "readBytes": 9, "writtenBytes": 10, "receivedBytes": 11, "sentBytes": 12,
            "gbSeconds": 3.0,
            "repeat": "mlogin -c 'exec < \"$MANTA_INPUT_FILE\"; wc' /u/stor/a",
        });
        assert_eq!(document(&job, commit), expected);
    }

    #[test]
    fn gigabytes_come_in_pairs_of_memory_and_disk() {
        let of = |memory, disk| {
            let mut phase = Phase::new(PhaseKind::Map, "wc");
            (phase.memory, phase.disk) = (memory, disk);
            gb_seconds(&phase, 2500)
        };
        for (memory, disk, gb) in [
            (None, None, 1.0),
            (Some(128), Some(32), 1.0),
            (Some(1025), None, 2.0),
            (None, Some(33), 2.0),
            (Some(8192), Some(512), 16.0),
            (Some(8192), Some(1024), 32.0),
        ] {
            assert_eq!(of(memory, disk), 2.5 * gb, "{memory:?} {disk:?}");
        }
    }

    #[test]
    fn what_was_not_recorded_is_left_out() {
        let job = explained();
        let failure = |phase, input: Option<&str>| Failure {
            phase,
            error: TaskError::new(ErrorCode::ResourceNotFound, "no such object: \"/u/x\""),
            input: input.map(str::to_owned),
            origin: input.map(str::to_owned),
            task: None,
        };
        let refused = Commit {
            work: Work::Item(0),
            phase: 0,
            attempts: 0,
            outputs: Vec::new(),
            failure: Some(failure(0, Some("/u/x"))),
            run: None,
        };
        let refused = document(&job, refused);
        assert_eq!(refused["state"], "refused");
        assert_eq!(refused["code"], "ResourceNotFoundError");
        assert_eq!(
            (&refused["input"], &refused["p0input"]),
            (&json!("/u/x"), &json!("/u/x"))
        );
        assert!(refused.get("taskId").is_none() && refused.get("waitMs").is_none());
        let old = Commit {
            work: Work::Reducer { phase: 1, index: 3 },
            phase: 1,
            attempts: 1,
            outputs: Vec::new(),
            failure: None,
            run: None,
        };
        let old = document(&job, old);
        assert_eq!(
            (&old["state"], &old["reducer"]),
            (&json!("done"), &json!(3))
        );
        assert_eq!(old["repeat"], "mlogin -c cat");
        assert!(old.get("input").is_none() && old.get("p0input").is_none());
        for failure in [failure(0, Some("/u/x")), failure(1, None)] {
            let document = job.cancelled(&failure, Timestamp::from_millis(1));
            assert_eq!(document["state"], "cancelled");
        }
    }

    #[test]
    fn a_command_line_survives_the_shell() {
        let mut phase = Phase::new(PhaseKind::Map, "grep -c \"it's\" | tr '\\n' x");
        phase.assets = Some(vec!["/u/stor/a b".to_owned(), "/u/stor/c".to_owned()]);
        phase.init = Some("echo $HOME".to_owned());
        phase.image = Some(">=16.1".to_owned());
        (phase.memory, phase.disk) = (Some(2048), Some(16));
        let line = repeat(&phase, Some("/u/stor/-x; rm -rf ~"));
        // The shell itself is asked for the words it sees.
        let script = line.replacen("mlogin", "printf '%s\\n'", 1);
        let shell = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .output();
        let words = String::from_utf8(shell.unwrap().stdout).unwrap();
        let expected = [
            "-s",
            "/u/stor/a b",
            "-s",
            "/u/stor/c",
            "--memory",
            "2048",
            "--disk",
            "16",
            "--init",
            "echo $HOME",
            "--image",
            ">=16.1",
            "-c",
            "exec < \"$MANTA_INPUT_FILE\"; grep -c \"it's\" | tr '\\n' x",
            "/u/stor/-x; rm -rf ~",
        ];
        assert_eq!(words.lines().collect::<Vec<_>>(), expected);
        let words = |text: &str| quote(text);
        assert_eq!(
            (words(""), words("-x"), words("~x")),
            ("''".into(), "'-x'".into(), "'~x'".into())
        );
    }
}

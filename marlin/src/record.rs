//! What marlin keeps in moray, and its encoding: versioned JSON, so that an operator can read it.
//!
//! A job is one [`JobRecord`] and a log of [`Segment`]s below the same route. The log is the truth: the
//! state of a job is the fold of its entries ([`crate::ledger::Ledger`]), live and after a restart alike.

use libmanta::mahi::Principal;
use libmanta::marlin::{JobDefinition, JobStats};
use libmanta::{AccountId, JobId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::run::Run;

/// Bumped when a reader of the version before would misunderstand.
const VERSION: u8 = 1;

/// Of a job whose principal has a subuser or active roles. A program that knew neither would run it with
/// the rights of the whole account, so it must not read it.
const VERSION_WITH_ROLES: u8 = 2;

/// A job as it was created, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) version: u8,
    pub(crate) id: JobId,
    pub(crate) owner: AccountId,
    pub(crate) principal: Principal,
    /// Sealed; lets the tasks act as `principal`.
    pub(crate) token: String,
    pub(crate) definition: JobDefinition,
    pub(crate) created: Timestamp,
    /// Set when the job is archived, so that its status needs no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Summary>,
}

/// The end of a job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) cancelled: bool,
    pub(crate) stats: JobStats,
    pub(crate) done: Timestamp,
    pub(crate) archive_started: Timestamp,
    pub(crate) archive_done: Timestamp,
}

/// Entries that were made durable together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Segment {
    pub(crate) version: u8,
    pub(crate) time: Timestamp,
    pub(crate) entries: Vec<Entry>,
}

/// One thing that happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// Names as they were sent.
    Inputs {
        names: Vec<String>,
    },
    InputEnded,
    Commit(Commit),
    /// With the error of every task that was dispatched and had not committed.
    Cancelled {
        errors: Vec<Failure>,
        tasks: u64,
    },
    /// All work and all deletions are over.
    Finished,
    ArchiveStarted,
    ArchiveDone,
}

/// The end of one piece of work. What it consumed is consumed and what it produced exists, both or neither.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) work: Work,
    pub(crate) phase: usize,
    /// Attempts made; 0 for an input that was refused before it became a task.
    pub(crate) attempts: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<Output>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    /// How the last attempt went. Not known of one that got no zone, nor of any from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Box<Run>>,
}

/// What a commit consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// One input of a phase, numbered in the order in which the log made them.
    Item(u64),
    /// A reducer and all its inputs.
    Reducer { phase: usize, index: u8 },
}

/// Something a task emitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub(crate) name: String,
    /// Reducer of the next phase it was addressed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reducer: Option<u8>,
    /// The task did not store it, it only named it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reference: bool,
}

/// An error of a job. Source: marlin.md section 8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) phase: usize,
    pub(crate) error: TaskError,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskId>,
}

/// Why a piece of work failed, in the words that users see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Name of the stored standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stderr: Option<String>,
    /// Name of the stored core file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) core: Option<String>,
}

/// The closed set of marlin.md section 8.1, as far as this implementation raises them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ErrorCode {
    #[serde(rename = "AuthorizationError")]
    Authorization,
    #[serde(rename = "ResourceNotFoundError")]
    ResourceNotFound,
    #[serde(rename = "InvalidArgumentError")]
    InvalidArgument,
    #[serde(rename = "ServiceUnavailableError")]
    ServiceUnavailable,
    #[serde(rename = "JobCancelledError")]
    JobCancelled,
    #[serde(rename = "TaskInitError")]
    TaskInit,
    #[serde(rename = "TaskKilledError")]
    TaskKilled,
    #[serde(rename = "UserTaskError")]
    UserTask,
    #[serde(rename = "InternalError")]
    Internal,
}

impl TaskError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            stderr: None,
            core: None,
        }
    }

    pub(crate) fn killed() -> Self {
        Self::new(
            ErrorCode::TaskKilled,
            "task killed (excessive resource usage)",
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "internal error")
    }
}

impl Failure {
    /// A line of the live list of errors.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut doc = serde_json::json!({
            "phase": self.phase.to_string(),
            "what": self.what(),
            "code": self.error.code,
            "message": self.error.message,
        });
        let names = [
            ("input", &self.input),
            ("p0input", &self.origin),
            ("stderr", &self.error.stderr),
            ("core", &self.error.core),
        ];
        for (field, value) in names {
            if let Some(value) = value {
                doc[field] = value.as_str().into();
            }
        }
        doc
    }

    /// A line of `err.txt`: as the live list, but with `phaseNum` and the task.
    pub(crate) fn to_archived_json(&self) -> serde_json::Value {
        let mut doc = self.to_json();
        if let Some(fields) = doc.as_object_mut()
            && let Some(phase) = fields.remove("phase")
        {
            fields.insert("phaseNum".to_owned(), phase);
        }
        if let Some(task) = self.task {
            doc["taskId"] = task.to_string().into();
        }
        doc
    }

    fn what(&self) -> String {
        let phase = self.phase;
        match (&self.input, &self.origin) {
            (None, _) => format!("phase {phase}: reduce"),
            (Some(input), Some(origin)) if phase > 0 => {
                format!("phase {phase}: input \"{input}\" (from job input \"{origin}\")")
            }
            (Some(input), _) => format!("phase {phase}: input \"{input}\""),
        }
    }
}

/// A stored record that cannot be read.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    #[error("record of version {0}, which this program does not know")]
    Version(u64),
    #[error("record does not decode")]
    Json(#[from] serde_json::Error),
}

impl JobRecord {
    /// The version that a new job's record gets.
    pub(crate) fn version_for(principal: &Principal) -> u8 {
        match principal.user.is_none() && principal.roles.is_empty() {
            true => VERSION,
            false => VERSION_WITH_ROLES,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        to_vec(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        check_version(bytes, VERSION_WITH_ROLES)?;
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl Segment {
    pub(crate) fn new(time: Timestamp, entries: Vec<Entry>) -> Self {
        Self {
            version: VERSION,
            time,
            entries,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        to_vec(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        check_version(bytes, VERSION)?;
        Ok(serde_json::from_slice(bytes)?)
    }
}

fn to_vec(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys and no failing serializers")
}

fn check_version(bytes: &[u8], latest: u8) -> Result<(), RecordError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    let versioned: Versioned = serde_json::from_slice(bytes)?;
    if (u64::from(VERSION)..=u64::from(latest)).contains(&versioned.version) {
        Ok(())
    } else {
        Err(RecordError::Version(versioned.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden bytes of version 1: what was written once must be read for ever.
    const GOLDEN: &str = concat!(
        r#"{"version":1,"time":1000,"entries":["#,
        r#"{"is":"inputs","names":["/u/stor/a"]},"#,
        r#"{"is":"input-ended"},"#,
        r#"{"is":"commit","work":{"item":0},"phase":0,"attempts":1,"#,
        r#""outputs":[{"name":"/u/stor/x","reducer":3,"reference":true}]},"#,
        r#"{"is":"commit","work":{"reducer":{"phase":1,"index":2}},"phase":1,"attempts":0,"#,
        r#""failure":{"phase":1,"error":{"code":"UserTaskError","#,
        r#""message":"user command exited with code 1"}}},"#,
        r#"{"is":"cancelled","errors":[],"tasks":0},{"is":"finished"},"#,
        r#"{"is":"archive-started"},{"is":"archive-done"}]}"#,
    );

    fn sample() -> Segment {
        Segment::new(
            Timestamp::from_millis(1000),
            vec![
                Entry::Inputs {
                    names: vec!["/u/stor/a".into()],
                },
                Entry::InputEnded,
                Entry::Commit(Commit {
                    work: Work::Item(0),
                    phase: 0,
                    attempts: 1,
                    outputs: vec![Output {
                        name: "/u/stor/x".into(),
                        reducer: Some(3),
                        reference: true,
                    }],
                    failure: None,
                    run: None,
                }),
                Entry::Commit(Commit {
                    work: Work::Reducer { phase: 1, index: 2 },
                    phase: 1,
                    attempts: 0,
                    outputs: vec![],
                    failure: Some(Failure {
                        phase: 1,
                        error: TaskError::new(
                            ErrorCode::UserTask,
                            "user command exited with code 1",
                        ),
                        input: None,
                        origin: None,
                        task: None,
                    }),
                    run: None,
                }),
                Entry::Cancelled {
                    errors: vec![],
                    tasks: 0,
                },
                Entry::Finished,
                Entry::ArchiveStarted,
                Entry::ArchiveDone,
            ],
        )
    }

    #[test]
    fn segments_keep_their_golden_bytes() {
        assert_eq!(String::from_utf8(sample().encode()).unwrap(), GOLDEN);
        assert_eq!(Segment::decode(GOLDEN.as_bytes()).unwrap(), sample());
    }

    /// Written since core files are stored; without them an error keeps the bytes it always had.
    #[test]
    fn an_error_with_a_core_keeps_its_golden_bytes() {
        const WITH_CORE: &str =
            r#"{"code":"UserTaskError","message":"m","stderr":"/e","core":"/c"}"#;
        let mut error = TaskError::new(ErrorCode::UserTask, "m");
        (error.stderr, error.core) = (Some("/e".to_owned()), Some("/c".to_owned()));
        assert_eq!(serde_json::to_string(&error).unwrap(), WITH_CORE);
        let failure = Failure {
            phase: 0,
            error: serde_json::from_str(WITH_CORE).unwrap(),
            input: None,
            origin: None,
            task: None,
        };
        assert_eq!(failure.error, error);
        assert_eq!(failure.to_json()["core"], "/c");
    }

    #[test]
    fn a_later_version_is_refused() {
        let later = GOLDEN.replace("\"version\":1", "\"version\":2");
        assert!(matches!(
            Segment::decode(later.as_bytes()),
            Err(RecordError::Version(2))
        ));
    }

    #[test]
    fn a_job_of_a_subuser_is_unreadable_to_programs_without_subusers() {
        const OF_ACCOUNT: &str = concat!(
            r#"{"version":1,"id":"5f1c1e6e-0000-4000-8000-000000000001","#,
            r#""owner":"5f1c1e6e-0000-4000-8000-000000000002","principal":{"#,
            r#""account":"5f1c1e6e-0000-4000-8000-000000000002","login":"alice","#,
            r#""operator":false,"from_job":true},"token":"t","#,
            r#""definition":{"name":"","transient":false,"phases":[]},"created":1000}"#,
        );
        let record = JobRecord::decode(OF_ACCOUNT.as_bytes()).unwrap();
        let mut principal = record.principal.clone();
        assert_eq!(principal.user, None);
        assert_eq!(JobRecord::version_for(&principal), 1);
        principal.roles.push(*record.owner.as_uuid());
        let version = JobRecord::version_for(&principal);
        assert_eq!(version, 2);
        let with_roles = JobRecord {
            version,
            principal,
            ..record
        };
        let again = JobRecord::decode(&with_roles.encode()).unwrap();
        assert_eq!(again, with_roles);
        let later = OF_ACCOUNT.replace("\"version\":1", "\"version\":3");
        assert!(JobRecord::decode(later.as_bytes()).is_err());
    }

    #[test]
    fn errors_read_as_documented() {
        let mut failure = Failure {
            phase: 0,
            error: TaskError::new(ErrorCode::ResourceNotFound, "no such object: \"/u/x\""),
            input: Some("/u/x".into()),
            origin: Some("/u/x".into()),
            task: None,
        };
        assert_eq!(failure.to_json()["what"], "phase 0: input \"/u/x\"");
        assert_eq!(failure.to_json()["phase"], "0");
        assert_eq!(failure.to_json()["code"], "ResourceNotFoundError");
        failure.phase = 1;
        failure.input = Some("/u/y".into());
        assert_eq!(
            failure.to_json()["what"],
            "phase 1: input \"/u/y\" (from job input \"/u/x\")"
        );
        failure.input = None;
        failure.origin = None;
        assert_eq!(failure.to_archived_json()["what"], "phase 1: reduce");
        assert_eq!(failure.to_archived_json()["phaseNum"], "1");
        assert!(failure.to_archived_json().get("phase").is_none());
    }
}

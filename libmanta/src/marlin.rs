//! The compute port: jobs as the front door hands them over, and their vocabulary.
//! Source: marlin.md sections 1, 2, 8.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mahi::Principal;
use crate::{AccountId, JobId, Timestamp};

/// Jobs, from their creation to their archive. A job is found by its account and its id; one that belongs
/// to another account does not exist.
#[async_trait]
pub trait Jobs: Send + Sync + fmt::Debug {
    /// Versions of the images that tasks can be run on here.
    async fn images(&self) -> Vec<String>;

    /// Records the job durably and starts it.
    async fn create(&self, job: NewJob) -> Result<JobId, JobError>;

    async fn status(&self, owner: AccountId, id: JobId) -> Result<JobStatus, JobError>;

    /// The status once the job is done, cancelled, or its input has ended since the call; after `at_most`, or
    /// when jobs shut down, as it is then. Of a job that is done, at once. Waiting costs next to nothing, and
    /// may be given up at any time.
    async fn wait(
        &self,
        owner: AccountId,
        id: JobId,
        at_most: Duration,
    ) -> Result<JobStatus, JobError>;

    /// Jobs of an account that are not done yet, newest first.
    async fn live(&self, owner: AccountId, filter: &JobFilter) -> Result<Vec<JobStatus>, JobError>;

    /// Adds input names, in order, as sent; they are checked when they are dispatched. With `last` the input ends
    /// with them, in the same instant.
    async fn add_inputs(
        &self,
        owner: AccountId,
        id: JobId,
        names: Vec<String>,
        last: bool,
    ) -> Result<(), JobError>;

    async fn end_input(&self, owner: AccountId, id: JobId) -> Result<(), JobError>;

    async fn cancel(&self, owner: AccountId, id: JobId) -> Result<(), JobError>;

    /// One of the job's lists, complete, in the order in which it grew; a line each, without newline.
    async fn list(
        &self,
        owner: AccountId,
        id: JobId,
        what: JobList,
    ) -> Result<BoxStream<'static, Result<String, JobError>>, JobError>;
}

#[derive(Clone, Debug)]
pub struct NewJob {
    pub owner: AccountId,
    /// Who the tasks act as.
    pub principal: Principal,
    /// Lets the tasks act as `principal`.
    pub token: String,
    pub definition: JobDefinition,
}

/// A valid job, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobDefinition {
    pub name: String,
    pub transient: bool,
    pub phases: Vec<Phase>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    #[serde(rename = "type")]
    pub kind: PhaseKind,
    pub exec: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<Vec<String>>,
    /// Reducers, 1 to 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u8>,
    /// Mebibytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// Gibibytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uarg: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Phase {
    /// A command, and for the rest what is usual.
    #[must_use]
    pub fn new(kind: PhaseKind, exec: &str) -> Self {
        Self {
            kind,
            exec: exec.to_owned(),
            init: None,
            assets: None,
            count: None,
            memory: None,
            disk: None,
            image: None,
            uarg: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhaseKind {
    Map,
    Reduce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Queued,
    Running,
    Done,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
        })
    }
}

/// The job as its owner sees it (`live/status`, `job.json`).
#[derive(Clone, Debug, PartialEq)]
pub struct JobStatus {
    pub id: JobId,
    pub definition: JobDefinition,
    pub state: JobState,
    pub cancelled: bool,
    /// No more inputs come; also true when cancelled.
    pub input_done: bool,
    pub stats: JobStats,
    pub time_created: Timestamp,
    pub time_done: Option<Timestamp>,
    pub time_archive_started: Option<Timestamp>,
    pub time_archive_done: Option<Timestamp>,
}

impl JobStatus {
    /// The document of rest-api.md section 6.3.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut doc = serde_json::json!({
            "id": self.id.to_string(),
            "name": self.definition.name,
            "state": self.state,
            "cancelled": self.cancelled,
            "inputDone": self.input_done,
            "transient": self.definition.transient,
            "stats": self.stats,
            "timeCreated": self.time_created.to_iso(),
            "phases": self.definition.phases,
        });
        let times = [
            ("timeDone", self.time_done),
            ("timeArchiveStarted", self.time_archive_started),
            ("timeArchiveDone", self.time_archive_done),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                doc[name] = time.to_iso().into();
            }
        }
        if let Some(options) = &self.definition.options {
            doc["options"] = options.clone().into();
        }
        doc
    }
}

/// Source: marlin.md section 1.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobStats {
    pub errors: u64,
    pub outputs: u64,
    pub retries: u64,
    /// Tasks dispatched, retries included.
    pub tasks: u64,
    pub tasks_done: u64,
}

#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub name: Option<String>,
    pub state: Option<JobState>,
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobList {
    Inputs,
    Outputs,
    /// Original inputs of the errors.
    Failures,
    /// JSON documents of marlin.md section 8.2.
    Errors,
    /// JSON documents, one for each task that ended and each input that was refused.
    Tasks,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JobError {
    #[error("no such job")]
    NotFound,
    /// The state as the message names it: `done`, `cancelled` or `inputDone`.
    #[error("job {id} is in state '{state}'")]
    InvalidState { id: JobId, state: &'static str },
    #[error("jobs are not available here: {reason}")]
    Unavailable { reason: String },
}

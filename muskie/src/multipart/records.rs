//! The records of an upload, and where they lie. JSON with a version first, like all records of the services.
//! What each of them is for says `multipart.rs`.

use libmanta::moray::RecordKey;
use libmanta::{AccountId, ObjectId, ObjectKey, StorageId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::upload_id::UploadId;

/// Bucket of the uploads; route: the directory of the parts.
pub(crate) const UPLOADS: &str = "multipart_uploads";
/// Bucket of the gates; route: the directory of the parts.
pub(crate) const GATES: &str = "multipart_gates";
/// Bucket of the outcomes; route: where the target's entry lies.
pub(crate) const OUTCOMES: &str = "multipart_outcomes";

const VERSION: u8 = 1;

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Upload {
    v: u8,
    pub(crate) id: String,
    /// In whose `uploads` it is; all copies lie below this account.
    pub(crate) owner: AccountId,
    /// As the client gave it.
    pub(crate) object_path: String,
    pub(crate) object_key: ObjectKey,
    /// As the client gave them, names in lower case.
    pub(crate) headers: Map<String, Value>,
    pub(crate) copies: u8,
    pub(crate) content_length: Option<u64>,
    /// Base64, or whatever was sent for it.
    pub(crate) content_md5: Option<String>,
    /// Where all copies go.
    pub(crate) sharks: Vec<StorageId>,
    /// What the first attempt to commit calls the object.
    pub(crate) object_id: ObjectId,
    pub(crate) created: Timestamp,
    pub(crate) state: State,
}

/// What the client sees of an upload's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(crate) enum State {
    Created,
    Committing {
        parts: PartsSummary,
        /// It can never succeed, so it may be aborted.
        refused: bool,
    },
    Aborting,
    Committed {
        parts: PartsSummary,
        /// Base64, of the whole object.
        md5: String,
        at: Timestamp,
    },
    Aborted {
        at: Timestamp,
    },
}

/// Stands for a list of etags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartsSummary {
    /// Base64 MD5 of the etags, one after the other.
    pub(crate) md5: String,
    pub(crate) count: usize,
}

/// How an upload ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    v: u8,
    /// Where the upload is, so that an outcome without one can be told.
    pub(crate) parts_directory: ObjectKey,
    pub(crate) result: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub(crate) enum Verdict {
    Pending,
    Committed { parts: PartsSummary, md5: String },
    Aborted,
}

/// What is there of an upload that is being ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gate {
    v: u8,
    pub(crate) since: Timestamp,
}

/// Why bytes are not a record.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    #[error("it has version {0}")]
    Version(u8),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Upload {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, with what it consists of"
    )]
    pub(crate) fn new(
        id: UploadId,
        owner: AccountId,
        object: (String, ObjectKey),
        headers: Map<String, Value>,
        copies: u8,
        content_length: Option<u64>,
        content_md5: Option<String>,
        sharks: Vec<StorageId>,
        created: Timestamp,
    ) -> Self {
        Self {
            v: VERSION,
            id: id.to_string(),
            owner,
            object_path: object.0,
            object_key: object.1,
            headers,
            copies,
            content_length,
            content_md5,
            sharks,
            object_id: ObjectId::random(),
            created,
            state: State::Created,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        decode(bytes, |upload: &Self| upload.v)
    }

    pub(crate) fn with(&self, state: State) -> Self {
        Self {
            state,
            ..self.clone()
        }
    }

    /// Open again after a commit. Whoever tried that may still be at work under the old id.
    pub(crate) fn opened_again(self) -> Self {
        Self {
            object_id: ObjectId::random(),
            ..self
        }
    }

    /// The key of its outcome.
    pub(crate) fn outcome(&self) -> RecordKey {
        RecordKey {
            bucket: OUTCOMES.to_owned(),
            route: self.object_key.entry_route().to_owned(),
            key: self.id.clone(),
        }
    }
}

impl Outcome {
    pub(crate) fn new(parts_directory: ObjectKey, result: Verdict) -> Self {
        Self {
            v: VERSION,
            parts_directory,
            result,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        decode(bytes, |outcome: &Self| outcome.v)
    }
}

impl Gate {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self { v: VERSION, since }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

/// The key of the upload with this directory.
pub(crate) fn upload_key(parts_directory: &ObjectKey) -> RecordKey {
    beside(UPLOADS, parts_directory)
}

/// The key of its gate.
pub(crate) fn gate_key(parts_directory: &ObjectKey) -> RecordKey {
    beside(GATES, parts_directory)
}

/// In the shard of the parts.
fn beside(bucket: &str, parts_directory: &ObjectKey) -> RecordKey {
    RecordKey {
        bucket: bucket.to_owned(),
        route: parts_directory.row_route().to_owned(),
        key: parts_directory.name().to_owned(),
    }
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record has only text keys: its types say so")
}

fn decode<T: for<'a> Deserialize<'a>>(
    bytes: &[u8],
    version: impl Fn(&T) -> u8,
) -> Result<T, RecordError> {
    let record: T = serde_json::from_slice(bytes)?;
    match version(&record) {
        VERSION => Ok(record),
        other => Err(RecordError::Version(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "bc8cd146-fecb-11e1-bd8a-bb6f54b49808";
    const DIRECTORY: &str =
        "/bc8cd146-fecb-11e1-bd8a-bb6f54b49808/uploads/3/3f2a8b4c-0000-4000-8000-0000000000a1";

    fn directory() -> ObjectKey {
        ObjectKey::parse(DIRECTORY).unwrap()
    }

    fn summary() -> PartsSummary {
        PartsSummary {
            md5: "1B2M2Y8AsgTpgAmY7PhCfg==".into(),
            count: 0,
        }
    }

    /// Version 1, for ever.
    #[test]
    fn golden_uploads() {
        let golden = |state: &str| {
            format!(
                "{{\"v\":1,\"id\":\"3f2a8b4c-0000-4000-8000-0000000000a1\",\"owner\":\"{OWNER}\",\
                 \"objectPath\":\"/alice/stor/a%20b\",\"objectKey\":\"/{OWNER}/stor/a b\",\
                 \"headers\":{{\"m-x\":\"1\",\"content-length\":9}},\"copies\":2,\"contentLength\":9,\
                 \"contentMd5\":null,\"sharks\":[\"1.stor\",\"2.stor\"],\
                 \"objectId\":\"9253bed5-6f7f-4b13-8b25-21392bfa6426\",\"created\":7,\"state\":{state}}}"
            )
        };
        let mut upload = Upload::new(
            UploadId::parse("3f2a8b4c-0000-4000-8000-0000000000a1").unwrap(),
            OWNER.parse().unwrap(),
            (
                "/alice/stor/a%20b".into(),
                ObjectKey::parse(&format!("/{OWNER}/stor/a b")).unwrap(),
            ),
            serde_json::from_str("{\"m-x\":\"1\",\"content-length\":9}").unwrap(),
            2,
            Some(9),
            None,
            vec![StorageId::new("1.stor"), StorageId::new("2.stor")],
            Timestamp::from_millis(7),
        );
        upload.object_id = "9253bed5-6f7f-4b13-8b25-21392bfa6426".parse().unwrap();
        let parts = "\"parts\":{\"md5\":\"1B2M2Y8AsgTpgAmY7PhCfg==\",\"count\":0}";
        for (state, text) in [
            (State::Created, "{\"state\":\"created\"}".to_owned()),
            (
                State::Committing {
                    parts: summary(),
                    refused: false,
                },
                format!("{{\"state\":\"committing\",{parts},\"refused\":false}}"),
            ),
            (State::Aborting, "{\"state\":\"aborting\"}".to_owned()),
            (
                State::Committed {
                    parts: summary(),
                    md5: "x".into(),
                    at: Timestamp::from_millis(8),
                },
                format!("{{\"state\":\"committed\",{parts},\"md5\":\"x\",\"at\":8}}"),
            ),
            (
                State::Aborted {
                    at: Timestamp::from_millis(8),
                },
                "{\"state\":\"aborted\",\"at\":8}".to_owned(),
            ),
        ] {
            let upload = upload.with(state);
            assert_eq!(String::from_utf8(upload.encode()).unwrap(), golden(&text));
            assert_eq!(Upload::decode(golden(&text).as_bytes()).unwrap(), upload);
        }
    }

    /// Version 1, for ever.
    #[test]
    fn golden_outcomes_and_gates() {
        let parts = "\"parts\":{\"md5\":\"1B2M2Y8AsgTpgAmY7PhCfg==\",\"count\":0}";
        for (verdict, text) in [
            (Verdict::Pending, "{\"verdict\":\"pending\"}".to_owned()),
            (Verdict::Aborted, "{\"verdict\":\"aborted\"}".to_owned()),
            (
                Verdict::Committed {
                    parts: summary(),
                    md5: "x".into(),
                },
                format!("{{\"verdict\":\"committed\",{parts},\"md5\":\"x\"}}"),
            ),
        ] {
            let golden =
                format!("{{\"v\":1,\"partsDirectory\":\"{DIRECTORY}\",\"result\":{text}}}");
            let outcome = Outcome::new(directory(), verdict);
            assert_eq!(String::from_utf8(outcome.encode()).unwrap(), golden);
            assert_eq!(Outcome::decode(golden.as_bytes()).unwrap(), outcome);
        }
        assert_eq!(
            Gate::new(Timestamp::from_millis(7)).encode(),
            b"{\"v\":1,\"since\":7}"
        );
    }

    #[test]
    fn newer_records_are_refused() {
        let newer = format!(
            "{{\"v\":2,\"partsDirectory\":\"{DIRECTORY}\",\"result\":{{\"verdict\":\"pending\"}}}}"
        );
        assert!(matches!(
            Outcome::decode(newer.as_bytes()),
            Err(RecordError::Version(2))
        ));
        assert!(Upload::decode(b"{}").is_err());
    }
}

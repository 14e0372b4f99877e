//! Jobs and uploads in parts: what they are made of, and what cannot be done to them any more.

use serde_json::json;

use super::{Row, Stage, asks, row};
use crate::client::Request;
use crate::medusa;
use crate::upload::creation;

const CODE: &str = "MultipartUploadInvalidArgument";

fn create_job(stage: &Stage, body: impl Into<Vec<u8>>) -> Request {
    let request = Request::new("POST", "/alice/jobs").header("content-type", "application/json");
    stage.by_alice(request.body(body))
}

/// To a job of alice's.
fn post(stage: &Stage, job: &str, what: &str, body: String) -> Request {
    let request = Request::new("POST", &format!("{job}/live/{what}"));
    stage.by_alice(request.header("content-type", "text/plain").body(body))
}

fn commit(stage: &Stage, body: impl Into<Vec<u8>>) -> Request {
    let path = format!("{}/commit", stage.upload.directory);
    stage.by_alice(Request::new("POST", &path).body(body))
}

pub(super) const ROWS: &[Row<Stage>] = &[
    row(400, "InvalidJob", "(the reason)", |stage| {
        [
            (json!(null), "job must not be null"),
            (
                json!({"phases": [null]}),
                "property \"phases[0]\": must not be null",
            ),
            (
                json!({"phases": [{"exec": "x"}], "options": {}}),
                "property \"options\": unsupported property",
            ),
        ]
        .map(|(definition, message)| asks(create_job(stage, definition.to_string()), message))
        .into()
    }),
    row(400, "InvalidContent", "Invalid JSON: {reason}", |stage| {
        let message = "Invalid JSON: EOF while parsing an object at line 1 column 1";
        let upload = Request::new("POST", "/alice/uploads")
            .header("content-type", "application/json")
            .body("{");
        vec![
            asks(create_job(stage, "{"), message),
            asks(stage.by_alice(upload), message),
            asks(commit(stage, "{"), message),
        ]
    }),
    row(
        413,
        "PayloadTooLarge",
        "Request body size exceeds {limit}",
        |stage| {
            let upload = Request::new("POST", "/alice/uploads")
                .header("content-type", "application/json")
                .body(" ".repeat(100_001));
            vec![
                asks(
                    create_job(stage, " ".repeat(100_001)),
                    "Request body size exceeds 100000",
                ),
                asks(stage.by_alice(upload), "Request body size exceeds 100000"),
                asks(
                    commit(stage, " ".repeat(500_001)),
                    "Request body size exceeds 500000",
                ),
            ]
        },
    ),
    row(
        400,
        "BadRequest",
        "the name of an input cannot exceed {limit} bytes",
        |stage| {
            let request = post(stage, &stage.open_job, "in", "x".repeat(20_000));
            let message = "the name of an input cannot exceed 16384 bytes";
            vec![asks(request, message)]
        },
    ),
    row(
        409,
        "InvalidJobState",
        "job {id} is in state '{state}'",
        |stage| {
            let job = &stage.ended_job;
            let id = job.rsplit('/').next().unwrap();
            let request = post(stage, job, "in", "/alice/stor/o\n".to_owned());
            vec![asks(request, format!("job {id} is in state 'inputDone'"))]
        },
    ),
    row(409, CODE, "cannot create upload: {reason}", |stage| {
        [
            (json!([]), "data should be object"),
            (json!({}), "data should have required property 'objectPath'"),
            (json!({"objectPath": 7}), "data.objectPath should be string"),
        ]
        .map(|(body, reason)| {
            let request = stage.by_alice(creation("alice", &body));
            asks(request, format!("cannot create upload: {reason}"))
        })
        .into()
    }),
    row(409, CODE, "upload {upload}: {reason}", |stage| {
        let (id, directory) = (&stage.upload.id, &stage.upload.directory);
        let part = |number: &str| Request::new("PUT", &format!("{directory}/{number}")).body("x");
        let mut all = Vec::new();
        for name in ["durability-level", "x-durability-level"] {
            let reason = "cannot change durability level for multipart uploads";
            let request = stage.by_alice(part("0").header(name, "2"));
            all.push(asks(request, format!("upload {id}: {reason}")));
        }
        for odd in ["00", "1.5", "-1", "foo", "commit", "10000"] {
            let message = format!("upload {directory}: {odd} is not a valid part number");
            all.push(asks(stage.by_alice(part(odd)), message));
        }
        let bogus = commit(stage, json!({"parts": ["bogus"]}).to_string());
        let message = format!("upload {id}: [part 0] invalid etag \"bogus\"");
        all.push(asks(bogus, message));
        all
    }),
    row(
        409,
        "InvalidMultipartUploadState",
        "upload {upload}: {reason}",
        |stage| {
            let aborted = &stage.aborted;
            let part = Request::new("PUT", &format!("{}/0", aborted.directory)).body("x");
            let commit = aborted.commit_request(&[]);
            vec![
                asks(
                    stage.by_alice(part),
                    format!("upload {}: already finalized", aborted.id),
                ),
                asks(
                    stage.by_alice(commit),
                    format!("upload {}: already aborted", aborted.id),
                ),
            ]
        },
    ),
    row(
        400,
        "ExpectedUpgrade",
        "{path} requires a Websocket Upgrade",
        |stage| {
            let path = medusa::path(&stage.open_job, "master");
            let message = format!("{path} requires a Websocket Upgrade");
            let version = medusa::upgrade(&path).header("sec-websocket-version", "8");
            let other = Request::new("GET", &path)
                .header("connection", "upgrade")
                .header("upgrade", "h2c");
            let without = [Request::new("GET", &path), version, other];
            without
                .map(|request| asks(stage.by_alice(request), message.clone()))
                .into()
        },
    ),
    row(
        409,
        "EntityAlreadyExists",
        "{path} already exists",
        |stage| {
            let path = medusa::path(&stage.attached_job, "master");
            let request = stage.by_alice(medusa::upgrade(&path));
            vec![asks(request, format!("{path} already exists"))]
        },
    ),
];

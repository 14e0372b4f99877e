//! What a client may ask about an upload without changing it. Source: rest-api.md sections 5.2, 5.5.

use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Map, Value};

use super::ledger::{self, Seen};
use super::part::part_number;
use super::records::State;
use super::upload_id::UploadId;
use crate::errors::{Error, Result};
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::storage::Request;

pub(crate) async fn document(request: &Request<'_>, id: UploadId) -> Result<Reply> {
    let seen = find(request, id).await?;
    let text = describe(&seen, &id.path(&request.owner.login)).to_string();
    Ok(Reply::document(StatusCode::OK, "application/json", text))
}

/// The upload, which must be there.
pub(crate) async fn find(request: &Request<'_>, id: UploadId) -> Result<Seen> {
    let directory = request.parts_directory(id)?;
    let seen = ledger::upload(&*request.server.moray, &directory).await?;
    seen.ok_or_else(|| request.not_found())
}

/// The order of the members is the documented one.
fn describe(seen: &Seen, parts_directory: &str) -> Value {
    let upload = &seen.upload;
    let mut document = Map::new();
    let mut set = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
    let (state, kind, result, summary) = match &upload.state {
        State::Created => ("created", None, None, None),
        State::Committing { parts, .. } => ("finalizing", Some("commit"), None, Some(parts)),
        State::Aborting => ("finalizing", Some("abort"), None, None),
        State::Committed { parts, .. } => ("done", None, Some("committed"), Some(parts)),
        State::Aborted { .. } => ("done", None, Some("aborted"), None),
    };
    set("id", upload.id.as_str().into());
    set("state", state.into());
    if let Some(kind) = kind {
        set("type", kind.into());
    }
    match result {
        Some(result) => set("result", result.into()),
        None => set("partsDirectory", parts_directory.into()),
    }
    set("targetObject", upload.object_path.as_str().into());
    set("headers", upload.headers.clone().into());
    set("numCopies", upload.copies.into());
    set("creationTimeMs", upload.created.as_millis().into());
    if let Some(parts) = summary {
        set("partsMD5Summary", parts.md5.as_str().into());
    }
    Value::Object(document)
}

/// From the bare id to the directory; clients use the location as it is.
pub(crate) async fn redirect(
    request: &Request<'_>,
    id: UploadId,
    part: Option<&str>,
) -> Result<Reply> {
    find(request, id).await?;
    let mut location = id.path(&request.owner.login);
    if let Some(part) = part {
        if part_number(part, request.server.config.parts_max()).is_none() {
            return Err(Error::NotFound {
                path: format!("part num {part}"),
            });
        }
        location.push('/');
        location.push_str(part);
    }
    let mut reply = Reply::empty(StatusCode::MOVED_PERMANENTLY);
    reply.set_text(LOCATION, &location);
    Ok(reply)
}

/// A `PUT` of the directory, which clients that make all levels of a path send. It is there already, and
/// nothing about it can be changed.
pub(crate) async fn refresh(
    request: &Request<'_>,
    id: UploadId,
    body: &mut RequestBody,
) -> Result<Reply> {
    find(request, id).await?;
    body.discard().await?;
    Ok(Reply::no_content())
}

#[cfg(test)]
mod tests {
    use libmanta::{ObjectKey, StorageId, Timestamp};

    use super::super::records::{PartsSummary, Upload};
    use super::*;

    #[test]
    fn documents_are_as_documented() {
        let owner = "bc8cd146-fecb-11e1-bd8a-bb6f54b49808".parse().unwrap();
        let id = UploadId::parse("3f2a8b4c-0000-4000-8000-0000000000a1").unwrap();
        let key = |names: &[&str]| ObjectKey::new(owner, names.iter().copied()).unwrap();
        let upload = Upload::new(
            id,
            owner,
            ("/al/stor/x".into(), key(&["stor", "x"])),
            serde_json::from_str("{\"m-x\":\"1\"}").unwrap(),
            2,
            None,
            None,
            vec![StorageId::new("1")],
            Timestamp::from_millis(7),
        );
        let parts = || PartsSummary {
            md5: "s==".into(),
            count: 1,
        };
        let at = Timestamp::from_millis(8);
        let directory = "/al/uploads/3/3f2a8b4c-0000-4000-8000-0000000000a1";
        let rest = "\"targetObject\":\"/al/stor/x\",\"headers\":{\"m-x\":\"1\"},\"numCopies\":2,\
                    \"creationTimeMs\":7";
        let there = format!("\"partsDirectory\":\"{directory}\",{rest}");
        let summary = "\"partsMD5Summary\":\"s==\"";
        let refused = false;
        for (state, expected) in [
            (State::Created, format!("\"state\":\"created\",{there}")),
            (
                State::Committing {
                    parts: parts(),
                    refused,
                },
                format!("\"state\":\"finalizing\",\"type\":\"commit\",{there},{summary}"),
            ),
            (
                State::Aborting,
                format!("\"state\":\"finalizing\",\"type\":\"abort\",{there}"),
            ),
            (
                State::Committed {
                    parts: parts(),
                    md5: "m".into(),
                    at,
                },
                format!("\"state\":\"done\",\"result\":\"committed\",{rest},{summary}"),
            ),
            (
                State::Aborted { at },
                format!("\"state\":\"done\",\"result\":\"aborted\",{rest}"),
            ),
        ] {
            let seen = Seen::for_test(key(&["uploads", "3", &id.to_string()]), upload.with(state));
            assert_eq!(
                describe(&seen, directory).to_string(),
                format!("{{\"id\":\"{id}\",{expected}}}")
            );
        }
    }
}

//! What a path below `/:login/uploads` and a method mean. Source: rest-api.md section 5.2.
//!
//! The same number of segments may be an upload's directory below its prefix, or a part below the bare id;
//! what the first one looks like decides, before anything is looked up.

use http::Method;
use uuid::Uuid;

use super::upload_id::UploadId;
use crate::config::{Config, Surface};
use crate::content_type::{self, Kind};
use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::operation::{UploadOperation, Verb};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UploadRoute {
    /// An ordinary request for the directories above the parts.
    Tree(Verb),
    Create,
    /// Well formed, and about nothing that can exist.
    Nowhere,
    /// From the bare id to the directory, of the upload or of one part.
    Redirect {
        id: UploadId,
        part: Option<String>,
    },
    /// A `PUT` of the directory that is there already.
    Refresh {
        upload: UploadId,
    },
    State {
        upload: UploadId,
    },
    Commit {
        upload: UploadId,
    },
    Abort {
        upload: UploadId,
    },
    PutPart {
        upload: UploadId,
        /// As sent.
        number: String,
    },
    HeadPart {
        upload: UploadId,
        number: String,
    },
    /// An operator takes a part away.
    DeletePart {
        upload: UploadId,
    },
    /// An operator takes the directory away.
    Delete {
        upload: UploadId,
    },
}

/// `path` begins with login and `uploads`.
pub(crate) fn resolve(
    head: &Head,
    path: &[&str],
    config: &Config,
) -> Result<(UploadOperation, UploadRoute)> {
    let below = path.get(2..).unwrap_or_default();
    let deletes = config.surface == Surface::Manta
        && head.query.get("allowMpuDeletes") == Some("true")
        && head.method == Method::DELETE;
    match below {
        [] => Ok(root(head)),
        [first] if is_uuid(first) => bare(head, first, None),
        [first, part] if is_uuid(first) => bare(head, first, Some(part)),
        [prefix_name] => prefix(head, prefix_name),
        [prefix, id] => directory(head, prefix, id, deletes),
        [prefix, id, name] => within(
            head,
            UploadId::parse(id).filter(|id| id.prefix() == *prefix),
            name,
            deletes,
        ),
        // No line of the table is that long.
        _ => Ok((UploadOperation::List, UploadRoute::Nowhere)),
    }
}

fn is_uuid(segment: &str) -> bool {
    segment.len() == 36 && Uuid::try_parse(segment).is_ok()
}

fn root(head: &Head) -> (UploadOperation, UploadRoute) {
    let verb = match head.method {
        Method::POST => return (UploadOperation::Create, UploadRoute::Create),
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        Method::DELETE => Verb::Delete,
        Method::OPTIONS => Verb::Options,
        _ => match content_type::kind(head.header("content-type").as_deref()) {
            Kind::Directory => Verb::PutDirectory,
            _ if head.query.non_empty("metadata").is_some() => Verb::PutMetadata,
            _ => Verb::PutObject,
        },
    };
    let operation = match verb {
        Verb::Get | Verb::Head => UploadOperation::List,
        _ => UploadOperation::Change,
    };
    (operation, UploadRoute::Tree(verb))
}

/// `/uploads/<id>` and `/uploads/<id>/<n>`.
fn bare(head: &Head, id: &str, part: Option<&str>) -> Result<(UploadOperation, UploadRoute)> {
    refuse_unless(
        head,
        &["GET", "HEAD", "POST", "PUT"],
        "GET, HEAD, POST, PUT",
    )?;
    let route = match UploadId::parse(id) {
        Some(id) => UploadRoute::Redirect {
            id,
            part: part.map(String::from),
        },
        None => UploadRoute::Nowhere,
    };
    Ok((UploadOperation::Redirect, route))
}

/// `/uploads/<prefix>`. An escaped slash would make it the path of something else.
fn prefix(head: &Head, prefix: &str) -> Result<(UploadOperation, UploadRoute)> {
    let is_prefix =
        (1..=4).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_prefix && matches!(head.method, Method::GET | Method::HEAD) {
        return Ok((UploadOperation::List, UploadRoute::Nowhere));
    }
    Ok(match head.method {
        Method::GET => (UploadOperation::List, UploadRoute::Tree(Verb::Get)),
        Method::HEAD => (UploadOperation::List, UploadRoute::Tree(Verb::Head)),
        // Whoever meant an upload has the id wrong.
        Method::PUT | Method::POST => (UploadOperation::Redirect, UploadRoute::Nowhere),
        _ => return Err(not_allowed(head, "GET, HEAD, POST, PUT")),
    })
}

/// `/uploads/<prefix>/<id>`.
fn directory(
    head: &Head,
    prefix: &str,
    id: &str,
    deletes: bool,
) -> Result<(UploadOperation, UploadRoute)> {
    if head.method != Method::DELETE || !deletes {
        refuse_unless(head, &["GET", "HEAD", "PUT"], "GET, HEAD, PUT")?;
    }
    let Some(upload) = UploadId::parse(id).filter(|id| id.prefix() == prefix) else {
        return Ok((UploadOperation::List, UploadRoute::Nowhere));
    };
    Ok(match head.method {
        Method::GET => (UploadOperation::List, UploadRoute::Tree(Verb::Get)),
        Method::HEAD => (UploadOperation::List, UploadRoute::Tree(Verb::Head)),
        Method::DELETE => (UploadOperation::Delete, UploadRoute::Delete { upload }),
        _ => (UploadOperation::Change, UploadRoute::Refresh { upload }),
    })
}

/// `/uploads/<prefix>/<id>/<name>`; `upload` is `None` where id and prefix make no sense.
fn within(
    head: &Head,
    upload: Option<UploadId>,
    name: &str,
    deletes: bool,
) -> Result<(UploadOperation, UploadRoute)> {
    let route = |make: fn(UploadId) -> UploadRoute| upload.map_or(UploadRoute::Nowhere, make);
    let part = |make: fn(UploadId, String) -> UploadRoute| {
        upload.map_or(UploadRoute::Nowhere, |upload| make(upload, name.to_owned()))
    };
    match name {
        "state" => {
            refuse_unless(head, &["GET"], "GET")?;
            let state = route(|upload| UploadRoute::State { upload });
            return Ok((UploadOperation::State, state));
        }
        "commit" if head.method == Method::POST => {
            let commit = route(|upload| UploadRoute::Commit { upload });
            return Ok((UploadOperation::Commit, commit));
        }
        "abort" if head.method == Method::POST => {
            let abort = route(|upload| UploadRoute::Abort { upload });
            return Ok((UploadOperation::Abort, abort));
        }
        // A `PUT` reads as one of a part of that name.
        "commit" | "abort" if head.method != Method::PUT => {
            return Err(not_allowed(head, "POST"));
        }
        _ => {}
    }
    Ok(match head.method {
        Method::PUT => (
            UploadOperation::PutPart,
            part(|upload, number| UploadRoute::PutPart { upload, number }),
        ),
        Method::HEAD | Method::GET => (
            UploadOperation::HeadPart,
            part(|upload, number| UploadRoute::HeadPart { upload, number }),
        ),
        Method::DELETE if deletes && upload.is_some() => (
            UploadOperation::Delete,
            route(|upload| UploadRoute::DeletePart { upload }),
        ),
        _ => return Err(not_allowed(head, "HEAD, PUT")),
    })
}

fn refuse_unless(head: &Head, methods: &[&str], allow: &'static str) -> Result<()> {
    if methods.contains(&head.method.as_str()) {
        Ok(())
    } else {
        Err(not_allowed(head, allow))
    }
}

fn not_allowed(head: &Head, allow: &'static str) -> Error {
    Error::MethodNotAllowed {
        method: head.method.to_string(),
        allow,
    }
}

//! `GET` and `HEAD` of an object. Source: rest-api.md sections 3.5 to 3.7.

use std::ops::Range;

use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName,
};
use http::{HeaderValue, Method, StatusCode};
use libmanta::{Entry, Object};

use crate::conditions::{self, OnRead};
use crate::content_type;
use crate::copies::ObjectReader;
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::ranges;
use crate::reply::{CONTENT_MD5, Reply, base64_value};
use crate::response_body::Content;
use crate::roles;
use crate::storage::{Request, Target};
use crate::stored_headers;

static DURABILITY_LEVEL: HeaderName = HeaderName::from_static("durability-level");

/// How often an object may be replaced while we try to open it before we give up.
const LOOKUPS_MAX: usize = 4;

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
) -> Result<Reply> {
    let gone = || Error::NotFound {
        path: request.path(),
    };
    let mut entry = target.entry.ok_or_else(gone)?;
    for _ in 0..LOOKUPS_MAX {
        exchange.found(Some(&entry));
        let object = entry.object().ok_or_else(gone)?;
        exchange.object_id = Some(object.object_id);
        if let Some(reply) = respond(request, &entry, object, exchange).await? {
            return Ok(reply);
        }
        // No copy can be read. That is as it should be if the object was replaced meanwhile and its bytes
        // collected; then the new one is the answer.
        let seen = object.object_id;
        let now = request
            .server
            .moray
            .lookup(&target.key)
            .await?
            .entry
            .ok_or_else(gone)?;
        if now.object().is_some_and(|object| object.object_id == seen) {
            tracing::error!(object_id = %seen, key = %target.key, "no copy can be read");
            return Err(Error::StorageExhausted);
        }
        entry = now;
    }
    Err(Error::StorageExhausted)
}

/// `None` if no copy can be read.
async fn respond(
    request: &Request<'_>,
    entry: &Entry,
    object: &Object,
    exchange: &mut Exchange,
) -> Result<Option<Reply>> {
    let head = request.head;
    if let Err(failed) = conditions::parse(&head.headers).check(Some(entry)) {
        return match conditions::on_read(failed) {
            OnRead::NotModified => Ok(Some(Reply::empty(StatusCode::NOT_MODIFIED))),
            OnRead::Refused(error) => Err(error),
        };
    }
    if !content_type::acceptable(head.header("accept").as_deref(), &object.content_type) {
        let content_type = object.content_type.clone();
        return Err(Error::NotAcceptable {
            path: request.path(),
            content_type,
        });
    }
    let mut reply = Reply::empty(StatusCode::OK);
    stored_headers::restore(&entry.headers, head, &mut reply.headers);
    roles::show(request.server, entry, &mut reply).await?;
    reply.set(
        DURABILITY_LEVEL.clone(),
        HeaderValue::from(object.copies.len()),
    );
    reply.set_text(CONTENT_TYPE, &object.content_type);
    if let Some(disposition) = &object.content_disposition {
        reply.set_text(CONTENT_DISPOSITION, disposition);
    }
    if head.method == Method::HEAD {
        whole(&mut reply, object);
        return Ok(Some(reply));
    }
    let range = match ranges::parse(head.header("range").as_deref(), object.size_bytes)? {
        Some(range) => {
            part(&mut reply, object, &range);
            range
        }
        None => {
            whole(&mut reply, object);
            reply.set(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            0..object.size_bytes
        }
    };
    if range.is_empty() {
        return Ok(Some(reply));
    }
    let length = range.end - range.start;
    let Ok(mut reader) = ObjectReader::open(request.server, object, range).await else {
        return Ok(None);
    };
    if reader.is_small() {
        let Ok(bytes) = reader.read_all().await else {
            return Ok(None);
        };
        exchange.sharks = vec![reader.storage_id().clone()];
        reply.content = Content::Full(bytes);
    } else {
        exchange.sharks = vec![reader.storage_id().clone()];
        reply.content = Content::Stream(reader.into_stream(), Some(length));
    }
    Ok(Some(reply))
}

fn whole(reply: &mut Reply, object: &Object) {
    reply.set(CONTENT_LENGTH, HeaderValue::from(object.size_bytes));
    reply.set(CONTENT_MD5.clone(), base64_value(&object.md5));
}

/// The MD5 is that of the whole and would only mislead.
fn part(reply: &mut Reply, object: &Object, range: &Range<u64>) {
    reply.status = StatusCode::PARTIAL_CONTENT;
    reply.set(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    let text = format!(
        "bytes {}-{}/{}",
        range.start,
        range.end - 1,
        object.size_bytes
    );
    reply.set_text(CONTENT_RANGE, &text);
}

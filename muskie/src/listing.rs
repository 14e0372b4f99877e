//! Listing a directory: one line of JSON for each entry, written by hand into chunks while they are sent.
//! Source: rest-api.md section 2.3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use libmanta::moray::{List, Only, Order};
use libmanta::{Entry, EntryKind, Timestamp};

use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::json;
use crate::query::Query;
use crate::reply::Reply;
use crate::response_body::Content;
use crate::roles;
use crate::storage::{Request, Target};
use crate::stored_headers;

pub(crate) const DIRECTORY_TYPE: &str = "application/x-json-stream; type=directory";
pub(crate) static RESULT_SET_SIZE: HeaderName = HeaderName::from_static("result-set-size");

const LIMIT_DEFAULT: usize = 256;
const LIMIT_MAX: usize = 1024;

/// A chunk of lines is sent when it is longer than this.
pub(crate) const CHUNK_BYTES: usize = 48 << 10;

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
) -> Result<Reply> {
    let head = request.head;
    check_operator_parameters(request)?;
    let head_only = head.method == Method::HEAD;
    exchange.lists = !head_only;
    let list = List {
        directory: target.key,
        order: order(&head.query)?,
        limit: if head_only { 1 } else { limit(&head.query)? },
        only: only(&head.query),
    };
    let page = request.server.moray.list(&list).await;
    let page =
        page.map_err(|error| Error::from_namespace(error, head.method.as_str(), &head.path))?;
    let mut reply = Reply::empty(StatusCode::OK);
    if let Some(directory) = &page.directory {
        exchange.found(Some(directory));
        stored_headers::restore(&directory.headers, head, &mut reply.headers);
        roles::show(request.server, directory, &mut reply).await?;
    }
    reply.set(CONTENT_TYPE, HeaderValue::from_static(DIRECTORY_TYPE));
    reply.set(
        RESULT_SET_SIZE.clone(),
        HeaderValue::from(page.entries_total),
    );
    if !head_only {
        let mut entries = page.entries.into_iter();
        let chunks = std::iter::from_fn(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + (4 << 10));
            while chunk.len() < CHUNK_BYTES {
                let Some(entry) = entries.next() else { break };
                row(&mut chunk, &entry, None);
            }
            (!chunk.is_empty()).then(|| Ok(Bytes::from(chunk)))
        });
        reply.content = Content::Stream(futures_util::stream::iter(chunks).boxed(), None);
    }
    Ok(reply)
}

fn check_operator_parameters(request: &Request<'_>) -> Result<()> {
    if request.is_operator() {
        return Ok(());
    }
    let query = &request.head.query;
    let used: Vec<_> = [("sort", "none"), ("skip_owner_check", "true")]
        .into_iter()
        .filter(|(name, value)| query.get(name) == Some(value))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if used.is_empty() {
        return Ok(());
    }
    Err(Error::QueryParameterForbidden {
        parameters: used.join(", "),
    })
}

fn limit(query: &Query) -> Result<usize> {
    let Some(text) = query.get("limit") else {
        return Ok(LIMIT_DEFAULT);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| Error::InvalidLimit {
            value: text.to_owned(),
        })
}

fn order(query: &Query) -> Result<Order> {
    let reverse = query.get("sort_order") == Some("reverse");
    let marker = query.non_empty("marker");
    Ok(match query.get("sort") {
        Some("mtime") => {
            let from = marker
                .map(|text| {
                    let value = text.to_owned();
                    parse_date(text).ok_or(Error::InvalidParameter {
                        name: "marker",
                        value,
                    })
                })
                .transpose()?;
            Order::Mtime { from, reverse }
        }
        // In any order, so it can be that of the names, and a marker has no place in it.
        Some("none") => Order::Name {
            from: None,
            reverse: false,
        },
        _ => Order::Name {
            from: marker.map(String::from),
            reverse,
        },
    })
}

/// The forms in which clients write instants.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    Timestamp::parse_iso(text)
        .or_else(|| Timestamp::parse_http(text))
        .or_else(|| Timestamp::parse_iso(&format!("{text}T00:00:00Z")))
        .or_else(|| Timestamp::parse_iso(&format!("{text}Z")))
}

fn only(query: &Query) -> Option<Only> {
    let asked = |names: [&str; 2]| names.iter().any(|name| query.non_empty(name).is_some());
    match (asked(["dir", "directory"]), asked(["obj", "object"])) {
        (true, false) => Some(Only::Directories),
        (false, true) => Some(Only::Objects),
        (true, true) | (false, false) => None,
    }
}

/// One line. The order of the keys is part of the format. `parent`: the path of the directory, where lines
/// of several are mixed.
pub(crate) fn row(out: &mut Vec<u8>, entry: &Entry, parent: Option<&str>) {
    out.extend_from_slice(b"{\"name\":");
    json::string(out, entry.key.name());
    match &entry.kind {
        EntryKind::Directory => {
            out.extend_from_slice(b",\"type\":\"directory\",\"mtime\":\"");
            json::iso_time(out, entry.mtime.as_millis());
            out.push(b'"');
        }
        EntryKind::Object(object) => {
            out.extend_from_slice(b",\"etag\":\"");
            let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
            let etag = object
                .object_id
                .as_uuid()
                .hyphenated()
                .encode_lower(&mut buffer);
            out.extend_from_slice(etag.as_bytes());
            out.extend_from_slice(b"\",\"size\":");
            json::number(out, object.size_bytes);
            out.extend_from_slice(b",\"type\":\"object\",\"contentType\":");
            json::string(out, &object.content_type);
            if let Some(disposition) = &object.content_disposition {
                out.extend_from_slice(b",\"contentDisposition\":");
                json::string(out, disposition);
            }
            out.extend_from_slice(b",\"contentMD5\":\"");
            let mut md5 = [0; 24];
            if let Ok(length) = STANDARD.encode_slice(object.md5, &mut md5) {
                out.extend_from_slice(&md5[..length]);
            }
            out.extend_from_slice(b"\",\"mtime\":\"");
            json::iso_time(out, entry.mtime.as_millis());
            out.extend_from_slice(b"\",\"durability\":");
            json::number(out, u64::try_from(object.copies.len()).unwrap_or(u64::MAX));
        }
    }
    if let Some(parent) = parent {
        out.extend_from_slice(b",\"parent\":");
        json::string(out, parent);
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use libmanta::{AccountId, Object, ObjectKey, StorageId};

    use super::*;

    fn text(entry: &Entry) -> String {
        let mut out = Vec::new();
        row(&mut out, entry, None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_are_as_documented() {
        let owner = AccountId::random();
        let mut entry = Entry {
            key: ObjectKey::new(owner, ["stor", "o\"1"]).unwrap(),
            mtime: Timestamp::parse_iso("2026-11-21T04:10:01.513Z").unwrap(),
            headers: Vec::new(),
            roles: Vec::new(),
            kind: EntryKind::Object(Object {
                object_id: "9253bed5-6f7f-4b13-8b25-21392bfa6426".parse().unwrap(),
                size_bytes: 6,
                md5: *b"\xb1\x94\x6a\xc9\x24\x92\xd2\x34\x7c\x62\x35\xb4\xd2\x61\x11\x84",
                content_type: "application/octet-stream".into(),
                content_disposition: None,
                creator: owner,
                copies: vec![StorageId::new("1"), StorageId::new("2")],
            }),
        };
        assert_eq!(
            text(&entry),
            "{\"name\":\"o\\\"1\",\"etag\":\"9253bed5-6f7f-4b13-8b25-21392bfa6426\",\"size\":6,\
             \"type\":\"object\",\"contentType\":\"application/octet-stream\",\
             \"contentMD5\":\"sZRqySSS0jR8YjW00mERhA==\",\"mtime\":\"2026-11-21T04:10:01.513Z\",\
             \"durability\":2}\n"
        );
        entry.kind = EntryKind::Directory;
        assert_eq!(
            text(&entry),
            "{\"name\":\"o\\\"1\",\"type\":\"directory\",\"mtime\":\"2026-11-21T04:10:01.513Z\"}\n"
        );
    }

    #[test]
    fn limits_are_numbers_from_1_to_1024() {
        let of = |text: &str| limit(&Query::parse(Some(text)));
        assert_eq!(of(""), Ok(256));
        assert_eq!(of("limit=1024"), Ok(1024));
        for bad in [
            "0",
            "1025",
            "abc",
            "-1",
            "1.5",
            "",
            "99999999999999999999999",
        ] {
            let expected = Err(Error::InvalidLimit { value: bad.into() });
            assert_eq!(of(&format!("limit={bad}")), expected);
        }
    }

    #[test]
    fn orders_come_from_the_query() {
        let of = |text: &str| order(&Query::parse(Some(text)));
        let name = |from: Option<&str>, reverse| {
            Ok(Order::Name {
                from: from.map(String::from),
                reverse,
            })
        };
        assert_eq!(of(""), name(None, false));
        assert_eq!(of("marker=&sort=whatever"), name(None, false));
        assert_eq!(of("marker=%2Aa&sort_order=reverse"), name(Some("*a"), true));
        let from = Some(Timestamp::from_millis(1000));
        for marker in ["1970-01-01T00:00:01.000Z", "Thu, 01 Jan 1970 00:00:01 GMT"] {
            let query = format!("sort=mtime&marker={}", marker.replace(' ', "%20"));
            assert_eq!(
                of(&query),
                Ok(Order::Mtime {
                    from,
                    reverse: false
                })
            );
        }
        assert_eq!(
            of("sort=mtime&marker=yesterday"),
            Err(Error::InvalidParameter {
                name: "marker",
                value: "yesterday".into()
            })
        );
    }
}

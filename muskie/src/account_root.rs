//! `/:login`: a listing that is not stored anywhere, of the directories that always exist.
//! Source: rest-api.md section 1.4.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};

use crate::access::Wanted;
use crate::config::{Config, Surface};
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::listing::{DIRECTORY_TYPE, RESULT_SET_SIZE};
use crate::reply::Reply;
use crate::response_body::Content;
use crate::storage::Request;

/// Fixed, and older than every store.
const MTIME: &str = "2013-05-22T17:39:43.714Z";

/// In the order of their names.
fn members(config: &Config) -> impl Iterator<Item = &'static str> {
    let jobs = (config.surface == Surface::Manta).then_some("jobs");
    let uploads = config.multipart.enabled.then_some("uploads");
    let others = ["public", "reports", "stor"];
    jobs.into_iter().chain(others).chain(uploads)
}

pub(crate) async fn handle(request: &Request<'_>, exchange: &mut Exchange) -> Result<Reply> {
    let owner = &request.owner;
    if request.caller.is_none() {
        return Err(request.forbidden());
    }
    if !request.has_all_rights(owner) {
        // It cannot be tagged, so this is about roles that need no tag.
        let wanted = Wanted {
            action: exchange.operation.name(),
            owner,
            path: &format!("/{}", owner.login),
            public: false,
            tags: &[],
            overwrite: false,
        };
        request.check(wanted).await?;
    }
    if request.head.method != Method::GET && request.head.method != Method::HEAD {
        return Err(Error::RootDirectory {
            method: request.method(),
            path: request.path(),
        });
    }
    exchange.lists = request.head.method == Method::GET;
    // Unlike that of other listings this marker is exclusive.
    let marker = request.head.query.get("marker").unwrap_or_default();
    let names: Vec<_> = members(&request.server.config)
        .filter(|name| *name > marker)
        .collect();
    let body: String = names
        .iter()
        .map(|name| {
            format!("{{\"name\":\"{name}\",\"type\":\"directory\",\"mtime\":\"{MTIME}\"}}\n")
        })
        .collect();
    let mut reply = Reply::new(StatusCode::OK, Content::Full(body.into()));
    reply.set(CONTENT_TYPE, HeaderValue::from_static(DIRECTORY_TYPE));
    reply.set(RESULT_SET_SIZE.clone(), HeaderValue::from(names.len()));
    Ok(reply)
}

//! `PUT ?metadata=true`: new headers for an object or a directory, and nothing else.
//! Source: rest-api.md sections 2.2, 3.11.

use libmanta::moray::{Parent, Update};

use crate::conditions;
use crate::content_disposition;
use crate::content_type;
use crate::cors::echo_origin;
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::roles;
use crate::storage::{Request, Target};
use crate::stored_headers;

/// Headers that speak of bytes, which do not change here.
pub(crate) const ABOUT_BYTES: [&str; 3] = ["content-length", "content-md5", "durability-level"];

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let head = request.head.clone();
    let on_directory = target.is_directory();
    if let Some(header) = ABOUT_BYTES.into_iter().find(|name| head.has(name)) {
        return Err(Error::InvalidUpdate {
            header,
            on_directory,
        });
    }
    if target.entry.is_none() && !on_directory {
        if target.parent == Parent::Object {
            return Err(Error::ParentNotDirectory {
                parent: head.path.parent().to_owned(),
            });
        }
        return Err(Error::NotFound {
            path: request.path(),
        });
    }
    let mut condition = conditions::parse(&head.headers);
    condition
        .check(target.entry.as_ref())
        .map_err(Error::Precondition)?;
    // A root that was never written to has no roles; whoever writes it first decides for all who come later.
    if let Some(entry) = &target.entry {
        condition.judged = request.judged(&request.owner, Some(entry));
    }
    let tags = roles::tags(request)?;
    stored_headers::check_lengths(&head.headers)?;
    body.discard().await?;
    let content_disposition = head.header("content-disposition");
    let content_disposition =
        content_disposition::stored(content_disposition.filter(|_| !on_directory))?;
    let update = Update {
        key: target.key,
        mtime: request.server.clock.now(),
        headers: stored_headers::collect(&head.headers),
        roles: tags,
        content_type: content_type::stored(head.header("content-type").as_deref()),
        content_disposition,
        condition,
    };
    let moray = request.server.moray.clone();
    let updated = request
        .server
        .to_the_end({
            let head = head.clone();
            async move {
                let updated = moray.update(update).await;
                updated.map_err(|error| Error::from_namespace(error, "PUT", &head.path))
            }
        })
        .await?;
    exchange.found(Some(&updated.after));
    exchange.object_id = updated.after.object().map(|object| object.object_id);
    let mut reply = Reply::no_content();
    echo_origin(&head, &mut reply);
    Ok(reply)
}

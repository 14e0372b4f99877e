//! Making and removing directories. Source: rest-api.md sections 2.1, 2.4.

use std::sync::atomic::Ordering::Relaxed;

use libmanta::moray::{MakeDirectory, Parent};

use crate::cors::echo_origin;
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::roles;
use crate::storage::{Request, Target};
use crate::stored_headers;

pub(crate) async fn make(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let head = request.head;
    // First, because the client decides how long it takes.
    body.discard().await?;
    if target.parent == Parent::Object {
        return Err(Error::ParentNotDirectory {
            parent: head.path.parent().to_owned(),
        });
    }
    let tags = roles::tags(request)?;
    stored_headers::check_lengths(&head.headers)?;
    let make = MakeDirectory {
        // Or an object that was put there meanwhile gives way on the rights to what was there before.
        judged: request.judged(&request.owner, target.entry.as_ref()),
        key: target.key,
        mtime: request.server.clock.now(),
        headers: stored_headers::collect(&head.headers),
        roles: tags,
    };
    let moray = request.server.moray.clone();
    let path = head.clone();
    let made = request
        .server
        .to_the_end(async move {
            let made = moray.make_directory(make).await;
            made.map_err(|error| Error::from_namespace(error, "PUT", &path.path))
        })
        .await?;
    // Whoever made it sees no date, and knows by that; what counts is the moment of the change.
    exchange.found(made.before.as_ref());
    let mut reply = Reply::no_content();
    echo_origin(head, &mut reply);
    Ok(reply)
}

pub(crate) async fn remove(request: &Request<'_>, target: Target) -> Result<Reply> {
    let moray = request.server.moray.clone();
    let head = request.head.clone();
    let judged = request.judged(&request.owner, target.entry.as_ref());
    request
        .server
        .to_the_end(async move {
            let removed = moray.remove_directory(&target.key, judged.as_ref());
            let removed = removed.await;
            removed.map_err(|error| Error::from_namespace(error, "DELETE", &head.path))
        })
        .await?;
    request
        .server
        .metrics
        .deleted_directories
        .fetch_add(1, Relaxed);
    Ok(Reply::no_content())
}

//! `DELETE` of an object. Its bytes are collected later. Source: rest-api.md section 3.10.

use std::sync::atomic::Ordering::Relaxed;

use crate::conditions;
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::reply::Reply;
use crate::storage::{Request, Target};

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
) -> Result<Reply> {
    let head = request.head.clone();
    let mut condition = conditions::parse(&head.headers);
    condition
        .check(target.entry.as_ref())
        .map_err(Error::Precondition)?;
    condition.judged = request.judged(&request.owner, target.entry.as_ref());
    let moray = request.server.moray.clone();
    let removed = request
        .server
        .to_the_end(async move {
            let removed = moray.remove_object(&target.key, &condition).await;
            removed.map_err(|error| Error::from_namespace(error, "DELETE", &head.path))
        })
        .await?;
    // What was removed may be newer than what was looked up.
    exchange.found(Some(&removed));
    if let Some(object) = removed.object() {
        exchange.previous_object_id = Some(object.object_id);
        let metrics = &request.server.metrics;
        metrics.deleted_objects.fetch_add(1, Relaxed);
        metrics.deleted_bytes.fetch_add(object.size_bytes, Relaxed);
    }
    Ok(Reply::no_content())
}

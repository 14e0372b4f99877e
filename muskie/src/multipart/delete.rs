//! What an operator may take away by hand: parts, and the directory of an upload. Source: rest-api.md section
//! 5.2.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use libmanta::ObjectKey;
use libmanta::moray::NamespaceError;

use super::abort::abort;
use super::ledger;
use super::records::State;
use super::upload_id::UploadId;
use crate::errors::{Error, Result};
use crate::exchange::{Exchange, Head};
use crate::operation::Verb;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::server::Server;
use crate::storage::{self, Request};

/// Not while somebody puts them together. A commit that begins in between reads the parts again behind the gate:
/// whether it still finds this one or not, the object is whole or not there.
pub(crate) async fn part(
    request: &Request<'_>,
    id: UploadId,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    match state(request, id).await? {
        Some(State::Committing { .. } | State::Aborting) => return Err(finalizing(id)),
        None | Some(State::Created | State::Committed { .. } | State::Aborted { .. }) => {}
    }
    storage::handle(request, Verb::Delete, exchange, body).await
}

/// Ends the upload, too. The collector then removes its records.
pub(crate) async fn directory(
    request: &Request<'_>,
    id: UploadId,
    exchange: &mut Exchange,
) -> Result<Reply> {
    let server = request.server;
    let directory = request.parts_directory(id)?;
    let ends = match state(request, id).await? {
        Some(State::Committing { .. }) => return Err(finalizing(id)),
        Some(State::Created | State::Aborting) => true,
        None | Some(State::Committed { .. } | State::Aborted { .. }) => false,
    };
    let entry = server.moray.lookup(&directory).await?.entry;
    exchange.found(entry.as_ref());
    if entry.is_none() && !ends {
        return Err(request.not_found());
    }
    request
        .check_entry("deletedirectory", &directory, entry.as_ref(), true)
        .await?;
    let removal = remove(server.clone(), request.head.clone(), directory, ends);
    if server.to_the_end(removal).await? {
        let metrics = &server.metrics;
        metrics.deleted_directories.fetch_add(1, Relaxed);
    }
    Ok(Reply::no_content())
}

/// The directory first: with parts in it, it refuses to go, and then nothing may have changed. Without it no
/// part can be put any more, and whoever repeats the request after a crash between the two ends the upload.
async fn remove(
    server: Arc<Server>,
    head: Arc<Head>,
    directory: ObjectKey,
    ends: bool,
) -> Result<bool> {
    let removed = match server.moray.remove_directory(&directory, None).await {
        Ok(_) => true,
        Err(NamespaceError::NotFound | NamespaceError::ParentNotFound) if ends => false,
        Err(error) => return Err(Error::from_namespace(error, "DELETE", &head.path)),
    };
    if ends {
        match abort(server, directory).await {
            // Committed or collected meanwhile, it has ended as well.
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// `None` if there is no upload of that name, whatever else there may be.
async fn state(request: &Request<'_>, id: UploadId) -> Result<Option<State>> {
    let directory = request.parts_directory(id)?;
    let seen = ledger::upload(&*request.server.moray, &directory).await?;
    Ok(seen.map(|seen| seen.upload.state))
}

fn finalizing(id: UploadId) -> Error {
    Error::MultipartState(id.to_string(), "is being finalized")
}

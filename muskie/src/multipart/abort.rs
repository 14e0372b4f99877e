//! Abort. Source: rest-api.md section 5.7; the steps are explained in `multipart.rs`.

use std::sync::Arc;

use http::StatusCode;
use libmanta::ObjectKey;
use libmanta::moray::MorayError;

use super::ledger::{self, GateChange, Seen};
use super::records::{State, Verdict};
use super::state::find;
use super::upload_id::UploadId;
use crate::errors::{Error, Result};
use crate::reply::Reply;
use crate::server::Server;
use crate::storage::Request;

/// How often the state may change under an abort before it gives up.
const TURNS_MAX: usize = 16;

pub(crate) async fn handle(request: &Request<'_>, id: UploadId) -> Result<Reply> {
    let seen = find(request, id).await?;
    let (server, directory) = (request.server.clone(), seen.directory);
    let aborted = request.server.to_the_end(abort(server, directory)).await?;
    if aborted {
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    }
    Err(Error::MultipartState(id.to_string(), "already committed"))
}

/// False when it is, or is being, committed.
pub(super) async fn abort(server: Arc<Server>, directory: ObjectKey) -> Result<bool> {
    let moray = &*server.moray;
    for _ in 0..TURNS_MAX {
        let Some(seen) = ledger::upload(moray, &directory).await? else {
            // Collected meanwhile, so it had ended; nobody can tell how any more.
            return Err(Error::NotFound {
                path: directory.as_str().to_owned(),
            });
        };
        let now = server.clock.now();
        match &seen.upload.state {
            State::Created => {
                ledger::change(moray, &seen, State::Aborting, GateChange::Closes, now).await?;
            }
            State::Committing { refused: true, .. } => {
                ledger::change(moray, &seen, State::Aborting, GateChange::Stays, now).await?;
            }
            State::Aborting => conclude(&server, &seen).await?,
            State::Committing { refused: false, .. } | State::Committed { .. } => return Ok(false),
            State::Aborted { .. } => return Ok(true),
        }
    }
    Err(Error::ServiceUnavailable)
}

/// Ends an abort that was begun; when a commit was faster, it ends as that.
pub(crate) async fn conclude(server: &Server, seen: &Seen) -> Result<(), MorayError> {
    let moray = &*server.moray;
    let verdict = match ledger::outcome(moray, &seen.upload).await? {
        Some((Verdict::Pending, etag)) => {
            if !ledger::aborts(moray, seen, etag).await? {
                return Ok(());
            }
            Verdict::Aborted
        }
        Some((verdict, _)) => verdict,
        // Collected: somebody else has concluded it.
        None => return Ok(()),
    };
    ledger::settle(moray, seen, verdict, server.clock.now()).await
}

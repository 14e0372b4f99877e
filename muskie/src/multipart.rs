//! Multipart uploads: a large object sent in parts, in any order, and put together without moving its bytes.
//! Source: rest-api.md section 5; the design and its proof of safety: docs/adr/0008-multipart-uploads.md.
//!
//! # Theory of operation
//!
//! An upload is a directory `/:login/uploads/<prefix>/<id>` whose entries are the parts: ordinary objects, all
//! of them on the storage nodes that were chosen when the upload was created. Beside it there are three
//! records (`records.rs`):
//!
//! - the *upload*: what the object is to become, and the state the client sees. It lies in the shard of the
//!   parts;
//! - the *gate*: there from the moment at which somebody wants to end the upload. Same shard. A part is put
//!   in a transaction that demands that there is none, so behind a gate parts do not change any more;
//! - the *outcome*: pending, committed, or aborted. It lies in the shard of the target, and changes once:
//!   for a commit in the transaction that writes the target. It is the truth; what the upload says follows.
//!
//! A commit is: check the parts; close the gate and note in the upload what is committed (one transaction);
//! check the parts again, now that they stand still; compute the MD5; have every node put its copy together;
//! write target and outcome; note the end in the upload. An abort closes the gate, sets the outcome, notes
//! the end. Each of these steps may be repeated by anybody, and a crash between any two leaves a state from
//! which the same request goes on. The outcome is made once, with the upload, and never again, so whoever
//! sleeps for a day between two steps cannot bring back a target that was overwritten since: the outcome
//! is no longer what it was, or is gone.
//!
//! A process works on one commit of an upload at a time, and on a bounded number of all (`commits.rs`). They go
//! on without their clients, but not when the process has to end: nothing is lost by leaving before the target
//! is written.
//!
//! The copies that an attempt puts together have an object id of their own, unless it is the first: like the
//! copies of a PUT they are named within the hour or never, which is what the sweep of the storage nodes
//! counts on.
//!
//! The collector (`collector.rs`) goes through the gates: it ends what a crash left half ended, and removes
//! what ended a while ago. An upload that nobody ended stays for ever.

mod abort;
mod collector;
mod commit;
mod commits;
mod create;
mod delete;
mod document;
mod ledger;
mod md5_chain;
mod part;
mod part_list;
mod records;
mod routes;
mod state;
mod upload_id;

pub(crate) use collector::Collector;
pub(crate) use commits::Commits;
pub(crate) use routes::{UploadRoute, resolve};

use libmanta::ObjectKey;

use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::operation::Verb;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::storage::{self, Request};
use crate::tree;
use upload_id::UploadId;

pub(crate) async fn handle(
    request: &Request<'_>,
    route: &UploadRoute,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    check_owner(request, route)?;
    if *route == UploadRoute::Tree(Verb::Delete) && tree::is_asked_for(&request.head.query) {
        // Uploads end by commit or abort; their directories are not a tree to be cut down.
        return Err(Error::RootDirectory {
            method: request.method(),
            path: request.path(),
        });
    }
    match route {
        UploadRoute::Tree(verb) => storage::handle(request, *verb, exchange, body).await,
        UploadRoute::Create => create::handle(request, body).await,
        UploadRoute::Nowhere => Err(request.not_found()),
        UploadRoute::Redirect { id, part } => state::redirect(request, *id, part.as_deref()).await,
        UploadRoute::Refresh { upload } => state::refresh(request, *upload, body).await,
        UploadRoute::State { upload } => state::document(request, *upload).await,
        UploadRoute::Commit { upload } => commit::handle(request, *upload, exchange, body).await,
        UploadRoute::Abort { upload } => abort::handle(request, *upload).await,
        UploadRoute::PutPart { upload, number } => {
            Box::pin(part::put(request, *upload, number, exchange, body)).await
        }
        UploadRoute::HeadPart { upload, number } => {
            part::head(request, *upload, number, exchange).await
        }
        UploadRoute::DeletePart { upload } => delete::part(request, *upload, exchange, body).await,
        UploadRoute::Delete { upload } => delete::directory(request, *upload, exchange).await,
    }
}

/// Uploads are their owner's and the operators' alone; no role opens them to a subuser.
fn check_owner(request: &Request<'_>, route: &UploadRoute) -> Result<()> {
    let deletes = match route {
        UploadRoute::Tree(_) => return Ok(()),
        UploadRoute::DeletePart { .. } | UploadRoute::Delete { .. } => true,
        _ => false,
    };
    let principal = request.principal();
    if principal.is_some_and(|caller| caller.user.is_some())
        && matches!(route, UploadRoute::PutPart { .. })
    {
        return Err(Error::NoMatchingRoleTag);
    }
    let may = principal.is_some_and(|caller| {
        caller.user.is_none() && (caller.operator || caller.account == request.owner.id)
    });
    if !may {
        return Err(request.forbidden());
    }
    if deletes && !request.is_operator() {
        return Err(request.forbidden());
    }
    Ok(())
}

impl Request<'_> {
    fn not_found(&self) -> Error {
        Error::NotFound { path: self.path() }
    }

    /// Where an upload of the owner has its parts.
    fn parts_directory(&self, upload: UploadId) -> Result<ObjectKey> {
        upload
            .directory(self.owner.id)
            .map_err(|_| self.not_found())
    }
}

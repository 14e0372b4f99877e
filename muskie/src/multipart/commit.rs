//! Commit: from parts to an object. Source: rest-api.md section 5.6; the steps are explained in `multipart.rs`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use http::HeaderValue;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, LOCATION};
use libmanta::mako::{Shark, SharkError};
use libmanta::moray::{Lookup, NamespaceError, Parent, PutObject, Replaced, Write};
use libmanta::{
    AREAS, Account, Condition, Entry, EntryKind, Judged, Object, ObjectId, ObjectKey,
    PreconditionFailed, StorageId,
};

use super::document;
use super::ledger::{self, GateChange, Seen};
use super::md5_chain;
use super::part::read_again;
use super::part_list::{self, Part};
use super::records::{PartsSummary, State, Upload, Verdict};
use super::state::find;
use super::upload_id::UploadId;
use crate::access::NotPut;
use crate::content_disposition;
use crate::content_type;
use crate::copies::ObjectReader;
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::latin1;
use crate::objects::put::{COMPUTED_MD5, Hash};
use crate::path::RequestPath;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::roles;
use crate::server::Server;
use crate::storage::{OwnedRequest, Request};
use crate::stored_headers;

/// Longest document. Source: rest-api.md section 5.6.
const BODY_BYTES_MAX: usize = 500_000;
/// How often the state may change under a commit before it gives up. Every change is somebody's progress.
const TURNS_MAX: usize = 16;

pub(crate) async fn handle(
    request: &Request<'_>,
    id: UploadId,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let server = request.server;
    let seen = find(request, id).await?;
    let allowed = check_target(request, &seen.upload, exchange).await?;
    let text = body.collect(BODY_BYTES_MAX).await?;
    let etags = document::etags(&text, id, server.config.parts_max())?;
    let object_path = seen.upload.object_path.clone();
    let commit = Commit {
        server: server.clone(),
        request: request.to_owned(),
        id,
        directory: seen.directory,
        summary: part_list::summary(&etags),
        etags,
        allowed,
    };
    let done = match commit.settled(&seen.upload.state)? {
        Some(done) => done,
        None => {
            let leave = server.commits.enter(&commit.directory).await?;
            let run = async move {
                let _leave = leave;
                commit.run().await
            };
            server.to_the_end(run).await?
        }
    };
    if let Some(replaced) = &done.replaced {
        exchange.object_id = replaced.after.object().map(|object| object.object_id);
        exchange.previous_object_id = replaced
            .before
            .as_ref()
            .and_then(Entry::object)
            .map(|object| object.object_id);
    }
    let mut reply = Reply::empty(StatusCode::CREATED);
    reply.set(CONTENT_LENGTH, HeaderValue::from_static("0"));
    reply.set_text(LOCATION, &object_path);
    reply.set_text(COMPUTED_MD5.clone(), &done.md5);
    Ok(reply)
}

/// What was found out before the commit began.
struct Allowed {
    /// Whose tree the target lies in.
    owner: Arc<Account>,
    judged: Option<Judged>,
    /// To tag the object with.
    roles: Vec<uuid::Uuid>,
}

/// Whether there can be an object where the upload wants one, and whether the caller may have it.
async fn check_target(
    request: &Request<'_>,
    upload: &Upload,
    exchange: &mut Exchange,
) -> Result<Allowed> {
    let server = request.server;
    let key = &upload.object_key;
    let path = RequestPath::clean(&upload.object_path);
    let owner = server.identity.account_by_id(key.owner()).await?;
    let owner = owner.ok_or_else(|| request.forbidden())?;
    let Lookup { entry, parent } = server.moray.lookup(key).await?;
    exchange.found(entry.as_ref());
    request
        .check_entry_of(&owner, "putobject", key, entry.as_ref(), true)
        .await?;
    let roles = role_tags(&owner, upload)?;
    let no_parent = || Error::DirectoryDoesNotExist {
        parent: path.parent().to_owned(),
    };
    if key.root().is_some() || entry.as_ref().is_some_and(Entry::is_directory) {
        return Err(Error::IsDirectory {
            method: request.method(),
            path: path.as_str().to_owned(),
        });
    }
    // Only known areas have a tree below them.
    if !key.names().next().is_some_and(|area| AREAS.contains(&area)) {
        return Err(no_parent());
    }
    match parent {
        Parent::Directory => Ok(Allowed {
            judged: request.judged(&owner, entry.as_ref()),
            owner,
            roles,
        }),
        Parent::Missing => Err(no_parent()),
        Parent::Object => Err(Error::ParentNotDirectory {
            parent: path.parent().to_owned(),
        }),
    }
}

fn role_tags(owner: &Account, upload: &Upload) -> Result<Vec<uuid::Uuid>> {
    let headers = document::as_headers(&upload.headers)?;
    match latin1::get(&headers, "role-tag") {
        Some(names) => roles::named(owner, &names),
        None => Ok(Vec::new()),
    }
}

/// A commit that was asked for.
struct Commit {
    server: Arc<Server>,
    request: OwnedRequest,
    id: UploadId,
    directory: ObjectKey,
    etags: Vec<String>,
    summary: PartsSummary,
    allowed: Allowed,
}

/// A commit that is done, now or some time ago.
struct Done {
    /// Base64, of the whole object.
    md5: String,
    /// `None` when somebody else wrote the target.
    replaced: Option<Replaced>,
}

impl Commit {
    async fn run(self) -> Result<Done> {
        let moray = &*self.server.moray;
        // Whoever closed the gate has the object id that was set aside; everybody else takes a new one, so
        // that no two attempts make copies of one name.
        let mut reserved = None;
        for _ in 0..TURNS_MAX {
            let seen = ledger::upload(moray, &self.directory).await?;
            let seen = seen.ok_or_else(|| Error::NotFound {
                path: self.directory.as_str().to_owned(),
            })?;
            if let Some(done) = self.settled(&seen.upload.state)? {
                return Ok(done);
            }
            if seen.upload.state == State::Created {
                self.parts(&seen).await?;
                let state = State::Committing {
                    parts: self.summary.clone(),
                    refused: false,
                };
                let (gate, now) = (GateChange::Closes, self.server.clock.now());
                let closed = ledger::change(moray, &seen, state, gate, now).await?;
                // Of the record as it was: it may have been opened and closed again since.
                reserved = closed.then_some(seen.upload.object_id);
            } else {
                let object_id = reserved.take().unwrap_or_else(ObjectId::random);
                if let Some(done) = self.put_together(&seen, object_id).await? {
                    return Ok(done);
                }
            }
        }
        Err(Error::ServiceUnavailable)
    }

    /// What the state alone decides; `None` while there is something to do.
    fn settled(&self, state: &State) -> Result<Option<Done>> {
        match state {
            State::Created => Ok(None),
            State::Committing { parts, .. } if *parts == self.summary => Ok(None),
            State::Committed { parts, md5, .. } if *parts == self.summary => Ok(Some(Done {
                md5: md5.clone(),
                replaced: None,
            })),
            State::Committing { .. } | State::Committed { .. } => {
                Err(self.state("already has a commit in progress"))
            }
            State::Aborting | State::Aborted { .. } => Err(self.state("already aborted")),
        }
    }

    fn state(&self, reason: &'static str) -> Error {
        Error::MultipartState(self.id.to_string(), reason)
    }

    async fn parts(&self, seen: &Seen) -> Result<Vec<Part>> {
        let moray = &*self.server.moray;
        let parts = part_list::read(moray, &self.directory, self.etags.len()).await?;
        part_list::check(
            &self.id.to_string(),
            &self.etags,
            parts,
            self.server.config.multipart.part_bytes_min,
            seen.upload.content_length,
        )
    }

    /// Everything behind the gate. `None` when the state changed meanwhile.
    async fn put_together(&self, seen: &Seen, object_id: ObjectId) -> Result<Option<Done>> {
        let (server, moray) = (&self.server, &*self.server.moray);
        let etag = match ledger::outcome(moray, &seen.upload).await? {
            Some((Verdict::Pending, etag)) => etag,
            Some((verdict, _)) => {
                // Somebody got as far as that and no further.
                ledger::settle(moray, seen, verdict, server.clock.now()).await?;
                return Ok(None);
            }
            None => return self.without_outcome(seen).await,
        };
        let parts = match self.parts(seen).await {
            Ok(parts) => parts,
            Err(error @ Error::MultipartInvalid { .. }) => {
                // A part was replaced between the first look and the gate. It is as if there had been only
                // one look.
                let now = server.clock.now();
                let (state, gate) = (State::Created, GateChange::Opens);
                ledger::change(moray, seen, state, gate, now).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        // Both take as long as the object is large, and may be left at any moment: no entry refers to what they
        // make. From there on it is only metadata.
        let md5 = server.unless_killed(whole_md5(server, &parts)).await?;
        if let Err(error) = self.check_md5(seen, &md5) {
            self.refused(seen).await?;
            return Err(error);
        }
        let entry = self.entry(seen, object_id, &parts, md5)?;
        let assembling = assemble(server, seen, object_id, &parts);
        let made = server.unless_killed(assembling).await?;
        let md5 = STANDARD.encode(md5);
        let also = ledger::commits(seen, self.summary.clone(), md5.clone(), etag);
        match self.put(entry, also).await {
            Ok(replaced) => {
                let verdict = Verdict::Committed {
                    parts: self.summary.clone(),
                    md5: md5.clone(),
                };
                // The commit is done. If this is not, the collector does it, or the next commit.
                if let Err(error) = ledger::settle(moray, seen, verdict, server.clock.now()).await {
                    tracing::warn!(%error, upload = %self.id, "a commit is noted later");
                }
                Ok(Some(Done {
                    md5,
                    replaced: Some(replaced),
                }))
            }
            Err(NotPut::ByMoray(NamespaceError::AlsoConflict)) => {
                made.discard().await;
                Ok(None)
            }
            // Whether the entry is there is unknown: the bytes stay, and the sweep finds out.
            Err(NotPut::ByMoray(NamespaceError::Moray(error))) => Err(error.into()),
            // The client may try again.
            Err(NotPut::ByMoray(NamespaceError::Precondition(PreconditionFailed::Judged))) => {
                made.discard().await;
                Err(Error::ServiceUnavailable)
            }
            Err(NotPut::ByRights(error)) => {
                made.discard().await;
                // What is in the way may be what this very upload has become.
                let outcome = ledger::outcome(moray, &seen.upload).await?;
                if !matches!(outcome, Some((Verdict::Pending, _))) {
                    return Ok(None);
                }
                if error.answer().status.is_client_error() {
                    self.refused(seen).await?;
                }
                Err(error)
            }
            Err(NotPut::ByMoray(error)) => {
                made.discard().await;
                self.refused(seen).await?;
                let path = RequestPath::clean(&seen.upload.object_path);
                Err(Error::from_namespace(error, "POST", &path))
            }
        }
    }

    async fn put(&self, entry: Entry, also: Write) -> Result<Replaced, NotPut> {
        let put = PutObject {
            entry,
            condition: Condition {
                judged: self.allowed.judged.clone(),
                ..Condition::default()
            },
            directory_entries_max: self.server.config.directory_entries_max,
            also: Some(also),
        };
        let request = self.request.get();
        request.put_judged(&self.allowed.owner, put).await
    }

    /// The outcome is collected last, so the upload has ended, or is gone.
    async fn without_outcome(&self, seen: &Seen) -> Result<Option<Done>> {
        let now = ledger::upload(&*self.server.moray, &self.directory).await?;
        if now.is_some_and(|now| now.upload.state == seen.upload.state) {
            tracing::error!(upload = %self.id, "an upload has no outcome");
            return Err(Error::Internal);
        }
        Ok(None)
    }

    fn check_md5(&self, seen: &Seen, md5: &[u8; 16]) -> Result<()> {
        let Some(expected) = &seen.upload.content_md5 else {
            return Ok(());
        };
        let found = STANDARD.encode(md5);
        if *expected == found {
            return Ok(());
        }
        Err(Error::MultipartInvalid {
            upload: self.id.to_string(),
            reason: format!("expected content-md5 \"{expected}\", but object has md5 \"{found}\""),
        })
    }

    /// Notes that this commit cannot succeed, so that the client may abort.
    async fn refused(&self, seen: &Seen) -> Result<()> {
        let state = State::Committing {
            parts: self.summary.clone(),
            refused: true,
        };
        let (moray, now) = (&*self.server.moray, self.server.clock.now());
        ledger::change(moray, seen, state, GateChange::Stays, now).await?;
        Ok(())
    }

    fn entry(
        &self,
        seen: &Seen,
        object_id: ObjectId,
        parts: &[Part],
        md5: [u8; 16],
    ) -> Result<Entry> {
        let upload = &seen.upload;
        let headers = document::as_headers(&upload.headers)?;
        let size_bytes = parts.iter().map(|part| part.object.size_bytes).sum();
        let mut kept = stored_headers::collect(&headers);
        if upload.object_key.is_public() {
            stored_headers::open_to_all_origins(&mut kept);
        }
        let disposition = latin1::get(&headers, "content-disposition");
        Ok(Entry {
            key: upload.object_key.clone(),
            mtime: self.server.clock.now(),
            headers: kept,
            roles: self.allowed.roles.clone(),
            kind: EntryKind::Object(Object {
                object_id,
                size_bytes,
                md5,
                content_type: content_type::stored(
                    latin1::get(&headers, "content-type").as_deref(),
                )
                .unwrap_or_else(|| content_type::DEFAULT.to_owned()),
                content_disposition: content_disposition::stored(disposition)?,
                creator: upload.owner,
                copies: match size_bytes {
                    0 => Vec::new(),
                    _ => upload.sharks.clone(),
                },
            }),
        })
    }
}

/// Of all parts, of which only those behind the chain are read.
async fn whole_md5(server: &Arc<Server>, parts: &[Part]) -> Result<[u8; 16]> {
    let links = parts
        .iter()
        .map(|part| (part.object.object_id, part.link.as_ref()));
    let (in_chain, md5) = md5_chain::longest(links);
    let mut hash = Hash::from(md5);
    for part in &parts[in_chain..] {
        let object = &part.object;
        if object.size_bytes == 0 {
            continue;
        }
        let reader = ObjectReader::open(server, object, 0..object.size_bytes).await;
        let mut bytes = reader.map_err(|_| Error::StorageExhausted)?.into_stream();
        while let Some(bytes) = bytes.next().await {
            let bytes = bytes.map_err(|_| Error::StorageExhausted)?;
            hash.update(&bytes).await?;
            read_again(server, bytes.len());
        }
    }
    Ok(hash.finish())
}

/// Copies that no entry refers to yet.
struct Made {
    nodes: Vec<Arc<dyn Shark>>,
    creator: libmanta::AccountId,
    object_id: ObjectId,
}

impl Made {
    /// For an object that certainly got no entry. What stays behind is swept later.
    async fn discard(self) {
        let deletes = self
            .nodes
            .iter()
            .map(|node| node.delete(self.creator, self.object_id));
        for error in join_all(deletes)
            .await
            .into_iter()
            .filter_map(std::result::Result::err)
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a copy without an entry is left to the sweep");
        }
    }
}

/// Has every node of the upload put its copy together; all of them, or none.
async fn assemble(
    server: &Server,
    seen: &Seen,
    object_id: ObjectId,
    parts: &[Part],
) -> Result<Made> {
    let creator = seen.upload.owner;
    let segments = part_list::segments(parts);
    let node = |id: &StorageId| {
        let node = server.shark_by_id.get(id).cloned();
        node.ok_or(Error::StorageExhausted)
    };
    let nodes: Vec<_> = match segments.is_empty() {
        true => Vec::new(),
        false => seen.upload.sharks.iter().map(node).collect::<Result<_>>()?,
    };
    let made = Made {
        nodes,
        creator,
        object_id,
    };
    let assembling = made
        .nodes
        .iter()
        .map(|node| node.assemble(creator, object_id, segments.clone()));
    let results = join_all(assembling).await;
    let failed = results.into_iter().filter_map(std::result::Result::err);
    let Some(error) = failed.reduce(worse) else {
        return Ok(made);
    };
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "a copy was not put together"
    );
    made.discard().await;
    Err(match error {
        SharkError::NotEnoughSpace { .. } => Error::NotEnoughSpace { megabytes: 1 },
        SharkError::NoSuchCopy { .. }
        | SharkError::Damaged { .. }
        | SharkError::Io { .. }
        | SharkError::Unavailable { .. } => Error::StorageExhausted,
    })
}

/// Space is something that the operator can do something about, so it is what is said.
fn worse(one: SharkError, other: SharkError) -> SharkError {
    match other {
        SharkError::NotEnoughSpace { .. } => other,
        _ => one,
    }
}

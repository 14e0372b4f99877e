//! `DELETE …?recursive=true`: a directory and everything below it, while the answer says how far it has come.
//!
//! Lines of JSON: `progress` with what has been removed so far, `error` for what was refused or failed, and
//! at last `end`. An answer without `end` stopped half-way, because the client left or the store was cut;
//! asking again goes on. What others put into the tree meanwhile is removed like the rest, as by `rm -r`, but
//! nothing on the rights to something else that was there before.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use libmanta::moray::{List, NamespaceError, Only, Order};
use libmanta::{Condition, Entry, Judged, ObjectKey, PreconditionFailed};

use super::list::path_of;
use crate::access::{DECISIONS_MAX, Judge};
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::json;
use crate::reply::Reply;
use crate::response_body::Content;
use crate::server::Server;
use crate::storage::{Request, Target};

const CONTENT: &str = "application/x-json-stream; type=removal";

/// Objects that are read, and removed, in one go.
const PAGE: usize = 256;
/// Removals under way at once; the metadata tier commits them together.
const AT_ONCE: usize = 64;
/// Turns of a directory that others keep filling.
const TURNS_MAX: u32 = 16;
/// Tries of a call while the metadata tier is busy or down, and the pause before the second one, which
/// doubles from there on: about three seconds in all.
const TRIES_MAX: u32 = 7;
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
) -> Result<Reply> {
    if target.key.root().is_some() {
        return Err(Error::RootDirectory {
            method: request.method(),
            path: request.path(),
        });
    }
    exchange.found(target.entry.as_ref());
    let judge = Arc::new(request.judge(&request.owner).await?);
    let judged = request.judged(&request.owner, target.entry.as_ref());
    let removal = Removal {
        server: request.server.clone(),
        judge,
        login: request.owner.login.to_string(),
        frames: vec![Frame::new(target.key, judged)],
        objects: 0,
        directories: 0,
        errors: 0,
        state: State::Running,
    };
    let mut reply = Reply::empty(StatusCode::OK);
    reply.set(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    let chunks = futures_util::stream::unfold(removal, |mut removal| async move {
        let lines = removal.lines().await?;
        Some((Ok(lines), removal))
    });
    reply.content = Content::Stream(chunks.boxed(), None);
    Ok(reply)
}

/// A directory that is being emptied.
#[derive(Debug)]
struct Frame {
    directory: ObjectKey,
    /// What it was when its removal was allowed.
    judged: Option<Judged>,
    stage: Stage,
    turns: u32,
    /// Something below it was not removed, so neither can it be.
    keeps_something: bool,
}

#[derive(Debug)]
enum Stage {
    /// Objects from this name on.
    Objects(String),
    /// Directories from this name on.
    Directories(String),
}

impl Frame {
    fn new(directory: ObjectKey, judged: Option<Judged>) -> Self {
        Self {
            directory,
            judged,
            stage: Stage::Objects(String::new()),
            turns: 0,
            keeps_something: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// The last line is sent.
    Ended,
}

struct Removal {
    server: Arc<Server>,
    judge: Arc<Judge>,
    login: String,
    frames: Vec<Frame>,
    objects: u64,
    directories: u64,
    errors: u64,
    state: State,
}

impl Removal {
    /// Does a page of work and says what came of it; `None` after the last line.
    async fn lines(&mut self) -> Option<Bytes> {
        if self.state == State::Ended {
            return None;
        }
        let mut out = Vec::new();
        let before = (self.objects, self.directories);
        while out.is_empty() && self.objects + self.directories < before.0 + before.1 + PAGE as u64
        {
            if self.frames.is_empty() {
                break;
            }
            if let Err((key, error)) = self.step(&mut out).await {
                // Nothing further can be done: the metadata tier does not answer.
                self.error(&mut out, &key, &error);
                self.frames.clear();
            }
        }
        if (self.objects, self.directories) != before {
            self.count(&mut out, "progress");
        }
        if self.frames.is_empty() {
            self.count(&mut out, "end");
            self.state = State::Ended;
        }
        Some(Bytes::from(out))
    }

    async fn step(
        &mut self,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), (ObjectKey, NamespaceError)> {
        let Some(frame) = self.frames.last() else {
            return Ok(());
        };
        let directory = frame.directory.clone();
        match &frame.stage {
            Stage::Objects(from) => {
                let from = from.clone();
                self.remove_objects(out, directory, from).await
            }
            Stage::Directories(from) => {
                let from = from.clone();
                self.next_directory(out, directory, from).await
            }
        }
    }

    async fn remove_objects(
        &mut self,
        out: &mut Vec<u8>,
        directory: ObjectKey,
        from: String,
    ) -> std::result::Result<(), (ObjectKey, NamespaceError)> {
        let page = self
            .page(&directory, from, PAGE, Only::Objects)
            .await
            .map_err(|error| (directory, error))?;
        let next = match page.last() {
            Some(last) if page.len() == PAGE => Stage::Objects(super::after(last.key.name())),
            _ => Stage::Directories(String::new()),
        };
        let (server, judge) = (self.server.clone(), self.judge.clone());
        let mut removed = futures_util::stream::iter(page)
            .map(|entry| remove_object(server.clone(), judge.clone(), entry))
            .buffer_unordered(AT_ONCE);
        let mut kept = false;
        while let Some((key, fate)) = removed.next().await {
            match fate {
                Fate::Removed(size_bytes) => {
                    let metrics = &self.server.metrics;
                    metrics.deleted_objects.fetch_add(1, Relaxed);
                    metrics.deleted_bytes.fetch_add(size_bytes, Relaxed);
                    self.objects += 1;
                }
                Fate::Gone => {}
                Fate::Refused => {
                    kept = true;
                    self.refused(out, &key);
                }
                Fate::Failed(error) => {
                    kept = true;
                    self.error(out, &key, &error);
                }
            }
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.keeps_something |= kept;
            frame.stage = next;
        }
        Ok(())
    }

    /// Goes down into the next directory, or removes this one when there is none left.
    async fn next_directory(
        &mut self,
        out: &mut Vec<u8>,
        directory: ObjectKey,
        from: String,
    ) -> std::result::Result<(), (ObjectKey, NamespaceError)> {
        let found = self.page(&directory, from, 1, Only::Directories).await;
        let found = found.map_err(|error| (directory.clone(), error))?;
        if let Some(child) = found.into_iter().next() {
            let may = self.judge.may_remove(&child);
            if !may {
                self.refused(out, &child.key);
            }
            if let Some(frame) = self.frames.last_mut() {
                frame.stage = Stage::Directories(super::after(child.key.name()));
                frame.keeps_something |= !may;
            }
            if may {
                let judged = self.judge.judged(&child);
                self.frames.push(Frame::new(child.key, judged));
            }
            return Ok(());
        }
        let Some(mut frame) = self.frames.pop() else {
            return Ok(());
        };
        if !frame.keeps_something {
            let server = self.server.clone();
            let judged = frame.judged.as_ref();
            match patiently(|| server.moray.remove_directory(&directory, judged)).await {
                Ok(_) => {
                    self.directories += 1;
                    self.server
                        .metrics
                        .deleted_directories
                        .fetch_add(1, Relaxed);
                    return Ok(());
                }
                Err(NamespaceError::NotFound | NamespaceError::NotDirectory) => return Ok(()),
                Err(NamespaceError::NotEmpty) if frame.turns < TURNS_MAX => {
                    frame.turns += 1;
                    frame.stage = Stage::Objects(String::new());
                    self.frames.push(frame);
                    return Ok(());
                }
                Err(NamespaceError::Precondition(PreconditionFailed::Judged))
                    if frame.turns < TURNS_MAX =>
                {
                    let now = patiently(async || Ok(server.moray.lookup(&directory).await?)).await;
                    match now.map_err(|error| (directory.clone(), error))?.entry {
                        Some(now) if !now.is_directory() => {}
                        None => return Ok(()),
                        Some(now) if self.judge.may_remove(&now) => {
                            frame.turns += 1;
                            frame.judged = self.judge.judged(&now);
                            frame.stage = Stage::Objects(String::new());
                            self.frames.push(frame);
                            return Ok(());
                        }
                        Some(_) => self.refused(out, &directory),
                    }
                }
                Err(error @ NamespaceError::Moray(_)) => return Err((directory, error)),
                Err(error) => self.error(out, &directory, &error),
            }
        }
        if let Some(above) = self.frames.last_mut() {
            above.keeps_something = true;
        }
        Ok(())
    }

    /// Entries from `from` on; none when the directory has gone, or become something else.
    async fn page(
        &self,
        directory: &ObjectKey,
        from: String,
        limit: usize,
        only: Only,
    ) -> std::result::Result<Vec<Entry>, NamespaceError> {
        let list = List {
            directory: directory.clone(),
            order: Order::Name {
                from: Some(from),
                reverse: false,
            },
            limit,
            only: Some(only),
        };
        match patiently(|| self.server.moray.list(&list)).await {
            Ok(page) => Ok(page.entries),
            Err(
                NamespaceError::NotFound
                | NamespaceError::NotDirectory
                | NamespaceError::ParentNotFound
                | NamespaceError::ParentNotDirectory,
            ) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn refused(&mut self, out: &mut Vec<u8>, key: &ObjectKey) {
        let path = path_of(&self.login, key);
        let message = format!("{} may not be removed by this caller", path);
        self.line(out, &path, "AuthorizationFailed", &message);
    }

    fn error(&mut self, out: &mut Vec<u8>, key: &ObjectKey, error: &NamespaceError) {
        let path = path_of(&self.login, key);
        let code = match error {
            NamespaceError::NotEmpty => "DirectoryNotEmpty",
            NamespaceError::Moray(_) | NamespaceError::Precondition(_) => "ServiceUnavailable",
            _ => "InternalError",
        };
        self.line(out, &path, code, &error.to_string());
    }

    fn line(&mut self, out: &mut Vec<u8>, path: &str, code: &str, message: &str) {
        self.errors += 1;
        out.extend_from_slice(b"{\"type\":\"error\",\"path\":");
        json::string(out, path);
        out.extend_from_slice(b",\"code\":");
        json::string(out, code);
        out.extend_from_slice(b",\"message\":");
        json::string(out, message);
        out.extend_from_slice(b"}\n");
    }

    fn count(&self, out: &mut Vec<u8>, kind: &str) {
        out.extend_from_slice(b"{\"type\":");
        json::string(out, kind);
        for (name, count) in [
            ("objects", self.objects),
            ("directories", self.directories),
            ("errors", self.errors),
        ] {
            out.extend_from_slice(b",");
            json::string(out, name);
            out.extend_from_slice(b":");
            json::number(out, count);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// What became of an object that was listed.
enum Fate {
    /// With so many bytes.
    Removed(u64),
    /// By somebody else, or it is a directory by now.
    Gone,
    Refused,
    Failed(NamespaceError),
}

async fn remove_object(server: Arc<Server>, judge: Arc<Judge>, listed: Entry) -> (ObjectKey, Fate) {
    let key = listed.key.clone();
    let fate = remove_judged(&server, &judge, listed).await;
    (key, fate.unwrap_or_else(Fate::Failed))
}

/// Removes what has the name, which may be something else than what was listed: then it is judged again.
async fn remove_judged(
    server: &Server,
    judge: &Judge,
    listed: Entry,
) -> std::result::Result<Fate, NamespaceError> {
    let mut entry = listed;
    for _ in 0..DECISIONS_MAX {
        if !judge.may_remove(&entry) {
            return Ok(Fate::Refused);
        }
        let condition = Condition {
            judged: judge.judged(&entry),
            ..Condition::default()
        };
        match patiently(|| server.moray.remove_object(&entry.key, &condition)).await {
            Ok(removed) => {
                let object = removed.object();
                return Ok(Fate::Removed(object.map_or(0, |object| object.size_bytes)));
            }
            Err(NamespaceError::NotFound | NamespaceError::IsDirectory) => return Ok(Fate::Gone),
            Err(NamespaceError::Precondition(PreconditionFailed::Judged)) => {}
            Err(error) => return Err(error),
        }
        let now = patiently(async || Ok(server.moray.lookup(&entry.key).await?)).await?;
        match now.entry {
            Some(now) if !now.is_directory() => entry = now,
            _ => return Ok(Fate::Gone),
        }
    }
    Err(PreconditionFailed::Judged.into())
}

/// Repeats a call that the metadata tier could not answer. Each may be: what is gone stays gone.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> std::result::Result<T, NamespaceError>
where
    F: Future<Output = std::result::Result<T, NamespaceError>>,
{
    let mut pause = PAUSE;
    for _ in 1..TRIES_MAX {
        match call().await {
            Err(NamespaceError::Moray(
                libmanta::moray::MorayError::Overloaded { .. }
                | libmanta::moray::MorayError::Unavailable { .. },
            )) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
    call().await
}

//! `GET …?recursive=true`: every entry below a directory, one line of JSON each, with its parent's path.
//!
//! A directory's entries come first, in the order of their names; then what is below each of its
//! directories, again in that order. So a listing that broke off goes on from the last line that arrived,
//! given as `marker` (inclusive, as in plain listings). Each page shows one moment; the whole does not.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use libmanta::moray::{List, Moray, NamespaceError, Only, Order};
use libmanta::{Entry, ObjectKey};

use super::filter::{Filter, number, value};
use crate::errors::Result;
use crate::exchange::Exchange;
use crate::listing::{self, CHUNK_BYTES};
use crate::reply::Reply;
use crate::response_body::{Content, CutShort};
use crate::storage::{Request, Target};

/// Entries read in one go. Small, because a page of directories is kept for each level.
const PAGE: usize = 512;
/// Names of directories kept for each level.
const DIRECTORIES_KEPT: usize = 64;

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
) -> Result<Reply> {
    let query = &request.head.query;
    let filter = Filter::parse(query)?;
    let left = value(query, "limit", |text| {
        number(text).filter(|&limit| limit > 0)
    })?;
    let login = request.owner.login.as_str();
    let marker = value(query, "marker", |text| below(text, login, &target.key))?;
    exchange.lists = true;
    exchange.found(target.entry.as_ref());
    let judge = request.judge(&request.owner).await?;
    let moray = request.server.moray.clone();
    let may_list = |entry: &Entry| judge.may_list(entry);
    let frames = frames(&*moray, may_list, &target.key, marker.as_deref()).await?;
    let walk = Walk {
        moray,
        rights: Box::new(move |entry| judge.may_list(entry)),
        filter,
        left: left.unwrap_or(u64::MAX),
        login: login.to_owned(),
        root_levels: target.key.names().count(),
        frames,
        is_cut: false,
    };
    let mut reply = Reply::empty(StatusCode::OK);
    reply.set(
        CONTENT_TYPE,
        HeaderValue::from_static(listing::DIRECTORY_TYPE),
    );
    let chunks = futures_util::stream::unfold(walk, |mut walk| async move {
        let chunk = walk.chunk().await?;
        Some((chunk, walk))
    });
    reply.content = Content::Stream(chunks.boxed(), None);
    Ok(reply)
}

/// The names of `path` (`/login/stor/a/b`) below `root`; `None` when it does not lie there.
fn below(path: &str, login: &str, root: &ObjectKey) -> Option<Vec<String>> {
    let rest = path.strip_prefix('/')?.strip_prefix(login)?;
    let mut names = rest.strip_prefix('/')?.split('/');
    for expected in root.names() {
        if names.next()? != expected {
            return None;
        }
    }
    let names: Vec<String> = names.map(String::from).collect();
    // Whatever does not make a key was never in a listing.
    let is_key = ObjectKey::new(root.owner(), rest.split('/').skip(1)).is_ok();
    (is_key && !names.is_empty()).then_some(names)
}

/// Where a walk begins: at the beginning, or at the entry whose names below the root are `marker`. What the
/// marker names was found by nobody, so each directory on the way to it is looked at first: behind one that
/// is gone, or may not be read, the walk goes on.
async fn frames(
    moray: &dyn Moray,
    may_list: impl Fn(&Entry) -> bool,
    root: &ObjectKey,
    marker: Option<&[String]>,
) -> Result<Vec<Frame>> {
    let Some((last, above)) = marker.and_then(<[String]>::split_last) else {
        return Ok(vec![Frame::entries(root.clone(), None)]);
    };
    let mut frames = Vec::with_capacity(above.len() + 1);
    let mut directory = root.clone();
    for name in above {
        let Ok(child) = directory.child(name) else {
            break;
        };
        let found = moray.lookup(&child).await?.entry;
        frames.push(Frame::directories(directory, Some(super::after(name))));
        if !found.is_some_and(|entry| entry.is_directory() && may_list(&entry)) {
            return Ok(frames);
        }
        directory = child;
    }
    frames.push(Frame::entries(directory, Some(last.clone())));
    Ok(frames)
}

/// A directory on the way from the root to where the walk is.
#[derive(Debug)]
struct Frame {
    directory: ObjectKey,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Its entries are sent, from this name on.
    Entries {
        from: Option<String>,
        seen_directory: bool,
    },
    /// What is below its directories is, from this name on; `known` are the next ones.
    Directories {
        from: Option<String>,
        known: std::vec::IntoIter<String>,
    },
}

impl Frame {
    fn entries(directory: ObjectKey, from: Option<String>) -> Self {
        // From the middle on, directories may lie before.
        let seen_directory = from.is_some();
        let stage = Stage::Entries {
            from,
            seen_directory,
        };
        Self { directory, stage }
    }

    fn directories(directory: ObjectKey, from: Option<String>) -> Self {
        let known = Vec::new().into_iter();
        let stage = Stage::Directories { from, known };
        Self { directory, stage }
    }
}

struct Walk {
    moray: Arc<dyn Moray>,
    rights: Box<dyn Fn(&Entry) -> bool + Send + Sync>,
    filter: Filter,
    /// Lines that may still be sent.
    left: u64,
    login: String,
    /// Names in the key of the directory that was asked for.
    root_levels: usize,
    frames: Vec<Frame>,
    is_cut: bool,
}

impl Walk {
    /// The next lines; `None` when all have been sent. After an error nothing more comes.
    async fn chunk(&mut self) -> Option<std::result::Result<Bytes, CutShort>> {
        let mut out = Vec::new();
        while out.len() < CHUNK_BYTES && self.left > 0 && !self.is_cut {
            match self.step(&mut out).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "recursive listing broke off");
                    self.is_cut = true;
                    return Some(Err(CutShort));
                }
            }
        }
        (!out.is_empty()).then(|| Ok(Bytes::from(out)))
    }

    /// Reads one page. `false` when there is nothing left to read.
    async fn step(&mut self, out: &mut Vec<u8>) -> std::result::Result<bool, NamespaceError> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(false);
        };
        match &mut frame.stage {
            Stage::Entries {
                from,
                seen_directory,
            } => {
                let depth = frame.directory.names().count() - self.root_levels + 1;
                let depth = u64::try_from(depth).unwrap_or(u64::MAX);
                let list = List {
                    directory: frame.directory.clone(),
                    order: Order::Name {
                        from: from.clone(),
                        reverse: false,
                    },
                    limit: PAGE,
                    only: None,
                };
                let Some(entries) = page(&*self.moray, &list).await? else {
                    self.frames.pop();
                    return Ok(true);
                };
                let is_last = entries.len() < PAGE;
                let next = entries.last().map(|entry| super::after(entry.key.name()));
                let mut directories = Vec::new();
                let mut parent = None;
                for entry in entries {
                    if entry.is_directory() {
                        *seen_directory = true;
                        if (self.rights)(&entry) && from.is_none() {
                            directories.push(entry.key.name().to_owned());
                        }
                    }
                    if self.left > 0 && self.filter.admits(&entry, depth) {
                        let parent =
                            parent.get_or_insert_with(|| path_of(&self.login, &frame.directory));
                        listing::row(out, &entry, Some(parent));
                        self.left -= 1;
                    }
                }
                let goes_deeper = self.filter.depth_max.is_none_or(|most| depth < most);
                frame.stage = if !is_last {
                    Stage::Entries {
                        from: next,
                        seen_directory: *seen_directory,
                    }
                } else if goes_deeper && *seen_directory {
                    let is_whole = from.is_none() && directories.len() <= DIRECTORIES_KEPT;
                    let known = if is_whole { directories } else { Vec::new() };
                    Stage::Directories {
                        // Of a directory that fits into one page, all are known already.
                        from: (!is_whole).then(String::new),
                        known: known.into_iter(),
                    }
                } else {
                    self.frames.pop();
                    return Ok(true);
                };
            }
            Stage::Directories { from, known } => {
                if let Some(name) = known.next() {
                    if let Ok(child) = frame.directory.child(&name) {
                        self.frames.push(Frame::entries(child, None));
                    }
                    return Ok(true);
                }
                let Some(first) = from.take() else {
                    self.frames.pop();
                    return Ok(true);
                };
                let list = List {
                    directory: frame.directory.clone(),
                    order: Order::Name {
                        from: Some(first),
                        reverse: false,
                    },
                    limit: DIRECTORIES_KEPT,
                    only: Some(Only::Directories),
                };
                let entries = page(&*self.moray, &list).await?.unwrap_or_default();
                *from = (entries.len() == DIRECTORIES_KEPT)
                    .then(|| entries.last().map(|entry| super::after(entry.key.name())))
                    .flatten();
                let names = entries
                    .into_iter()
                    .filter(|entry| (self.rights)(entry))
                    .map(|entry| entry.key.name().to_owned());
                *known = names.collect::<Vec<_>>().into_iter();
            }
        }
        Ok(true)
    }
}

/// `None` when the directory has gone, or become something else, since its name was read.
async fn page(
    moray: &dyn Moray,
    list: &List,
) -> std::result::Result<Option<Vec<Entry>>, NamespaceError> {
    match moray.list(list).await {
        Ok(page) => Ok(Some(page.entries)),
        Err(
            NamespaceError::NotFound
            | NamespaceError::NotDirectory
            | NamespaceError::ParentNotFound
            | NamespaceError::ParentNotDirectory,
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// As users write it: `/login/stor/a`.
pub(super) fn path_of(login: &str, key: &ObjectKey) -> String {
    let mut path = format!("/{login}");
    for name in key.names() {
        path.push('/');
        path.push_str(name);
    }
    path
}

#[cfg(test)]
mod tests {
    use libmanta::AccountId;

    use super::*;

    #[test]
    fn markers_lie_below_the_directory() {
        let owner = AccountId::random();
        let root = ObjectKey::new(owner, ["stor", "a"]).unwrap();
        let names = |path| below(path, "alice", &root);
        assert_eq!(names("/alice/stor/a/b"), Some(vec!["b".to_owned()]));
        assert_eq!(names("/alice/stor/a/b/c").unwrap().len(), 2);
        for path in [
            "",
            "/alice",
            "/alice/stor/a",
            "/alice/stor/b/c",
            "/bob/stor/a/b",
            "/alice/stor/a//b",
            "/alice/stor/a/b/",
            "stor/a/b",
        ] {
            assert_eq!(names(path), None, "{path}");
        }
    }
}

//! Everything below some directories.
//!
//! Directories are listed in parallel, so the order between them is open; below one directory it is the
//! directory's. A wide tree does not fill the memory: held are at most a page of each listing under way,
//! and the directories still to visit, deepest first.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::client::Client;
use crate::error::Error;
use crate::listing::{Entry, EntryKind, ListOptions, Listing};

/// Entries taken from one listing before another one gets its turn.
const STEP_ENTRIES: usize = 1024;

/// How to walk.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions {
    /// Directories listed at once, at least one.
    pub parallel: usize,
    /// Directories at this depth are given, but not entered. Children of a start have depth 0.
    pub depth_max: usize,
}

/// An entry, and where it is.
#[derive(Clone, Debug)]
pub struct Found {
    /// Resolved path of the directory that holds it.
    pub parent: String,
    /// 0 for the children of a start.
    pub depth: usize,
    pub entry: Entry,
}

impl Found {
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.parent, self.entry.name)
    }
}

/// A directory that could not be read to its end. The walk can go on without it.
#[derive(Debug, thiserror::Error)]
#[error("{path}")]
pub struct Unread {
    pub path: String,
    #[source]
    pub error: Error,
}

/// A walk under way. Dropping it stops it.
#[derive(Debug)]
pub struct Walk {
    client: Client,
    options: WalkOptions,
    to_visit: Vec<Directory>,
    under_way: FuturesUnordered<BoxFuture<'static, Step>>,
    ready: VecDeque<Found>,
    failed: Option<Unread>,
}

#[derive(Debug)]
struct Directory {
    path: String,
    /// Of its children.
    depth: usize,
}

/// The next entries of a listing, and the listing if it goes on.
struct Step {
    directory: Directory,
    entries: Vec<Entry>,
    rest: Result<Option<Listing>, Error>,
}

impl Client {
    /// Walks the trees below directories, given by resolved paths. They themselves are not given.
    #[must_use]
    pub fn walk(&self, starts: Vec<String>, options: WalkOptions) -> Walk {
        let to_visit = starts.into_iter().rev();
        Walk {
            // Entries can be named `.` and `..`; resolving those would walk in circles.
            client: self.exact(),
            options,
            to_visit: to_visit.map(|path| Directory { path, depth: 0 }).collect(),
            under_way: FuturesUnordered::new(),
            ready: VecDeque::new(),
            failed: None,
        }
    }
}

impl Walk {
    /// The next entry, or `None` when everything was given.
    pub async fn next(&mut self) -> Result<Option<Found>, Unread> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(Some(found));
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            while self.under_way.len() < self.options.parallel.max(1)
                && let Some(directory) = self.to_visit.pop()
            {
                match self.client.list(&directory.path, ListOptions::default()) {
                    Ok(listing) => self.under_way.push(Box::pin(step(directory, listing))),
                    Err(error) => {
                        let path = directory.path;
                        return Err(Unread { path, error });
                    }
                }
            }
            let Some(step) = self.under_way.next().await else {
                return Ok(None);
            };
            self.take(step);
        }
    }

    fn take(&mut self, done: Step) {
        let Directory { path, depth } = &done.directory;
        for entry in done.entries {
            if entry.kind == EntryKind::Directory && *depth < self.options.depth_max {
                self.to_visit.push(Directory {
                    path: format!("{path}/{}", entry.name),
                    depth: depth + 1,
                });
            }
            self.ready.push_back(Found {
                parent: path.clone(),
                depth: *depth,
                entry,
            });
        }
        match done.rest {
            Ok(Some(listing)) => self.under_way.push(Box::pin(step(done.directory, listing))),
            Ok(None) => {}
            Err(error) => {
                let path = done.directory.path;
                self.failed = Some(Unread { path, error });
            }
        }
    }
}

async fn step(directory: Directory, mut listing: Listing) -> Step {
    let mut entries = Vec::new();
    let rest = loop {
        match listing.next().await {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => break Ok(None),
            Err(error) => break Err(error),
        }
        if entries.len() >= STEP_ENTRIES {
            break Ok(Some(listing));
        }
    };
    Step {
        directory,
        entries,
        rest,
    }
}

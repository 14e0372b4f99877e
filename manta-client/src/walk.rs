//! Everything below some directories.
//!
//! A server that can walks by itself, one start after the other. With any other server, directories are listed in parallel, so the order between them is open; below one directory it is the
//! directory's. A wide tree does not fill the memory: held are at most a page of each listing under way,
//! and the directories still to visit, deepest first.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::client::Client;
use crate::error::Error;
use crate::listing::{Entry, EntryKind, ListOptions, Listing};
use crate::recursive::{TreeFilter, TreeListing};

/// Entries taken from one listing before another one gets its turn.
const STEP_ENTRIES: usize = 1024;

/// How to walk.
#[derive(Clone, Debug)]
pub struct WalkOptions {
    /// Directories listed at once, at least one.
    pub parallel: usize,
    /// Directories at this depth are given, but not entered. Children of a start have depth 0.
    pub depth_max: usize,
    /// Ask the server for whole trees, and of those only for what passes this filter. It need not be
    /// able to: entries that do not pass can be given all the same. With it, what is in directories that
    /// the caller may not list is missing without an error.
    pub by_server: Option<TreeFilter>,
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
    /// Starts that the server will be asked for, the next one last.
    trees: Vec<String>,
    tree: Option<Tree>,
    to_visit: Vec<Directory>,
    under_way: FuturesUnordered<BoxFuture<'static, Step>>,
    ready: VecDeque<Found>,
    failed: Option<Unread>,
}

/// A start that the server walks.
#[derive(Debug)]
struct Tree {
    start: String,
    listing: TreeListing,
    /// Whether it is known that the server can do it.
    has_begun: bool,
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
        let mut walk = Walk {
            // Entries can be named `.` and `..`; resolving those would walk in circles.
            client: self.exact(),
            trees: Vec::new(),
            tree: None,
            to_visit: Vec::new(),
            under_way: FuturesUnordered::new(),
            ready: VecDeque::new(),
            failed: None,
            options,
        };
        let starts = starts.into_iter().rev();
        if walk.options.by_server.is_some() {
            walk.trees = starts.collect();
        } else {
            walk.to_visit = starts.map(Directory::start).collect();
        }
        walk
    }
}

impl Directory {
    fn start(path: String) -> Directory {
        Directory { path, depth: 0 }
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
            if self.tree.is_some() || !self.trees.is_empty() {
                match self.next_of_tree().await? {
                    Some(found) => return Ok(Some(found)),
                    None => continue,
                }
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

    /// The next entry that the server gives, or `None` at the end of a tree, and when there will be none.
    async fn next_of_tree(&mut self) -> Result<Option<Found>, Unread> {
        let mut tree = match self.tree.take() {
            Some(tree) => tree,
            None => match self.trees.pop() {
                None => return Ok(None),
                Some(start) => {
                    let filter = self.filter();
                    match self.client.list_tree(&start, &filter).await {
                        Ok(listing) => Tree {
                            start,
                            listing,
                            has_begun: false,
                        },
                        // It does not take every pattern that we do.
                        Err(error) if error.is_code("InvalidParameter") => {
                            self.walk_instead(start);
                            return Ok(None);
                        }
                        Err(error) => return Err(Unread { path: start, error }),
                    }
                }
            },
        };
        match tree.listing.next().await {
            Ok(Some(row)) => {
                tree.has_begun = true;
                let below = row.parent.strip_prefix(tree.start.as_str());
                let depth = below.unwrap_or_default().matches('/').count();
                self.tree = Some(tree);
                Ok(Some(Found {
                    parent: row.parent,
                    depth,
                    entry: row.entry,
                }))
            }
            Ok(None) => Ok(None),
            Err(Error::NotSupported(_)) if !tree.has_begun => {
                self.walk_instead(tree.start);
                Ok(None)
            }
            Err(error) => {
                let path = tree.start;
                Err(Unread { path, error })
            }
        }
    }

    fn filter(&self) -> TreeFilter {
        let mut filter = self.options.by_server.clone().unwrap_or_default();
        // To the server the children of a start have depth 1.
        filter.depth_max = match self.options.depth_max {
            usize::MAX => None,
            depth => u64::try_from(depth).ok().map(|depth| depth + 1),
        };
        filter
    }

    /// What holds for one tree holds for the others.
    fn walk_instead(&mut self, start: String) {
        let starts = self.trees.drain(..).chain([start]);
        self.to_visit.extend(starts.map(Directory::start));
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

//! `mput -r`: a local directory into a directory of the store, so that an interrupted run can go on.
//!
//! What is there with the same size and MD5 is left alone; nothing is ever deleted. Every directory is
//! listed once, when the first of its files has its turn. A large file goes on with the parts that are there.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use manta_client::{Client, EntryKind, Error, ListOptions, MissingDirectories, PutOptions};
use tokio::sync::{OnceCell, mpsc};

use super::failure::Failure;
use super::large_files::LargeFiles;
use super::local_tree::{self, Links, Local, LocalFile};
use super::progress::Meter;
use super::upload::{content_type, digest_of, role_tag_of};

/// Files found and not begun.
const QUEUE_FILES: usize = 1024;

/// A tree, where it goes, and how.
#[derive(Debug)]
pub(super) struct TreeUpload {
    pub(super) client: Client,
    pub(super) local: PathBuf,
    /// Resolved.
    pub(super) remote: String,
    pub(super) options: PutOptions,
    /// Send the MD5 along, so that the server refuses what changed on the way.
    pub(super) send_md5: bool,
    pub(super) large: LargeFiles,
    pub(super) links: Links,
    /// Requests at once, at least one.
    pub(super) parallel: usize,
    pub(super) meter: Meter,
}

/// A directory of the store, listed when it is first needed.
#[derive(Debug)]
struct Directory {
    path: String,
    known: OnceCell<HashMap<String, Stored>>,
}

/// What an object is recognised by.
#[derive(Debug)]
struct Stored {
    size: u64,
    md5: Option<String>,
}

impl TreeUpload {
    /// Uploads what is missing. A file that fails is reported, and the others go on; a server that cannot
    /// be reached ends it.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        self.options.parents = false;
        let remote = self.remote.clone();
        let this = &self;
        let directories =
            MissingDirectories::new(self.client.clone(), role_tag_of(&self.options.headers));
        let directories = &directories;
        let (sender, mut found) = mpsc::channel(QUEUE_FILES);
        let scan = self.scan(sender);
        let mut under_way = FuturesUnordered::new();
        let mut current = Arc::new(Directory::new(remote));
        let mut reading = true;
        let mut failed = false;
        // The top is made even if nothing is in it.
        under_way.push(this.begin(None, current.clone(), directories));
        while reading || !under_way.is_empty() {
            let may_begin = reading && under_way.len() < self.parallel.max(1);
            tokio::select! {
                local = found.recv(), if may_begin => match local {
                    Some(Local::File(file)) => {
                        self.meter.expect(file.size);
                        under_way.push(this.begin(Some(file), current.clone(), directories));
                    }
                    Some(Local::Directory { relative }) => {
                        let path = format!("{}/{relative}", self.remote);
                        current = Arc::new(Directory::new(path));
                        under_way.push(this.begin(None, current.clone(), directories));
                    }
                    Some(Local::Problem(text)) => {
                        failed = true;
                        eprintln!("mput: {text}");
                    }
                    None => reading = false,
                },
                Some((name, outcome)) = under_way.next() => match outcome {
                    Ok(()) => {}
                    Err(error @ (Error::Connect { .. } | Error::Sign(_))) => {
                        return Err(error.into());
                    }
                    Err(error) => {
                        failed = true;
                        eprintln!("mput: {name}: {}", error.line());
                    }
                },
            }
        }
        self.meter.finish();
        match scan.await {
            Ok(Ok(())) if failed => Err(Failure::Reported),
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let file = self.local.display();
                Err(Failure::Message(format!("Error: {file}: {error}")))
            }
            Err(error) => Err(Failure::Message(format!("Error: {error}"))),
        }
    }

    /// Walks the tree on a thread of its own, which ends when nobody listens any more.
    fn scan(&self, found: mpsc::Sender<Local>) -> tokio::task::JoinHandle<io::Result<()>> {
        let (root, links) = (self.local.clone(), self.links);
        tokio::task::spawn_blocking(move || {
            local_tree::walk(&root, links, |local| match found.blocking_send(local) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        })
    }

    /// One file, or without one just its directory. The name is for reports.
    async fn begin(
        &self,
        file: Option<LocalFile>,
        directory: Arc<Directory>,
        directories: &MissingDirectories,
    ) -> (String, Result<(), Error>) {
        match file {
            None => {
                let listed = self.known(&directory, directories).await;
                (directory.path.clone(), listed.map(drop))
            }
            Some(file) => {
                let stored = self.store(&file, &directory, directories).await;
                (file.path.display().to_string(), stored)
            }
        }
    }

    async fn store(
        &self,
        file: &LocalFile,
        directory: &Directory,
        directories: &MissingDirectories,
    ) -> Result<(), Error> {
        let known = self.known(directory, directories).await?;
        let name = file.relative.rsplit('/').next().unwrap_or_default();
        let there = known.get(name).filter(|stored| stored.size == file.size);
        let mut own = None;
        if there.is_some() || self.send_md5 {
            own = Some(digest_of(&file.path).await.map_err(Error::Source)?);
        }
        if there.is_some_and(|stored| stored.md5 == own) {
            self.meter.skip(file.size);
            return Ok(());
        }
        let path = format!("{}/{name}", directory.path);
        let mut options = self.options.clone();
        options.content_type = Some(content_type(&path));
        options.content_md5 = own.filter(|_| self.send_md5);
        let put = self.large.put_file_into(
            &self.client,
            directories,
            &path,
            &file.path,
            &options,
            &self.meter,
        );
        put.await
    }

    /// The objects of a directory, which is made if it is missing.
    async fn known<'a>(
        &self,
        directory: &'a Directory,
        directories: &MissingDirectories,
    ) -> Result<&'a HashMap<String, Stored>, Error> {
        let list = async || {
            let mut known = HashMap::new();
            let mut listing = self.client.list(&directory.path, ListOptions::default())?;
            loop {
                match listing.next().await {
                    Ok(Some(entry)) if entry.kind == EntryKind::Object => {
                        let stored = Stored {
                            size: entry.size,
                            md5: entry.content_md5,
                        };
                        known.insert(entry.name, stored);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(known),
                    Err(error) if error.is_not_found() => {
                        directories.make(&directory.path).await?;
                        return Ok(HashMap::new());
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        directory.known.get_or_try_init(list).await
    }
}

impl Directory {
    fn new(path: String) -> Directory {
        Directory {
            path,
            known: OnceCell::new(),
        }
    }
}

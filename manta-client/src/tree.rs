//! Directories with all that is above or below them.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::error::Error;
use crate::listing::{Entry, EntryKind, ListOptions};
use crate::path::resolve_path;
use crate::recursive::RemovalReport;

/// Somebody may add entries to a tree while it is being removed, but not for ever.
const ROUNDS_MAX: usize = 16;
/// Entries of one directory that are deleted together; just short of a page, so that one is enough.
const BATCH: usize = 1000;
/// A connection that breaks this often is not going to carry the report.
const REPEATS_MAX: u32 = 5;

impl Client {
    /// Creates a directory and every one above it that is missing. The headers go to all of them.
    pub async fn mkdirp(&self, path: &str, headers: HeaderMap) -> Result<(), Error> {
        let path = resolve_path(path, self.account())?;
        // `/account/area` always exists.
        let names: Vec<&str> = path.split('/').collect();
        let first = names.len().min(4);
        for depth in first..=names.len() {
            let directory = names[..depth].join("/");
            match self.mkdir(&directory, headers.clone()).await {
                // Another client is creating the same one; the second try finds it.
                Err(error) if error.is_code("ConcurrentRequest") => {
                    self.mkdir(&directory, headers.clone()).await?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Deletes a directory and everything in it: by one request where the server can, otherwise from the
    /// bottom up, at most `parallel` requests at once. What was deleted stays deleted.
    ///
    /// `report` hears how far the server is, and which entries it keeps; those are no errors here.
    pub async fn remove_tree(
        &self,
        path: &str,
        parallel: usize,
        mut report: impl FnMut(RemovalReport),
    ) -> Result<(), Error> {
        let path = resolve_path(path, self.account())?;
        let mut broken = 0;
        loop {
            match self.remove_by_server(&path, &mut report).await {
                // Asking again goes on, and when all is gone it was done.
                Err(Error::Broken(_)) if broken < REPEATS_MAX => broken += 1,
                Err(error) if error.is_not_found() && broken > 0 => return Ok(()),
                // It cannot, or this is a directory that is to be emptied and stays.
                Err(error)
                    if error.is_code("DirectoryNotEmpty")
                        || error.is_code("OperationNotAllowedOnRootDirectory") =>
                {
                    break;
                }
                other => return other,
            }
        }
        let turns = Arc::new(Semaphore::new(parallel.max(1)));
        // An entry can be named `..`: it is that entry that goes, not the directory above.
        self.exact().remove_below(path, turns).await
    }

    async fn remove_by_server(
        &self,
        path: &str,
        report: &mut impl FnMut(RemovalReport),
    ) -> Result<(), Error> {
        let mut removal = self.exact().delete_tree(path).await?;
        while let Some(said) = removal.next().await? {
            report(said);
        }
        Ok(())
    }

    /// A directory is listed anew until it can be deleted.
    fn remove_below(
        &self,
        path: String,
        turns: Arc<Semaphore>,
    ) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            for _ in 0..ROUNDS_MAX {
                self.remove_children(&path, &turns).await?;
                let deleted = {
                    let _turn = turns.acquire().await;
                    self.delete(&path).await
                };
                match deleted {
                    Err(error) if error.is_code("DirectoryNotEmpty") => {}
                    other => return other,
                }
            }
            let _turn = turns.acquire().await;
            self.delete(&path).await
        })
    }

    /// Empties a directory, a batch at a time. The list is read before anything is deleted and anew after
    /// it: nothing here waits for a turn while holding one that it must first give up.
    async fn remove_children(&self, path: &str, turns: &Arc<Semaphore>) -> Result<(), Error> {
        loop {
            let batch = {
                let _turn = turns.acquire().await;
                self.first_entries(path).await?
            };
            if batch.is_empty() {
                return Ok(());
            }
            let mut under_way: FuturesUnordered<BoxFuture<'_, Result<(), Error>>> = batch
                .into_iter()
                .map(|entry| {
                    let child = format!("{path}/{}", entry.name);
                    let turns = turns.clone();
                    match entry.kind {
                        EntryKind::Directory => self.remove_below(child, turns),
                        EntryKind::Object => Box::pin(async move {
                            let _turn = turns.acquire().await;
                            self.delete(&child).await
                        }),
                    }
                })
                .collect();
            while let Some(done) = under_way.next().await {
                done?;
            }
        }
    }

    async fn first_entries(&self, path: &str) -> Result<Vec<Entry>, Error> {
        let mut listing = self.list(path, ListOptions::default())?;
        let mut entries = Vec::new();
        while entries.len() < BATCH
            && let Some(entry) = listing.next().await?
        {
            entries.push(entry);
        }
        Ok(entries)
    }
}

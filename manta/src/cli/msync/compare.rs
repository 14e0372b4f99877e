//! Whether the destination has a file already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use futures_util::StreamExt as _;
use manta_client::{EntryKind, ListOptions};

use super::super::upload::digest_of;
use super::source::Source;
use super::{Direction, Sync};

/// From so many files of one directory on, one listing costs less than a question for each.
const LISTING_FILES_MIN: usize = 16;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Missing,
    Different,
    Same,
}

/// What the store has under the name of a file.
#[derive(Debug)]
struct Remote {
    /// `None` for a directory.
    size: Option<u64>,
    /// Base64.
    md5: Option<String>,
}

/// Directories of the store that were listed, and what they have under the names that matter.
#[derive(Debug, Default)]
pub(super) struct Known {
    directories: HashMap<String, Result<HashMap<String, Remote>, String>>,
}

impl Sync {
    /// Lists the directories of the store that will be asked for many files.
    pub(super) async fn look_ahead(&self, sources: &[Source]) -> Known {
        if self.direction == Direction::Down {
            return Known::default();
        }
        let mut by_directory: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for source in sources {
            let (directory, name) = split(&source.relative);
            by_directory.entry(directory).or_default().insert(name);
        }
        by_directory.retain(|_, names| names.len() >= LISTING_FILES_MIN);
        let listings = futures_util::stream::iter(&by_directory)
            .map(async |(directory, names)| {
                ((*directory).to_owned(), self.listed(directory, names).await)
            })
            .buffer_unordered(self.parallel);
        Known {
            directories: listings.collect().await,
        }
    }

    async fn listed(
        &self,
        directory: &str,
        names: &HashSet<&str>,
    ) -> Result<HashMap<String, Remote>, String> {
        let path = match directory {
            "" => self.remote.clone(),
            below => self.remote_path(below),
        };
        let listing = self.client.list(&path, ListOptions::default());
        let mut listing = listing.map_err(|error| error.line())?;
        let mut found = HashMap::new();
        loop {
            match listing.next().await {
                Ok(Some(entry)) if names.contains(entry.name.as_str()) => {
                    let is_object = entry.kind == EntryKind::Object;
                    let remote = Remote {
                        size: is_object.then_some(entry.size),
                        md5: entry.content_md5,
                    };
                    found.insert(entry.name, remote);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(found),
                Err(error) if error.is_not_found() => return Ok(HashMap::new()),
                Err(error) => return Err(error.line()),
            }
        }
    }

    /// Compares one file with its counterpart. Errors: in words.
    pub(super) async fn compare(&self, source: &Source, known: &Known) -> Result<Verdict, String> {
        match self.direction {
            Direction::Up => self.compare_up(source, known).await,
            Direction::Down => self.compare_down(source).await,
        }
    }

    async fn compare_up(&self, source: &Source, known: &Known) -> Result<Verdict, String> {
        let (directory, name) = split(&source.relative);
        let asked;
        let remote = match known.directories.get(directory) {
            Some(Ok(listed)) => listed.get(name),
            Some(Err(error)) => return Err(error.clone()),
            None => {
                asked = self.asked(&source.relative).await?;
                asked.as_ref()
            }
        };
        let Some(remote) = remote else {
            return Ok(Verdict::Missing);
        };
        if remote.size != Some(source.size) {
            return Ok(Verdict::Different);
        }
        if !self.by_md5 {
            return Ok(Verdict::Same);
        }
        let path = self.local_path(&source.relative);
        let own = digest_of(&path).await.map_err(|error| error.to_string())?;
        Ok(same(remote.md5.as_deref() == Some(&own)))
    }

    async fn asked(&self, relative: &str) -> Result<Option<Remote>, String> {
        match self.client.head(&self.remote_path(relative)).await {
            Ok(info) => Ok(Some(Remote {
                size: info.size().filter(|_| !info.is_directory()),
                md5: info.header("content-md5").map(str::to_owned),
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.line()),
        }
    }

    async fn compare_down(&self, source: &Source) -> Result<Verdict, String> {
        let path = self.local_path(&source.relative);
        let metadata = match tokio::fs::metadata(&path).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Missing),
            Err(error) => return Err(error.to_string()),
        };
        if !metadata.is_file() || metadata.len() != source.size {
            return Ok(Verdict::Different);
        }
        if !self.by_md5 {
            return Ok(Verdict::Same);
        }
        let own = digest_of(&path).await.map_err(|error| error.to_string())?;
        Ok(same(source.md5.as_deref() == Some(&own)))
    }
}

fn same(equal: bool) -> Verdict {
    if equal {
        Verdict::Same
    } else {
        Verdict::Different
    }
}

/// Directory and name of a relative path; the directory is empty at the top.
fn split(relative: &str) -> (&str, &str) {
    relative.rsplit_once('/').unwrap_or(("", relative))
}

//! Reading a directory, page by page.
//!
//! A marker is inclusive: each page but the first begins with the last entry of the one before, which is
//! dropped here. Sorted by time, several entries can share the marker, so names decide what was seen.

use std::collections::HashSet;

use http::{HeaderMap, Method};
use serde::Deserialize;

use crate::body::Payload;
use crate::client::{Client, JSON_STREAM, accept, is_directory};
use crate::error::Error;
use crate::lines::Lines;
use crate::path::encode_segment;

/// The most the server gives in one page.
const PAGE_ENTRIES: usize = 1024;

/// How to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Start here, inclusive: a name, or a time when sorted by time.
    pub marker: Option<String>,
    pub sort: SortBy,
    pub reverse: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SortBy {
    /// Bytes of the name, ascending.
    #[default]
    Name,
    /// Newest first.
    Time,
}

/// One line of a listing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// Bytes; zero for directories.
    #[serde(default)]
    pub size: u64,
    /// ISO 8601.
    #[serde(default)]
    pub mtime: String,
    pub etag: Option<String>,
    #[serde(rename = "contentMD5")]
    pub content_md5: Option<String>,
    pub durability: Option<u32>,
    /// The line as it came, for those who pass it on.
    #[serde(skip)]
    pub line: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    Object,
    Directory,
}

/// The entries of a directory in order.
#[derive(Debug)]
pub struct Listing {
    client: Client,
    target: String,
    options: ListOptions,
    page: Option<Page>,
    /// Names already given that the next page can begin with, and the marker they share.
    seen: HashSet<String>,
    marker: Option<String>,
    ended: bool,
    headers: HeaderMap,
}

#[derive(Debug)]
struct Page {
    lines: Lines,
    rows: usize,
    new_rows: usize,
}

impl Client {
    /// Lists a directory. `Err` from the first [`Listing::next`] when there is none; of an object it is
    /// `Malformed`.
    pub fn list(&self, path: &str, options: ListOptions) -> Result<Listing, Error> {
        Ok(Listing {
            target: self.target(path)?,
            client: self.clone(),
            marker: options.marker.clone(),
            options,
            page: None,
            seen: HashSet::new(),
            ended: false,
            headers: HeaderMap::new(),
        })
    }

    /// The number of entries in a directory, without reading them.
    pub async fn count(&self, path: &str) -> Result<u64, Error> {
        let info = self.head(path).await?;
        info.header("result-set-size")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::Malformed("no result-set-size".to_owned()))
    }
}

impl Listing {
    /// The next entry, or `None` after the last. Pages are fetched as they are needed.
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if self.page.is_none() {
                if self.ended {
                    return Ok(None);
                }
                self.page = Some(self.fetch().await?);
            }
            let Some(page) = &mut self.page else { continue };
            let Some(line) = page.lines.next().await? else {
                let Some(page) = self.page.take() else {
                    continue;
                };
                // Some servers let the directory's own record take a place on a page.
                self.ended = page.rows + 1 < PAGE_ENTRIES;
                if !self.ended && page.new_rows == 0 {
                    let text =
                        "a page of the listing leads nowhere: too many equal times".to_owned();
                    return Err(Error::Malformed(text));
                }
                continue;
            };
            page.rows += 1;
            let mut entry: Entry = serde_json::from_str(&line)
                .map_err(|error| Error::Malformed(format!("an entry: {error}")))?;
            let marker = match self.options.sort {
                SortBy::Name => &entry.name,
                SortBy::Time => &entry.mtime,
            };
            if self.marker.as_ref() == Some(marker) {
                if !self.seen.insert(entry.name.clone()) {
                    continue;
                }
            } else {
                self.marker = Some(marker.clone());
                self.seen.clear();
                self.seen.insert(entry.name.clone());
            }
            page.new_rows += 1;
            entry.line = line;
            return Ok(Some(entry));
        }
    }

    /// All entries; for directories that are known to be small.
    pub async fn all(mut self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next().await? {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// The headers of the last page that was fetched.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    async fn fetch(&mut self) -> Result<Page, Error> {
        let mut target = format!("{}?limit={PAGE_ENTRIES}", self.target);
        if let Some(marker) = &self.marker {
            target.push_str(&format!("&marker={}", encode_segment(marker)));
        }
        if self.options.sort == SortBy::Time {
            target.push_str("&sort=mtime");
        }
        if self.options.reverse {
            target.push_str("&sort_order=reverse");
        }
        let response = self
            .client
            .request_ok(Method::GET, &target, accept(JSON_STREAM), Payload::Empty)
            .await?;
        if !is_directory(response.headers()) {
            return Err(Error::Malformed(format!(
                "{} is not a directory",
                self.target
            )));
        }
        let (parts, body) = response.into_parts();
        self.headers = parts.headers;
        Ok(Page {
            lines: Lines::new(body),
            rows: 0,
            new_rows: 0,
        })
    }
}

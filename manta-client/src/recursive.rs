//! Whole trees in one request: the server walks, the client reads lines.
//!
//! Neither Manta had this. Of a server that has not, `GET dir?recursive=true` is the listing of one
//! directory, whose rows lack `path`, and `DELETE dir?recursive=true` deletes nothing but an empty
//! directory: the callers are told, and walk by themselves.

use http::Method;
use serde::Deserialize;

use crate::body::Payload;
use crate::client::{Client, JSON_STREAM, accept, is_directory};
use crate::error::{Error, ErrorReply};
use crate::lines::Lines;
use crate::listing::{Entry, EntryKind};
use crate::path::encode_segment;

/// Which entries of a tree are wanted; the server leaves the others out. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct TreeFilter {
    pub kind: Option<EntryKind>,
    /// A regular expression that must be found in the entry's name (not in its path).
    pub name: Option<String>,
    /// Bytes, inclusive. Directories have none, so they are left out.
    pub size_min: Option<u64>,
    pub size_max: Option<u64>,
    /// ISO 8601, inclusive: changed then or later.
    pub mtime_min: Option<String>,
    /// ISO 8601, exclusive: changed before.
    pub mtime_max: Option<String>,
}

impl TreeFilter {
    fn query(&self) -> String {
        let numbers = [self.size_min, self.size_max].map(|size| size.map(|size| size.to_string()));
        let [size_min, size_max] = &numbers;
        let kind = self.kind.map(|kind| match kind {
            EntryKind::Object => "object",
            EntryKind::Directory => "directory",
        });
        let filters = [
            ("type", kind),
            ("name", self.name.as_deref()),
            ("size_min", size_min.as_deref()),
            ("size_max", size_max.as_deref()),
            ("mtime_min", self.mtime_min.as_deref()),
            ("mtime_max", self.mtime_max.as_deref()),
        ];
        let mut query = "recursive=true".to_owned();
        for (name, value) in filters {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", encode_segment(value)));
            }
        }
        query
    }
}

/// An entry of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TreeEntry {
    /// From the account on, unescaped: `/alice/stor/a/b`.
    pub path: String,
    pub entry: Entry,
}

/// The entries below a directory. A directory comes before what is in it; nothing else is said of the
/// order. Dropping it ends the request.
#[derive(Debug)]
pub struct TreeListing {
    lines: Lines,
}

/// A tree being deleted by the server. Dropping it ends the request; what was deleted stays deleted.
#[derive(Debug)]
pub struct Removal {
    lines: Lines,
    done: bool,
}

/// How far a [`Removal`] is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub struct RemovalProgress {
    /// Entries deleted so far, directories included.
    pub deleted: u64,
    /// Everything is gone, the directory itself too.
    #[serde(default)]
    pub done: bool,
}

impl Client {
    /// Lists everything below a directory in one request.
    ///
    /// Errors: `Malformed` for an object. Of a server that cannot do it, the first
    /// [`TreeListing::next`] is `NotSupported`.
    pub async fn list_tree(&self, path: &str, filter: &TreeFilter) -> Result<TreeListing, Error> {
        let target = format!("{}?{}", self.target(path)?, filter.query());
        let response = self
            .request_ok(Method::GET, &target, accept(JSON_STREAM), Payload::Empty)
            .await?;
        if !is_directory(response.headers()) {
            return Err(Error::Malformed(format!("{path} is not a directory")));
        }
        Ok(TreeListing {
            lines: Lines::new(response.into_body()),
        })
    }

    /// Deletes a directory and everything in it in one request. Nothing is sure to be gone before
    /// [`Removal::next`] has said so.
    ///
    /// Errors: `DirectoryNotEmpty` from a server that cannot do it, and nothing is deleted.
    pub async fn delete_tree(&self, path: &str) -> Result<Removal, Error> {
        let target = format!("{}?recursive=true", self.target(path)?);
        let response = self
            .request_ok(Method::DELETE, &target, accept(JSON_STREAM), Payload::Empty)
            .await?;
        // Without a body to report in, the directory was empty and is gone.
        let done = response.status() == http::StatusCode::NO_CONTENT;
        Ok(Removal {
            lines: Lines::new(response.into_body()),
            done,
        })
    }
}

impl TreeListing {
    /// The next entry, or `None` when the server has given the last one.
    pub async fn next(&mut self) -> Result<Option<TreeEntry>, Error> {
        let Some(line) = self.lines.next().await? else {
            return Ok(None);
        };
        parse_row(line).map(Some)
    }
}

impl Removal {
    /// Waits for the next report; `None` after the one that says `done`. A connection that ends before
    /// is an error, and so is whatever stopped the server.
    pub async fn next(&mut self) -> Result<Option<RemovalProgress>, Error> {
        match self.lines.next().await? {
            Some(line) => {
                let progress = parse_progress(&line)?;
                self.done = progress.done;
                Ok(Some(progress))
            }
            None if self.done => Ok(None),
            None => Err(Error::Malformed(
                "the report on a deletion has no end".to_owned(),
            )),
        }
    }
}

/// A row of a listing, with the path.
fn parse_row(line: String) -> Result<TreeEntry, Error> {
    #[derive(Deserialize)]
    struct Row {
        path: Option<String>,
        #[serde(flatten)]
        entry: Entry,
    }
    let row: Row = serde_json::from_str(&line)
        .map_err(|error| Error::Malformed(format!("an entry: {error}")))?;
    let path = row.path.ok_or(Error::NotSupported("recursive listing"))?;
    let mut entry = row.entry;
    entry.line = line;
    Ok(TreeEntry { path, entry })
}

/// A report, or the error that ended the deletion.
fn parse_progress(line: &str) -> Result<RemovalProgress, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Report {
        Progress(RemovalProgress),
        Stopped { code: String, message: String },
    }
    let report: Report = serde_json::from_str(line)
        .map_err(|error| Error::Malformed(format!("a report on a deletion: {error}")))?;
    match report {
        Report::Progress(progress) => Ok(progress),
        Report::Stopped { code, message } => Err(Error::Reply(Box::new(ErrorReply {
            method: Method::DELETE,
            target: String::new(),
            status: http::StatusCode::OK,
            code,
            message,
            retry_after: None,
        }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_a_query() {
        assert_eq!(TreeFilter::default().query(), "recursive=true");
        let filter = TreeFilter {
            kind: Some(EntryKind::Object),
            name: Some("^a&b$".to_owned()),
            size_min: Some(1),
            size_max: Some(2),
            mtime_min: Some("2026-11-21T00:00:00Z".to_owned()),
            mtime_max: None,
        };
        assert_eq!(
            filter.query(),
            "recursive=true&type=object&name=%5Ea%26b%24&size_min=1&size_max=2\
             &mtime_min=2026-11-21T00%3A00%3A00Z"
        );
    }

    #[test]
    fn rows_have_a_path_or_come_from_another_kind_of_server() {
        let line = r#"{"path":"/a/stor/d/x","name":"x","type":"object","size":3,"mtime":"t"}"#;
        let row = parse_row(line.to_owned()).unwrap();
        assert_eq!(row.path, "/a/stor/d/x");
        assert_eq!((row.entry.name.as_str(), row.entry.size), ("x", 3));
        assert_eq!(row.entry.line, line);
        let plain = r#"{"name":"x","type":"directory","mtime":"t"}"#;
        assert!(matches!(
            parse_row(plain.to_owned()),
            Err(Error::NotSupported(_))
        ));
        assert!(matches!(
            parse_row("{}".to_owned()),
            Err(Error::Malformed(_))
        ));
    }

    #[test]
    fn reports_are_progress_or_an_end() {
        let parse = |line: &str| parse_progress(line).map_err(|error| error.line());
        let progress = |deleted, done| Ok(RemovalProgress { deleted, done });
        assert_eq!(parse(r#"{"deleted":7}"#), progress(7, false));
        assert_eq!(parse(r#"{"deleted":9,"done":true}"#), progress(9, true));
        assert_eq!(
            parse(r#"{"code":"AuthorizationFailed","message":"no"}"#),
            Err("AuthorizationFailedError: no".to_owned())
        );
        assert!(parse("[]").is_err());
    }
}

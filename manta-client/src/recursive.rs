//! Whole trees in one request: the server walks, the client reads lines.
//!
//! Neither Manta had this. Of a server that has not, `GET dir?recursive=true` is the listing of one
//! directory, whose rows lack `parent`, and `DELETE dir?recursive=true` deletes nothing but an empty
//! directory: the callers are told, and walk by themselves.

use http::Method;
use serde::Deserialize;

use crate::body::Payload;
use crate::client::{Client, JSON_STREAM, accept, is_directory};
use crate::error::{Error, ErrorReply};
use crate::lines::Lines;
use crate::listing::{Entry, EntryKind};
use crate::path::encode_segment;

/// A listing that was cut goes on behind its last line, but not for ever.
const RESUMES_MAX: u32 = 5;

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
    pub mtime_from: Option<String>,
    /// ISO 8601, exclusive: changed before.
    pub mtime_before: Option<String>,
    /// Levels below the start, which has the entries of depth 1. Inclusive, as the next one.
    pub depth_min: Option<u64>,
    /// Directories at this depth are not entered.
    pub depth_max: Option<u64>,
}

impl TreeFilter {
    fn query(&self) -> String {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let kind = self.kind.map(|kind| match kind {
            EntryKind::Object => "object".to_owned(),
            EntryKind::Directory => "directory".to_owned(),
        });
        let filters = [
            ("type", kind),
            ("name", self.name.clone()),
            ("size_min", number(self.size_min)),
            ("size_max", number(self.size_max)),
            ("mtime_from", self.mtime_from.clone()),
            ("mtime_before", self.mtime_before.clone()),
            ("depth_min", number(self.depth_min)),
            ("depth_max", number(self.depth_max)),
        ];
        let mut query = "recursive=true".to_owned();
        for (name, value) in filters {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", encode_segment(&value)));
            }
        }
        query
    }
}

/// An entry of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TreeEntry {
    /// The directory that holds it, from the account on, unescaped: `/alice/stor/a`.
    pub parent: String,
    pub entry: Entry,
}

/// The entries below a directory. A directory comes before what is in it; nothing else is said of the
/// order. Dropping it ends the request.
#[derive(Debug)]
pub struct TreeListing {
    client: Client,
    /// With the filter, without a marker.
    target: String,
    lines: Lines,
    /// Path of the last row that was given.
    last: Option<String>,
    /// The next row may be that row once more.
    is_resumed: bool,
    resumes_left: u32,
}

/// A tree being deleted by the server. Dropping it ends the request; what was deleted stays deleted.
#[derive(Debug)]
pub struct Removal {
    lines: Lines,
    has_ended: bool,
}

/// What a [`Removal`] reports.
#[derive(Debug)]
pub enum RemovalReport {
    /// So much is gone by now.
    Progress(Removed),
    /// One entry stays, and with it the directories above it.
    Kept { path: String, error: Error },
    /// Nothing more follows. Without errors everything is gone, the directory itself too.
    End(Removed),
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Removed {
    pub objects: u64,
    pub directories: u64,
    /// Entries that were kept.
    pub errors: u64,
}

impl Client {
    /// Lists everything below a directory in one request. Directories that the caller may not list are
    /// given, but what is in them is not.
    ///
    /// Errors: `Malformed` for an object. Of a server that cannot do it, the first
    /// [`TreeListing::next`] is `NotSupported`.
    pub async fn list_tree(&self, path: &str, filter: &TreeFilter) -> Result<TreeListing, Error> {
        let target = format!("{}?{}", self.target(path)?, filter.query());
        let lines = self.tree_lines(&target).await?;
        Ok(TreeListing {
            client: self.clone(),
            target,
            lines,
            last: None,
            is_resumed: false,
            resumes_left: RESUMES_MAX,
        })
    }

    async fn tree_lines(&self, target: &str) -> Result<Lines, Error> {
        let response = self
            .request_ok(Method::GET, target, accept(JSON_STREAM), Payload::Empty)
            .await?;
        if !is_directory(response.headers()) {
            return Err(Error::Malformed(format!("{target} is not a directory")));
        }
        Ok(Lines::new(response.into_body()))
    }

    /// Deletes a directory and everything in it in one request. Nothing is sure to be gone before
    /// [`Removal::next`] has said so.
    ///
    /// Errors: `DirectoryNotEmpty` from a server that cannot do it, and nothing is deleted; the same for
    /// `OperationNotAllowedOnRootDirectory`.
    pub async fn delete_tree(&self, path: &str) -> Result<Removal, Error> {
        let target = format!("{}?recursive=true", self.target(path)?);
        let response = self
            .request_ok(Method::DELETE, &target, accept(JSON_STREAM), Payload::Empty)
            .await?;
        // Without a body to report in, the directory was empty and is gone.
        let has_ended = response.status() == http::StatusCode::NO_CONTENT;
        Ok(Removal {
            lines: Lines::new(response.into_body()),
            has_ended,
        })
    }
}

impl TreeListing {
    /// The next entry, or `None` when the server has given the last one. A connection that breaks is
    /// replaced by another, which goes on where it stopped.
    pub async fn next(&mut self) -> Result<Option<TreeEntry>, Error> {
        loop {
            let line = match self.lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.resume(error).await?;
                    continue;
                }
            };
            let row = parse_row(line)?;
            let path = format!("{}/{}", row.parent, row.entry.name);
            let again = std::mem::take(&mut self.is_resumed);
            if again && self.last.as_ref() == Some(&path) {
                continue;
            }
            self.last = Some(path);
            return Ok(Some(row));
        }
    }

    async fn resume(&mut self, broken: Error) -> Result<(), Error> {
        let (Error::Broken(_), 1..) = (&broken, self.resumes_left) else {
            return Err(broken);
        };
        self.resumes_left -= 1;
        tracing::debug!(error = %broken, "resuming a listing that was cut");
        let target = match &self.last {
            Some(last) => format!("{}&marker={}", self.target, encode_segment(last)),
            None => self.target.clone(),
        };
        self.lines = self.client.tree_lines(&target).await?;
        self.is_resumed = true;
        Ok(())
    }
}

impl Removal {
    /// Waits for the next report; `None` after the end. A connection that breaks before is an error, and
    /// asking again goes on with the deletion.
    pub async fn next(&mut self) -> Result<Option<RemovalReport>, Error> {
        match self.lines.next().await? {
            Some(line) => {
                let report = parse_report(&line)?;
                self.has_ended = matches!(report, RemovalReport::End(_));
                Ok(Some(report))
            }
            None if self.has_ended => Ok(None),
            None => Err(Error::Malformed(
                "the report on a deletion has no end".to_owned(),
            )),
        }
    }
}

/// A row of a listing, with its directory.
fn parse_row(line: String) -> Result<TreeEntry, Error> {
    #[derive(Deserialize)]
    struct Row {
        parent: Option<String>,
        #[serde(flatten)]
        entry: Entry,
    }
    let row: Row = serde_json::from_str(&line)
        .map_err(|error| Error::Malformed(format!("an entry: {error}")))?;
    let parent = row.parent.ok_or(Error::NotSupported("recursive listing"))?;
    let mut entry = row.entry;
    entry.line = plain_line(line);
    Ok(TreeEntry { parent, entry })
}

/// The row as the listing of its directory has it, without the parent, which is the last member. The text
/// that is searched for cannot be inside of a string: its quotes would be escaped.
fn plain_line(mut line: String) -> String {
    if let Some(at) = line.rfind(",\"parent\":") {
        line.truncate(at);
        line.push('}');
    }
    line
}

fn parse_report(line: &str) -> Result<RemovalReport, Error> {
    #[derive(Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase")]
    enum Line {
        Progress(Removed),
        Error {
            path: String,
            code: String,
            message: String,
        },
        End(Removed),
    }
    let line: Line = serde_json::from_str(line)
        .map_err(|error| Error::Malformed(format!("a report on a deletion: {error}")))?;
    Ok(match line {
        Line::Progress(removed) => RemovalReport::Progress(removed),
        Line::End(removed) => RemovalReport::End(removed),
        Line::Error {
            path,
            code,
            message,
        } => {
            let error = Error::Reply(Box::new(ErrorReply {
                method: Method::DELETE,
                target: path.clone(),
                status: http::StatusCode::OK,
                code,
                message,
                retry_after: None,
            }));
            RemovalReport::Kept { path, error }
        }
    })
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
            mtime_from: Some("2026-11-21T00:00:00Z".to_owned()),
            mtime_before: None,
            depth_min: None,
            depth_max: Some(3),
        };
        assert_eq!(
            filter.query(),
            "recursive=true&type=object&name=%5Ea%26b%24&size_min=1&size_max=2\
             &mtime_from=2026-11-21T00%3A00%3A00Z&depth_max=3"
        );
    }

    #[test]
    fn rows_have_a_parent_or_come_from_another_kind_of_server() {
        let line =
            r#"{"name":"x","type":"object","size":3,"mtime":"t","parent":"/a/stor/d"}"#.to_owned();
        let row = parse_row(line).unwrap();
        assert_eq!(row.parent, "/a/stor/d");
        assert_eq!((row.entry.name.as_str(), row.entry.size), ("x", 3));
        assert_eq!(
            row.entry.line,
            r#"{"name":"x","type":"object","size":3,"mtime":"t"}"#
        );
        let odd = r#"{"name":",\"parent\":\"","type":"directory","mtime":"t","parent":"/a"}"#;
        let odd = parse_row(odd.to_owned()).unwrap();
        assert_eq!(odd.entry.name, ",\"parent\":\"");
        assert!(
            odd.entry.line.ends_with("\"mtime\":\"t\"}"),
            "{}",
            odd.entry.line
        );
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
    fn reports_are_progress_or_an_end_or_about_one_entry() {
        let removed = Removed {
            objects: 7,
            directories: 2,
            errors: 0,
        };
        let counts = r#""objects":7,"directories":2,"errors":0}"#;
        assert!(matches!(
            parse_report(&format!(r#"{{"type":"progress",{counts}"#)),
            Ok(RemovalReport::Progress(found)) if found == removed
        ));
        assert!(matches!(
            parse_report(&format!(r#"{{"type":"end",{counts}"#)),
            Ok(RemovalReport::End(found)) if found == removed
        ));
        let kept =
            r#"{"type":"error","path":"/a/stor/x","code":"AuthorizationFailed","message":"no"}"#;
        match parse_report(kept).unwrap() {
            RemovalReport::Kept { path, error } => {
                assert_eq!(path, "/a/stor/x");
                assert_eq!(error.line(), "AuthorizationFailedError: no");
            }
            other => panic!("{other:?}"),
        }
        assert!(parse_report("[]").is_err());
    }
}

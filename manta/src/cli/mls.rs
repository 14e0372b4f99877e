//! `mls`: list directories.

use std::time::SystemTime;

use clap::{ArgAction, Parser, ValueEnum};
use http::HeaderMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use manta_client::{Client, Entry, EntryKind, Info, ListOptions, SortBy, resolve_path};

use super::command::Command;
use super::connection::Connection;
use super::failure::Failure;
use super::json_text;
use super::listing_line::{LongFormat, escape_name};
use super::output::Output;

/// List directory contents
#[derive(Debug, Parser)]
#[command(
    name = "mls",
    version,
    disable_version_flag = true,
    disable_help_flag = true,
    after_help = "Examples:
  mls
  mls -l ~~/stor/books
  mls -j --type o ~~/public | json -ga name size"
)]
pub(super) struct Arguments {
    /// Output in JSON
    #[arg(short = 'j', long)]
    json: bool,
    /// JSON output, with the HTTP headers if there are any
    #[arg(long)]
    fulljson: bool,
    /// Use a long listing format
    #[arg(short = 'l', long)]
    long: bool,
    /// Sizes a person can read, in the long format
    #[arg(short = 'h', long)]
    human_readable: bool,
    /// Start listing from MARKER
    #[arg(short = 'm', long)]
    marker: Option<String>,
    /// Reverse the order
    #[arg(short = 'r', long)]
    reverse: bool,
    /// Only names of one type: d=directory, o=object
    #[arg(long = "type", value_name = "d|o")]
    kind: Option<String>,
    /// Sort by modification time, newest first
    #[arg(short = 't', long)]
    time: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// What to list, by default ~~/stor
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// A type on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Kind {
    D,
    O,
}

impl Kind {
    pub(super) fn matches(self, kind: EntryKind) -> bool {
        match self {
            Kind::D => kind == EntryKind::Directory,
            Kind::O => kind == EntryKind::Object,
        }
    }
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        let kind = self.kind()?;
        let client = self.connection.client().await?;
        let paths = self.paths(client.account())?;
        let mut output = Output::new();
        for path in &paths {
            let outcome = self.list(&client, path, kind, &mut output).await;
            output.finish()?;
            outcome?;
        }
        Ok(())
    }
}

impl Arguments {
    /// Scripts know the words of this refusal.
    fn kind(&self) -> Result<Option<Kind>, Failure> {
        match self.kind.as_deref() {
            None => Ok(None),
            Some("d") => Ok(Some(Kind::D)),
            Some("o") => Ok(Some(Kind::O)),
            Some(_) => {
                let text = "Error: invalid type, must be \"d\" (directory) or \"o\" (object)";
                Err(Failure::Message(text.to_owned()))
            }
        }
    }

    fn paths(&self, account: &str) -> Result<Vec<String>, Failure> {
        if self.path.is_empty() {
            return Ok(vec![format!("/{account}/stor")]);
        }
        let resolved = self.path.iter().map(|path| {
            // A relative path is one below the account's own storage.
            if path.starts_with(['/', '~']) {
                resolve_path(path, account)
            } else {
                resolve_path(&format!("/{account}/stor/{path}"), account)
            }
        });
        Ok(resolved.collect::<Result<_, _>>()?)
    }

    async fn list(
        &self,
        client: &Client,
        path: &str,
        kind: Option<Kind>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let info = client.info(path).await?;
        if info.status.is_client_error() || info.status.is_server_error() {
            // HEAD says only that it failed; GET says why.
            client.get(path, HeaderMap::new()).await?;
            return Ok(());
        }
        let long = LongFormat::new(SystemTime::now(), TimeZone::system(), self.human_readable);
        if !info.is_directory() {
            return output.line(&self.object_line(&info, path, &long));
        }
        let options = ListOptions {
            marker: self.marker.clone(),
            sort: if self.time {
                SortBy::Time
            } else {
                SortBy::Name
            },
            reverse: self.reverse,
        };
        let mut listing = client.list(path, options)?;
        while let Some(entry) = listing.next().await? {
            if kind.is_none_or(|kind| kind.matches(entry.kind)) {
                output.line(&self.entry_line(&entry, path, &long))?;
            }
        }
        Ok(())
    }

    fn entry_line(&self, entry: &Entry, parent: &str, long: &LongFormat) -> String {
        if self.json || self.fulljson {
            return json_text::append(&entry.line, [("parent", json_text::quote(parent))]);
        }
        if self.long {
            let mtime = entry.mtime.parse().unwrap_or(Timestamp::UNIX_EPOCH);
            return long.line(entry.kind, owner_of(parent), entry.size, mtime, &entry.name);
        }
        let slash = if entry.kind == EntryKind::Directory {
            "/"
        } else {
            ""
        };
        format!("{}{slash}", escape_name(&entry.name))
    }

    /// For an object named on the command line: all there is to know comes from its headers.
    fn object_line(&self, info: &Info, path: &str, long: &LongFormat) -> String {
        let name = path.rsplit('/').next().unwrap_or(path);
        if self.json || self.fulljson {
            return object_json(info, path, name, self.fulljson);
        }
        if self.long {
            let mtime = info.last_modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let mtime = Timestamp::try_from(mtime).unwrap_or(Timestamp::UNIX_EPOCH);
            let size = info.size().unwrap_or(0);
            return long.line(EntryKind::Object, owner_of(path), size, mtime, name);
        }
        escape_name(name)
    }
}

/// What the ecosystem's client knows about an object after a HEAD, in its order. With `full` the headers
/// themselves, otherwise what the listing would have said.
pub(super) fn object_json(info: &Info, path: &str, name: &str, full: bool) -> String {
    let text = |header: &str| info.header(header).map(json_text::quote);
    let kind = info.header("content-type").unwrap_or_default();
    let mut fields = vec![("name", json_text::quote(name))];
    fields.push(("extension", json_text::quote(extension_of(kind, path))));
    fields.extend(text("content-type").map(|kind| ("type", kind)));
    fields.extend(text("etag").map(|etag| ("etag", etag)));
    fields.extend(text("content-md5").map(|md5| ("md5", md5)));
    fields.extend(info.size().map(|size| ("size", size.to_string())));
    if full {
        fields.push(("headers", headers_json(&info.headers)));
    }
    fields.push(("parent", json_text::quote(path)));
    if !full {
        fields.extend(text("durability-level").map(|copies| ("durability", copies)));
        fields.extend(text("last-modified").map(|date| ("mtime", date)));
    }
    json_text::object(fields)
}

pub(super) fn headers_json(headers: &HeaderMap) -> String {
    json_text::object(
        joined_headers(headers)
            .iter()
            .map(|(name, value)| (name.as_str(), json_text::quote(value))),
    )
}

/// Headers in their order, lower case, repeated ones joined.
pub(super) fn joined_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .keys()
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            (name.as_str().to_owned(), values.join(", "))
        })
        .collect()
}

/// The file name extension of a media type: the usual one of common types, the object's own where it
/// fits, otherwise any.
fn extension_of<'a>(kind: &str, path: &'a str) -> &'a str {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    match essence {
        "application/octet-stream" => return "bin",
        "image/jpeg" => return "jpeg",
        "text/html" => return "html",
        "text/plain" => return "txt",
        _ => {}
    }
    let known = mime_guess::get_mime_extensions_str(essence).unwrap_or_default();
    let own = path
        .rsplit_once('.')
        .map(|(_, extension)| extension)
        .unwrap_or_default();
    if known.contains(&own) {
        own
    } else {
        known.first().copied().unwrap_or("bin")
    }
}

fn owner_of(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["mls"], words].concat()).unwrap()
    }

    #[test]
    fn paths_are_below_stor_unless_they_say_otherwise() {
        let paths = |words: &[&str]| arguments(words).paths("alice").ok();
        assert_eq!(paths(&[]), Some(vec!["/alice/stor".to_owned()]));
        assert_eq!(paths(&["a/../b/"]), Some(vec!["/alice/stor/b".to_owned()]));
        assert_eq!(
            paths(&["~~/public", "/bob/stor"]),
            Some(vec!["/alice/public".to_owned(), "/bob/stor".to_owned()])
        );
        assert_eq!(paths(&["~x"]), None);
    }

    #[test]
    fn lines_follow_the_options() {
        let line = r#"{"name":"a","etag":"e","size":5,"type":"object","mtime":"2026-11-21T04:10:01.513Z","durability":2}"#;
        let mut entry: Entry = serde_json::from_str(line).unwrap();
        entry.line = line.to_owned();
        let now: Timestamp = "2026-11-21T06:42:00Z".parse().unwrap();
        let long = LongFormat::new(now.into(), TimeZone::UTC, false);
        let render = |words: &[&str]| arguments(words).entry_line(&entry, "/alice/stor", &long);
        assert_eq!(render(&[]), "a");
        assert_eq!(
            render(&["-l"]),
            "-rwxr-xr-x 1 alice             5 Nov 21 04:10 a"
        );
        let with_parent = line.replace('}', r#","parent":"/alice/stor"}"#);
        assert_eq!(render(&["-j"]), with_parent);
        assert_eq!(render(&["--fulljson"]), with_parent);
    }

    #[test]
    fn h_means_human_and_help_has_no_letter() {
        assert!(arguments(&["-lh"]).human_readable);
        let error = Arguments::try_parse_from(["mls", "--help"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp);
        assert!(arguments(&["--type", "x"]).kind().is_err());
        assert!(matches!(
            arguments(&["--type", "d"]).kind(),
            Ok(Some(Kind::D))
        ));
    }
}

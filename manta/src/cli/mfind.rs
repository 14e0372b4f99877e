//! `mfind`: walk directory trees and print what matches.
//!
//! The order between directories is open; below one directory it is the directory's.

use std::num::NonZeroUsize;

use clap::Parser;
use manta_client::{
    Client, Entry, EntryKind, Error, Found, Info, TreeFilter, WalkOptions, resolve_path,
};
use regex::Regex;

use super::command::Command;
use super::connection::{Connection, at_least_one};
use super::failure::Failure;
use super::json_text;
use super::mls::{Kind, object_json};
use super::output::Output;

/// Walk hierarchies and find names
#[derive(Debug, Parser)]
#[command(
    name = "mfind",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mfind ~~/stor
  mfind -t o -n '\\.log$' -s 1048576 ~~/stor/logs
  mfind -t d --maxdepth 1 ~~/stor"
)]
pub(super) struct Arguments {
    /// Stop after this many results
    #[arg(short = 'l', long)]
    limit: Option<NonZeroUsize>,
    /// Only names that match a regular expression
    #[arg(short = 'n', long, allow_hyphen_values = true)]
    name: Option<Regex>,
    /// Limit concurrent operations
    #[arg(short = 'p', long, default_value = "50")]
    parallel: NonZeroUsize,
    /// Only objects of at least this many bytes
    #[arg(short = 's', long)]
    size: Option<u64>,
    /// Only names of one type: d=directory, o=object
    #[arg(short = 't', long = "type", value_enum)]
    kind: Option<Kind>,
    /// Only names at least this deep; the children of PATH have depth 0
    #[arg(long)]
    mindepth: Option<usize>,
    /// Only names less deep than this
    #[arg(long)]
    maxdepth: Option<usize>,
    /// One JSON object to a line
    #[arg(short = 'j', long)]
    json: bool,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        let client = self.connection.client().await?;
        let paths: Vec<String> = self
            .path
            .iter()
            .map(|path| resolve_path(path, client.account()))
            .collect::<Result<_, _>>()?;
        let mut search = Search {
            left: self.limit.map_or(usize::MAX, NonZeroUsize::get),
            options: &self,
            output: Output::new(),
            missing: false,
        };
        let outcome = search.all(&client, &paths).await;
        search.output.finish()?;
        outcome?;
        if search.missing {
            Err(Failure::Reported)
        } else {
            Ok(())
        }
    }
}

struct Search<'a> {
    options: &'a Arguments,
    output: Output,
    /// How many results may still be printed.
    left: usize,
    /// Whether something was not there: reported when it was noticed, and the exit code at the end.
    missing: bool,
}

impl Search<'_> {
    async fn all(&mut self, client: &Client, paths: &[String]) -> Result<(), Failure> {
        let mut starts = Vec::new();
        for (given, path) in self.options.path.iter().zip(paths) {
            match client.head(path).await {
                Ok(info) if info.is_directory() => starts.push(path.clone()),
                Ok(info) => self.print_start_object(path, &info)?,
                Err(error) => self.report(given, &error)?,
            }
        }
        let options = WalkOptions {
            parallel: self.options.parallel.get(),
            // A directory is entered while its children are less deep than the maximum.
            depth_max: self
                .options
                .maxdepth
                .map_or(usize::MAX, |depth| depth.saturating_sub(1)),
            by_server: self
                .may_ask_server(client, &starts)
                .then(|| self.options.filter()),
        };
        let mut walk = client.walk(starts, options);
        while self.left > 0 {
            match walk.next().await {
                Ok(Some(found)) => self.visit(&found)?,
                Ok(None) => break,
                Err(unread) => self.report(&unread.path, &unread.error)?,
            }
        }
        Ok(())
    }

    /// A server that walks does not say what it left out because the caller may not see it. That cannot
    /// be where the caller owns everything.
    fn may_ask_server(&self, client: &Client, starts: &[String]) -> bool {
        let own = format!("/{}/", client.account());
        self.options.connection.acts_as_account()
            && starts.iter().all(|start| start.starts_with(&own))
    }

    fn visit(&mut self, found: &Found) -> Result<(), Failure> {
        if !self.options.wants(&found.entry, found.depth) {
            return Ok(());
        }
        self.left -= 1;
        if !self.options.json {
            return self.output.line(&found.path());
        }
        self.output.line(&json_text::append(
            &found.entry.line,
            [
                ("parent", json_text::quote(&found.parent)),
                ("depth", found.depth.to_string()),
            ],
        ))
    }

    /// An object that was named is its own and only result.
    fn print_start_object(&mut self, path: &str, info: &Info) -> Result<(), Failure> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        if !self.options.json {
            return self.output.line(path);
        }
        self.output.line(&object_json(info, path, "", true))
    }

    /// What is not there is reported and passed over; everything else ends the walk.
    fn report(&mut self, path: &str, error: &Error) -> Result<(), Failure> {
        eprintln!("mfind: in {path}: {}", error.line());
        if error.is_not_found() {
            self.missing = true;
            return Ok(());
        }
        Err(Failure::Reported)
    }
}

impl Arguments {
    /// What the server need not send. All of it is looked at again here.
    fn filter(&self) -> TreeFilter {
        TreeFilter {
            kind: self.kind.map(|kind| match kind {
                Kind::D => EntryKind::Directory,
                Kind::O => EntryKind::Object,
            }),
            name: self.name.as_ref().map(|name| name.as_str().to_owned()),
            // A size is no condition for directories here.
            size_min: self.size.filter(|_| self.kind == Some(Kind::O)),
            depth_min: self
                .mindepth
                .and_then(|depth| u64::try_from(depth).ok())
                .map(|depth| depth + 1),
            ..TreeFilter::default()
        }
    }

    fn wants(&self, entry: &Entry, depth: usize) -> bool {
        depth >= self.mindepth.unwrap_or(0)
            && depth <= self.maxdepth.unwrap_or(usize::MAX)
            && self.kind.is_none_or(|kind| kind.matches(entry.kind))
            && self
                .name
                .as_ref()
                .is_none_or(|name| name.is_match(&entry.name))
            && (entry.kind == EntryKind::Directory
                || self.size.is_none_or(|size| entry.size >= size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str], depth: usize) -> Vec<String> {
        let arguments =
            Arguments::try_parse_from([&["mfind"], words, &["/a/stor"]].concat()).unwrap();
        [
            ("a.txt", "object", 10),
            ("b", "object", 2),
            ("a.d", "directory", 0),
        ]
        .into_iter()
        .map(|(name, kind, size)| {
            let line = format!(r#"{{"name":"{name}","type":"{kind}","size":{size}}}"#);
            serde_json::from_str::<Entry>(&line).unwrap()
        })
        .filter(|entry| arguments.wants(entry, depth))
        .map(|entry| entry.name)
        .collect()
    }

    #[test]
    fn filters_are_all_to_be_met() {
        assert_eq!(wanted(&[], 0), ["a.txt", "b", "a.d"]);
        assert_eq!(wanted(&["-t", "o"], 0), ["a.txt", "b"]);
        assert_eq!(wanted(&["-t", "d"], 0), ["a.d"]);
        assert_eq!(wanted(&["-n", r"^a\."], 0), ["a.txt", "a.d"]);
        assert_eq!(wanted(&["-s", "10"], 0), ["a.txt", "a.d"]);
        assert_eq!(wanted(&["-t", "o", "-s", "3", "-n", "a"], 0), ["a.txt"]);
    }

    #[test]
    fn depths_are_counted_from_the_children_of_the_start() {
        assert!(wanted(&["--mindepth", "1"], 0).is_empty());
        assert_eq!(wanted(&["--mindepth", "1"], 1).len(), 3);
        assert_eq!(wanted(&["--maxdepth", "1"], 1).len(), 3);
        assert!(wanted(&["--maxdepth", "1"], 2).is_empty());
    }
}

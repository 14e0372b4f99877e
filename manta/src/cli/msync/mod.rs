//! `msync`: make one side hold what the other side holds; which is which says `-r`.
//!
//! Four steps, each of which ends before the next: list the source, compare with the destination, transfer,
//! delete what is extra. Nothing is deleted when the list of the source is not known to be complete, and
//! nothing that an exclusion covers.

mod compare;
mod glob;
mod log;
mod source;
mod transfer;
mod words;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use futures_util::StreamExt as _;
use http::HeaderMap;
use manta_client::{Client, MissingDirectories, PutOptions, resolve_path};

use super::command::Command;
use super::connection::{Connection, headers};
use super::failure::Failure;
use super::large_files::{LargeFiles, PartOptions};
use super::local_tree::Links;
use compare::Verdict;
use glob::Glob;
use log::{Log, Verbosity};
use source::Source;

/// `-v` twice is about the work of this command; only beyond that it is about requests.
const VERBOSITY_LEVELS: u8 = 2;

/// Synchronize the files below a local directory with a directory of the store.
///
/// Files are compared by their sizes, or with -m by their MD5. Empty directories are not transferred. Large
/// files go up in parts, as with mput; interrupted, the next run sends only what is missing.
#[derive(Debug, Parser)]
#[command(
    name = "msync",
    version,
    disable_version_flag = true,
    override_usage = "msync [OPTIONS] LOCALDIR ~~/REMOTEDIR\n       msync -r [OPTIONS] ~~/REMOTEDIR LOCALDIR",
    after_help = "Examples:
  msync ./ ~~/stor/foo
  msync --dry-run -d -x '*.o' -x .git ./ ~~/stor/foo
  msync -r -m ~~/stor/foo ./bar"
)]
pub(super) struct Arguments {
    /// Number of copies to make
    #[arg(short = 'c', long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    copies: u32,
    /// Delete files that the destination has and the source has not; links and directories stay
    #[arg(short = 'd', long)]
    delete: bool,
    /// A pattern of relative paths to leave alone on both sides; * stands for any characters
    #[arg(short = 'x', long, value_name = "PATTERN", allow_hyphen_values = true)]
    exclude: Vec<String>,
    /// HTTP headers to include
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        allow_hyphen_values = true
    )]
    headers: Vec<String>,
    /// Transfer nothing, just delete extra files
    #[arg(short = 'j', long)]
    just_delete: bool,
    /// Ignore symbolic links instead of following them
    #[arg(short = 'l', long)]
    ignore_links: bool,
    /// Compare by MD5 instead of size (slower, but more accurate)
    #[arg(short = 'm', long)]
    md5: bool,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Limit concurrent operations
    #[arg(short = 'p', long, value_name = "NUM", default_value = "50")]
    parallel: NonZeroUsize,
    /// Suppress all output but errors
    #[arg(short = 'q', long)]
    quiet: bool,
    /// From the store to the local directory
    #[arg(short = 'r', long)]
    reverse: bool,
    #[command(flatten)]
    parts: PartOptions,
    #[arg(value_name = "SOURCE DESTINATION")]
    operands: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(mut self) -> Result<(), Failure> {
        let [source, destination] = self.operands.as_slice() else {
            let text = "[error] must supply exactly 2 operands\n";
            return Err(Failure::Usage(text.to_owned()));
        };
        let (local, remote) = if self.reverse {
            (PathBuf::from(destination), source.clone())
        } else {
            (PathBuf::from(source), destination.clone())
        };
        let headers = headers(&self.headers, &[])?;
        let said = self.connection.take_verbosity(VERBOSITY_LEVELS);
        let verbosity = if self.quiet {
            Verbosity::Quiet
        } else {
            Verbosity::Said(said)
        };
        let client = self.connection.client().await?;
        let remote = resolve_path(&remote, client.account())?;
        let sync = Sync {
            direction: if self.reverse {
                Direction::Down
            } else {
                Direction::Up
            },
            local: std::path::absolute(local)?,
            remote,
            by_md5: self.md5,
            dry_run: self.dry_run,
            links: if self.ignore_links {
                Links::Ignore
            } else {
                Links::Follow
            },
            excluded: self
                .exclude
                .iter()
                .map(|pattern| Glob::new(pattern))
                .collect(),
            parallel: self.parallel.get(),
            put: PutOptions {
                headers,
                copies: Some(self.copies),
                ..PutOptions::default()
            },
            large: LargeFiles::new(self.parts),
            directories: MissingDirectories::new(client.clone(), HeaderMap::new()),
            // What comes from listings must not be resolved a second time.
            client: client.exact(),
        };
        let mut log = Log::new(verbosity);
        sync.run(&mut log, self.delete, self.just_delete).await?;
        log.finish()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    /// From the local directory to the store.
    Up,
    /// From the store to the local directory.
    Down,
}

/// The two sides, and how they are made equal.
struct Sync {
    client: Client,
    direction: Direction,
    /// Absolute.
    local: PathBuf,
    /// Resolved.
    remote: String,
    by_md5: bool,
    dry_run: bool,
    links: Links,
    excluded: Vec<Glob>,
    parallel: usize,
    put: PutOptions,
    large: LargeFiles,
    directories: MissingDirectories,
}

impl Sync {
    async fn run(&self, log: &mut Log, delete: bool, just_delete: bool) -> Result<(), Failure> {
        if self.dry_run {
            log.say(0, "== dryrun ==")?;
        }
        log.say(0, "building source file list...")?;
        let sources = self.sources(log).await?;
        let count = sources.files.len();
        log.say(0, &format!("source file list built, {count} files found"))?;
        if count == 0 {
            return Ok(());
        }
        if !just_delete {
            let chosen = self.choose(&sources.files, log).await?;
            if !chosen.is_empty() {
                self.transfer_all(&chosen, log).await?;
            }
        }
        if !(delete || just_delete) {
            return Ok(());
        }
        if !sources.complete {
            log.error("the list of the source is incomplete: nothing is deleted")?;
            return Ok(());
        }
        self.delete_extra(&sources.files, log).await
    }

    /// Which files differ.
    async fn choose<'a>(
        &self,
        sources: &'a [Source],
        log: &mut Log,
    ) -> Result<Vec<&'a Source>, Failure> {
        let start = Instant::now();
        let count = sources.len();
        let mut chosen = Vec::new();
        let known = self.look_ahead(sources).await;
        let mut verdicts = futures_util::stream::iter(sources)
            .map(async |source| (source, self.compare(source, &known).await))
            .buffered(self.parallel);
        let mut done = 0;
        let by = if self.by_md5 { "md5" } else { "size" };
        while let Some((source, verdict)) = verdicts.next().await {
            done += 1;
            let path = self.destination(&source.relative);
            let said = |text: &str| format!("{path}... {text} ({done}/{count})");
            match verdict {
                Ok(Verdict::Missing) => {
                    log.say(0, &said("not found, adding to sync list"))?;
                    chosen.push(source);
                }
                Ok(Verdict::Different) => {
                    log.say(0, &said(&format!("{by} is different, adding to sync list")))?;
                    chosen.push(source);
                }
                Ok(Verdict::Same) => {
                    log.say(1, &said(&format!("{by} same as source file, skipping")))?;
                }
                Err(error) => log.error(&said(&format!("unknown error: {error}")))?,
            }
        }
        let taken = words::duration(start.elapsed());
        let staged = chosen.len();
        log.say(
            0,
            &format!("\nsync list built, {staged} files staged for syncing (took {taken})"),
        )?;
        Ok(chosen)
    }

    async fn transfer_all(&self, chosen: &[&Source], log: &mut Log) -> Result<(), Failure> {
        let start = Instant::now();
        let count = chosen.len();
        let (mut stored, mut bytes, mut failed) = (0, 0, 0);
        let mut transfers = futures_util::stream::iter(chosen)
            .map(async |source| (source, self.transfer(source).await))
            .buffer_unordered(self.parallel);
        while let Some((source, outcome)) = transfers.next().await {
            let path = self.destination(&source.relative);
            if self.dry_run {
                log.say(0, &format!("{path}... synced (dryrun)"))?;
                continue;
            }
            match outcome {
                Ok(()) => {
                    stored += 1;
                    bytes += source.size;
                    let done = stored + failed;
                    log.say(0, &format!("{path}... synced ({done}/{count})"))?;
                }
                Err(error) => {
                    failed += 1;
                    let done = stored + failed;
                    log.error(&format!(
                        "{path}... error syncing: {error} ({done}/{count})"
                    ))?;
                }
            }
        }
        let taken = words::duration(start.elapsed());
        let bytes = words::size(bytes);
        log.say(
            0,
            &format!(
                "\n{stored} files ({bytes}) synced successfully, {failed} files failed to sync \
                 (took {taken})"
            ),
        )
    }

    async fn delete_extra(&self, sources: &[Source], log: &mut Log) -> Result<(), Failure> {
        log.say(0, "\nbuilding destination file list for deletion...")?;
        let wanted: HashSet<&str> = sources.iter().map(|file| file.relative.as_str()).collect();
        let extra = match self.extra(&wanted).await {
            Ok(extra) => extra,
            Err(error) => return log.error(&format!("error listing destination files: {error}")),
        };
        let count = extra.len();
        log.say(
            0,
            &format!("destination file list built, {count} files found"),
        )?;
        if extra.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let (mut deleted, mut failed) = (0, 0);
        let mut deletions = futures_util::stream::iter(&extra)
            .map(async |relative| (relative, self.delete(relative).await))
            .buffer_unordered(self.parallel);
        while let Some((relative, outcome)) = deletions.next().await {
            let path = self.destination(relative);
            if self.dry_run {
                log.say(0, &format!("{path}... deleted (dryrun)"))?;
                continue;
            }
            match outcome {
                Ok(()) => {
                    deleted += 1;
                    let done = deleted + failed;
                    log.say(0, &format!("{path}... deleted ({done}/{count})"))?;
                }
                Err(error) => {
                    failed += 1;
                    let done = deleted + failed;
                    log.error(&format!(
                        "{path}... error deleting: {error} ({done}/{count})"
                    ))?;
                }
            }
        }
        let taken = words::duration(start.elapsed());
        log.say(
            0,
            &format!(
                "\n{deleted} files deleted successfully, {failed} files failed to delete \
                 (took {taken})"
            ),
        )
    }

    /// How a file of the destination is called in the log.
    fn destination(&self, relative: &str) -> String {
        match self.direction {
            Direction::Up => self.remote_path(relative),
            Direction::Down => self.local_path(relative).display().to_string(),
        }
    }

    fn remote_path(&self, relative: &str) -> String {
        format!("{}/{relative}", self.remote)
    }

    fn local_path(&self, relative: &str) -> PathBuf {
        self.local.join(relative)
    }

    fn is_excluded(&self, relative: &str) -> Option<&Glob> {
        self.excluded.iter().find(|glob| glob.matches(relative))
    }
}

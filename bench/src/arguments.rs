//! The command line of `bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::rows::Kind;

pub(crate) const USAGE: &str = "\
bench all [OPTION]...              every row; writes the results when all rows have been run
bench row NAME... [OPTION]...      these rows, results on standard output: job wc tasks spark busy zones
                                   put get list url names tree memory multipart
  --runs N         runs of each row, default 5
  --write FILE     where the results go, default bench/RESULTS.md for all, nowhere for single rows
  --scratch DIR    where stores and files are made, default: the system's directory for temporary files
  MANTA_BIN        in the environment: the binary to measure, default: `manta` next to this one
  MANTA_BENCH_SPARK   a Python environment with pyspark, for the row spark

bench load put|get|list --address HOST:PORT --account LOGIN --key-id FINGERPRINT --key-file FILE [OPTION]...
  raw load on a running store, in the directory DIR below LOGIN, which must exist; `get` reads what a `put`
  with the same connections, size and directory has stored first
  --directory DIR      default stor
  --connections N      default 16
  --bytes N            size of each object, default 4096
  --seconds N          measured time, default 10, after 2 s that are not counted
  --objects N          get: read objects 0 to N-1 of each connection, default 1
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    Help,
    Rows {
        kinds: Vec<Kind>,
        runs: usize,
        write: Option<PathBuf>,
        scratch: Option<PathBuf>,
    },
    Load(LoadArguments),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadArguments {
    pub(crate) what: LoadKind,
    pub(crate) address: SocketAddr,
    pub(crate) account: String,
    pub(crate) key_id: String,
    pub(crate) key_file: PathBuf,
    pub(crate) directory: String,
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
    pub(crate) measured: Duration,
    pub(crate) objects: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadKind {
    Put,
    Get,
    List,
}

impl Arguments {
    /// `words` without the name of the program.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut words = Words(words.into_iter());
        match words.0.next().as_deref() {
            Some("all") => rows(Kind::ALL.to_vec(), Some("bench/RESULTS.md".into()), words),
            Some("row") => rows(Vec::new(), None, words),
            Some("load") => load(words).map(Self::Load),
            Some("help" | "--help" | "-h") | None => Ok(Self::Help),
            Some(other) => bail!("there is no command \"{other}\"; see bench --help"),
        }
    }
}

struct Words<I>(I);

impl<I: Iterator<Item = String>> Words<I> {
    fn value(&mut self, option: &str) -> Result<String> {
        self.0
            .next()
            .with_context(|| format!("{option} needs a value"))
    }

    fn count(&mut self, option: &str) -> Result<u64> {
        let count = self.value(option)?.parse().ok().filter(|count| *count > 0);
        count.with_context(|| format!("{option} needs a positive number"))
    }
}

fn rows(
    mut kinds: Vec<Kind>,
    mut write: Option<PathBuf>,
    mut words: Words<impl Iterator<Item = String>>,
) -> Result<Arguments> {
    let all = !kinds.is_empty();
    let (mut runs, mut scratch) = (5, None);
    while let Some(word) = words.0.next() {
        match word.as_str() {
            "--runs" => runs = words.count(&word)? as usize,
            "--write" => write = Some(words.value(&word)?.into()),
            "--scratch" => scratch = Some(words.value(&word)?.into()),
            name if !all => {
                let kind = Kind::parse(name);
                kinds.push(kind.with_context(|| format!("there is no row \"{name}\""))?);
            }
            other => bail!("\"{other}\" is not understood; see bench --help"),
        }
    }
    ensure!(!kinds.is_empty(), "which row? See bench --help");
    Ok(Arguments::Rows {
        kinds,
        runs,
        write,
        scratch,
    })
}

fn load(mut words: Words<impl Iterator<Item = String>>) -> Result<LoadArguments> {
    let what = match words.value("load")?.as_str() {
        "put" => LoadKind::Put,
        "get" => LoadKind::Get,
        "list" => LoadKind::List,
        other => bail!("there is no load \"{other}\": put, get or list"),
    };
    let (mut address, mut account, mut key_id, mut key_file) = (None, None, None, None);
    let mut directory = "stor".to_owned();
    let (mut connections, mut bytes, mut seconds, mut objects) = (16, 4096, 10, 1);
    while let Some(option) = words.0.next() {
        match option.as_str() {
            "--address" => {
                let value = words.value(&option)?;
                let parsed = value.parse();
                address = Some(parsed.with_context(|| format!("{value} is no HOST:PORT"))?);
            }
            "--account" => account = Some(words.value(&option)?),
            "--key-id" => key_id = Some(words.value(&option)?),
            "--key-file" => key_file = Some(words.value(&option)?.into()),
            "--directory" => directory = words.value(&option)?,
            "--connections" => connections = words.count(&option)? as usize,
            "--bytes" => bytes = words.count(&option)? as usize,
            "--seconds" => seconds = words.count(&option)?,
            "--objects" => objects = words.count(&option)?,
            other => bail!("\"{other}\" is not understood; see bench --help"),
        }
    }
    Ok(LoadArguments {
        what,
        address: address.context("--address is missing")?,
        account: account.context("--account is missing")?,
        key_id: key_id.context("--key-id is missing")?,
        key_file: key_file.context("--key-file is missing")?,
        directory,
        connections,
        bytes,
        measured: Duration::from_secs(seconds),
        objects,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(
            line.split(' ')
                .filter(|word| !word.is_empty())
                .map(str::to_owned),
        )
    }

    #[test]
    fn rows_are_named_and_only_all_of_them_are_written_by_themselves() {
        let all = parse("all").unwrap();
        let expected = Arguments::Rows {
            kinds: Kind::ALL.to_vec(),
            runs: 5,
            write: Some("bench/RESULTS.md".into()),
            scratch: None,
        };
        assert_eq!(all, expected);
        let some = parse("row put job --runs 7 --scratch /s").unwrap();
        let expected = Arguments::Rows {
            kinds: vec![Kind::Put, Kind::Job],
            runs: 7,
            write: None,
            scratch: Some("/s".into()),
        };
        assert_eq!(some, expected);
        assert_eq!(parse("").unwrap(), Arguments::Help);
    }

    #[test]
    fn every_name_is_understood_again() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
    }

    #[test]
    fn a_load_needs_a_store_and_a_key() {
        let line =
            "load get --address 127.0.0.1:8080 --account a --key-id k --key-file f --seconds 3";
        let Arguments::Load(load) = parse(line).unwrap() else {
            panic!("a load")
        };
        assert_eq!(
            (load.what, load.connections, load.bytes),
            (LoadKind::Get, 16, 4096)
        );
        assert_eq!(load.measured, Duration::from_secs(3));
        for option in [
            "--address 127.0.0.1:8080",
            "--account a",
            "--key-id k",
            "--key-file f",
        ] {
            assert!(parse(&line.replace(option, "")).is_err(), "{option}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "row",
            "row nothing",
            "all put",
            "all --runs 0",
            "all --runs x",
            "all --write",
            "load",
            "load post",
            "dance",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

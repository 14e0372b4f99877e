//! The rows of the table: what they are called, what they need, and how one run of each is made.

mod busy_zones;
mod listing;
mod many_tasks;
mod memory;
mod multipart;
mod names;
mod no_op_job;
mod signed_urls;
mod small_objects;
mod spark;
mod trees;
mod twins;
mod word_count;
mod zones;

use anyhow::{Context, Result};

use crate::report::{Row, Sample};
use crate::store::{Origin, Store};

pub(crate) use listing::list;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Job,
    WordCount,
    Tasks,
    Spark,
    Busy,
    Zones,
    Put,
    Get,
    List,
    SignedUrls,
    Names,
    Trees,
    Memory,
    Multipart,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Job,
        Self::WordCount,
        Self::Tasks,
        Self::Spark,
        Self::Busy,
        Self::Zones,
        Self::Put,
        Self::Get,
        Self::List,
        Self::SignedUrls,
        Self::Names,
        Self::Trees,
        Self::Memory,
        Self::Multipart,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::WordCount => "wc",
            Self::Tasks => "tasks",
            Self::Spark => "spark",
            Self::Busy => "busy",
            Self::Zones => "zones",
            Self::Put => "put",
            Self::Get => "get",
            Self::List => "list",
            Self::SignedUrls => "url",
            Self::Names => "names",
            Self::Trees => "tree",
            Self::Memory => "memory",
            Self::Multipart => "multipart",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn method(self) -> &'static str {
        match self {
            Self::Job => no_op_job::METHOD,
            Self::WordCount => word_count::METHOD,
            Self::Tasks => many_tasks::METHOD,
            Self::Spark => spark::METHOD,
            Self::Busy => busy_zones::METHOD,
            Self::Zones => zones::METHOD,
            Self::Put => small_objects::PUT_METHOD,
            Self::Get => small_objects::GET_METHOD,
            Self::List => listing::METHOD,
            Self::SignedUrls => signed_urls::METHOD,
            Self::Names => names::METHOD,
            Self::Trees => trees::METHOD,
            Self::Memory => memory::METHOD,
            Self::Multipart => multipart::METHOD,
        }
    }

    /// Why this row cannot run here, if so.
    fn obstacle(self, origin: &Origin) -> Result<Option<String>> {
        match self {
            _ if self.uses_zones() && !rustix::process::geteuid().is_root() => Ok(Some(
                "needs root: its floor is for zones in namespaces of their own".to_owned(),
            )),
            Self::Spark => Ok(spark::obstacle()),
            Self::Memory => memory::obstacle(origin),
            _ => Ok(None),
        }
    }
}

impl Kind {
    fn uses_zones(self) -> bool {
        match self {
            Self::Job | Self::WordCount | Self::Tasks | Self::Spark | Self::Busy | Self::Zones => {
                true
            }
            Self::Put
            | Self::Get
            | Self::List
            | Self::SignedUrls
            | Self::Names
            | Self::Trees
            | Self::Memory
            | Self::Multipart => false,
        }
    }

    fn shares_store(self) -> bool {
        !matches!(self, Self::Memory | Self::Tasks)
    }
}

/// Runs these rows so many times, taking turns, so that a slow minute of the machine does not fall on one of
/// them alone. They share a store, but for those about memory, which have their own. A row that fails is not
/// run again; the others are. May be dropped at any await; nothing is left behind then.
pub(crate) async fn run_all(kinds: &[Kind], runs: usize, origin: &Origin) -> Result<Vec<Row>> {
    let mut rows: Vec<(Kind, Row)> = kinds
        .iter()
        .map(|kind| (*kind, Row::new(kind.name(), kind.method())))
        .collect();
    for (kind, row) in &mut rows {
        if let Some(obstacle) = kind.obstacle(origin)? {
            row.not_run(obstacle);
        }
    }
    let shares = |(kind, row): &(Kind, Row)| kind.shares_store() && !row.has_ended();
    let mut bench = Bench {
        origin,
        store: None,
        inputs: None,
        many: None,
        words: None,
    };
    if rows.iter().any(shares) {
        bench.store = Some(Store::start(origin, "store").await?);
    }
    for (kind, row) in rows.iter_mut().filter(|(_, row)| !row.has_ended()) {
        eprintln!("bench: {}: preparing", kind.name());
        if let Err(error) = bench.prepare(*kind).await {
            fail(*kind, row, &error.context("prepare"));
        }
        if let (Kind::WordCount, Some(inputs)) = (*kind, &bench.inputs)
            && let Some(limit) = inputs.limit()
        {
            row.limit(limit.to_owned());
        }
    }
    for round in 0..runs {
        for (kind, row) in rows.iter_mut().filter(|(_, row)| !row.has_ended()) {
            eprintln!("bench: {}: run {} of {runs}", kind.name(), round + 1);
            match bench.run(*kind, round).await {
                Ok(samples) => {
                    for sample in samples.iter().filter(|sample| sample.is_judged()) {
                        eprintln!("bench: {}: {sample}", kind.name());
                    }
                    row.add(samples);
                }
                Err(error) => fail(*kind, row, &error),
            }
        }
    }
    if let Some(many) = bench.many {
        many.stop().await?;
    }
    if let Some(store) = bench.store {
        store.stop().await?;
    }
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn fail(kind: Kind, row: &mut Row, error: &anyhow::Error) {
    eprintln!("bench: {}: {error:#}", kind.name());
    row.failed(format!("{error:#}"));
}

/// What the rows share.
struct Bench<'a> {
    origin: &'a Origin,
    store: Option<Store>,
    inputs: Option<word_count::Inputs>,
    many: Option<many_tasks::Many>,
    words: Option<twins::Twins>,
}

impl Bench<'_> {
    fn store(&mut self) -> Result<&mut Store> {
        self.store.as_mut().context("the rows share a store")
    }

    async fn prepare(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Job
            | Kind::Zones
            | Kind::Put
            | Kind::Names
            | Kind::Trees
            | Kind::Memory
            | Kind::Multipart => Ok(()),
            Kind::WordCount => {
                let origin = self.origin;
                self.inputs = Some(word_count::prepare(self.store()?, origin).await?);
                Ok(())
            }
            Kind::Tasks => {
                self.many = Some(many_tasks::prepare(self.origin).await?);
                Ok(())
            }
            Kind::Spark => {
                self.words = Some(spark::prepare(self.store()?).await?);
                Ok(())
            }
            Kind::Busy => {
                small_objects::prepare_get(self.store()?).await?;
                busy_zones::prepare(self.store()?).await
            }
            // The same objects: making them again overwrites them.
            Kind::Get | Kind::SignedUrls => small_objects::prepare_get(self.store()?).await,
            Kind::List => listing::prepare(self.store()?).await,
        }
    }

    async fn run(&mut self, kind: Kind, round: usize) -> Result<Vec<Sample>> {
        match kind {
            Kind::Job => no_op_job::run(self.store()?).await,
            Kind::WordCount => {
                let inputs = self.inputs.clone().context("the inputs were made")?;
                word_count::run(self.store()?, &inputs, round).await
            }
            Kind::Tasks => {
                let many = self.many.as_ref().context("the inputs were made")?;
                many.run().await
            }
            Kind::Spark => {
                let words = self.words.clone().context("the inputs were made")?;
                spark::run(self.store()?, &words, round).await
            }
            Kind::Busy => busy_zones::run(self.store()?, round).await,
            Kind::Zones => {
                let origin = self.origin;
                zones::run(self.store()?, origin, round).await
            }
            Kind::Put => small_objects::put(self.store()?, round).await,
            Kind::Get => small_objects::get(self.store()?).await,
            Kind::List => listing::run(self.store()?).await,
            Kind::SignedUrls => signed_urls::run(self.store()?, round).await,
            Kind::Names => names::run(self.store()?, round).await,
            Kind::Trees => {
                let origin = self.origin;
                trees::run(self.store()?, origin, round).await
            }
            Kind::Memory => memory::run(self.origin).await,
            Kind::Multipart => multipart::run(self.store()?).await,
        }
    }
}

//! Many clients on few names, over HTTP: puts, deletes, metadata, links, renames, listings and directories that
//! come and go. Whatever they see must have an order in which one client at a time would have seen it, also when
//! the store is killed in the middle.
//!
//! An object says who it is by its length and its metadata by its content type, so that a listing tells as much
//! as a GET.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use testkit::history;
use testkit::names::{Call, Content, DIRECTORIES, If, NAMES, Operation, Outcome, Transfer, World};
use tests::seed::{generator, number};
use tests::wire::{Client, Request, Response};
use tests::{Signer, Store, wait_for};

const CLIENTS: u64 = 5;
const CALLS_EACH: u64 = 8;
const CALLS: u64 = CLIENTS * CALLS_EACH;

const LINK: &str = "application/json; type=link";
const RENAME: &str = "application/json; type=rename";

#[test]
fn histories_are_linearizable() -> Result<()> {
    let mut random = generator("histories");
    let store = Store::launch()?;
    for round in 0..number("MANTA_TEST_HISTORIES").unwrap_or(80) {
        let place = Place::make(&store, round)?;
        let clock = AtomicU64::new(0);
        let mut calls = together(&place, &clock, &mut random, || Ok(()))?;
        ensure!(
            calls.iter().all(|call| call.outcome.is_some()),
            "nobody cuts a connection here"
        );
        calls.extend(place.look_around(&clock)?);
        check(round, &calls)?;
    }
    store.finish()
}

#[test]
fn histories_are_linearizable_across_a_kill() -> Result<()> {
    let mut random = generator("killed histories");
    let mut store = Store::launch()?;
    for round in 0..number("MANTA_TEST_KILLED_HISTORIES").unwrap_or(20) {
        let place = Place::make(&store, round)?;
        let clock = AtomicU64::new(0);
        // Each call ticks twice.
        let enough = random.random_range(1..2 * CALLS);
        let mut calls = together(&place, &clock, &mut random, || {
            wait_for("enough calls", Duration::from_secs(60), || {
                Ok((clock.load(Ordering::SeqCst) >= enough).then_some(()))
            })?;
            store.kill()
        })?;
        store.start()?;
        let place = place.at(&store)?;
        calls.extend(place.look_around(&clock)?);
        check(round, &calls)?;
    }
    store.finish()
}

fn check(round: u64, calls: &[Call]) -> Result<()> {
    if let Err(history) = history::check(&World::default(), calls) {
        bail!("no order explains round {round}:\n{history}");
    }
    Ok(())
}

/// All clients at once, and `disturb` beside them. A client stops at the first call that is not answered.
fn together(
    place: &Place,
    clock: &AtomicU64,
    random: &mut StdRng,
    disturb: impl FnOnce() -> Result<()>,
) -> Result<Vec<Call>> {
    let ids = AtomicU64::new(1);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let caller = Caller {
                    place,
                    clock,
                    ids: &ids,
                    client: place.client(),
                    random: StdRng::seed_from_u64(random.random()),
                    seen: Vec::new(),
                };
                scope.spawn(move || caller.run())
            })
            .collect();
        let disturbed = disturb();
        let mut calls = Vec::new();
        for caller in callers {
            calls.extend(
                caller
                    .join()
                    .map_err(|_| anyhow::anyhow!("a client panicked"))??,
            );
        }
        disturbed.map(|()| calls)
    })
}

/// Where a history happens.
struct Place {
    address: std::net::SocketAddr,
    signer: Signer,
    base: String,
}

impl Place {
    fn make(store: &Store, round: u64) -> Result<Self> {
        let place = Self {
            address: store.address(),
            signer: store.signer()?,
            base: store.path(&format!("stor/{round}")),
        };
        let mut client = place.client();
        client.mkdir(&place.base)?.expect(204)?;
        for directory in 0..DIRECTORIES as u8 {
            client.mkdir(&place.directory(directory))?.expect(204)?;
        }
        Ok(place)
    }

    /// The same place after the store has started again.
    fn at(self, store: &Store) -> Result<Self> {
        Ok(Self {
            address: store.address(),
            ..self
        })
    }

    fn client(&self) -> Client {
        Client::new(self.address, Some(self.signer.clone()))
    }

    fn directory(&self, directory: u8) -> String {
        format!("{}/{directory}", self.base)
    }

    fn name(&self, name: u8) -> String {
        let directory = testkit::names::directory_of(name);
        format!("{}/{name}", self.directory(directory))
    }

    /// What is there once all is quiet.
    fn look_around(&self, clock: &AtomicU64) -> Result<Vec<Call>> {
        let mut client = self.client();
        let names = (0..NAMES as u8).map(|name| Operation::Get { name });
        let lists = (0..DIRECTORIES as u8).map(|directory| Operation::List { directory });
        names
            .chain(lists)
            .map(|operation| {
                let begun = clock.fetch_add(1, Ordering::SeqCst);
                let response = client.call(&request(self, operation, &[])?)?;
                let (outcome, _) = understand(operation, &response)?;
                let ended = clock.fetch_add(1, Ordering::SeqCst);
                Ok(Call {
                    operation,
                    outcome: Some(outcome),
                    begun,
                    ended,
                })
            })
            .collect()
    }
}

/// An object and its etag.
type Seen = (u128, String);

struct Caller<'a> {
    place: &'a Place,
    clock: &'a AtomicU64,
    ids: &'a AtomicU64,
    client: Client,
    random: StdRng,
    /// The last first.
    seen: Vec<Seen>,
}

impl Caller<'_> {
    fn run(mut self) -> Result<Vec<Call>> {
        let mut calls = Vec::new();
        for _ in 0..CALLS_EACH {
            let operation = self.draw();
            let request = request(self.place, operation, &self.seen)?;
            let begun = self.clock.fetch_add(1, Ordering::SeqCst);
            let answer = self.client.call(&request);
            let ended = self.clock.fetch_add(1, Ordering::SeqCst);
            let outcome = match &answer {
                Ok(response) => {
                    let (outcome, seen) = understand(operation, response)?;
                    self.seen.splice(0..0, seen);
                    Some(outcome)
                }
                Err(_) => None,
            };
            calls.push(Call {
                operation,
                outcome,
                begun,
                ended,
            });
            if outcome.is_none() {
                break;
            }
        }
        Ok(calls)
    }

    fn draw(&mut self) -> Operation {
        let name = self.random.random_range(0..NAMES as u8);
        let directory = self.random.random_range(0..DIRECTORIES as u8);
        match self.random.random_range(0..24) {
            0..5 => Operation::Put {
                name,
                id: u128::from(self.ids.fetch_add(1, Ordering::SeqCst)),
                condition: self.condition(),
            },
            5..8 => Operation::Delete {
                name,
                condition: self.version(),
            },
            8 => Operation::Update {
                name,
                meta: self.random.random_range(1..9),
                condition: self.version(),
            },
            9..13 => Operation::Link(self.transfer()),
            13..17 => Operation::Rename(self.transfer()),
            17 | 18 => Operation::Get { name },
            19 | 20 => Operation::List { directory },
            21 | 22 => Operation::MakeDirectory { directory },
            _ => Operation::RemoveDirectory { directory },
        }
    }

    fn transfer(&mut self) -> Transfer {
        Transfer {
            source: self.random.random_range(0..NAMES as u8),
            target: self.random.random_range(0..NAMES as u8),
            source_if: self.version(),
            target_if: self.condition(),
        }
    }

    fn condition(&mut self) -> If {
        match self.random.random_range(0..4) {
            0 => If::None,
            _ => self.version(),
        }
    }

    /// Now and then something seen lately, which mostly still is so.
    fn version(&mut self) -> If {
        match self.seen.first() {
            Some((id, _)) if self.random.random_range(0..3) == 0 => If::Is(*id),
            _ => If::Any,
        }
    }
}

fn request(place: &Place, operation: Operation, seen: &[Seen]) -> Result<Request> {
    let conditional = |request: Request, condition: If, prefix: &str| -> Result<Request> {
        Ok(match condition {
            If::Any => request,
            If::None => request.header(&format!("{prefix}if-none-match"), "*"),
            If::Is(id) => {
                let (_, etag) = seen
                    .iter()
                    .find(|(seen, _)| *seen == id)
                    .context("only what was seen is demanded")?;
                request.header(&format!("{prefix}if-match"), etag)
            }
        })
    };
    let transfer = |transfer: Transfer, kind: &str| {
        let request = Request::new("PUT", &place.name(transfer.target))
            .header("content-type", kind)
            .header("location", &place.name(transfer.source));
        let request = conditional(request, transfer.source_if, "")?;
        conditional(request, transfer.target_if, "x-target-")
    };
    match operation {
        Operation::Put {
            name,
            id,
            condition,
        } => {
            let request = Request::new("PUT", &place.name(name))
                .header("content-type", &content_type(0))
                .body(vec![b'x'; usize::try_from(id)?]);
            conditional(request, condition, "")
        }
        Operation::Delete { name, condition } => {
            conditional(Request::new("DELETE", &place.name(name)), condition, "")
        }
        Operation::Update {
            name,
            meta,
            condition,
        } => {
            let target = format!("{}?metadata=true", place.name(name));
            let request = Request::new("PUT", &target).header("content-type", &content_type(meta));
            conditional(request, condition, "")
        }
        Operation::Link(link) => transfer(link, LINK),
        Operation::Rename(rename) => transfer(rename, RENAME),
        Operation::Get { name } => Ok(Request::new("GET", &place.name(name))),
        Operation::List { directory } => Ok(Request::new("GET", &place.directory(directory))),
        Operation::MakeDirectory { directory } => {
            Ok(Request::new("PUT", &place.directory(directory))
                .header("content-type", "application/json; type=directory")
                .claiming(0))
        }
        Operation::RemoveDirectory { directory } => {
            Ok(Request::new("DELETE", &place.directory(directory)))
        }
    }
}

fn content_type(meta: u8) -> String {
    format!("text/x-{meta}")
}

fn content(length: u128, content_type: Option<&str>) -> Result<Content> {
    let meta = content_type
        .and_then(|text| text.strip_prefix("text/x-")?.parse().ok())
        .with_context(|| format!("{content_type:?} was never written"))?;
    Ok((length, meta))
}

/// What the answer says in the words of the model, and the objects that it shows.
fn understand(operation: Operation, response: &Response) -> Result<(Outcome, Vec<Seen>)> {
    let etag = || response.header("etag").unwrap_or_default().to_owned();
    let outcome = match (response.status, response.code().as_str(), operation) {
        (204, _, Operation::Put { id, .. }) => return Ok((Outcome::Done, vec![(id, etag())])),
        (204, ..) => Outcome::Done,
        (200, _, Operation::Get { .. }) => {
            let id = response.body.len() as u128;
            let found = content(id, response.header("content-type"))?;
            return Ok((Outcome::Found(Some(found)), vec![(id, etag())]));
        }
        (200, _, Operation::List { directory }) => return page(directory, response),
        (404, "ResourceNotFound", Operation::Get { .. }) => Outcome::Found(None),
        (404, "ResourceNotFound", _) => Outcome::NotFound,
        (404, "DirectoryDoesNotExist", _) => Outcome::ParentNotFound,
        (404, "SourceObjectNotFound", _) => Outcome::SourceNotFound,
        (400, "DirectoryNotEmpty", _) => Outcome::NotEmpty,
        (412, "PreconditionFailed", _) => Outcome::Precondition,
        (status, ..) => bail!("{operation:?} is answered {status}: {}", response.text()),
    };
    Ok((outcome, Vec::new()))
}

fn page(directory: u8, response: &Response) -> Result<(Outcome, Vec<Seen>)> {
    let mut page = [None; NAMES / DIRECTORIES];
    let mut seen = Vec::new();
    for line in response.text().lines() {
        let row: Value = serde_json::from_str(line).context("understand a listing")?;
        let name: usize = row["name"].as_str().unwrap_or_default().parse()?;
        let id = row["size"].as_u64().context("an object has a size")?;
        let place = name
            .checked_sub(usize::from(directory) * page.len())
            .and_then(|place| page.get_mut(place))
            .with_context(|| format!("{name} is no name of directory {directory}"))?;
        *place = Some(content(u128::from(id), row["contentType"].as_str())?);
        let etag = row["etag"].as_str().context("an object has an etag")?;
        seen.push((u128::from(id), etag.to_owned()));
    }
    Ok((Outcome::Page(page), seen))
}

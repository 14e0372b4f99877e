//! `kill -9` in the middle of a thousand concurrent PUTs and DELETEs, again and again, over the same data.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::seed::{generator, number};
use tests::wire::Client;
use tests::{Launch, Signer, Store, wait_for};

use crate::on_disk;

const CLIENTS: usize = 16;
/// Names of each client; 1,008 in all.
const NAMES: usize = 63;

type Content = Option<Vec<u8>>;

/// One name: what was acknowledged, and what may have happened besides.
#[derive(Clone, Debug, Default)]
struct Name {
    acknowledged: Content,
    under_way: Option<Content>,
}

/// Changes names in random order until the store goes away. Returns the first answer that is neither success
/// nor silence.
fn disturb(
    names: &mut [Name],
    mut client: Client,
    directory: &str,
    mut random: StdRng,
    done: &AtomicUsize,
) -> Result<()> {
    loop {
        let index = random.random_range(0..names.len());
        let path = format!("{directory}/{index}");
        let name = &mut names[index];
        let wanted = if name.acknowledged.is_some() && random.random_bool(0.4) {
            None
        } else {
            let mut content = vec![0_u8; [0, 10, 4096, 70_000][random.random_range(0..4)]];
            random.fill(&mut content[..]);
            Some(content)
        };
        name.under_way = Some(wanted.clone());
        let response = match &wanted {
            Some(content) => client.put(&path, content.as_slice()),
            None => client.delete(&path),
        };
        // No answer is what a killed store gives; what it did is unknown.
        let Ok(response) = response else {
            return Ok(());
        };
        ensure!(
            response.status == 204,
            "{path} was answered {}: {}",
            response.status,
            response.text()
        );
        *name = Name {
            acknowledged: wanted,
            under_way: None,
        };
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every name is as acknowledged, or as asked for when the store died; what is found becomes the truth.
fn verify(store: &Store, signer: &Signer, directory: &str, names: &mut [Name]) -> Result<()> {
    let mut client = Client::new(store.address(), Some(signer.clone()));
    let listed = client.names(directory)?;
    for (index, name) in names.iter_mut().enumerate() {
        let response = client.get(&format!("{directory}/{index}"))?;
        let found = match response.status {
            200 => Some(response.body),
            404 => None,
            status => bail!("{directory}/{index} is answered {status}"),
        };
        let is_listed =
            listed.binary_search(&index.to_string()).is_ok() || listed.contains(&index.to_string());
        ensure!(
            is_listed == found.is_some(),
            "{directory}/{index} is listed: {is_listed}"
        );
        let expected = found == name.acknowledged || name.under_way.as_ref() == Some(&found);
        ensure!(
            expected,
            "{directory}/{index} has {:?} bytes, acknowledged were {:?}, under way {:?}",
            found.as_ref().map(Vec::len),
            name.acknowledged.as_ref().map(Vec::len),
            name.under_way
                .as_ref()
                .map(|content| content.as_ref().map(Vec::len)),
        );
        *name = Name {
            acknowledged: found,
            under_way: None,
        };
    }
    Ok(())
}

/// Storage directories hold two copies of what is there and nothing else.
fn only_what_is_named(store: &Store, names: &[Vec<Name>]) -> Result<()> {
    let alive = names
        .iter()
        .flatten()
        .filter_map(|name| name.acknowledged.as_ref());
    let expected: u64 = alive.map(|content| 2 * content.len() as u64).sum();
    wait_for(
        "the bytes of nothing but living objects",
        Duration::from_secs(60),
        || {
            let copies: u64 = on_disk::copies(store)?.values().sum();
            let temporaries = on_disk::temporaries(store)?;
            Ok((copies == expected && temporaries.is_empty()).then_some(()))
        },
    )
    .with_context(|| {
        format!(
            "{expected} bytes are expected, {:?} found",
            on_disk::copies(store).map(|c| c.values().sum::<u64>())
        )
    })
}

#[test]
fn acknowledged_writes_survive_and_nothing_is_half_done() -> Result<()> {
    let mut random = generator("kill -9");
    let rounds = number("MANTA_TEST_KILL_ROUNDS").unwrap_or(10);
    let mut store = Launch::new()
        .setting("housekeeping.delete_grace_ms = 100")
        .setting("housekeeping.collect_interval_ms = 100")
        .start()?;
    let signer = store.signer()?;
    let directories: Vec<String> = (0..CLIENTS)
        .map(|client| store.path(&format!("stor/c{client}")))
        .collect();
    for directory in &directories {
        store.client()?.mkdir(directory)?.expect(204)?;
    }
    let mut names = vec![vec![Name::default(); NAMES]; CLIENTS];
    for round in 1..=rounds {
        let done = AtomicUsize::new(0);
        let address = store.address();
        // Not before a few have been acknowledged, and mostly in the middle of the thousand.
        let enough = random.random_range(50..1000);
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.random()).collect();
        let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
            let clients: Vec<_> = names
                .iter_mut()
                .zip(&directories)
                .zip(seeds)
                .map(|((names, directory), seed)| {
                    let client = Client::new(address, Some(signer.clone()));
                    let done = &done;
                    scope.spawn(move || {
                        disturb(names, client, directory, StdRng::seed_from_u64(seed), done)
                    })
                })
                .collect();
            let killed = wait_for("enough writes", Duration::from_secs(120), || {
                Ok((done.load(Ordering::Relaxed) >= enough).then_some(()))
            })
            .and_then(|()| store.kill());
            let mut outcomes: Vec<Result<()>> = clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")))
                .collect();
            outcomes.push(killed);
            outcomes
        });
        outcomes.into_iter().collect::<Result<()>>()?;
        store
            .start()
            .with_context(|| format!("start again after round {round}"))?;
        for (directory, names) in directories.iter().zip(&mut names) {
            verify(&store, &signer, directory, names)
                .with_context(|| format!("look after round {round}"))?;
        }
    }
    // The sweep at the start takes copies that are clearly older than the process. Those of the last kill are
    // not yet, so there is one more start.
    on_disk::wait_until_old(&store)?;
    store.stop()?;
    store.start()?;
    only_what_is_named(&store, &names)?;
    store.finish()
}

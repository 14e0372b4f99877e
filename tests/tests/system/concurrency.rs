//! Many clients at one place.

use anyhow::{Result, ensure};
use tests::wire::{Client, Request};
use tests::{Signer, Store};

/// The same request from so many clients at once; their statuses.
fn at_once(
    store: &Store,
    clients: usize,
    request: impl Fn(usize) -> Vec<Request> + Sync,
) -> Result<Vec<u16>> {
    let signer: Signer = store.signer()?;
    let address = store.address();
    let together = std::sync::Barrier::new(clients);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|number| {
                let (signer, together, request) = (signer.clone(), &together, &request);
                scope.spawn(move || -> Result<Vec<u16>> {
                    let mut client = Client::new(address, Some(signer));
                    // Connected before the start, so that all requests are under way together.
                    client.get("/ping")?;
                    together.wait();
                    request(number)
                        .iter()
                        .map(|request| Ok(client.call(request)?.status))
                        .collect()
                })
            })
            .collect();
        let mut statuses = Vec::new();
        for worker in workers {
            statuses.extend(
                worker
                    .join()
                    .map_err(|_| anyhow::anyhow!("a client panicked"))??,
            );
        }
        Ok(statuses)
    })
}

fn mkdir(path: &str) -> Request {
    Request::new("PUT", path)
        .header("content-type", "application/json; type=directory")
        .claiming(0)
}

#[test]
fn directories_made_at_once_are_no_error() -> Result<()> {
    let store = Store::launch()?;
    for round in 0..10 {
        let path = store.path(&format!("stor/d{round}"));
        let statuses = at_once(&store, 5, |_| vec![mkdir(&path)])?;
        ensure!(statuses == [204; 5], "{statuses:?}");
        let deep: Vec<String> = (1..6)
            .map(|levels| format!("{path}{}", "/x".repeat(levels)))
            .collect();
        let statuses = at_once(&store, 10, |_| {
            deep.iter().map(|path| mkdir(path)).collect()
        })?;
        ensure!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
    }
    store.finish()
}

#[test]
fn a_directory_that_is_removed_and_filled_at_once_keeps_its_children_or_goes() -> Result<()> {
    let store = Store::launch()?;
    let mut client = store.client()?;
    for round in 0..50 {
        let directory = store.path(&format!("stor/d{round}"));
        let child = format!("{directory}/child");
        client.call(&mkdir(&directory))?.expect(204)?;
        let statuses = at_once(&store, 4, |number| {
            vec![if number % 2 == 0 {
                Request::new("PUT", &child).body("x")
            } else {
                Request::new("DELETE", &directory)
            }]
        })?;
        let put = statuses[0] == 204 || statuses[2] == 204;
        ensure!(
            statuses
                .iter()
                .all(|status| matches!(status, 204 | 400 | 404)),
            "{statuses:?}"
        );
        let removed = statuses[1] == 204 || statuses[3] == 204;
        ensure!(
            put != removed,
            "either the child or the removal wins: {statuses:?}"
        );
        let found = client.get(&child)?.status;
        ensure!(
            found == if put { 200 } else { 404 },
            "{statuses:?} and then {found}"
        );
        ensure!(
            client.head(&directory)?.status == found,
            "no orphan and no ghost"
        );
    }
    store.finish()
}

#[test]
fn of_writers_that_demand_the_same_version_one_wins() -> Result<()> {
    let store = Store::launch()?;
    let mut client = store.client()?;
    let path = store.path("stor/contended");
    for _ in 0..20 {
        let etag = client.put(&path, "before")?.expect(204)?;
        let etag = etag.header("etag").unwrap_or_default().to_owned();
        let statuses = at_once(&store, 8, |number| {
            vec![
                Request::new("PUT", &path)
                    .header("if-match", &etag)
                    .body(format!("writer {number}")),
            ]
        })?;
        let winners: Vec<usize> = (0..8).filter(|number| statuses[*number] == 204).collect();
        ensure!(winners.len() == 1, "one writer wins: {statuses:?}");
        ensure!(
            statuses
                .iter()
                .all(|status| matches!(status, 204 | 409 | 412)),
            "{statuses:?}"
        );
        let content = client.get(&path)?.expect(200)?.text();
        ensure!(
            content == format!("writer {}", winners[0]),
            "{content} after {statuses:?}"
        );
    }
    let statuses = at_once(&store, 8, |number| {
        let create = Request::new("PUT", &store.path("stor/new")).header("if-none-match", "*");
        vec![create.body(format!("{number}"))]
    })?;
    ensure!(
        statuses.iter().filter(|status| **status == 204).count() == 1,
        "{statuses:?}"
    );
    store.finish()
}

#[test]
fn overwriting_never_shows_a_mixture() -> Result<()> {
    let store = Store::launch()?;
    let path = store.path("stor/swapped");
    let size = 300_000;
    store.client()?.put(&path, vec![b'0'; size])?.expect(204)?;
    let signer = store.signer()?;
    let address = store.address();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=3)
            .map(|writer| {
                let (signer, path) = (signer.clone(), &path);
                scope.spawn(move || -> Result<()> {
                    let mut client = Client::new(address, Some(signer));
                    for round in 0..20 {
                        client
                            .put(path, vec![b'0' + writer * 20 + round; size])?
                            .expect(204)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let mut client = Client::new(address, Some(signer.clone()));
        while !writers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            let body = client.get(&path)?.expect(200)?.body;
            ensure!(
                body.len() == size && body.iter().all(|byte| *byte == body[0]),
                "a mixture was read"
            );
        }
        writers
            .into_iter()
            .try_for_each(|w| w.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?)
    })?;
    store.finish()
}

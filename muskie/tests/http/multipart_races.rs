//! Requests about one upload at the same time.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::client::Response;
use crate::store::{Store, start_with};
use crate::upload::{Upload, md5_of};

const ROUNDS: usize = 20;

async fn store() -> Store {
    start_with(|config| {
        config.multipart.part_bytes_min = 1;
        config.multipart.grace = Duration::ZERO;
        // Only when a test says so.
        config.multipart.collect_interval = Duration::from_secs(3600);
    })
    .await
}

/// Lets requests begin at slightly different moments.
async fn soon(rng: &mut StdRng) -> Duration {
    Duration::from_micros(rng.random_range(0..3000))
}

async fn after<T>(pause: Duration, request: impl Future<Output = T>) -> T {
    tokio::time::sleep(pause).await;
    request.await
}

fn seed() -> u64 {
    let seed = rand::random();
    println!("seed {seed}");
    seed
}

async fn nothing_is_left(store: &Store) {
    store.handle.collect_uploads().await;
    store.collect_bytes().await;
    assert_eq!(store.stored_files(), [] as [std::path::PathBuf; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_in_parallel() {
    let store = store().await;
    let parts: Vec<Vec<u8>> = (0..24).map(|n| vec![n; 100_000 + usize::from(n)]).collect();
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let puts = parts
        .iter()
        .enumerate()
        .map(|(number, bytes)| upload.put(&store, number, bytes));
    let etags = join_all(puts).await;
    let commit = upload.commit(&store, &etags).await.is(201);
    assert_eq!(commit.header("computed-md5"), md5_of(&parts.concat()));
    assert!(store.get("/alice/stor/x").await.body == parts.concat());
    store.delete("/alice/stor/x").await.is(204);
    nothing_is_left(&store).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_one_list_all_succeed_and_make_one_object() {
    let store = store().await;
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..ROUNDS {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &[&[1; 5_000_000], b"two"]).await;
        let mut commits = Vec::new();
        for _ in 0..4 {
            let pause = soon(&mut rng).await;
            commits.push(after(pause, upload.commit(&store, &etags)));
        }
        for commit in join_all(commits).await {
            commit.is(201);
        }
        let state = upload.state(&store).await;
        assert_eq!(state["result"], "committed");
        let object = store.get("/alice/stor/x").await.is(200);
        assert_eq!(object.body.len(), 5_000_003);
        assert_eq!(object.header("content-md5"), md5_of(&object.body));
        store.delete("/alice/stor/x").await.is(204);
    }
    nothing_is_left(&store).await;
    store.stop().await;
}

fn is_one_of(response: &Response, statuses: &[u16]) -> bool {
    assert!(
        statuses.contains(&response.status),
        "{} {}",
        response.status,
        response.text()
    );
    response.status < 300
}

#[tokio::test(flavor = "multi_thread")]
async fn of_commits_of_different_lists_one_wins() {
    let store = store().await;
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..ROUNDS {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &[b"one", b"two"]).await;
        let pauses = [soon(&mut rng).await, soon(&mut rng).await];
        let (both, first) = tokio::join!(
            after(pauses[0], upload.commit(&store, &etags)),
            after(pauses[1], upload.commit(&store, &etags[..1])),
        );
        let both_won = is_one_of(&both, &[201, 409]);
        let first_won = is_one_of(&first, &[201, 409]);
        assert_ne!(both_won, first_won);
        let object = store.get("/alice/stor/x").await.is(200).text();
        assert_eq!(object, if both_won { "onetwo" } else { "one" });
        store.delete("/alice/stor/x").await.is(204);
    }
    nothing_is_left(&store).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_or_abort_but_not_both() {
    let store = store().await;
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..ROUNDS {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &[b"one", b"two"]).await;
        let pauses = [soon(&mut rng).await, soon(&mut rng).await];
        let (commit, abort) = tokio::join!(
            after(pauses[0], upload.commit(&store, &etags)),
            after(pauses[1], upload.abort(&store)),
        );
        let committed = is_one_of(&commit, &[201, 409]);
        let aborted = is_one_of(&abort, &[204, 409]);
        assert_ne!(committed, aborted);
        let object = store.get("/alice/stor/x").await;
        assert_eq!(object.status, if committed { 200 } else { 404 });
        let result = if committed { "committed" } else { "aborted" };
        assert_eq!(upload.state(&store).await["result"], result);
        if committed {
            store.delete("/alice/stor/x").await.is(204);
        }
    }
    nothing_is_left(&store).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_replaced_during_a_commit_is_in_the_object_or_refused() {
    let store = store().await;
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..ROUNDS {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &[b"one", b"two"]).await;
        let path = format!("{}/0", upload.directory);
        let pauses = [soon(&mut rng).await, soon(&mut rng).await];
        let (commit, put) = tokio::join!(
            after(pauses[0], upload.commit(&store, &etags)),
            after(pauses[1], store.put(&path, "new")),
        );
        let committed = is_one_of(&commit, &[201, 409]);
        let replaced = is_one_of(&put, &[204, 409]);
        if committed {
            assert_eq!(store.get("/alice/stor/x").await.is(200).text(), "onetwo");
            store.delete("/alice/stor/x").await.is(204);
        } else {
            // Only a part that was replaced makes a commit fail, and then it can be done over.
            assert!(replaced);
            assert_eq!(upload.state(&store).await["state"], "created");
            let etags = [put.header("etag").to_owned(), etags[1].clone()];
            upload.commit(&store, &etags).await.is(201);
            assert_eq!(store.get("/alice/stor/x").await.is(200).text(), "newtwo");
            store.delete("/alice/stor/x").await.is(204);
        }
    }
    nothing_is_left(&store).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_and_an_overwrite_of_its_target_leave_one_of_them() {
    let store = store().await;
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..ROUNDS {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &[b"of the upload"]).await;
        let pauses = [soon(&mut rng).await, soon(&mut rng).await];
        let (commit, put) = tokio::join!(
            after(pauses[0], upload.commit(&store, &etags)),
            after(pauses[1], store.put("/alice/stor/x", "of the put")),
        );
        commit.is(201);
        let put = put.is(204).header("etag").to_owned();
        let object = store.get("/alice/stor/x").await.is(200);
        let expected = match object.header("etag") == put {
            true => "of the put",
            false => "of the upload",
        };
        assert_eq!(object.text(), expected);
        // A repetition changes nothing any more.
        upload.commit(&store, &etags).await.is(201);
        assert_eq!(store.get("/alice/stor/x").await.is(200).text(), expected);
        store.delete("/alice/stor/x").await.is(204);
    }
    nothing_is_left(&store).await;
    store.stop().await;
}

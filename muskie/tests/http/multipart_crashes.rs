//! A failure at every call that an upload makes to the metadata and the storage nodes, before the call and
//! after it; then the same request once more, and what must hold whatever happened.

use std::sync::Arc;
use std::time::Duration;

use libmanta::moray::Buckets as _;
use serde_json::json;

use crate::client::{Request, Response};
use crate::store::{Door, Store, start_between};
use crate::stumbling::{Stumble, StumblingMoray, StumblingShark, When};
use crate::upload::{Upload, creation, md5_of, send_as};

/// More calls than any request makes. A test that gets there has not seen the end of one.
const CALLS_MAX: i64 = 60;

async fn stumbling() -> (Store, Arc<Stumble>) {
    let stumble = Arc::new(Stumble::default());
    let (for_sharks, for_moray) = (stumble.clone(), stumble.clone());
    let store = start_between(
        Door::Plain,
        |config| {
            config.multipart.part_bytes_min = 1;
            config.multipart.grace = Duration::ZERO;
            config.multipart.orphan_age = Duration::ZERO;
            // Only when a test says so.
            config.multipart.collect_interval = Duration::from_secs(3600);
        },
        move |inner| {
            Arc::new(StumblingShark {
                inner,
                stumble: for_sharks.clone(),
            })
        },
        move |inner| {
            Arc::new(StumblingMoray {
                inner,
                stumble: for_moray,
            })
        },
    )
    .await;
    (store, stumble)
}

/// Failures at each call in turn, until a run has none.
struct Cases {
    stumble: Arc<Stumble>,
    when: When,
    calls: i64,
    fell: bool,
}

impl Cases {
    fn new(stumble: &Arc<Stumble>) -> Self {
        Self {
            stumble: stumble.clone(),
            when: When::Before,
            calls: -1,
            fell: true,
        }
    }

    /// What the next case is called; `None` after the last.
    fn next(&mut self) -> Option<String> {
        if !self.fell {
            assert!(self.calls > 2, "only {} calls were made", self.calls);
            if self.when == When::After {
                return None;
            }
            self.when = When::After;
            self.calls = -1;
        }
        self.calls += 1;
        assert!(self.calls < CALLS_MAX, "it never ends");
        Some(format!("{:?} call {}", self.when, self.calls))
    }

    /// Runs a request in which one call fails.
    async fn fails<T>(&mut self, request: impl Future<Output = T>) -> T {
        self.stumble.at(self.calls, self.when);
        let result = request.await;
        self.fell = self.stumble.happened();
        result
    }
}

/// No trace of any upload is left, and no bytes but those of the objects that are there.
async fn nothing_is_left(store: &Store, objects: &[&str], case: &str) {
    store.handle.collect_uploads().await;
    // What was left for the second pass: orphans are looked for behind the uploads.
    store.handle.collect_uploads().await;
    for bucket in ["multipart_uploads", "multipart_gates", "multipart_outcomes"] {
        let left = store.moray.scan_all(bucket, None, 10).await.unwrap();
        assert_eq!(left, [], "{case}: {bucket}");
    }
    for prefix in store.get("/alice/uploads").await.is(200).names() {
        let uploads = store.get(&format!("/alice/uploads/{prefix}")).await;
        assert_eq!(uploads.is(200).names(), [""; 0], "{case}");
    }
    for object in objects {
        store.delete(object).await.is(204);
    }
    store.collect_bytes().await;
    let files = store.stored_files();
    assert_eq!(files, [] as [std::path::PathBuf; 0], "{case}");
}

fn may_be_repeated(response: &Response, case: &str) {
    assert!(
        matches!(response.status, 201 | 204 | 503),
        "{case}: {} {}",
        response.status,
        response.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_failed_anywhere_goes_on_where_it_was() {
    let (store, stumble) = stumbling().await;
    let parts: [&[u8]; 3] = [b"one", &[7; 5_000_000], b"three"];
    let whole = parts.concat();
    let mut cases = Cases::new(&stumble);
    while let Some(case) = cases.next() {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &parts).await;
        let failed = cases.fails(upload.commit(&store, &etags)).await;
        may_be_repeated(&failed, &case);
        let state = upload.state(&store).await;
        assert!(
            ["created", "finalizing", "done"].contains(&state["state"].as_str().unwrap()),
            "{case}: {state}"
        );
        let again = upload.commit(&store, &etags).await;
        assert_eq!(again.status, 201, "{case}: {}", again.text());
        assert_eq!(again.header("computed-md5"), md5_of(&whole), "{case}");
        assert_eq!(upload.state(&store).await["result"], "committed", "{case}");
        let object = store.get("/alice/stor/x").await.is(200);
        assert!(object.body == whole, "{case}");
        nothing_is_left(&store, &["/alice/stor/x"], &case).await;
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_commit_never_brings_back_what_was_overwritten() {
    let (store, stumble) = stumbling().await;
    let mut cases = Cases::new(&stumble);
    let mut overwritten = 0;
    while let Some(case) = cases.next() {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &[b"of the upload"]).await;
        cases.fails(upload.commit(&store, &etags)).await;
        let took_effect = store.head("/alice/stor/x").await.status == 200;
        store.put("/alice/stor/x", "of later").await.is(204);
        // The collector may have been there, too.
        if cases.calls % 2 == 0 {
            store.handle.collect_uploads().await;
        }
        let again = upload.commit(&store, &etags).await;
        let object = store.get("/alice/stor/x").await.is(200);
        if took_effect {
            overwritten += 1;
            assert!(
                matches!(again.status, 201 | 404),
                "{case}: {}",
                again.text()
            );
            assert_eq!(object.text(), "of later", "{case}");
        } else {
            assert_eq!(again.status, 201, "{case}: {}", again.text());
            assert_eq!(object.text(), "of the upload", "{case}");
        }
        nothing_is_left(&store, &["/alice/stor/x"], &case).await;
    }
    assert!(overwritten > 2, "hardly any case was what this is about");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_failed_anywhere_can_be_repeated_and_is_collected_anyway() {
    for repeated in [true, false] {
        let (store, stumble) = stumbling().await;
        let mut cases = Cases::new(&stumble);
        while let Some(case) = cases.next() {
            let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
            let etags = upload.put_all(&store, &[b"one", b"two"]).await;
            let failed = cases.fails(upload.abort(&store)).await;
            may_be_repeated(&failed, &case);
            let begun = upload.state(&store).await["state"] != "created";
            if repeated || !begun {
                let again = upload.abort(&store).await;
                assert_eq!(again.status, 204, "{case}: {}", again.text());
                assert_eq!(upload.state(&store).await["result"], "aborted", "{case}");
            }
            let commit = upload.commit(&store, &etags).await;
            assert_eq!(commit.status, 409, "{case}: {}", commit.text());
            // The first pass ends it, the next ones remove it.
            store.handle.collect_uploads().await;
            nothing_is_left(&store, &[], &case).await;
        }
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_failed_anywhere_can_be_repeated() {
    let (store, stumble) = stumbling().await;
    let mut cases = Cases::new(&stumble);
    while let Some(case) = cases.next() {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let path = format!("{}?allowMpuDeletes=true", upload.directory);
        let delete = || send_as(&store, &store.poseidon, Request::new("DELETE", &path));
        let failed = cases.fails(delete()).await;
        may_be_repeated(&failed, &case);
        let again = delete().await;
        assert!(
            matches!(again.status, 204 | 404),
            "{case}: {}",
            again.text()
        );
        assert_eq!(upload.state(&store).await["result"], "aborted", "{case}");
        nothing_is_left(&store, &[], &case).await;
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_failed_anywhere_leaves_nothing() {
    let (store, stumble) = stumbling().await;
    let mut cases = Cases::new(&stumble);
    while let Some(case) = cases.next() {
        let request = creation("alice", &json!({"objectPath": "/alice/stor/x"}));
        let created = cases.fails(store.send(request)).await;
        may_be_repeated(&created, &case);
        if created.status == 201 {
            Upload::of(&created).abort(&store).await.is(204);
        } else {
            // It may be there although nobody was told. Then it is its owner's to abort.
            for prefix in store.get("/alice/uploads").await.is(200).names() {
                let below = format!("/alice/uploads/{prefix}");
                for id in store.get(&below).await.is(200).names() {
                    let directory = format!("{below}/{id}");
                    let upload = Upload { id, directory };
                    let abort = upload.abort(&store).await;
                    assert!(matches!(abort.status, 204 | 404), "{case}");
                }
            }
        }
        nothing_is_left(&store, &[], &case).await;
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_failed_anywhere_can_be_put_again() {
    let (store, stumble) = stumbling().await;
    let mut cases = Cases::new(&stumble);
    while let Some(case) = cases.next() {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let first = upload.put(&store, 0, b"first").await;
        let path = format!("{}/1", upload.directory);
        let failed = cases.fails(store.put(&path, "second")).await;
        may_be_repeated(&failed, &case);
        let second = upload.put(&store, 1, b"second").await;
        let commit = upload.commit(&store, &[first, second]).await.is(201);
        assert_eq!(
            commit.header("computed-md5"),
            md5_of(b"firstsecond"),
            "{case}"
        );
        nothing_is_left(&store, &["/alice/stor/x"], &case).await;
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_failed_anywhere_is_done_by_the_next() {
    let (store, stumble) = stumbling().await;
    let mut cases = Cases::new(&stumble);
    while let Some(case) = cases.next() {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etags = upload.put_all(&store, &[b"one", b"two"]).await;
        upload.commit(&store, &etags).await.is(201);
        cases.fails(store.handle.collect_uploads()).await;
        assert_eq!(store.get("/alice/stor/x").await.is(200).text(), "onetwo");
        // Whatever is left of it still knows how it ended.
        let again = upload.commit(&store, &etags).await;
        assert!(
            matches!(again.status, 201 | 404),
            "{case}: {}",
            again.text()
        );
        nothing_is_left(&store, &["/alice/stor/x"], &case).await;
    }
    store.stop().await;
}

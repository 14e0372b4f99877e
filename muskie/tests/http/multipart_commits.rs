//! How many commits a process works on, and that none keeps it from ending.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muskie::Config;
use serde_json::json;

use crate::client::Connection;
use crate::faults::{Faults, with_faults_and};
use crate::store::Store;
use crate::upload::Upload;

fn configured(config: &mut Config) {
    config.multipart.part_bytes_min = 1;
    // Only when a test says so.
    config.multipart.collect_interval = Duration::from_secs(3600);
}

/// A store in which reading parts waits, once there are some.
async fn holding(configure: impl FnOnce(&mut Config)) -> (Store, Arc<Faults>) {
    with_faults_and(&[], |config| {
        configured(config);
        configure(config);
    })
    .await
}

/// An upload of which a commit has to read three bytes again.
async fn out_of_order(store: &Store, path: &str) -> (Upload, Vec<String>) {
    let upload = Upload::create(store, path, json!({})).await;
    let second = upload.put(store, 1, b"two").await;
    let first = upload.put(store, 0, b"one").await;
    (upload, vec![first, second])
}

async fn until_held(faults: &Faults) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while faults.opens_begun.load(Ordering::SeqCst) == 0 {
        assert!(tokio::time::Instant::now() < deadline, "nothing is read");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_one_commit_at_a_time_and_all_who_ask_get_its_outcome() {
    let (store, faults) = holding(|_| {}).await;
    let (upload, etags) = out_of_order(&store, "/alice/stor/x").await;
    faults.hold_opens.store(true, Ordering::SeqCst);
    let others = async {
        until_held(&faults).await;
        // What the state alone decides nobody waits for.
        let different = upload.commit(&store, &etags[..1]).await;
        let text = format!("upload {}: already has a commit in progress", upload.id);
        different.refused(409, "InvalidMultipartUploadState", &text);
        store.wait_metric("muskie_multipart_commits", 1).await;
        let waiting = "muskie_multipart_commits_waiting";
        store.wait_metric(waiting, 2).await;
        faults.hold_opens.store(false, Ordering::SeqCst);
    };
    let commit = || upload.commit(&store, &etags);
    let (first, second, third, ()) = tokio::join!(commit(), commit(), commit(), others);
    for answer in [first, second, third] {
        answer.is(201).header("computed-md5");
    }
    let read = "muskie_multipart_bytes_read_at_commit_total";
    assert_eq!(store.metric(read).await, 3, "read more than once");
    assert_eq!(store.get("/alice/stor/x").await.is(200).text(), "onetwo");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_beyond_the_limit_are_told_to_come_back() {
    let (store, faults) = holding(|config| {
        config.multipart.commits_max = 1;
        config.multipart.commit_wait = Duration::from_millis(20);
    })
    .await;
    let (one, one_etags) = out_of_order(&store, "/alice/stor/one").await;
    let (other, other_etags) = out_of_order(&store, "/alice/stor/other").await;
    faults.hold_opens.store(true, Ordering::SeqCst);
    let beyond = async {
        until_held(&faults).await;
        let refused = other.commit(&store, &other_etags).await;
        assert_eq!(refused.header("retry-after"), "1");
        refused.refused(503, "ThrottledError", "manta throttled this request");
        assert_eq!(other.state(&store).await["state"], "created");
        faults.hold_opens.store(false, Ordering::SeqCst);
    };
    let (first, ()) = tokio::join!(one.commit(&store, &one_etags), beyond);
    first.is(201);
    other.commit(&store, &other_etags).await.is(201);
    store.stop().await;
}

/// However much is left to read: a commit may be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_keeps_no_process_from_ending() {
    for client_leaves in [true, false] {
        let grace = Duration::from_millis(50);
        let (mut store, faults) = holding(|config| config.shutdown_grace = grace).await;
        let (upload, etags) = out_of_order(&store, "/alice/stor/x").await;
        faults.hold_opens.store(true, Ordering::SeqCst);
        let request = upload.commit_request(&etags).signed_by(&store.alice);
        let mut connection = Connection::open(store.address).await;
        connection.write(&request.head_bytes()).await;
        connection.write(&request.body_bytes()).await;
        until_held(&faults).await;
        let connection = (!client_leaves).then_some(connection);
        let ended = tokio::time::timeout(Duration::from_secs(20), store.handle.shutdown()).await;
        assert!(ended.is_ok(), "the commit goes on");
        drop(connection);

        let mut config = Config::default();
        configured(&mut config);
        store.open_again(config).await;
        assert_eq!(upload.state(&store).await["state"], "finalizing");
        upload.commit(&store, &etags).await.is(201);
        assert_eq!(store.get("/alice/stor/x").await.is(200).text(), "onetwo");
        store.stop().await;
    }
}

//! What operators may take away of an upload, and when: rest-api.md section 5.2.

use std::time::Duration;

use serde_json::json;

use crate::client::{Request, Response};
use crate::store::{Store, start_with};
use crate::upload::{Upload, md5_of, refusal, send_as};

async fn store() -> Store {
    start_with(|config| {
        config.multipart.part_bytes_min = 1;
        config.multipart.grace = Duration::ZERO;
        // Only when a test says so.
        config.multipart.collect_interval = Duration::from_secs(3600);
    })
    .await
}

async fn delete(store: &Store, path: &str) -> Response {
    let path = format!("{path}?allowMpuDeletes=true");
    send_as(store, &store.poseidon, Request::new("DELETE", &path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_upload_goes_while_it_is_finalized() {
    let store = store().await;
    let headers = json!({"content-md5": md5_of(b"other")});
    let upload = Upload::create(&store, "/alice/stor/x", headers).await;
    let etags = upload.put_all(&store, &[b"this"]).await;
    // Which leaves it finalizing.
    let refused = upload.commit(&store, &etags).await;
    assert_eq!(refused.status, 409);
    let part = format!("{}/0", upload.directory);
    let text = format!("upload {}: is being finalized", upload.id);
    for path in [&part, &upload.directory] {
        let refused = delete(&store, path).await;
        refused.refused(409, "InvalidMultipartUploadState", &text);
    }
    store.head(&part).await.is(200);
    let none = Upload::create(&store, "/alice/stor/y", json!({})).await;
    none.put(&store, 0, b"x").await;
    delete(&store, &format!("{}/0", none.directory))
        .await
        .is(204);
    upload.abort(&store).await.is(204);
    for path in [&part, &upload.directory] {
        delete(&store, path).await.is(204);
        assert_eq!(delete(&store, path).await.status, 404);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_does_not_go_leaves_its_upload_as_it_was() {
    let store = store().await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let first = upload.put(&store, 0, b"one").await;
    let refused = delete(&store, &upload.directory).await;
    assert_eq!(refusal(&refused), (400, "DirectoryNotEmpty".into()));
    assert_eq!(upload.state(&store).await["state"], "created");
    let second = upload.put(&store, 1, b"two").await;
    upload.commit(&store, &[first, second]).await.is(201);
    assert_eq!(store.get("/alice/stor/x").await.is(200).text(), "onetwo");
    // One that goes ends it.
    let empty = Upload::create(&store, "/alice/stor/y", json!({})).await;
    delete(&store, &empty.directory).await.is(204);
    assert_eq!(empty.state(&store).await["result"], "aborted");
    store.stop().await;
}

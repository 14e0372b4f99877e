//! Uploads in parts: every row of rest-api.md sections 5.2 to 5.8 that is not a line of the appendix.

use std::time::Duration;

use libmanta::moray::Buckets as _;
use serde_json::json;

use crate::client::Request;
use crate::store::{Store, start_with};
use crate::upload::{Upload, creation, document_of, md5_of, message, refusal, send_as};

const MIB: usize = 1 << 20;
/// Small enough for many parts in a test.
const PART_MIN: usize = 1000;

async fn small_parts() -> Store {
    start_with(|config| {
        config.multipart.part_bytes_min = PART_MIN as u64;
        config.multipart.grace = Duration::ZERO;
        // Only when a test says so.
        config.multipart.collect_interval = Duration::from_secs(3600);
    })
    .await
}

fn bytes(seed: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| ((at * 31 + seed * 7) % 251) as u8)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_the_parts_in_a_row() {
    let store = small_parts().await;
    let parts = [
        bytes(1, 1000),
        bytes(2, 6 * MIB),
        bytes(3, 70_000),
        bytes(4, 1),
    ];
    let whole: Vec<u8> = parts.concat();
    let headers = json!({
        "content-type": "text/x", "durability-level": 3, "content-length": whole.len(),
        "content-md5": md5_of(&whole), "m-Foo": "Bar", "cache-control": "no-cache",
        "content-disposition": "attachment; filename=\"a b\"",
    });
    let upload = Upload::create(&store, "/alice/stor/whole", headers).await;
    let mut etags = vec![String::new(); 4];
    for number in [2, 0, 3, 1] {
        etags[number] = upload.put(&store, number, &parts[number]).await;
    }
    let committed = upload.commit(&store, &etags).await.is(201);
    assert_eq!(committed.header("location"), "/alice/stor/whole");
    assert_eq!(committed.header("computed-md5"), md5_of(&whole));
    assert_eq!(committed.get("etag"), None);
    assert!(committed.body.is_empty());
    let object = store.get("/alice/stor/whole").await.is(200);
    assert!(object.body == whole);
    for (name, value) in [
        ("content-type", "text/x"),
        ("durability-level", "3"),
        ("content-md5", md5_of(&whole).as_str()),
        ("m-foo", "Bar"),
        ("cache-control", "no-cache"),
        ("content-disposition", "attachment; filename=\"a b\""),
    ] {
        assert_eq!(object.header(name), value);
    }
    let range = Request::new("GET", "/alice/stor/whole").header("range", "bytes=999-6292457");
    let range = store.send(range).await.is(206);
    assert!(range.body == whole[999..=6_292_457]);
    // What an object is made of is not what it depends on.
    store.handle.collect_uploads().await;
    store.collect_bytes().await;
    assert!(store.get("/alice/stor/whole").await.is(200).body == whole);
    assert_eq!(store.get("/alice/uploads").await.is(200).names().len(), 1);
    store.delete("/alice/stor/whole").await.is(204);
    store.collect_bytes().await;
    assert_eq!(store.stored_files(), [] as [std::path::PathBuf; 0]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_answer_as_objects_do() {
    let store = small_parts().await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let path = format!("{}/0", upload.directory);
    let put = store.put(&path, "one").await.is(204);
    let first = put.header("etag").to_owned();
    put.header("last-modified");
    assert_eq!(put.header("computed-md5"), md5_of(b"one"));
    let again = Request::new("PUT", &path).chunked(&[b"tw", b"o"]);
    let again = store.send(again).await.is(204);
    let second = again.header("etag").to_owned();
    assert_ne!(first, second);
    let head = store.head(&path).await.is(200);
    assert_eq!(head.header("etag"), second);
    assert_eq!(head.header("content-length"), "3");
    assert_eq!(head.header("content-md5"), md5_of(b"two"));
    assert_eq!(head.header("durability-level"), "2");
    assert!(head.get("multipart-md5-chain").is_none());
    let wrong = Request::new("PUT", &path)
        .header("content-md5", md5_of(b"other"))
        .body("three");
    let wrong = store.send(wrong).await;
    assert_eq!(refusal(&wrong), (400, "ContentMD5Mismatch".into()));
    // Not a directory, whatever it calls itself.
    let named = Request::new("PUT", &format!("{}/1", upload.directory))
        .header("content-type", "application/json; type=directory")
        .body("x");
    store.send(named).await.is(204);
    let rows = store.get(&upload.directory).await.is(200).rows();
    let names: Vec<_> = rows
        .iter()
        .map(|row| (&row["name"], &row["type"]))
        .collect();
    assert_eq!(
        names,
        [
            (&json!("0"), &json!("object")),
            (&json!("1"), &json!("object"))
        ]
    );
    assert_eq!(rows[0]["etag"], json!(second));
    let condition = Request::new("PUT", &path)
        .header("if-match", first)
        .body("x");
    assert_eq!(store.send(condition).await.status, 412);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_follows_the_upload() {
    let store = small_parts().await;
    let headers = json!({"M-A": "b", "content-length": 3});
    let upload = Upload::create(&store, "/alice/stor/%E2%82%AC", headers).await;
    let state = upload.state(&store).await;
    let created = state["creationTimeMs"].as_u64().unwrap();
    assert_eq!(
        state.to_string(),
        json!({
            "id": upload.id, "state": "created", "partsDirectory": upload.directory,
            "targetObject": "/alice/stor/%E2%82%AC", "headers": {"m-a": "b", "content-length": 3},
            "numCopies": 2, "creationTimeMs": created,
        })
        .to_string()
    );
    let etags = upload.put_all(&store, &[b"abc"]).await;
    upload.commit(&store, &etags).await.is(201);
    let state = upload.state(&store).await;
    assert_eq!(
        state.to_string(),
        json!({
            "id": upload.id, "state": "done", "result": "committed",
            "targetObject": "/alice/stor/%E2%82%AC", "headers": {"m-a": "b", "content-length": 3},
            "numCopies": 2, "creationTimeMs": created,
            "partsMD5Summary": md5_of(etags[0].as_bytes()),
        })
        .to_string()
    );
    assert_eq!(
        store.get("/alice/stor/%E2%82%AC").await.is(200).body,
        b"abc"
    );
    let aborted = Upload::create(&store, "/alice/stor/y", json!({})).await;
    aborted.abort(&store).await.is(204);
    let state = aborted.state(&store).await;
    assert_eq!(
        (&state["state"], &state["result"]),
        (&json!("done"), &json!("aborted"))
    );
    assert_eq!(state.get("partsDirectory"), None);
    // Behind the end.
    for ended in [&upload, &aborted] {
        let part = store.put(&format!("{}/0", ended.directory), "x").await;
        let text = format!("upload {}: already finalized", ended.id);
        part.refused(409, "InvalidMultipartUploadState", &text);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_refuses_what_is_no_upload() {
    let store = small_parts().await;
    let good = json!({"objectPath": "/alice/stor/x"}).to_string();
    let untyped = Request::new("POST", "/alice/uploads").body(good);
    assert_eq!(store.send(untyped).await.status, 415);
    for (path, status, code) in [
        ("/alice/stor/%zz", 400, "InvalidResource"),
        ("/nosuch/stor/x", 403, "AccountDoesNotExist"),
        ("/alice/uploads/a/b", 400, "InvalidResource"),
    ] {
        let created = store
            .send(creation("alice", &json!({"objectPath": path})))
            .await;
        assert_eq!(refusal(&created), (status, code.into()), "{path}");
    }
    // Neither the owner nor the target is looked at.
    for path in [
        "/bob/stor/x",
        "/alice/stor",
        "/alice/stor/no/parent",
        "/alice/nowhere/x",
    ] {
        Upload::create(&store, path, json!({"unknown": "x"})).await;
    }
    let others = send_as(
        &store,
        &store.bob,
        creation("alice", &json!({"objectPath": "/bob/stor/x"})),
    );
    let others = others.await;
    others.refused(
        403,
        "AuthorizationFailed",
        "bob is not allowed to access /alice/uploads",
    );
    let operator = creation("alice", &json!({"objectPath": "/alice/stor/x", "more": 1}));
    Upload::of(&send_as(&store, &store.poseidon, operator).await);
    let anonymous = creation("alice", &json!({"objectPath": "/alice/stor/x"}));
    let anonymous = anonymous.send(store.address).await;
    assert_eq!(refusal(&anonymous), (403, "AuthorizationFailed".into()));
    let many = json!({"objectPath": "/alice/stor/x", "headers": {"durability-level": 4}});
    assert_eq!(store.send(creation("alice", &many)).await.status, 503);
    let large = json!({"objectPath": "/alice/stor/x", "headers": {"content-length": 1_u64 << 60}});
    let large = store.send(creation("alice", &large)).await;
    assert_eq!(refusal(&large), (507, "NotEnoughSpace".into()));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_refused_for_its_target_before_its_parts() {
    let store = small_parts().await;
    store.mkdir("/alice/stor/dir").await.is(204);
    store.put("/alice/stor/object", "x").await.is(204);
    for (path, status, code) in [
        ("/alice/stor/dir", 400, "OperationNotAllowedOnDirectory"),
        ("/alice/stor", 400, "OperationNotAllowedOnDirectory"),
        ("/alice/uploads", 400, "OperationNotAllowedOnDirectory"),
        ("/alice/stor/object/x", 400, "ParentNotDirectory"),
        ("/alice/stor/none/x", 404, "DirectoryDoesNotExist"),
        ("/alice/nowhere/x", 404, "DirectoryDoesNotExist"),
        ("/alice/nowhere", 404, "DirectoryDoesNotExist"),
        ("/bob/stor/x", 403, "AuthorizationFailed"),
    ] {
        let upload = Upload::create(&store, path, json!({})).await;
        let commit = upload.commit(&store, &["bogus".into()]).await;
        assert_eq!(refusal(&commit), (status, code.into()), "{path}");
        if code == "AuthorizationFailed" {
            let path = format!("{}/commit", upload.directory);
            assert_eq!(
                message(&commit),
                format!("alice is not allowed to access {path}")
            );
        }
        assert_eq!(upload.state(&store).await["state"], "created", "{path}");
        upload.abort(&store).await.is(204);
    }
    let tagged = Upload::create(&store, "/alice/stor/x", json!({"role-tag": "nosuch"})).await;
    let commit = tagged.commit(&store, &[]).await;
    assert_eq!(refusal(&commit), (409, "InvalidRoleTag".into()));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_refused_for_its_parts_and_can_be_corrected() {
    let store = small_parts().await;
    let headers = json!({"content-length": 2 * PART_MIN});
    let upload = Upload::create(&store, "/alice/stor/x", headers).await;
    let parts = [bytes(1, PART_MIN - 1), bytes(2, PART_MIN)];
    let mut etags = upload.put_all(&store, &[&parts[0], &parts[1]]).await;
    let code = "MultipartUploadInvalidArgument";
    let refused = |text: String| format!("upload {}: {text}", upload.id);
    let small = refused(format!(
        "[part 0] part is too small (size {})",
        PART_MIN - 1
    ));
    upload
        .commit(&store, &etags)
        .await
        .refused(409, code, &small);
    let stale = etags[0].clone();
    etags[0] = upload.put(&store, 0, &bytes(3, PART_MIN)).await;
    let old = [stale.clone(), etags[1].clone()];
    let text = refused(format!("[part 0] invalid etag \"{stale}\""));
    upload.commit(&store, &old).await.refused(409, code, &text);
    let text = refused(format!("[part 2] invalid etag \"{stale}\""));
    let more = [etags.clone(), vec![stale]].concat();
    upload.commit(&store, &more).await.refused(409, code, &text);
    let text = refused(format!(
        "expected content-length {}, but object was {PART_MIN}",
        2 * PART_MIN
    ));
    upload
        .commit(&store, &etags[..1])
        .await
        .refused(409, code, &text);
    for body in [
        "{}",
        "{\"parts\":7}",
        "[]",
        "{\"parts\":[\"\"]}",
        "{\"parts\":[7]}",
    ] {
        let path = format!("{}/commit", upload.directory);
        let request = Request::new("POST", &path).body(body);
        assert_eq!(
            refusal(&store.send(request).await),
            (409, code.into()),
            "{body}"
        );
    }
    assert_eq!(upload.state(&store).await["state"], "created");
    upload.commit(&store, &etags).await.is(201);
    // Once more is the same, and says now what is there.
    let again = upload.commit(&store, &etags).await.is(201);
    let there = store.head("/alice/stor/x").await.is(200);
    assert_eq!(again.header("etag"), there.header("etag"));
    assert_eq!(again.header("computed-md5"), there.header("content-md5"));
    upload.commit(&store, &etags[..1]).await.refused(
        409,
        "InvalidMultipartUploadState",
        &refused("already has a commit in progress".into()),
    );
    upload.abort(&store).await.refused(
        409,
        "InvalidMultipartUploadState",
        &refused("already committed".into()),
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_md5_leaves_the_commit_visible_and_an_abort_possible() {
    let store = small_parts().await;
    let headers = json!({"content-md5": md5_of(b"other")});
    let upload = Upload::create(&store, "/alice/stor/x", headers).await;
    let etags = upload.put_all(&store, &[b"this"]).await;
    let text = format!(
        "upload {}: expected content-md5 \"{}\", but object has md5 \"{}\"",
        upload.id,
        md5_of(b"other"),
        md5_of(b"this")
    );
    for _ in 0..2 {
        let commit = upload.commit(&store, &etags).await;
        commit.refused(409, "MultipartUploadInvalidArgument", &text);
        let state = upload.state(&store).await;
        assert_eq!(
            (&state["state"], &state["type"]),
            (&json!("finalizing"), &json!("commit"))
        );
        assert_eq!(state["partsDirectory"], json!(upload.directory));
    }
    let other = upload.commit(&store, &[]).await;
    assert!(message(&other).ends_with("already has a commit in progress"));
    let part = store.put(&format!("{}/0", upload.directory), "x").await;
    assert_eq!(refusal(&part), (409, "InvalidMultipartUploadState".into()));
    upload.abort(&store).await.is(204);
    assert_eq!(upload.state(&store).await["result"], "aborted");
    assert_eq!(store.head("/alice/stor/x").await.status, 404);
    store.handle.collect_uploads().await;
    store.collect_bytes().await;
    assert_eq!(store.stored_files(), [] as [std::path::PathBuf; 0]);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ids_and_prefixes_are_not_found() {
    let store = small_parts().await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let id = &upload.id;
    let with_end = |end: &str| format!("{}{end}", &id[..35]);
    let unknown = format!("{}7{}", &id[..8], &id[9..]);
    for path in [
        format!("/alice/uploads/{}/{id}", &id[..2]),
        format!("/alice/uploads/{}/{id}", &id[..4]),
        format!("/alice/uploads/xyz/{id}"),
        format!("/alice/uploads/{}/{}", &id[..3], with_end("0")),
        format!("/alice/uploads/{}/{}", &id[..3], with_end("f")),
        format!("/alice/uploads/{}/{}", &id[..3], id.to_uppercase()),
        format!("/alice/uploads/{}/abc", &id[..3]),
        format!("/alice/uploads/{}/{unknown}", &unknown[..3]),
    ] {
        let state = store.get(&format!("{path}/state")).await;
        assert_eq!(refusal(&state), (404, "ResourceNotFound".into()), "{path}");
        assert_eq!(
            store.put(&format!("{path}/0"), "x").await.status,
            404,
            "{path}"
        );
        assert_eq!(store.head(&format!("{path}/0")).await.status, 404, "{path}");
        assert_eq!(store.get(&path).await.status, 404, "{path}");
        assert_eq!(store.mkdir(&path).await.status, 404, "{path}");
        for end in ["commit", "abort"] {
            let request = Request::new("POST", &format!("{path}/{end}")).body("{\"parts\":[]}");
            assert_eq!(store.send(request).await.status, 404, "{path}/{end}");
        }
    }
    for id in [with_end("0"), with_end("5"), "abc".to_owned(), unknown] {
        for method in ["PUT", "POST"] {
            let redirect = Request::new(method, &format!("/alice/uploads/{id}")).body("");
            assert_eq!(store.send(redirect).await.status, 404, "{id}");
        }
        assert_eq!(
            store.get(&format!("/alice/uploads/{id}")).await.status,
            404,
            "{id}"
        );
    }
    assert_eq!(store.get("/alice/uploads/a/b/c/d").await.status, 404);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_of_uploads_is_a_root() {
    let store = small_parts().await;
    let account = store.get("/alice").await.is(200);
    assert_eq!(
        account.names(),
        ["jobs", "public", "reports", "stor", "uploads"]
    );
    let empty = store.get("/alice/uploads").await.is(200);
    assert_eq!(empty.names(), [""; 0]);
    assert_eq!(empty.get("last-modified"), None);
    store.mkdir("/alice/uploads").await.is(204);
    store
        .head("/alice/uploads")
        .await
        .is(200)
        .header("last-modified");
    store.put("/alice/uploads", "x").await.refused(
        400,
        "InvalidUpdate",
        "overwrite of \"content-length\" forbidden on a directory",
    );
    let chunked = Request::new("PUT", "/alice/uploads").chunked(&[b"x"]);
    assert_eq!(
        refusal(&store.send(chunked).await),
        (400, "OperationNotAllowedOnDirectory".into())
    );
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let prefix = &upload.id[..3];
    assert_eq!(store.get("/alice/uploads").await.names(), [prefix]);
    let below = format!("/alice/uploads/{prefix}");
    assert_eq!(store.get(&below).await.names(), [upload.id.as_str()]);
    store.head(&below).await.is(200);
    // Clients that make every level of a path get away with it.
    let before = document_of(&store.get(&upload.directory).await);
    store.mkdir(&upload.directory).await.is(204);
    assert_eq!(document_of(&store.get(&upload.directory).await), before);
    store.stop().await;

    let none = start_with(|config| config.multipart.enabled = false).await;
    assert_eq!(
        none.get("/alice").await.names(),
        ["jobs", "public", "reports", "stor"]
    );
    for request in [
        Request::new("GET", "/alice/uploads"),
        creation("alice", &json!({"objectPath": "/alice/stor/x"})),
    ] {
        let answer = none.send(request).await;
        answer.refused(404, "ResourceNotFound", "/alice/uploads does not exist");
    }
    none.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_kept_out_and_operators_are_not() {
    let store = small_parts().await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let requests = [
        Request::new("GET", &upload.directory),
        Request::new("GET", &format!("{}/state", upload.directory)),
        Request::new("HEAD", &format!("/alice/uploads/{}", upload.id)),
        Request::new("PUT", &format!("{}/0", upload.directory)).body("x"),
        upload.commit_request(&[]),
        upload.abort_request(),
    ];
    for request in &requests {
        let bob = send_as(&store, &store.bob, request.clone()).await;
        assert_eq!(bob.status, 403, "{}", bob.text());
        assert_eq!(request.clone().send(store.address).await.status, 403);
    }
    let poseidon = &store.poseidon;
    let put = send_as(&store, poseidon, requests[3].clone()).await.is(204);
    let etag = put.header("etag").to_owned();
    let commit = upload.commit_request(&[etag]);
    send_as(&store, poseidon, commit).await.is(201);
    assert_eq!(store.get("/alice/stor/x").await.is(200).body, b"x");
    send_as(&store, poseidon, requests[1].clone()).await.is(200);
    store.stop().await;
}

/// The bound: bytes that arrive after the part before them are never read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_reads_only_what_came_out_of_order() {
    const READ: &str = "muskie_multipart_bytes_read_at_commit_total";
    let store = small_parts().await;
    let parts: Vec<Vec<u8>> = (0..6).map(|n| bytes(n, PART_MIN + n)).collect();
    let whole = parts.concat();
    // In which order they are put, and what must be read again.
    let from = |number: usize| -> u64 { parts[number..].iter().map(|p| p.len() as u64).sum() };
    for (order, expected) in [
        (vec![0, 1, 2, 3, 4, 5], 0),
        (vec![5, 4, 3, 2, 1, 0], from(1)),
        (vec![0, 1, 2, 4, 3, 5], from(4)),
        // A part that is replaced takes the chain behind it with it.
        (vec![0, 1, 2, 3, 4, 5, 3], from(4)),
        (vec![0, 1, 2, 3, 4, 5, 3, 4, 5], 0),
    ] {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let mut etags = vec![String::new(); 6];
        for &number in &order {
            etags[number] = upload.put(&store, number, &parts[number]).await;
        }
        let before = store.metric(READ).await;
        let commit = upload.commit(&store, &etags).await.is(201);
        assert_eq!(commit.header("computed-md5"), md5_of(&whole), "{order:?}");
        assert_eq!(store.metric(READ).await - before, expected, "{order:?}");
        assert!(store.get("/alice/stor/x").await.body == whole);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_target_and_one_of_another_account_are_as_after_a_put() {
    let store = small_parts().await;
    let upload = Upload::create(&store, "/alice/public/x", json!({})).await;
    upload.commit(&store, &[]).await.is(201);
    let object = Request::new("GET", "/alice/public/x").header("origin", "http://a.test");
    let object = object.send(store.address).await.is(200);
    assert_eq!(
        object.header("access-control-allow-origin"),
        "http://a.test"
    );
    assert_eq!(object.header("content-type"), "application/octet-stream");
    assert_eq!(object.header("content-length"), "0");
    let body = json!({"objectPath": "/bob/stor/gift"});
    let upload = Upload::of(&send_as(&store, &store.poseidon, creation("poseidon", &body)).await);
    let part = Request::new("PUT", &format!("{}/0", upload.directory)).body(bytes(1, 5 * MIB));
    let part = send_as(&store, &store.poseidon, part).await.is(204);
    let etag = part.header("etag").to_owned();
    send_as(&store, &store.poseidon, upload.commit_request(&[etag]))
        .await
        .is(201);
    let get = Request::new("GET", "/bob/stor/gift");
    assert!(send_as(&store, &store.bob, get).await.is(200).body == bytes(1, 5 * MIB));
    let delete = Request::new("DELETE", "/bob/stor/gift");
    send_as(&store, &store.bob, delete).await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_removes_what_ended_and_nothing_else() {
    let store = start_with(|config| {
        config.multipart.part_bytes_min = 1;
        config.multipart.grace = Duration::from_secs(3600);
    })
    .await;
    let young = Upload::create(&store, "/alice/stor/young", json!({})).await;
    let etags = young.put_all(&store, &[b"abc"]).await;
    young.commit(&store, &etags).await.is(201);
    store.handle.collect_uploads().await;
    assert_eq!(
        store.head(&format!("{}/0", young.directory)).await.status,
        200
    );
    young.commit(&store, &etags).await.is(201);
    store.stop().await;

    let store = small_parts().await;
    let open = Upload::create(&store, "/alice/stor/open", json!({})).await;
    let open_etags = open.put_all(&store, &[b"abc"]).await;
    let aborted = Upload::create(&store, "/alice/stor/aborted", json!({})).await;
    aborted.put_all(&store, &[b"abc", b"def"]).await;
    aborted.abort(&store).await.is(204);
    store.handle.collect_uploads().await;
    store.collect_bytes().await;
    let state = store.get(&format!("{}/state", aborted.directory)).await;
    assert_eq!(state.status, 404);
    assert_eq!(store.get(&aborted.directory).await.status, 404);
    assert_eq!(aborted.abort(&store).await.status, 404);
    assert_eq!(store.copy_files().len(), 2, "{:?}", store.stored_files());
    open.commit(&store, &open_etags).await.is(201);
    for bucket in ["multipart_uploads", "multipart_gates", "multipart_outcomes"] {
        let left = store.moray.scan_all(bucket, None, 10).await.unwrap();
        assert_eq!(left.len(), 1, "{bucket}");
    }
    store.handle.collect_uploads().await;
    for bucket in ["multipart_uploads", "multipart_gates", "multipart_outcomes"] {
        let left = store.moray.scan_all(bucket, None, 10).await.unwrap();
        assert_eq!(left, [], "{bucket}");
    }
    assert_eq!(
        store
            .metric("muskie_multipart_uploads_collected_total")
            .await,
        2
    );
    assert_eq!(store.get("/alice/stor/open").await.is(200).body, b"abc");
    store.stop().await;
}

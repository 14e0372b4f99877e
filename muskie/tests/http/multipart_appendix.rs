//! The lines of rest-api.md section 15.4, one test for each, named after it. Those of the second version run
//! on its surface; the last one is a system test with the npm client.

use std::time::Duration;

use libmanta::moray::Buckets as _;
use muskie::Surface;
use serde_json::json;

use crate::client::Request;
use crate::rights::{add_jo, with_jo};
use crate::store::{start, start_m2, start_with};
use crate::upload::{Upload, creation, md5_of, refusal, send_as};

const INVALID: &str = "MultipartUploadInvalidArgument";

#[tokio::test(flavor = "multi_thread")]
async fn m2_create_returns_id_and_directory_and_the_state_document() {
    for prefix_chars in 1..=4 {
        let store = start_with(|config| {
            config.surface = Surface::Manta2;
            config.multipart.prefix_chars = prefix_chars;
        })
        .await;
        let headers = json!({
            "durability-level": 3, "content-length": 10, "content-md5": "JdMoQCNCYOHEGq1fgaYyng==",
            "content-type": "application/x", "M-My-Custom-Header": "My-Custom-Value",
            "content-disposition": "attachment; filename=\"my-file.txt\"",
        });
        let upload = Upload::create(&store, "/alice/stor/x", headers).await;
        let chars = usize::from(prefix_chars);
        assert_eq!(upload.id[35..], chars.to_string());
        let directory = format!("/alice/uploads/{}/{}", &upload.id[..chars], upload.id);
        assert_eq!(upload.directory, directory);
        let state = upload.state(&store).await;
        assert_eq!(state["id"], upload.id);
        assert_eq!(state["state"], "created");
        assert_eq!(state["partsDirectory"], directory);
        assert_eq!(state["targetObject"], "/alice/stor/x");
        assert_eq!(state["numCopies"], 3);
        assert_eq!(state.get("type"), None);
        assert_eq!(
            state["headers"],
            json!({
                "durability-level": 3, "content-length": 10,
                "content-md5": "JdMoQCNCYOHEGq1fgaYyng==", "content-type": "application/x",
                "m-my-custom-header": "My-Custom-Value",
                "content-disposition": "attachment; filename=\"my-file.txt\"",
            })
        );
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_bad_arguments_of_create() {
    let store = start_m2().await;
    let create = |path: &str, headers| {
        let body = json!({"objectPath": path, "headers": headers});
        store.send(creation("alice", &body))
    };
    let unknown = create("/nobody_here/stor/x", json!({})).await;
    assert_eq!(refusal(&unknown), (403, "AccountDoesNotExist".into()));
    for headers in [
        json!({"if-match": "x"}),
        json!({"if-none-match": "x"}),
        json!({"if-modified-since": "x"}),
        json!({"if-unmodified-since": "x"}),
        json!({"content-length": -1}),
    ] {
        let refused = create("/alice/stor/x", headers.clone()).await;
        assert_eq!(refusal(&refused), (409, INVALID.into()), "{headers}");
    }
    for level in [0, 10] {
        let refused = create("/alice/stor/x", json!({"durability-level": level})).await;
        assert_eq!(refusal(&refused), (400, "InvalidDurabilityLevel".into()));
    }
    let refused = create(
        "/alice/stor/x",
        json!({"content-disposition": "attachment;"}),
    )
    .await;
    assert_eq!(refusal(&refused), (400, "BadRequest".into()));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_part_numbers_and_lengths_of_lists() {
    for (store, max) in [(start_m2().await, 799), (start().await, 9999)] {
        let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
        let etag = upload.put(&store, 0, b"x").await;
        upload.put(&store, max, b"x").await;
        for bad in ["-1".to_owned(), (max + 1).to_string()] {
            let put = store.put(&format!("{}/{bad}", upload.directory), "x").await;
            assert_eq!(refusal(&put), (409, INVALID.into()), "{bad}");
        }
        let long = upload.commit(&store, &vec![etag; max + 2]).await;
        assert_eq!(refusal(&long), (409, INVALID.into()));
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_commits_that_succeed_and_lists_that_are_wrong() {
    let store = start_m2().await;
    let create = |headers| Upload::create(&store, "/alice/stor/x", headers);
    let none = create(json!({})).await;
    let commit = none.commit(&store, &[]).await.is(201);
    assert_eq!(commit.header("computed-md5"), "1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(
        none.state(&store).await["partsMD5Summary"],
        "1B2M2Y8AsgTpgAmY7PhCfg=="
    );
    assert_eq!(
        store.head("/alice/stor/x").await.header("content-length"),
        "0"
    );
    let one = create(json!({"content-length": 3, "content-md5": md5_of(b"abc")})).await;
    let etags = one.put_all(&store, &[b"abc"]).await;
    one.commit(&store, &etags).await.is(201);
    assert_eq!(store.get("/alice/stor/x").await.text(), "abc");
    for headers in [
        json!({"content-length": 4}),
        json!({"content-md5": md5_of(b"abd")}),
    ] {
        for parts in [&[b"abc".as_slice()][..], &[]] {
            let upload = create(headers.clone()).await;
            let etags = upload.put_all(&store, parts).await;
            let commit = upload.commit(&store, &etags).await;
            assert_eq!(refusal(&commit), (409, INVALID.into()), "{headers}");
        }
    }
    let upload = create(json!({})).await;
    let etags = upload.put_all(&store, &[b"small", b"last"]).await;
    for list in [
        etags.clone(),
        vec![String::new()],
        vec![String::new(), etags[0].clone(), String::new()],
        vec!["bogus".into()],
    ] {
        let commit = upload.commit(&store, &list).await;
        assert_eq!(refusal(&commit), (409, INVALID.into()), "{list:?}");
    }
    let missing = Request::new("POST", &format!("{}/commit", upload.directory)).body("{}");
    assert_eq!(refusal(&store.send(missing).await), (409, INVALID.into()));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_commits_to_wrong_places() {
    let store = start_m2().await;
    for (path, status, code) in [
        ("/alice/stor", 400, "OperationNotAllowedOnDirectory"),
        ("/alice/stor/not/there", 404, "DirectoryDoesNotExist"),
        ("/poseidon/stor/x", 403, "AuthorizationFailed"),
    ] {
        let upload = Upload::create(&store, path, json!({})).await;
        let commit = upload.commit(&store, &[]).await;
        assert_eq!(refusal(&commit), (status, code.into()), "{path}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_aborts() {
    let store = start_m2().await;
    let state = "InvalidMultipartUploadState";
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    upload.abort(&store).await.is(204);
    upload.abort(&store).await.is(204);
    assert_eq!(
        refusal(&upload.commit(&store, &[]).await),
        (409, state.into())
    );
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    upload.commit(&store, &[]).await.is(201);
    assert_eq!(refusal(&upload.abort(&store).await), (409, state.into()));
    for end in ["state", "commit", "abort"] {
        let method = if end == "state" { "GET" } else { "POST" };
        let path = format!("/alice/uploads/not/not-a-uuid/{end}");
        let request = Request::new(method, &path).body("");
        let refused = store.send(request).await;
        assert_eq!(refusal(&refused), (404, "ResourceNotFound".into()), "{end}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_redirects() {
    let store = start_m2().await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    for method in ["GET", "HEAD", "PUT", "POST"] {
        let path = format!("/alice/uploads/{}", upload.id);
        let redirect = store.send(Request::new(method, &path)).await.is(301);
        assert_eq!(redirect.header("location"), upload.directory);
        for number in [0, 1, 798, 799] {
            let redirect = Request::new(method, &format!("{path}/{number}"));
            let redirect = store.send(redirect).await.is(301);
            let expected = format!("{}/{number}", upload.directory);
            assert_eq!(redirect.header("location"), expected);
        }
        for number in ["-1", "800", "00", "state", "foo"] {
            let refused = Request::new(method, &format!("{path}/{number}"));
            let refused = store.send(refused).await;
            assert_eq!(refused.status, 404, "{method} {number}");
            if method != "HEAD" {
                let text = format!("part num {number} was not found");
                refused.refused(404, "ResourceNotFound", &text);
            }
        }
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_subusers_are_refused() {
    let store = start_m2().await;
    let jo = add_jo(&store).await;
    // A role that allows everything does not help.
    store.people.add_role("alice", "all", &["can *"]).await;
    store.people.give("alice", "all", "alice/jo", true).await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let forbidden = (403, "AuthorizationFailed".to_owned());
    for request in [
        creation("alice", &json!({"objectPath": "/alice/stor/x"})),
        Request::new("GET", &format!("{}/state", upload.directory)),
        upload.abort_request(),
        upload.commit_request(&[]),
        Request::new("GET", &format!("/alice/uploads/{}", upload.id)),
        Request::new("POST", &format!("/alice/uploads/{}/0", upload.id)),
    ] {
        let refused = send_as(&store, &jo, request).await;
        assert_eq!(refusal(&refused), forbidden);
    }
    let part = Request::new("PUT", &format!("{}/0", upload.directory)).body("x");
    let refused = send_as(&store, &jo, part).await;
    assert_eq!(refusal(&refused), (403, "NoMatchingRoleTag".into()));
    assert_eq!(upload.state(&store).await["state"], "created");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_tags_the_object_with_the_roles_it_names() {
    let (store, jo) = with_jo().await;
    store
        .people
        .add_role("alice", "readers", &["can getobject"])
        .await;
    store
        .people
        .give("alice", "readers", "alice/jo", true)
        .await;
    let headers = json!({"role-tag": "readers"});
    let upload = Upload::create(&store, "/alice/stor/x", headers).await;
    let etags = upload.put_all(&store, &[b"for readers"]).await;
    upload.commit(&store, &etags).await.is(201);
    let read = send_as(&store, &jo, Request::new("GET", "/alice/stor/x")).await;
    assert_eq!(read.is(200).text(), "for readers");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_methods_that_are_not_allowed() {
    let store = start().await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    upload.put(&store, 0, b"x").await;
    let (id, directory) = (format!("/alice/uploads/{}", upload.id), &upload.directory);
    for (path, methods) in [
        (id.clone(), &["DELETE"][..]),
        (format!("{id}/0"), &["DELETE"]),
        (directory.clone(), &["POST", "DELETE"]),
        (format!("{directory}/0"), &["GET", "POST", "DELETE"]),
        (
            format!("{directory}/state"),
            &["HEAD", "PUT", "POST", "DELETE"],
        ),
        (format!("{directory}/commit"), &["GET", "HEAD", "DELETE"]),
        (format!("{directory}/abort"), &["GET", "HEAD", "DELETE"]),
    ] {
        for method in methods {
            let refused = store.send(Request::new(method, &path).body("")).await;
            assert_eq!(refused.status, 405, "{method} {path}");
            assert!(!refused.header("allow").contains(method), "{method} {path}");
        }
    }
    // Reads as a part of that name.
    for end in ["commit", "abort"] {
        let put = store.put(&format!("{directory}/{end}"), "x").await;
        assert_eq!(refusal(&put), (409, INVALID.into()));
    }
    assert_eq!(store.get(&format!("{directory}/1")).await.status, 404);
    store.mkdir(directory).await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_operators_delete_with_allow_mpu_deletes() {
    let store = start_with(|config| {
        config.multipart.grace = Duration::ZERO;
        config.multipart.collect_interval = Duration::from_secs(3600);
    })
    .await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    upload.put(&store, 0, b"x").await;
    let part = format!("{}/0", upload.directory);
    let asked = |path: &str| Request::new("DELETE", &format!("{path}?allowMpuDeletes=true"));
    for path in [&part, &upload.directory] {
        let owner = store.send(asked(path)).await;
        assert_eq!(
            refusal(&owner),
            (403, "AuthorizationFailed".into()),
            "{path}"
        );
        let plain = send_as(&store, &store.poseidon, Request::new("DELETE", path)).await;
        assert_eq!(plain.status, 405, "{path}");
    }
    let full = send_as(&store, &store.poseidon, asked(&upload.directory)).await;
    assert_eq!(refusal(&full), (400, "DirectoryNotEmpty".into()));
    for path in [&part, &upload.directory] {
        send_as(&store, &store.poseidon, asked(path)).await.is(204);
        assert_eq!(store.head(path).await.status, 404, "{path}");
    }
    store.handle.collect_uploads().await;
    store.collect_bytes().await;
    assert_eq!(store.stored_files(), [] as [std::path::PathBuf; 0]);
    for bucket in ["multipart_uploads", "multipart_gates", "multipart_outcomes"] {
        let left = store.moray.scan_all(bucket, None, 10).await.unwrap();
        assert_eq!(left, [], "{bucket}");
    }
    store.stop().await;
    let store = start_m2().await;
    let upload = Upload::create(&store, "/alice/stor/x", json!({})).await;
    let refused = send_as(&store, &store.poseidon, asked(&upload.directory)).await;
    assert_eq!(refused.status, 405);
    store.stop().await;
}

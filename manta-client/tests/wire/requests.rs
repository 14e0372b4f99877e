//! What goes over the wire for links, uploads and trees, and what is made of the answers.

use crate::script::{Step, serve, soon};
use http::{HeaderMap, HeaderValue};
use manta_client::{Error, Payload, RemovalReport, TreeFilter, Upload, UploadOptions};

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\netag: e1\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 47\r\n\r\n\
                         {\"code\":\"ResourceNotFound\",\"message\":\"no such\"}";
const DIRECTORY: &str = "content-type: application/x-json-stream; type=directory\r\n";

fn upload() -> Upload {
    Upload {
        id: "id3".to_owned(),
        parts_directory: "/alice/uploads/id3/id3".to_owned(),
    }
}

/// A chunked answer, whole or broken off before its last chunk.
fn streamed(rows: &[&str], is_whole: bool) -> &'static str {
    let mut answer = format!("HTTP/1.1 200 OK\r\n{DIRECTORY}transfer-encoding: chunked\r\n\r\n");
    for row in rows {
        answer.push_str(&format!("{:x}\r\n{row}\n\r\n", row.len() + 1));
    }
    if is_whole {
        answer.push_str("0\r\n\r\n");
    }
    answer.leak()
}

#[tokio::test]
async fn links_and_renames_name_their_source() {
    let script = vec![Step::Answer(NO_CONTENT), Step::Answer(NO_CONTENT)];
    let (client, server) = serve(vec![script]).await;
    let mut headers = HeaderMap::new();
    headers.insert("if-match", HeaderValue::from_static("e0"));
    let linked = client
        .link("~~/stor/a b", "~~/stor/c", headers.clone())
        .await
        .unwrap();
    assert_eq!(linked.etag.as_deref(), Some("e1"));
    client
        .rename("~~/stor/a b", "~~/public/ü", headers)
        .await
        .unwrap();
    let requests = soon(server).await.unwrap();
    for (request, line, kind) in [
        (&requests[0], "PUT /alice/stor/c HTTP/1.1\r\n", "link"),
        (
            &requests[1],
            "PUT /alice/public/%C3%BC HTTP/1.1\r\n",
            "rename",
        ),
    ] {
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains(&format!("content-type: application/json; type={kind}\r\n")));
        assert!(
            request.contains("location: /alice/stor/a%20b\r\n"),
            "{request}"
        );
        assert!(request.contains("if-match: e0\r\n") && request.contains("content-length: 0\r\n"));
    }
}

#[tokio::test]
async fn an_upload_goes_from_create_to_commit() {
    let created = "HTTP/1.1 201 Created\r\ncontent-length: 54\r\n\r\n\
                   {\"id\":\"id3\",\"partsDirectory\":\"/alice/uploads/id3/id3\"}";
    let moved = "HTTP/1.1 301 Moved Permanently\r\nlocation: /alice/uploads/id3/id3\r\n\
                 content-length: 0\r\n\r\n";
    let committed = "HTTP/1.1 201 Created\r\ncomputed-md5: m\r\ncontent-length: 0\r\n\r\n";
    let script = vec![
        Step::Answer(created),
        Step::Answer(moved),
        Step::Continue(NO_CONTENT),
        Step::Answer(committed),
        Step::Answer(NO_CONTENT),
    ];
    let (client, server) = serve(vec![script]).await;
    let options = UploadOptions {
        size: Some(3),
        copies: Some(1),
        ..UploadOptions::default()
    };
    let made = client.create_upload("~~/stor/a b", &options).await.unwrap();
    assert_eq!(made, upload());
    // Where uploads are does not depend on how paths are understood.
    let found = client.exact().find_upload("id3").await.unwrap();
    assert_eq!(found, upload());
    let payload = Payload::reader(&b"abc"[..], Some(3));
    let part = client
        .put_part(&made, 7, payload, Some("md5=="))
        .await
        .unwrap();
    assert_eq!(part.etag.as_deref(), Some("e1"));
    let etags = ["e1".to_owned()];
    let stored = client.commit_upload(&made, &etags).await.unwrap();
    assert_eq!(stored.computed_md5.as_deref(), Some("m"));
    client.abort_upload(&made).await.unwrap();

    let requests = soon(server).await.unwrap();
    assert!(requests[0].starts_with("POST /alice/uploads HTTP/1.1\r\n"));
    assert!(requests[0].ends_with(
        "{\"objectPath\":\"/alice/stor/a%20b\",\
         \"headers\":{\"durability-level\":1,\"content-length\":3}}"
    ));
    assert!(requests[1].starts_with("HEAD /alice/uploads/id3 HTTP/1.1\r\n"));
    assert!(requests[2].starts_with("PUT /alice/uploads/id3/id3/7 HTTP/1.1\r\n"));
    assert!(requests[2].contains("content-md5: md5==\r\n") && requests[2].ends_with("abc"));
    assert!(requests[3].starts_with("POST /alice/uploads/id3/id3/commit HTTP/1.1\r\n"));
    assert!(requests[3].ends_with("{\"parts\":[\"e1\"]}"));
    assert!(requests[4].starts_with("POST /alice/uploads/id3/id3/abort HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_server_without_uploads_says_so() {
    let plain = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (client, server) = serve(vec![vec![Step::Answer(NOT_FOUND), Step::Answer(plain)]]).await;
    let error = client
        .create_upload("~~/stor/x", &UploadOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.line(),
        "FeatureNotSupportedError: multipart upload is not supported for this Manta deployment"
    );
    // A redirect is what makes it an upload.
    let error = client.find_upload("id3").await.unwrap_err();
    assert!(
        error
            .line()
            .ends_with("locating upload: unexpected status 200"),
        "{}",
        error.line()
    );
    soon(server).await.unwrap();
}

#[tokio::test]
async fn parts_come_by_number() {
    let rows = [
        r#"{"name":"0","type":"object","size":5,"mtime":"t","etag":"a","contentMD5":"m"}"#,
        r#"{"name":"10","type":"object","size":3,"mtime":"t","etag":"b"}"#,
        r#"{"name":"2","type":"object","size":4,"mtime":"t","etag":"c"}"#,
        r#"{"name":"x","type":"object","size":4,"mtime":"t","etag":"d"}"#,
    ];
    let (client, server) = serve(vec![vec![Step::Answer(streamed(&rows, true))]]).await;
    let parts = client.upload_parts(&upload()).await.unwrap();
    let numbers: Vec<_> = parts
        .iter()
        .map(|part| (part.number, part.etag.as_str()))
        .collect();
    assert_eq!(numbers, [(0, "a"), (2, "c"), (10, "b")]);
    assert_eq!((parts[0].size, parts[0].md5.as_deref()), (5, Some("m")));
    let requests = soon(server).await.unwrap();
    assert!(
        requests[0].starts_with("GET /alice/uploads/id3/id3?limit="),
        "{}",
        requests[0]
    );
}

const ROWS: [&str; 3] = [
    r#"{"name":"d","type":"directory","mtime":"t","parent":"/alice/stor"}"#,
    r#"{"name":"a b","type":"object","size":1,"mtime":"t","parent":"/alice/stor/d"}"#,
    r#"{"name":"c","type":"object","size":2,"mtime":"t","parent":"/alice/stor/d"}"#,
];

#[tokio::test]
async fn a_listing_of_a_tree_goes_on_where_it_broke_off() {
    let (client, server) = serve(vec![
        vec![Step::AnswerAndClose(streamed(&ROWS[..2], false))],
        vec![Step::Answer(streamed(&ROWS[1..], true))],
    ])
    .await;
    let filter = TreeFilter {
        depth_max: Some(2),
        ..TreeFilter::default()
    };
    let mut listing = client.list_tree("~~/stor", &filter).await.unwrap();
    let mut paths = Vec::new();
    while let Some(entry) = soon(listing.next()).await.unwrap() {
        paths.push(format!("{}/{}", entry.parent, entry.entry.name));
    }
    assert_eq!(
        paths,
        ["/alice/stor/d", "/alice/stor/d/a b", "/alice/stor/d/c"]
    );
    let requests = soon(server).await.unwrap();
    assert!(requests[0].starts_with("GET /alice/stor?recursive=true&depth_max=2 HTTP/1.1\r\n"));
    assert!(
        requests[1].starts_with(
            "GET /alice/stor?recursive=true&depth_max=2&marker=%2Falice%2Fstor%2Fd%2Fa%20b HTTP/1.1"
        ),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_server_that_lists_one_directory_is_noticed() {
    let plain = [r#"{"name":"d","type":"directory","mtime":"t"}"#];
    let (client, server) = serve(vec![vec![Step::Answer(streamed(&plain, true))]]).await;
    let mut listing = client
        .list_tree("~~/stor", &TreeFilter::default())
        .await
        .unwrap();
    assert!(matches!(listing.next().await, Err(Error::NotSupported(_))));
    drop(listing);
    soon(server).await.unwrap();
}

#[tokio::test]
async fn a_deletion_is_done_when_the_server_says_so() {
    let progress = r#"{"type":"progress","objects":1,"directories":0,"errors":0}"#;
    let end = r#"{"type":"end","objects":1,"directories":1,"errors":0}"#;
    let (client, server) = serve(vec![vec![
        Step::Answer(streamed(&[progress, end], true)),
        Step::Answer(streamed(&[progress], true)),
        Step::Answer(NO_CONTENT),
    ]])
    .await;
    let mut removal = client.delete_tree("~~/stor/d").await.unwrap();
    let Some(RemovalReport::Progress(removed)) = removal.next().await.unwrap() else {
        panic!("progress comes first");
    };
    assert_eq!(
        (removed.objects, removed.directories, removed.errors),
        (1, 0, 0)
    );
    let last = removal.next().await.unwrap();
    assert!(matches!(last, Some(RemovalReport::End(_))));
    assert!(removal.next().await.unwrap().is_none());

    let mut cut = client.delete_tree("~~/stor/d").await.unwrap();
    assert!(cut.next().await.unwrap().is_some());
    assert!(matches!(cut.next().await, Err(Error::Malformed(_))));

    let mut empty = client.delete_tree("~~/stor/d").await.unwrap();
    assert!(empty.next().await.unwrap().is_none());
    drop((removal, cut, empty));
    let requests = soon(server).await.unwrap();
    assert!(requests[0].starts_with("DELETE /alice/stor/d?recursive=true HTTP/1.1\r\n"));
}

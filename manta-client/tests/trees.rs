//! Trees in one request, and what becomes of them with a server that is cut short or cannot do it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use manta_client::{Auth, Client, Config, RemovalReport, TreeFilter, WalkOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const LISTING: &str = "content-type: application/x-json-stream; type=directory\r\n";

/// Gives each answer on a connection of its own, which it then closes, and the request lines at the end.
async fn serve(answers: Vec<String>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            requests.push(head.lines().next().unwrap().to_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        requests
    });
    let mut config = Config::new(url, "alice", Auth::None);
    config.connect_attempts = 1;
    (Client::new(config).unwrap(), server)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// More is announced than comes.
fn cut(headers: &str, body: &str) -> String {
    let length = body.len() + 1;
    format!(
        "HTTP/1.1 200 OK\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn row(parent: Option<&str>, name: &str, kind: &str) -> String {
    let parent = parent.map(|parent| format!(",\"parent\":\"{parent}\""));
    let parent = parent.unwrap_or_default();
    format!("{{\"name\":\"{name}\",\"type\":\"{kind}\",\"mtime\":\"t\"{parent}}}\n")
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(20), future).await;
    outcome.expect("this must not take so long")
}

async fn walked(client: &Client, by_server: bool) -> Vec<(String, usize)> {
    let options = WalkOptions {
        parallel: 1,
        depth_max: 4,
        by_server: by_server.then(TreeFilter::default),
    };
    let mut walk = client.walk(vec!["/alice/stor/d".to_owned()], options);
    let mut found = Vec::new();
    while let Some(entry) = walk.next().await.unwrap() {
        found.push((entry.path(), entry.depth));
    }
    found
}

fn expected() -> Vec<(String, usize)> {
    [("a", 0), ("e", 0), ("e/b", 1)]
        .map(|(name, depth)| (format!("/alice/stor/d/{name}"), depth))
        .to_vec()
}

#[tokio::test]
async fn a_walk_goes_on_behind_the_last_line_that_arrived() {
    let d = Some("/alice/stor/d");
    let first = row(d, "a", "object") + &row(d, "e", "directory");
    let second = row(d, "e", "directory") + &row(Some("/alice/stor/d/e"), "b", "object");
    let (client, server) = serve(vec![
        cut(LISTING, &first),
        answer("200 OK", LISTING, &second),
    ])
    .await;
    soon(async {
        assert_eq!(walked(&client, true).await, expected());
        let requests = server.await.unwrap();
        assert_eq!(
            requests,
            [
                "GET /alice/stor/d?recursive=true&depth_max=5 HTTP/1.1",
                "GET /alice/stor/d?recursive=true&depth_max=5&marker=%2Falice%2Fstor%2Fd%2Fe HTTP/1.1",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_that_lists_one_directory_only_is_walked() {
    let top = row(None, "a", "object") + &row(None, "e", "directory");
    let below = row(None, "b", "object");
    for (by_server, asked) in [(true, 1), (false, 0)] {
        let plain = answer("200 OK", LISTING, &top);
        let mut answers = vec![plain.clone(); asked];
        answers.extend([plain, answer("200 OK", LISTING, &below)]);
        let (client, server) = serve(answers).await;
        soon(async {
            assert_eq!(walked(&client, by_server).await, expected());
            let requests = server.await.unwrap();
            assert_eq!(
                requests[asked..],
                [
                    "GET /alice/stor/d?limit=1024 HTTP/1.1",
                    "GET /alice/stor/d/e?limit=1024 HTTP/1.1",
                ]
            );
        })
        .await;
    }
}

#[tokio::test]
async fn a_filter_that_the_server_does_not_understand_is_left_out() {
    let refusal = r#"{"code":"InvalidParameter","message":"no"}"#;
    let top = row(None, "a", "object");
    let (client, server) = serve(vec![
        answer(
            "400 Bad Request",
            "content-type: application/json\r\n",
            refusal,
        ),
        answer("200 OK", LISTING, &top),
    ])
    .await;
    soon(async {
        assert_eq!(walked(&client, true).await, expected()[..1]);
        assert_eq!(server.await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_removal_that_is_cut_is_asked_for_again() {
    let progress = "{\"type\":\"progress\",\"objects\":5,\"directories\":0,\"errors\":0}\n";
    let kept = "{\"type\":\"error\",\"path\":\"/alice/stor/d/x\",\"code\":\"AuthorizationFailed\",\
                \"message\":\"no\"}\n";
    let end = "{\"type\":\"end\",\"objects\":2,\"directories\":1,\"errors\":1}\n";
    let (client, server) = serve(vec![
        cut("", progress),
        answer("200 OK", "", &format!("{kept}{end}")),
    ])
    .await;
    soon(async {
        let mut reports = Vec::new();
        let removed = client.remove_tree("~~/stor/d", 1, |report| {
            reports.push(match report {
                RemovalReport::Progress(removed) => format!("progress {}", removed.objects),
                RemovalReport::Kept { path, error } => format!("{path} {}", error.line()),
                RemovalReport::End(removed) => format!("end {}", removed.objects),
            });
        });
        removed.await.unwrap();
        assert_eq!(
            reports,
            [
                "progress 5",
                "/alice/stor/d/x AuthorizationFailedError: no",
                "end 2"
            ]
        );
        let requests = server.await.unwrap();
        assert_eq!(
            requests,
            ["DELETE /alice/stor/d?recursive=true HTTP/1.1"; 2]
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_that_removes_no_trees_is_asked_for_each_entry() {
    let not_empty = r#"{"code":"DirectoryNotEmpty","message":"not empty"}"#;
    let json = "content-type: application/json\r\n";
    let gone = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned();
    let (client, server) = serve(vec![
        answer("400 Bad Request", json, not_empty),
        answer("200 OK", LISTING, &row(None, "..", "object")),
        gone.clone(),
        answer("200 OK", LISTING, ""),
        gone,
    ])
    .await;
    soon(async {
        let removed = client.remove_tree("~~/stor/d", 1, |report| panic!("{report:?}"));
        removed.await.unwrap();
        assert_eq!(
            server.await.unwrap(),
            [
                "DELETE /alice/stor/d?recursive=true HTTP/1.1",
                "GET /alice/stor/d?limit=1024 HTTP/1.1",
                // Not the directory above.
                "DELETE /alice/stor/d/.. HTTP/1.1",
                "GET /alice/stor/d?limit=1024 HTTP/1.1",
                "DELETE /alice/stor/d HTTP/1.1",
            ]
        );
    })
    .await;
}

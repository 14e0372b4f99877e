//! The client against a server that plays a script: what goes over which connection, what is sent twice,
//! and what happens when a connection breaks at the worst moment.

use std::time::Duration;

use crate::script::{Step, read_head, serve, soon};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use manta_client::{Auth, Client, Config, Error, ListOptions, Payload, PutOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 47\r\nconnection: close\r\n\r\n\
                         {\"code\":\"ResourceNotFound\",\"message\":\"no such\"}";

async fn read_all(client: &Client, path: &str) -> Result<Vec<u8>, Error> {
    client
        .get(path, HeaderMap::new())
        .await?
        .bytes(1 << 20)
        .await
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let object = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let script = vec![
        Step::Answer(NO_CONTENT),
        Step::Answer(object),
        Step::Answer(chunked),
        Step::Answer("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
        Step::Answer(NO_CONTENT),
    ];
    let (client, server) = serve(vec![script]).await;
    soon(async {
        client.mkdir("~~/stor/d", HeaderMap::new()).await.unwrap();
        assert_eq!(read_all(&client, "~~/stor/a b").await.unwrap(), b"hello");
        assert_eq!(read_all(&client, "~~/stor/c").await.unwrap(), b"abc");
        assert_eq!(client.head("~~/stor/c").await.unwrap().size(), Some(7));
        client.delete("~~/stor/c").await.unwrap();
        let requests = server.await.unwrap();
        assert!(requests[0].starts_with("PUT /alice/stor/d HTTP/1.1\r\n"));
        assert!(requests[0].contains("content-type: application/json; type=directory\r\n"));
        assert!(requests[0].contains("content-length: 0\r\n"));
        assert!(requests[1].starts_with("GET /alice/stor/a%20b HTTP/1.1\r\n"));
        for header in ["\r\nhost: 127.0.0.1:", "\r\ndate: ", "\r\nx-request-id: "] {
            assert!(requests[1].contains(header), "{header}: {}", requests[1]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_read_survives_an_idle_connection_that_was_closed() {
    let first = vec![Step::AnswerAndClose(NO_CONTENT)];
    let second = vec![Step::Answer(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )];
    let (client, server) = serve(vec![first, second]).await;
    soon(async {
        client.delete("~~/stor/x").await.unwrap();
        assert_eq!(read_all(&client, "~~/stor/x").await.unwrap(), b"ok");
        assert_eq!(server.await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_read_is_repeated_when_a_used_connection_breaks_and_a_delete_is_not() {
    let object = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let scripts = vec![
        vec![Step::Answer(object), Step::Drop],
        vec![Step::Answer(object), Step::Drop],
    ];
    let (client, server) = serve(scripts).await;
    soon(async {
        assert_eq!(read_all(&client, "~~/stor/x").await.unwrap(), b"ok");
        // The first connection breaks under this one, the second answers it.
        assert_eq!(read_all(&client, "~~/stor/x").await.unwrap(), b"ok");
        // Whether this was done nobody knows: it is not done twice.
        assert!(matches!(
            client.delete("~~/stor/x").await,
            Err(Error::Broken(_))
        ));
        assert_eq!(server.await.unwrap().len(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_refused_upload_is_not_read_from_its_source() {
    let (client, server) = serve(vec![vec![Step::RefuseBody(NOT_FOUND)]]).await;
    let untouched = futures_util::stream::once(async {
        panic!("the source must not be read");
        #[expect(unreachable_code, reason = "gives the stream its type")]
        Ok(Bytes::new())
    });
    soon(async {
        let payload = Payload::stream(untouched, Some(10));
        let error = client
            .put("~~/stor/d/x", payload, PutOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.line(), "ResourceNotFoundError: no such");
        assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
        assert!(server.await.unwrap()[0].contains("expect: 100-continue\r\n"));
    })
    .await;
}

#[tokio::test]
async fn an_upload_goes_out_when_the_server_asks_for_it() {
    let stored = "HTTP/1.1 204 No Content\r\netag: e\r\ncomputed-md5: m\r\n\r\n";
    let script = vec![Step::Continue(stored), Step::Answer(NO_CONTENT)];
    let (client, server) = serve(vec![script]).await;
    soon(async {
        let payload = Payload::reader(&b"0123456789"[..], Some(10));
        let options = PutOptions {
            copies: Some(3),
            ..PutOptions::default()
        };
        let stored = client.put("~~/stor/x", payload, options).await.unwrap();
        assert_eq!(
            (stored.etag.as_deref(), stored.computed_md5.as_deref()),
            (Some("e"), Some("m"))
        );
        // And the connection is good for more.
        client.delete("~~/stor/x").await.unwrap();
        let requests = server.await.unwrap();
        assert!(
            requests[0].ends_with("\r\n\r\n0123456789"),
            "{}",
            requests[0]
        );
        assert!(requests[0].contains("x-durability-level: 3\r\n"));
    })
    .await;
}

#[tokio::test]
async fn a_source_of_the_wrong_length_fails_the_upload() {
    for (bytes, length) in [(&b"123"[..], 10), (&b"0123456789abc"[..], 10)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(Config::new(url, "a", Auth::None)).unwrap();
        let payload = Payload::reader(bytes, Some(length));
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .unwrap();
            let mut rest = Vec::new();
            // The client gives up and closes.
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.len() < 10);
        };
        let put = client.put("~~/stor/x", payload, PutOptions::default());
        let (stored, ()) = soon(async { tokio::join!(put, server) }).await;
        assert!(
            matches!(stored, Err(Error::Source(_))),
            "{length}: {stored:?}"
        );
    }
}

#[tokio::test]
async fn a_download_goes_on_where_the_connection_broke() {
    // MD5 of "hello world".
    let first = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\netag: e1\r\n\
                 content-md5: XrY7u+Ae7tCTyyK7j1rNww==\r\n\r\nhello ";
    let rest = "HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\netag: e1\r\n\r\nworld";
    let scripts = vec![vec![Step::AnswerAndClose(first)], vec![Step::Answer(rest)]];
    let (client, server) = serve(scripts).await;
    soon(async {
        assert_eq!(
            read_all(&client, "~~/stor/x").await.unwrap(),
            b"hello world"
        );
        let requests = server.await.unwrap();
        assert!(requests[1].contains("range: bytes=6-10\r\n"));
        assert!(requests[1].contains("if-match: e1\r\n"));
    })
    .await;
}

#[tokio::test]
async fn a_download_that_is_not_what_was_stored_fails() {
    let wrong = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\
                 content-md5: XrY7u+Ae7tCTyyK7j1rNww==\r\n\r\nhello w0rld";
    let (client, _server) = serve(vec![vec![Step::Answer(wrong)]]).await;
    let error = soon(read_all(&client, "~~/stor/x")).await.unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
    assert!(error.line().starts_with("ChecksumError: "));

    let short = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello";
    let (client, _server) = serve(vec![vec![Step::AnswerAndClose(short)]]).await;
    let error = soon(read_all(&client, "~~/stor/x")).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_connection_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut config = Config::new(url, "a", Auth::None);
    config.connect_attempts = 2;
    let client = Client::new(config).unwrap();
    let error = soon(client.delete("~~/stor/x")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn listings_go_from_page_to_page_without_repeating() {
    fn page(names: impl Iterator<Item = usize>) -> &'static str {
        let lines: String = names
            .map(|n| format!("{{\"name\":\"{n:05}\",\"type\":\"object\",\"mtime\":\"t\"}}\n"))
            .collect();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-json-stream; type=directory\r\n";
        format!("{head}content-length: {}\r\n\r\n{lines}", lines.len()).leak()
    }
    let script = vec![Step::Answer(page(0..1024)), Step::Answer(page(1023..1500))];
    let (client, server) = serve(vec![script]).await;
    soon(async {
        let listing = client.list("~~/stor", ListOptions::default()).unwrap();
        let names: Vec<String> = listing
            .all()
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        let expected: Vec<String> = (0..1500).map(|n| format!("{n:05}")).collect();
        assert_eq!(names, expected);
        let requests = server.await.unwrap();
        assert!(requests[0].starts_with("GET /alice/stor?limit=1024 HTTP/1.1"));
        assert!(requests[1].starts_with("GET /alice/stor?limit=1024&marker=01023 HTTP/1.1"));
    })
    .await;
}

#[tokio::test]
async fn tokens_travel_and_error_bodies_that_are_no_json_are_errors_too() {
    let html =
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\ncontent-length: 6\r\n\r\n<html>";
    let (client, server) = serve(vec![vec![Step::Answer(html)]]).await;
    let client = client.with_auth(Auth::Token("t0ken".into()));
    soon(async {
        let target = client.target("~~/stor/x").unwrap();
        let error = client
            .request_ok(Method::GET, &target, HeaderMap::new(), Payload::Empty)
            .await
            .unwrap_err();
        match error {
            Error::Reply(reply) => {
                assert_eq!(reply.code, "ServiceUnavailable");
                assert_eq!(reply.message, "");
                assert_eq!(reply.retry_after, Some(Duration::from_secs(3)));
            }
            other => panic!("{other:?}"),
        }
        assert!(server.await.unwrap()[0].contains("authorization: Token t0ken\r\n"));
    })
    .await;
}

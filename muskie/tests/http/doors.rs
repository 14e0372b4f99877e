//! The ways in: through TLS, in the clear where everybody may listen, and through proxies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Connection, Request};
use crate::observability::audited;
use crate::store::{Door, Store, start_behind, start_with};

const FIRST: (&str, &str) = (
    include_str!("tls/first.pem"),
    include_str!("tls/first.key.pem"),
);
const SECOND: (&str, &str) = (
    include_str!("tls/second.pem"),
    include_str!("tls/second.key.pem"),
);

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.replace(FIRST);
        files
    }

    fn replace(&self, (certificate, key): (&str, &str)) {
        for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
            // As careful people do: whoever reads sees the one or the other.
            let new = self.0.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, self.0.path().join(name)).unwrap();
        }
    }

    fn door(&self) -> Door {
        let path = |name: &str| self.0.path().join(name);
        Door::Tls(muskie::TlsFiles {
            certificates: path("cert.pem"),
            key: path("key.pem"),
        })
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A handshake; the server may offer either certificate.
async fn greet(store: &Store, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for (pem, _) in [FIRST, SECOND] {
        roots.add(certificate(pem)).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(store.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &Request) -> String {
    stream.write_all(&request.head_bytes()).await.unwrap();
    stream.write_all(&request.body_bytes()).await.unwrap();
    // TLS keeps what the socket did not take at once.
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let mut piece = vec![0; 4096];
    // What is asked for here has bodies of no more than a line.
    while !answer.ends_with(b"\r\n\r\n") && !answer.ends_with(b"hello") {
        let read = stream.read(&mut piece);
        let read = tokio::time::timeout(Duration::from_secs(60), read).await;
        match read.expect("no answer in time").unwrap() {
            0 => break,
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    String::from_utf8(answer).unwrap()
}

/// On a connection of its own, closed after the answer.
async fn metrics(store: &Store) -> String {
    let mut stream = greet(store, &[]).await.unwrap();
    let request = Request::new("GET", "/metrics").header("connection", "close");
    stream.write_all(&request.head_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    read.expect("no answer in time").unwrap();
    answer
}

/// Greets until the server shows this certificate.
async fn wait_for(store: &Store, pem: &str) -> TlsStream<TcpStream> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let stream = greet(store, &[]).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        if shown == certificate(pem) {
            return stream;
        }
        assert!(tokio::time::Instant::now() < deadline, "the old one stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_through_tls() {
    let files = Files::new();
    let store = start_behind(files.door(), |_| {}).await;
    let mut stream = greet(&store, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let put = Request::new("PUT", "/alice/stor/o").body("hello");
    let answer = ask(&mut stream, &put.signed_by(&store.alice)).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let get = Request::new("GET", "/alice/stor/o").signed_by(&store.alice);
    let answer = ask(&mut stream, &get).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhello"));
    // The end is said, not just cut.
    let bye = get.header("connection", "close");
    assert!(ask(&mut stream, &bye).await.ends_with("hello"));
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let files = Files::new();
    let store = start_behind(files.door(), |_| {}).await;
    let ping = Request::new("GET", "/alice/stor").signed_by(&store.alice);
    let mut before = wait_for(&store, FIRST.0).await;
    assert!(ask(&mut before, &ping).await.starts_with("HTTP/1.1 200"));
    files.replace(SECOND);
    let mut after = wait_for(&store, SECOND.0).await;
    for stream in [&mut before, &mut after] {
        let answer = ask(stream, &ping).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_no_use_leave_the_old_certificate() {
    let files = Files::new();
    let store = start_behind(files.door(), |_| {}).await;
    for useless in [
        ("nonsense", FIRST.1),
        (FIRST.0, "nonsense"),
        // A certificate of somebody else.
        (SECOND.0, FIRST.1),
    ] {
        files.replace(useless);
        store.handle.reload_tls();
        // The look is taken before the next one begins; the right files after it show that it was.
        drop(wait_for(&store, FIRST.0).await);
    }
    files.replace(SECOND);
    drop(wait_for(&store, SECOND.0).await);
    std::fs::remove_file(files.0.path().join("cert.pem")).unwrap();
    store.handle.reload_tls();
    drop(wait_for(&store, SECOND.0).await);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_get_through_the_handshake_are_let_go() {
    let files = Files::new();
    let store = start_behind(files.door(), |config| {
        config.handshake_timeout = Duration::from_millis(200);
    })
    .await;
    // Silent, and speaking something else.
    let mut silent = Connection::open(store.address).await;
    assert!(silent.read_to_end().await.0.is_empty());
    let mut plain = Connection::open(store.address).await;
    plain.write(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (answer, _) = plain.read_to_end().await;
    assert!(!answer.starts_with(b"HTTP/"));
    assert!(greet(&store, &["h2"]).await.is_err());
    let metrics = metrics(&store).await;
    let failed = "muskie_handshakes_failed_total 3";
    assert!(metrics.lines().any(|line| line == failed), "{metrics}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_through_tls_is_given_up() {
    let files = Files::new();
    let store = start_behind(files.door(), |config| {
        config.response_stall = Duration::from_millis(200);
    })
    .await;
    let mut deaf = greet(&store, &[]).await.unwrap();
    let put = Request::new("PUT", "/alice/stor/big").body(vec![1; 16 << 20]);
    let answer = ask(&mut deaf, &put.signed_by(&store.alice)).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let big = Request::new("GET", "/alice/stor/big").signed_by(&store.alice);
    deaf.write_all(&big.head_bytes()).await.unwrap();
    deaf.flush().await.unwrap();
    let given_up =
        "http_requests_completed{operation=\"getstorage\",method=\"GET\",statusCode=\"499\"} 1";
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if metrics(&store).await.lines().any(|line| line == given_up) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "it is still served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_no_use_at_the_start_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = |certificates: &Path, key: &Path| muskie::TlsFiles {
        certificates: certificates.to_owned(),
        key: key.to_owned(),
    };
    let (empty, good) = (write("empty", ""), write("good", FIRST.0));
    let other_key = write("key", SECOND.1);
    for files in [
        files(&directory.path().join("missing"), &other_key),
        files(&empty, &other_key),
        files(&good, &empty),
        files(&good, &other_key),
    ] {
        let listener = muskie::Listener::bind(([127, 0, 0, 1], 0).into()).await;
        assert!(listener.unwrap().with_tls(files).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everybody_may_listen_only_what_is_public_is_served() {
    let store = start_behind(Door::Insecure, |_| {}).await;
    let send = |request: Request| async move { request.send(store.address).await };
    let head = Request::new("HEAD", "/alice/stor/o");
    for request in [head.clone(), head.signed_by(&store.alice)] {
        send(request).await.is(403);
    }
    // These show nothing new to anybody.
    for (method, path, status) in [
        ("GET", "/ping", 200),
        ("GET", "/", 302),
        ("GET", "/docs", 302),
        ("GET", "/crossdomain.xml", 200),
        ("GET", "/alice/public", 200),
        ("GET", "/alice/public/missing", 404),
        ("HEAD", "/alice/public", 200),
        // What has no route, and what is malformed, is told so first.
        ("GET", "/9bad", 404),
        ("PATCH", "/alice/stor", 405),
    ] {
        send(Request::new(method, path)).await.is(status);
    }
    send(Request::new("GET", "/alice/public").signed_by(&store.alice))
        .await
        .is(200);
    let malformed = Request::new("PUT", "/alice/stor/o").header("authorization", "Signature");
    let answer = send(malformed).await;
    assert_eq!(answer.is(400).code(), "InvalidHeader");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_urls_are_served_where_everybody_may_listen() {
    let store = start_behind(Door::Insecure, |_| {}).await;
    // Whether it is a good one is found out later: what counts is that it is one.
    for query in ["expires=1", "signature=x", "keyId=x", "algorithm=x"] {
        let request = Request::new("GET", &format!("/alice/stor/o?{query}"));
        let answer = request.send(store.address).await;
        assert_ne!(answer.code(), "SecureTransportRequired", "{query}");
        // Beside a header it counts for nothing.
        let signed = request.signed_by(&store.alice).send(store.address).await;
        assert_eq!(signed.is(403).code(), "SecureTransportRequired", "{query}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_proxies_say_who_asks() {
    let from = |forwarded: &'static str| {
        Request::new("GET", "/alice/public").header("x-forwarded-for", forwarded)
    };
    let proxied = start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let (_, record) = audited(&proxied, from("203.0.113.9")).await;
    assert_eq!(record["logicalRemoteAddress"], "203.0.113.9");
    assert_eq!(record["remoteAddress"], "127.0.0.1");
    let (_, record) = audited(&proxied, from("127.0.0.2, 203.0.113.9")).await;
    assert_eq!(record["logicalRemoteAddress"], "203.0.113.9");
    proxied.stop().await;
    let direct = start_with(|_| {}).await;
    let (_, record) = audited(&direct, from("203.0.113.9")).await;
    assert_eq!(record["logicalRemoteAddress"], "127.0.0.1");
    direct.stop().await;
}

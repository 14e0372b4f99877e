//! The ways to a server: TLS that is believed and TLS that is not, proxies, and no more connections than
//! were allowed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use manta_client::{Auth, Client, Config, Error, Proxy};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

fn acceptor() -> TlsAcceptor {
    let pem = std::fs::read(fixture("server.pem")).unwrap();
    let chain: Result<_, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers every request on a connection with `hi`, and tells the heads.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, heads: mpsc::Sender<String>) {
    while let Some(head) = read_head(&mut stream).await {
        heads.send(head).await.unwrap();
        stream.write_all(ANSWER).await.unwrap();
    }
}

/// A TLS server; counts the connections it accepted, believed or not.
struct TlsServer {
    port: u16,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

async fn tls_server() -> TlsServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let acceptor = acceptor();
        let (heads, mut seen) = mpsc::channel(100);
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, heads.clone()).await;
            }
            while seen.try_recv().is_ok() {}
        }
    });
    TlsServer {
        port,
        accepted,
        _tasks: tasks,
    }
}

async fn get(config: Config) -> Result<Vec<u8>, Error> {
    let client = Client::new(config)?;
    let reading = async {
        client
            .get("/alice/stor/x", HeaderMap::new())
            .await?
            .bytes(10)
            .await
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("this must not take long")
}

fn config(url: String) -> Config {
    Config::new(url, "alice", Auth::None)
}

#[tokio::test]
async fn a_server_with_a_certificate_of_a_known_authority_is_believed() {
    let server = tls_server().await;
    for host in ["localhost", "127.0.0.1"] {
        let mut config = config(format!("https://{host}:{}", server.port));
        config.tls.ca_file = Some(fixture("ca.pem"));
        assert_eq!(get(config).await.unwrap(), b"hi", "{host}");
    }
}

#[tokio::test]
async fn any_other_is_refused_at_once_unless_that_was_switched_off() {
    let server = tls_server().await;
    let strange = config(format!("https://127.0.0.1:{}", server.port));
    let error = get(strange.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(
        error.line().contains("invalid peer certificate"),
        "{}",
        error.line()
    );
    assert_eq!(
        server.accepted.load(Ordering::SeqCst),
        1,
        "no use trying again"
    );

    let mut insecure = strange;
    insecure.tls.insecure = true;
    assert_eq!(get(insecure).await.unwrap(), b"hi");
}

#[tokio::test]
async fn a_certificate_is_for_its_own_name_only() {
    let server = tls_server().await;
    let mut config = config(format!("https://127.0.0.2:{}", server.port));
    config.tls.ca_file = Some(fixture("ca.pem"));
    config.connect_attempts = 1;
    // The listener is on 127.0.0.1 only; through a proxy the name is what counts.
    let proxy = tunnel_to(server.port, "HTTP/1.1 200 OK\r\n\r\n").await;
    config.proxy = Some(Proxy::parse(&proxy.url).unwrap());
    let error = get(config).await.unwrap_err();
    assert!(
        error.line().contains("not valid for name"),
        "{}",
        error.line()
    );
}

/// A proxy that opens one tunnel to a port of this machine, after it has said something.
struct TunnelProxy {
    url: String,
    heads: mpsc::Receiver<String>,
    _tasks: JoinSet<()>,
}

async fn tunnel_to(port: u16, says: &'static str) -> TunnelProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://us%40er:pass@{}", listener.local_addr().unwrap());
    let (sender, heads) = mpsc::channel(10);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let head = read_head(&mut near).await.unwrap();
            sender.send(head).await.unwrap();
            near.write_all(says.as_bytes()).await.unwrap();
            if says.contains(" 200 ") {
                let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port))
                    .await
                    .unwrap();
                // Either side may end it as it likes.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        }
    });
    TunnelProxy {
        url,
        heads,
        _tasks: tasks,
    }
}

#[tokio::test]
async fn a_proxy_opens_a_tunnel_to_a_tls_server() {
    let server = tls_server().await;
    let mut proxy = tunnel_to(
        server.port,
        "HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n",
    )
    .await;
    let mut config = config(format!("https://localhost:{}", server.port));
    config.tls.ca_file = Some(fixture("ca.pem"));
    config.proxy = Some(Proxy::parse(&proxy.url).unwrap());
    assert_eq!(get(config).await.unwrap(), b"hi");
    let head = proxy.heads.recv().await.unwrap();
    assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port)));
    assert!(
        head.contains("\r\nProxy-Authorization: Basic dXNAZXI6cGFzcw==\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_asked_once_and_quoted() {
    let mut proxy = tunnel_to(1, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let mut config = config("https://localhost:1".to_owned());
    config.proxy = Some(Proxy::parse(&proxy.url).unwrap());
    let error = get(config).await.unwrap_err();
    assert!(
        error
            .line()
            .ends_with("the proxy refused a tunnel: HTTP/1.1 407 Proxy Authentication Required"),
        "{}",
        error.line()
    );
    assert!(proxy.heads.recv().await.is_some());
    assert!(proxy.heads.try_recv().is_err(), "asked again");
}

#[tokio::test]
async fn a_proxy_gets_the_whole_url_of_a_plain_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://u:p@{}", listener.local_addr().unwrap());
    let (sender, mut heads) = mpsc::channel(10);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, sender).await;
    });
    let mut config = config("http://manta.example:8080".to_owned());
    config.proxy = Some(Proxy::parse(&proxy).unwrap());
    assert_eq!(get(config).await.unwrap(), b"hi");
    let head = heads.recv().await.unwrap();
    assert!(
        head.starts_with("GET http://manta.example:8080/alice/stor/x HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nhost: manta.example:8080\r\n"), "{head}");
    assert!(
        head.contains("\r\nproxy-authorization: Basic dTpw\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn no_more_connections_are_used_at_once_than_were_allowed() {
    const ALLOWED: usize = 3;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut heads) = mpsc::channel(100);
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer(stream, sender.clone()));
        }
    });
    let mut config = config(url);
    config.connections_max = ALLOWED;
    let client = Client::new(config).unwrap();

    // Answers that nobody has read to their end keep their connections, and everybody else waits.
    let mut open = Vec::new();
    for _ in 0..ALLOWED {
        open.push(client.get("/alice/stor/x", HeaderMap::new()).await.unwrap());
        heads.recv().await.unwrap();
    }
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        waiting.spawn(async move {
            client
                .get("/alice/stor/x", HeaderMap::new())
                .await
                .unwrap()
                .bytes(10)
                .await
                .unwrap()
        });
    }
    let others = tokio::time::timeout(Duration::from_millis(300), heads.recv()).await;
    assert!(others.is_err(), "a fourth connection was used");
    open.clear();
    let all = async {
        while let Some(done) = waiting.join_next().await {
            assert_eq!(done.unwrap(), b"hi")
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("they get their turn");
}

//! TLS of a listener: a certificate and a key from two files that may be replaced while it runs.
//!
//! New files are for new connections; those that are open go on as they began. Files that cannot be used
//! leave the old certificate in place and are complained of once. Two files are never replaced in one
//! instant, so a change is looked at only once it has stood still from one look to the next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// A certificate chain and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's own certificate first.
    pub certificates: PathBuf,
    pub key: PathBuf,
}

/// Why a certificate cannot be served.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("there is no certificate in {path}")]
    NoCertificate { path: PathBuf },
    #[error("the certificate and its key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// What new connections are greeted with.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    look_now: Notify,
}

/// What of a file changes when it is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let about = |meta: fs::Metadata| Some((meta.modified().ok()?, meta.len()));
        Self(fs::metadata(path).ok().and_then(about))
    }
}

impl Tls {
    /// Reads the files. Errors: they are not there, or do not make a certificate with its key.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(load(&files)?));
        Ok(Self {
            files,
            current,
            look_now: Notify::new(),
        })
    }

    /// Greets a client. Cancel-safe: dropping it ends the connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current()).accept(stream).await
    }

    fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the files looked at, changed or not.
    pub(crate) fn reload(&self) {
        self.look_now.notify_one();
    }

    /// Watches the files until the end.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut used = self.stamps().await;
        let mut seen = used.clone();
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOKS_APART) => false,
                () = self.look_now.notified() => true,
            };
            let now = self.stamps().await;
            let settled = now == seen;
            seen = now.clone();
            if asked || (settled && now != used) {
                used = now;
                self.replace().await;
            }
        }
    }

    async fn stamps(self: &Arc<Self>) -> [Stamp; 2] {
        let tls = self.clone();
        let look = move || [&tls.files.certificates, &tls.files.key].map(|path| Stamp::of(path));
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or([Stamp(None), Stamp(None)])
    }

    async fn replace(self: &Arc<Self>) {
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || load(&files)).await {
            Ok(Ok(config)) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(config);
                drop(current);
                tracing::info!(certificates = %self.files.certificates.display(), "new certificate");
            }
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the new certificate is of no use: the old one stays");
            }
            Err(_) => tracing::error!("reading the certificate panicked"),
        }
    }
}

fn load(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let cannot_read = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Read { path, source }
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(cannot_read(&files.certificates))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            path: files.certificates.clone(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(cannot_read(&files.key))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

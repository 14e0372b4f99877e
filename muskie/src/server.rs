//! The connections of all listeners, and their end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use libmanta::mahi::Identity;
use libmanta::mako::Shark;
use libmanta::marlin::Jobs;
use libmanta::moray::Moray;
use libmanta::{Clock, StorageId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::SignatureCache;
use crate::client_stream::{ClientStream, ConnectionState, Patience};
use crate::config::Config;
use crate::descriptors;
use crate::errors::{Error, Result};
use crate::handler::{self, Admission, Origin};
use crate::health::Health;
use crate::listener::{Door, Listener};
use crate::medusa::Reflector;
use crate::metrics::Metrics;
use crate::multipart::{Collector, Commits};
use crate::shares::Shares;
use crate::throttle::{Throttle, Throttling};
use crate::tls::Tls;
use crate::transport::Transport;
use crate::uploads::Uploads;

/// Longest head of a request, and most bytes buffered for a connection on their way in or out. Names may
/// be 4096 bytes, three times that when escaped, and user headers another 4096.
const CONNECTION_BUFFER_BYTES: usize = 128 << 10;

/// Connections beyond the limit that are told so at the same time; still more are closed at once.
const REFUSALS_MAX: usize = 64;

/// Whatever goes wrong with accepting does so many times a second, and is in the log once.
const COMPLAINTS_APART: Duration = Duration::from_secs(1);

/// Who stands behind the ports that the front door calls.
pub struct Deps {
    pub moray: Arc<dyn Moray>,
    pub sharks: Vec<Arc<dyn Shark>>,
    pub identity: Arc<dyn Identity>,
    pub jobs: Arc<dyn Jobs>,
    pub clock: Arc<dyn Clock>,
    /// Appends what other services count to the text of `/metrics`.
    pub extra_metrics: Box<dyn Fn(&mut String) + Send + Sync>,
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deps")
            .field("sharks", &self.sharks)
            .finish_non_exhaustive()
    }
}

pub(crate) fn start(first: Listener, others: Vec<Listener>, config: Config, deps: Deps) -> Handle {
    let server = Arc::new(Server::new(config, deps));
    let address = first.local_addr();
    let mut tasks = JoinSet::new();
    let mut tls = Vec::new();
    for listener in std::iter::once(first).chain(others) {
        if let Door::Tls(certificate) = &listener.door {
            tasks.spawn(certificate.clone().watch(server.draining.clone()));
            tls.push(certificate.clone());
        }
        tasks.spawn(accept(listener.socket, listener.door, server.clone()));
    }
    let multipart = &server.config.multipart;
    let uploads = multipart.enabled.then(|| Collector::start(server.clone()));
    Handle {
        server,
        address,
        tls,
        tasks: tokio::sync::Mutex::new(tasks),
        uploads,
    }
}

/// A running front door. Dropping it stops it without waiting.
pub struct Handle {
    server: Arc<Server>,
    address: SocketAddr,
    tls: Vec<Arc<Tls>>,
    /// Those that accept, and those that watch certificates.
    tasks: tokio::sync::Mutex<JoinSet<()>>,
    /// `None` where there are no uploads in parts.
    uploads: Option<Collector>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Handle {
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What may be asked of the store now.
    #[must_use]
    pub fn throttle(&self) -> Throttle {
        Throttle::clone(&self.server.throttling.settings())
    }

    /// Counts from the next request on; requests that wait for their turn are called when there is room.
    pub fn set_throttle(&self, throttle: Throttle) {
        self.server.throttling.set(throttle);
    }

    /// Reads certificates again, also when their files look the same.
    pub fn reload_tls(&self) {
        self.tls.iter().for_each(|tls| tls.reload());
    }

    /// Collects uploads that ended long enough ago, now, and returns when that is done.
    pub async fn collect_uploads(&self) {
        if let Some(uploads) = &self.uploads {
            uploads.collect().await;
        }
    }

    /// Stops accepting, lets requests in flight, and changes whose clients have left, end within
    /// `Config::shutdown_grace`, cuts the rest, and waits for writes that were already under way. Harmless when
    /// repeated.
    pub async fn shutdown(&self) {
        let server = &self.server;
        server.draining.cancel();
        while let Some(ended) = self.tasks.lock().await.join_next().await {
            if ended.is_err() {
                tracing::error!("a listener panicked");
            }
        }
        server.reflector.shutdown().await;
        server.connections.close();
        let in_flight = async {
            server.connections.wait().await;
            server.writes.close();
            server.writes.wait().await;
        };
        let grace = server.config.shutdown_grace;
        if tokio::time::timeout(grace, in_flight).await.is_err() {
            let (left, changes) = (server.connections.len(), server.writes.len());
            tracing::warn!(connections = left, changes, "requests cut at shutdown");
            server.killing.cancel();
            server.connections.wait().await;
        }
        if let Some(uploads) = &self.uploads {
            uploads.shutdown().await;
        }
        server.writes.close();
        server.writes.wait().await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.server.draining.cancel();
        self.server.reflector.close();
        self.server.killing.cancel();
    }
}

/// What all requests share.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) name: HeaderValue,
    pub(crate) moray: Arc<dyn Moray>,
    pub(crate) sharks: Vec<Arc<dyn Shark>>,
    pub(crate) shark_by_id: HashMap<StorageId, Arc<dyn Shark>>,
    pub(crate) identity: Arc<dyn Identity>,
    pub(crate) jobs: Arc<dyn Jobs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) extra_metrics: Box<dyn Fn(&mut String) + Send + Sync>,
    pub(crate) metrics: Metrics,
    pub(crate) signatures: SignatureCache,
    pub(crate) throttling: Throttling,
    pub(crate) uploads: Uploads,
    pub(crate) health: Health,
    pub(crate) commits: Commits,
    pub(crate) reflector: Reflector,
    pub(crate) job_waits: Arc<Shares>,
    connection_permits: Arc<Semaphore>,
    refusal_permits: Arc<Semaphore>,
    connections: TaskTracker,
    /// Changes that outlive the request that asked for them.
    writes: TaskTracker,
    pub(crate) draining: CancellationToken,
    killing: CancellationToken,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Server {
    fn new(config: Config, deps: Deps) -> Self {
        let name = HeaderValue::from_str(&config.server_name)
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let shark_by_id = deps
            .sharks
            .iter()
            .map(|shark| (shark.storage_id().clone(), shark.clone()))
            .collect();
        Self {
            name,
            shark_by_id,
            throttling: Throttling::new(config.throttle.clone()),
            uploads: Uploads::new(&config),
            health: Health::default(),
            commits: Commits::new(&config.multipart),
            reflector: Reflector::new(config.sessions_max, config.session_idle),
            job_waits: Shares::new(config.job_waits_max),
            connection_permits: Arc::new(Semaphore::new(descriptors::connections_max(&config))),
            refusal_permits: Arc::new(Semaphore::new(REFUSALS_MAX)),
            config,
            moray: deps.moray,
            sharks: deps.sharks,
            identity: deps.identity,
            jobs: deps.jobs,
            clock: deps.clock,
            extra_metrics: deps.extra_metrics,
            metrics: Metrics::default(),
            signatures: SignatureCache::default(),
            connections: TaskTracker::new(),
            writes: TaskTracker::new(),
            draining: CancellationToken::new(),
            killing: CancellationToken::new(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Runs what may be left half-way, unless the process cannot wait for it any longer: `ServiceUnavailable`.
    pub(crate) async fn unless_killed<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            biased;
            () = self.killing.cancelled() => Err(Error::ServiceUnavailable),
            done = work => done,
        }
    }

    /// Runs a change to its end, also when the client hangs up and the request is dropped meanwhile.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self.writes.spawn(change).await {
            Ok(result) => result,
            Err(_) => {
                self.metrics.panics.fetch_add(1, Relaxed);
                tracing::error!("a change panicked");
                Err(Error::Internal)
            }
        }
    }
}

async fn accept(socket: TcpListener, door: Door, server: Arc<Server>) {
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = server.draining.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => admit(stream, remote, &door, &server),
            Err(error) => {
                // Descriptors ran out, or the client left before we came. Neither is worth spinning.
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINTS_APART) {
                    complained = Some(Instant::now());
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// A connection's place among all, counted as long as somebody has it.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    server: Arc<Server>,
}

impl Place {
    fn taken(permit: OwnedSemaphorePermit, server: &Arc<Server>) -> Self {
        server.metrics.connections.fetch_add(1, Relaxed);
        Self {
            _permit: permit,
            server: Arc::clone(server),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.metrics.connections.fetch_sub(1, Relaxed);
    }
}

fn admit(stream: TcpStream, remote: SocketAddr, door: &Door, server: &Arc<Server>) {
    let (permit, admission) = match server.connection_permits.clone().try_acquire_owned() {
        Ok(permit) => (permit, Admission::Welcome),
        Err(_) => {
            server.metrics.connections_refused.fetch_add(1, Relaxed);
            match server.refusal_permits.clone().try_acquire_owned() {
                Ok(permit) => (permit, Admission::ComeBackLater),
                Err(_) => return,
            }
        }
    };
    let (server, door) = (server.clone(), door.clone());
    let tracker = server.connections.clone();
    let place = Place::taken(permit, &server);
    tracker.spawn(async move {
        let origin = Origin {
            remote,
            secure: !matches!(door, Door::Insecure),
            admission,
        };
        if let Some(transport) = greet(stream, &door, &server).await {
            connection(transport, origin, place, &server).await;
        }
    });
}

/// What requests come through; `None` when the client is gone, or does not get through the handshake.
async fn greet(stream: TcpStream, door: &Door, server: &Server) -> Option<Transport> {
    // A response must not wait for the acknowledgement of the one before it.
    if let Err(error) = stream.set_nodelay(true) {
        let error: &dyn std::error::Error = &error;
        tracing::debug!(error, "connection is gone already");
        return None;
    }
    let Door::Tls(tls) = door else {
        return Some(Transport::Plain(stream));
    };
    let greeting = tokio::time::timeout(server.config.handshake_timeout, tls.accept(stream));
    let greeted = tokio::select! {
        greeted = greeting => greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = server.draining.cancelled() => return None,
    };
    match greeted {
        Ok(stream) => Some(Transport::Tls(Box::new(stream))),
        Err(error) => {
            server.metrics.handshakes_failed.fetch_add(1, Relaxed);
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "no TLS with this client");
            None
        }
    }
}

async fn connection(transport: Transport, origin: Origin, place: Place, server: &Arc<Server>) {
    let state = Arc::new(ConnectionState {
        _place: Some(place),
        ..ConnectionState::default()
    });
    let patience = Patience::from(&server.config);
    let io = TokioIo::new(ClientStream::new(transport, state.clone(), patience));
    let service = service_fn(|request| {
        let (server, state) = (server.clone(), state.clone());
        async move {
            let response = handler::handle(server, state, origin, request).await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(CONNECTION_BUFFER_BYTES)
        .header_read_timeout(None)
        // Who says that nothing more comes may still wait for the answer. One that is gone shows when we
        // write to it, or ask it for more of a body.
        .half_close(true)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
                }
                return;
            }
            () = server.draining.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = server.killing.cancelled() => return,
        }
    }
}

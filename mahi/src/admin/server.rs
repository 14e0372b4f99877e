//! The server's side of the admin socket.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Others, route};
use crate::service::Service;

/// Administrators are few; the rest wait in the backlog.
const CONNECTIONS_MAX: usize = 16;

/// A connection serves one command and is not kept longer than this.
const CONNECTION_LIFE: Duration = Duration::from_secs(30);

/// The admin socket of a running store. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Handle {
    path: PathBuf,
    stop: CancellationToken,
    accepting: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops accepting, waits for commands under way, and removes the socket. Harmless when repeated.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        if let Some(accepting) = self.accepting.lock().await.take() {
            if accepting.await.is_err() {
                tracing::error!("the admin socket panicked");
            }
            if let Err(error) = fs::remove_file(&self.path) {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the admin socket cannot be removed");
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves `service` at `path`, and nothing else. See [`serve_with`].
pub fn serve(service: Arc<Service>, path: &Path) -> io::Result<Handle> {
    serve_with(service, None, path)
}

/// Serves `service`, and `others`, at `path`; what was there before is replaced. Must be called inside a tokio
/// runtime. Errors: the socket cannot be made.
pub fn serve_with(
    service: Arc<Service>,
    others: Option<Others>,
    path: &Path,
) -> io::Result<Handle> {
    let listener = bind_private(path)?;
    let stop = CancellationToken::new();
    let accepting = tokio::spawn(accept(listener, Commands { service, others }, stop.clone()));
    let accepting = tokio::sync::Mutex::new(Some(accepting));
    Ok(Handle {
        path: path.to_owned(),
        stop,
        accepting,
    })
}

/// The socket gets its mode before it gets its name, so there is no moment in which others can open it.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Who answers.
#[derive(Clone)]
pub(super) struct Commands {
    pub(super) service: Arc<Service>,
    pub(super) others: Option<Others>,
}

async fn accept(listener: UnixListener, commands: Commands, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next => accepted,
        };
        match accepted {
            None => break,
            Some((Ok((stream, _)), permit)) => {
                let (commands, stop) = (commands.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, commands, stop).await;
                    drop(permit);
                });
            }
            Some((Err(error), _)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot accept on the admin socket"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(stream: UnixStream, commands: Commands, stop: CancellationToken) {
    let handler = service_fn(|request| {
        let commands = commands.clone();
        async move { Ok::<_, Infallible>(route::answer(&commands, request).await) }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), handler);
    tokio::pin!(connection);
    let life = tokio::time::sleep(CONNECTION_LIFE);
    tokio::pin!(life);
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(error, "admin connection ended");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = life.as_mut() => return,
        }
    }
}

//! The server's side of the admin socket.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{AccountView, AddKey, CreateAccount, KeyView, Others, Refusal, RemoveKey};
use crate::error::AccountError;
use crate::service::{NewAccount, Service};

/// A key file is a few kibibytes at most.
const BODY_BYTES_MAX: usize = 64 << 10;

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

/// Serves `service`, and `others`, at `path`; what was there before is replaced. Must be called inside a tokio runtime.
/// Errors: the socket cannot be made.
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
struct Commands {
    service: Arc<Service>,
    others: Option<Others>,
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
        async move { Ok::<_, Infallible>(answer(&commands, request).await) }
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

async fn answer(commands: &Commands, request: Request<Incoming>) -> Response<Full<Bytes>> {
    route(commands, request)
        .await
        .unwrap_or_else(|(status, refusal)| json(status, &refusal))
}

type Refused = (StatusCode, Refusal);

async fn route(
    Commands { service, others }: &Commands,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Refused> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (&method, segments.as_slice()) {
        (&Method::GET, ["accounts"]) => {
            let accounts = service.accounts();
            let views: Vec<_> = accounts.iter().map(|a| AccountView::from(&**a)).collect();
            Ok(json(StatusCode::OK, &views))
        }
        (&Method::POST, ["accounts"]) => {
            let CreateAccount { login, operator } = read(request).await?;
            let account = service.create_account(NewAccount { login, operator }).await;
            let account = account.map_err(refuse)?;
            tracing::info!(login = account.login.as_str(), operator, "account created");
            Ok(json(StatusCode::CREATED, &AccountView::from(&*account)))
        }
        (&Method::POST, ["accounts", login, "keys"]) => {
            let AddKey { key } = read(request).await?;
            let fingerprint = service.add_key(login, &key).await.map_err(refuse)?;
            tracing::info!(login, fingerprint, "key added");
            Ok(json(StatusCode::CREATED, &KeyView { fingerprint }))
        }
        (&Method::DELETE, ["accounts", login, "keys"]) => {
            let RemoveKey { fingerprint } = read(request).await?;
            let fingerprint = service
                .remove_key(login, &fingerprint)
                .await
                .map_err(refuse)?;
            tracing::info!(login, fingerprint, "key removed");
            Ok(json(StatusCode::OK, &KeyView { fingerprint }))
        }
        _ => {
            if let Some(others) = others
                && let body = body(request).await?
                && let Some(answer) = others(&method, &path, &body)
            {
                return match answer {
                    Ok(document) => Ok(json(StatusCode::OK, &document)),
                    Err(refusal) => Err((StatusCode::BAD_REQUEST, refusal)),
                };
            }
            let message = format!("{method} {path} is not a command");
            Err(refusal(StatusCode::NOT_FOUND, "NoSuchCommand", message))
        }
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refused> {
    serde_json::from_slice(&body(request).await?).map_err(|error| bad_request(error.to_string()))
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refused> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(bad_request(error.to_string())),
    }
}

fn bad_request(message: String) -> Refused {
    refusal(StatusCode::BAD_REQUEST, "BadRequest", message)
}

fn refuse(error: AccountError) -> Refused {
    let (status, code) = match &error {
        AccountError::InvalidLogin(_) => (StatusCode::BAD_REQUEST, "InvalidLogin"),
        AccountError::LoginTaken(_) => (StatusCode::CONFLICT, "LoginTaken"),
        AccountError::NoSuchAccount(_) => (StatusCode::NOT_FOUND, "NoSuchAccount"),
        AccountError::InvalidKey(_) => (StatusCode::BAD_REQUEST, "InvalidKey"),
        AccountError::NoSuchKey { .. } => (StatusCode::NOT_FOUND, "NoSuchKey"),
        AccountError::Contended(_) => (StatusCode::SERVICE_UNAVAILABLE, "Contended"),
        AccountError::Moray(_) => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    refusal(status, code, message)
}

fn refusal(status: StatusCode, code: &str, message: String) -> Refused {
    (
        status,
        Refusal {
            code: code.to_owned(),
            message,
        },
    )
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(document).expect("plain data: views hold text, flags and lists");
    let length = body.len();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

//! The client's side of the admin socket. A connection for each command.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use super::{AccountView, AddKey, CreateAccount, KeyView, Refusal, RemoveKey};

/// A list of tens of thousands of accounts is below this.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Talks to the store whose admin socket it was given.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why a command was not done.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The store does not run, or is somebody else's.
    #[error("cannot open the admin socket {path}")]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The connection broke; the command may have been done.
    #[error("the connection to the store broke")]
    Http(#[from] hyper::Error),
    #[error("{}", .0.message)]
    Refused(Refusal),
    #[error("the store answered something else than expected: {0}")]
    Unexpected(String),
}

impl Client {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// All accounts in order of their logins.
    pub async fn accounts(&self) -> Result<Vec<AccountView>, ClientError> {
        self.call(Method::GET, "/accounts", None::<&()>).await
    }

    pub async fn create_account(&self, new: &CreateAccount) -> Result<AccountView, ClientError> {
        self.call(Method::POST, "/accounts", Some(new)).await
    }

    /// `key` is a public key as OpenSSH or PEM has it.
    pub async fn add_key(&self, login: &str, key: &str) -> Result<KeyView, ClientError> {
        let add = AddKey {
            key: key.to_owned(),
        };
        self.call(Method::POST, &keys_of(login)?, Some(&add)).await
    }

    /// `fingerprint` in MD5 or `SHA256:` form.
    pub async fn remove_key(&self, login: &str, fingerprint: &str) -> Result<KeyView, ClientError> {
        let remove = RemoveKey {
            fingerprint: fingerprint.to_owned(),
        };
        self.call(Method::DELETE, &keys_of(login)?, Some(&remove))
            .await
    }

    /// One of the commands that do not concern accounts.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        self.call(method, path, body).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let unexpected = |error: &dyn std::fmt::Display| ClientError::Unexpected(error.to_string());
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| unexpected(&error))?,
            None => Vec::new(),
        };
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| unexpected(&error))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));

        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::Connect {
                    path: self.socket.clone(),
                    source,
                })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection moves only while it is polled, and ends when its sender is dropped.
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            drop(sender);
            Ok::<_, hyper::Error>((status, body))
        };
        let (exchanged, ended) = tokio::join!(exchange, connection);
        if let Err(error) = ended {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "admin connection ended"
            );
        }
        let (status, body) = exchanged?;
        let body = body.map_err(|error| unexpected(&error))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| unexpected(&error));
        }
        let refusal = serde_json::from_slice(&body).map_err(|error| unexpected(&error))?;
        Err(ClientError::Refused(refusal))
    }
}

/// A login that is none would make another path.
fn keys_of(login: &str) -> Result<String, ClientError> {
    match libmanta::Login::parse(login) {
        Some(login) => Ok(format!("/accounts/{login}/keys")),
        None => Err(ClientError::Refused(Refusal {
            code: String::from("InvalidLogin"),
            message: format!("\"{login}\" is not a login"),
        })),
    }
}

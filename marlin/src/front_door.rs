//! The public API as a job uses it: with its token, over kept connections.
//!
//! Not the client that users have: requests are never signed, the ones that come out of zones are passed on
//! as they are, and nothing is retried here. Dropping a future closes its connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

use crate::perturbation::Perturbation;

/// Idle connections kept. Source: marlin.md section 7.4.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// The front door closes connections that idle for two minutes; we leave first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Most of an error document that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// What stands for itself in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Debug, Error)]
pub(crate) enum FrontDoorError {
    #[error("front door refused with {status} {code}: {message}")]
    Refused {
        status: StatusCode,
        code: String,
        message: String,
    },
    #[error("front door cannot be reached")]
    Transport(#[source] BoxError),
}

impl FrontDoorError {
    /// A directory above the name does not exist.
    pub(crate) fn is_missing_directory(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "DirectoryDoesNotExist")
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Transport(_) => None,
        }
    }

    /// Whether trying again may help.
    pub(crate) fn is_retryable(&self) -> bool {
        self.status().is_none_or(|status| status.is_server_error())
    }
}

#[derive(Clone)]
pub(crate) struct FrontDoor {
    client: Client<HttpConnector, Body>,
    base: Arc<str>,
    perturbation: Perturbation,
}

impl fmt::Debug for FrontDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontDoor")
            .field("base", &self.base)
            .finish()
    }
}

impl FrontDoor {
    pub(crate) fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Self {
            client,
            base: base.trim_end_matches('/').into(),
            perturbation: Perturbation::default(),
        }
    }

    /// The same for one task, whose requests fail as it says.
    pub(crate) fn perturbed_by(&self, perturbation: Perturbation) -> Self {
        Self {
            perturbation,
            ..self.clone()
        }
    }

    pub(crate) fn perturbation(&self) -> &Perturbation {
        &self.perturbation
    }

    /// A request for an already encoded path and query, with the token if there is one.
    pub(crate) fn request(
        &self,
        method: Method,
        path_and_query: &str,
        token: Option<&str>,
    ) -> http::request::Builder {
        let builder = Request::builder()
            .method(method)
            .uri(format!("{}{path_and_query}", self.base));
        match token {
            Some(token) => builder.header(AUTHORIZATION, format!("Token {token}")),
            None => builder,
        }
    }

    /// Sends a request; any answer is a success here.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, FrontDoorError> {
        if self.perturbation.strikes() {
            return Err(FrontDoorError::Refused {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                code: "InternalError".to_owned(),
                message: "the task wanted this request to fail".to_owned(),
            });
        }
        self.client
            .request(request)
            .await
            .map_err(|error| FrontDoorError::Transport(error.into()))
    }

    /// Sends a request and turns every answer but 2xx into an error.
    pub(crate) async fn call(
        &self,
        request: http::request::Builder,
        body: Body,
    ) -> Result<Response<Incoming>, FrontDoorError> {
        let request = request
            .body(body)
            .map_err(|error| FrontDoorError::Transport(error.into()))?;
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(response).await)
    }

    /// Stores an object. `size_bytes` must be what `body` yields; without it the object is sent in chunks.
    pub(crate) async fn put(
        &self,
        token: &str,
        name: &str,
        content_type: &str,
        size_bytes: Option<u64>,
        body: Body,
    ) -> Result<(), FrontDoorError> {
        let mut request = self
            .request(Method::PUT, &encode_path(name), Some(token))
            .header(CONTENT_TYPE, content_type)
            .header("access-control-allow-origin", "*");
        if let Some(size) = size_bytes {
            request = request.header(CONTENT_LENGTH, size);
        }
        drain(self.call(request, body).await?).await
    }

    /// Creates a directory; one that exists is fine.
    pub(crate) async fn make_directory(
        &self,
        token: &str,
        name: &str,
    ) -> Result<(), FrontDoorError> {
        let request = self
            .request(Method::PUT, &encode_path(name), Some(token))
            .header(CONTENT_TYPE, "application/json; type=directory")
            .header(CONTENT_LENGTH, 0);
        drain(self.call(request, empty()).await?).await
    }

    /// Deletes an object or an empty directory. `false` when there was none.
    pub(crate) async fn delete(&self, token: &str, name: &str) -> Result<bool, FrontDoorError> {
        let request = self.request(Method::DELETE, &encode_path(name), Some(token));
        match self.call(request, empty()).await {
            Ok(response) => drain(response).await.map(|()| true),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads an object.
    pub(crate) async fn get(
        &self,
        token: &str,
        name: &str,
    ) -> Result<Response<Incoming>, FrontDoorError> {
        let request = self.request(Method::GET, &encode_path(name), Some(token));
        self.call(request, empty()).await
    }
}

pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The path of a request for a name, which is taken literally.
pub(crate) fn encode_path(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

/// The name that the path of a request means; `None` when it is not text.
pub(crate) fn decode_path(path: &str) -> Option<String> {
    let name = percent_decode_str(path).decode_utf8().ok()?;
    Some(name.into_owned())
}

/// Reads what is left of an answer, so that its connection can be used again.
async fn drain(response: Response<Incoming>) -> Result<(), FrontDoorError> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| FrontDoorError::Transport(error.into()))?;
    }
    Ok(())
}

async fn refusal(response: Response<Incoming>) -> FrontDoorError {
    #[derive(serde::Deserialize)]
    struct Document {
        code: String,
        message: String,
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), ERROR_BYTES_MAX)
        .collect()
        .await;
    let document = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok())
        .unwrap_or_else(|| Document {
            code: "InternalError".to_owned(),
            message: "the answer was no error document".to_owned(),
        });
    FrontDoorError::Refused {
        status,
        code: document.code,
        message: document.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_through_a_path() {
        for name in [
            "/u/stor/a b",
            "/u/stor/M%41RK",
            "/u/stor/ü?#&+",
            "/u/stor/..",
        ] {
            assert_eq!(decode_path(&encode_path(name)).as_deref(), Some(name));
        }
        assert_eq!(encode_path("/u/stor/M%41RK"), "/u/stor/M%2541RK");
        assert_eq!(decode_path("/u/%ff"), None);
    }
}

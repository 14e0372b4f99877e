//! One exchange with the server: a connection, the request, the head of the answer. The only place where
//! anything is sent twice.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::Uri;
use tokio::sync::Notify;

use crate::body::{Body, Payload, RequestBody};
use crate::error::Error;
use crate::pool::{Lease, Pool, Reuse};

/// How long an upload waits for `100 Continue`. A server that has not said no by then gets the body; one
/// that never sends interim answers must not stop uploads altogether.
const CONTINUE_MAX: Duration = Duration::from_secs(5);
/// Closed connections may lie in the pool one behind the other; after this many, make a new one.
const REUSE_MAX: usize = 3;

/// Sends a request and waits for the head of the answer.
pub(crate) async fn exchange(
    pool: &Arc<Pool>,
    method: &Method,
    target: &Uri,
    headers: &HeaderMap,
    mut payload: Payload,
) -> Result<Response<Body>, Error> {
    let repeatable = payload.duplicate().is_some()
        && (method == Method::GET || method == Method::HEAD || method == Method::PUT);
    let permit = pool.permit().await;
    let absolute = pool.absolute_form();
    let target = &match absolute {
        Some(form) => {
            Uri::try_from(format!("{}{target}", form.prefix)).map_err(http::Error::from)?
        }
        None => target.clone(),
    };
    let reuse = if repeatable { Reuse::Any } else { Reuse::Fresh };
    let mut reused_count = 0;
    loop {
        let idle = if reused_count < REUSE_MAX {
            pool.reuse(reuse).await
        } else {
            None
        };
        let reused = idle.is_some();
        reused_count += usize::from(reused);
        let mut connection = match idle {
            Some(connection) => connection,
            None => pool.connect().await?,
        };

        let second = payload.duplicate();
        let (mut request, sent) = build(method, target, headers, payload);
        if let Some(value) = absolute.and_then(|form| form.authorization.clone()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        match connection.sender.try_send_request(request).await {
            Ok(response) => {
                let lease = Lease::new(connection, pool.clone(), sent, permit);
                return Ok(response.map(|incoming| Body::new(incoming, lease)));
            }
            Err(mut error) => {
                let unsent = error.take_message();
                let source = error.into_error();
                if !reused {
                    return Err(failure(source));
                }
                payload = match (unsent, second) {
                    // hyper never began to send it.
                    (Some(request), _) => request.into_body().into_payload(),
                    // It may have been sent, but doing it twice does no harm.
                    (None, Some(second)) if repeatable => second,
                    (None, _) => return Err(failure(source)),
                };
                tracing::debug!(%source, "an idle connection was closed, using another");
            }
        }
    }
}

/// Tells a source that failed from a connection that broke.
fn failure(error: hyper::Error) -> Error {
    if error.is_user() {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        return Error::Source(std::io::Error::other(
            cause.unwrap_or_else(|| error.to_string()),
        ));
    }
    Error::Broken(error)
}

fn build(
    method: &Method,
    target: &Uri,
    headers: &HeaderMap,
    payload: Payload,
) -> (Request<RequestBody>, Arc<std::sync::atomic::AtomicBool>) {
    let wanted = Arc::new(Notify::new());
    let expecting = headers.contains_key(EXPECT);
    let gate = expecting.then(|| gate(wanted.clone()));
    let no_body = matches!(payload, Payload::Empty);
    let body = RequestBody::new(payload, gate);
    let sent = body.sent();
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = target.clone();
    *request.headers_mut() = headers.clone();
    if no_body && (method == Method::PUT || method == Method::POST) {
        request
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if expecting {
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() == http::StatusCode::CONTINUE {
                wanted.notify_one();
            }
        });
    }
    (request, sent)
}

fn gate(wanted: Arc<Notify>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        // Either way the body goes out.
        let _ = tokio::time::timeout(CONTINUE_MAX, wanted.notified()).await;
    })
}

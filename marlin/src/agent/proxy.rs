//! The local Manta of one zone: `http://localhost/` for whatever runs there.
//!
//! Requests are passed on to the front door as they stream, with the job's token in place of whatever they
//! carried. Which zone speaks is known from the listener, so no credential ever enters a zone. While no
//! task runs nothing is passed on. Source: marlin.md section 7.4, zones.md section 6.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, EXPECT, HOST, TE, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::control;
use crate::agent::desk::{Desk, Visit};
use crate::front_door::{Body, FrontDoor, decode_path, empty};
use crate::record::Output;

/// Source: marlin.md section 1.1: reducer indices are 0 to 127 everywhere.
const REDUCER_MAX: u8 = 127;
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 64 * 1024;
const STREAM: &str = "x-manta-stream";
const REFERENCE: &str = "x-manta-reference";
const REDUCER: &str = "x-manta-reducer";
/// Headers that concern one connection only.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("trailer"),
    TE,
    UPGRADE,
    EXPECT,
];

/// A running local Manta. Dropping it closes every connection; [`close`](Self::close) also waits.
#[derive(Debug)]
pub(crate) struct Proxy {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Proxy {
    /// Serves the listeners of a zone that was just acquired. Connections that an earlier tenant left in
    /// their queues are dropped first.
    pub(crate) fn start(
        listeners: Vec<StdListener>,
        desk: &Arc<Desk>,
        front_door: &FrontDoor,
        connections_max: usize,
    ) -> std::io::Result<Self> {
        let proxy = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let permits = Arc::new(Semaphore::new(connections_max));
        for listener in listeners {
            listener.set_nonblocking(true)?;
            while listener.accept().is_ok() {}
            let listener = TcpListener::from_std(listener)?;
            let server = Server {
                desk: Arc::clone(desk),
                front_door: front_door.clone(),
                permits: Arc::clone(&permits),
                stop: proxy.stop.clone(),
                tasks: proxy.tasks.clone(),
            };
            proxy.tasks.spawn(server.accept(listener));
        }
        Ok(proxy)
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Server {
    desk: Arc<Desk>,
    front_door: FrontDoor,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    async fn accept(self, listener: TcpListener) {
        let serve = async {
            loop {
                // The permit is taken first: a zone that opens too many waits in the kernel's queue.
                let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                    return;
                };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "local manta cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let _ = stream.set_nodelay(true);
                let connection =
                    connection(stream, Arc::clone(&self.desk), self.front_door.clone());
                let stop = self.stop.clone();
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = connection => {}
                    }
                    drop(permit);
                });
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = serve => {}
        }
    }
}

async fn connection(stream: TcpStream, desk: Arc<Desk>, front_door: FrontDoor) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        let front_door = front_door.clone();
        async move { Ok::<_, Infallible>(answer(&desk, &front_door, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // Clients in a zone may do what they like with their connections.
    if let Err(error) = served {
        tracing::debug!(%error, "local manta connection ended early");
    }
}

async fn answer(desk: &Desk, front_door: &FrontDoor, request: Request<Incoming>) -> Response<Body> {
    let visit = desk.visit();
    if let Some(what) = request.uri().path().strip_prefix(control::PREFIX) {
        let what = what.to_owned();
        let (head, body) = request.into_parts();
        let body = Limited::new(body, control::BODY_BYTES_MAX).collect().await;
        let Ok(body) = body else {
            let message = "the body is too long";
            return control::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                message,
            );
        };
        return control::answer(desk, visit.as_ref(), &head.method, &what, &body.to_bytes());
    }
    let Some(visit) = visit else {
        let message = "no task is running in this zone";
        return control::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        );
    };
    let emission = match Emission::of(request.method(), request.headers(), request.uri().path()) {
        Ok(emission) => emission,
        Err(message) => {
            return control::error(StatusCode::CONFLICT, "InvalidArgument", &message);
        }
    };
    if emission.streams {
        desk.streams(&visit);
    }
    if let Some(output) = emission.output.as_ref().filter(|output| output.reference) {
        desk.emit(&visit, output.clone());
        return control::with_body(StatusCode::NO_CONTENT, empty());
    }
    let response = forward(front_door, &visit, request).await;
    if let Some(output) = emission.output
        && response.status().is_success()
    {
        desk.emit(&visit, output);
    }
    response
}

async fn forward(
    front_door: &FrontDoor,
    visit: &Visit,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut builder = front_door.request(head.method, path, Some(visit.job.token()));
    if let Some(headers) = builder.headers_mut() {
        for (name, value) in &head.headers {
            let ours = name == AUTHORIZATION || name == HOST || is_ours(name);
            if !ours && !HOP_BY_HOP.contains(name) {
                headers.append(name, value.clone());
            }
        }
    }
    let body = body.map_err(Into::into).boxed_unsync();
    let sent = match builder.body(body) {
        Ok(request) => front_door.send(request).await.map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match sent {
        Ok(response) => {
            let (mut head, body) = response.into_parts();
            for name in &HOP_BY_HOP {
                head.headers.remove(name);
            }
            Response::from_parts(head, body.map_err(Into::into).boxed_unsync())
        }
        Err(error) => {
            tracing::debug!(%error, "request of a task not passed on");
            let message = "manta is unable to serve this request";
            control::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                message,
            )
        }
    }
}

fn is_ours(name: &HeaderName) -> bool {
    name == STREAM || name == REFERENCE || name == REDUCER
}

/// What a request means for the outputs of its task.
#[derive(Debug, Default, PartialEq, Eq)]
struct Emission {
    /// It carried `x-manta-stream: stdout`, whatever becomes of it.
    streams: bool,
    /// What it adds to the outputs when it succeeds.
    output: Option<Output>,
}

impl Emission {
    fn of(method: &Method, headers: &HeaderMap, path: &str) -> Result<Self, String> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let reducer = match headers.get(REDUCER) {
            None => None,
            Some(value) => {
                let index = value.to_str().ok().and_then(|text| text.parse::<u8>().ok());
                let index = index.filter(|index| *index <= REDUCER_MAX).ok_or_else(|| {
                    let given = String::from_utf8_lossy(value.as_bytes());
                    format!("\"{REDUCER}\" must be a number from 0 to {REDUCER_MAX}: \"{given}\"")
                })?;
                Some(index)
            }
        };
        if text(STREAM) != Some("stdout") {
            return Ok(Self::default());
        }
        let is_directory = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("type=directory"));
        if method != Method::PUT || is_directory {
            return Ok(Self {
                streams: true,
                output: None,
            });
        }
        let name = decode_path(path).ok_or("the path is not text")?;
        let name = match name.trim_end_matches('/') {
            "" => "/",
            name => name,
        };
        Ok(Self {
            streams: true,
            output: Some(Output {
                name: name.to_owned(),
                reducer,
                reference: text(REFERENCE) == Some("true"),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emission(method: Method, headers: &[(&str, &str)], path: &str) -> Result<Emission, String> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect();
        Emission::of(&method, &headers, path)
    }

    #[test]
    fn only_streamed_puts_of_objects_are_outputs() {
        let stream = ("x-manta-stream", "stdout");
        let put = emission(Method::PUT, &[stream], "/u/stor/a%20b").unwrap();
        assert_eq!(put.output.unwrap().name, "/u/stor/a b");
        assert!(put.streams);
        let plain = emission(Method::PUT, &[], "/u/stor/a").unwrap();
        assert_eq!(plain, Emission::default());
        let directory = ("content-type", "application/json; type=directory");
        let made = emission(Method::PUT, &[stream, directory], "/u/stor/a").unwrap();
        assert!(made.streams && made.output.is_none());
        let other = emission(Method::PUT, &[("x-manta-stream", "stderr")], "/u/stor/a").unwrap();
        assert_eq!(other, Emission::default());
    }

    #[test]
    fn names_lose_their_trailing_slash_and_keep_their_percent_signs() {
        let headers = [("x-manta-stream", "stdout"), ("x-manta-reference", "true")];
        for (path, name) in [
            ("/u/", "/u"),
            ("/", "/"),
            ("/u/stor/M%2541RK", "/u/stor/M%41RK"),
        ] {
            let output = emission(Method::PUT, &headers, path)
                .unwrap()
                .output
                .unwrap();
            assert_eq!(output.name, name);
            assert!(output.reference);
        }
    }

    #[test]
    fn reducers_are_numbers_up_to_127() {
        let with = |n| {
            emission(
                Method::PUT,
                &[("x-manta-stream", "stdout"), (REDUCER, n)],
                "/u/x",
            )
        };
        assert_eq!(with("127").unwrap().output.unwrap().reducer, Some(127));
        for bad in ["128", "-1", "1.5", "x", ""] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}

//! The local Manta of one zone: `http://localhost/` for whatever runs there.
//!
//! Requests are passed on to the front door as they stream, with the job's token in place of whatever they
//! carried. Which zone speaks is known from the listener, so no credential ever enters a zone. While no
//! task runs nothing is passed on. A connection may become something else than HTTP for one purpose only: see
//! [`tunnel`]. Source: marlin.md section 7.4, zones.md section 6.

use std::convert::Infallible;
use std::future::poll_fn;
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
use libmanta::content_type::json_type;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::control;
use crate::agent::desk::{Decision, Desk, TooMuch, Visit};
use crate::agent::traffic::Counted;
use crate::agent::tunnel::{self, Tunnels};
use crate::front_door::{Body, FrontDoor, FrontDoorError, decode_path, empty};
use crate::names;
use crate::record::{ErrorCode, Output, TaskError};

/// Source: marlin.md section 1.1: reducer indices are 0 to 127 everywhere.
const REDUCER_MAX: u8 = 127;
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 64 * 1024;
const STREAM: &str = "x-manta-stream";
const REFERENCE: &str = "x-manta-reference";
const REDUCER: &str = "x-manta-reducer";
/// Longest login, in bytes.
const LOGIN_BYTES_MAX: usize = 64;
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
    /// Serves the listeners of a zone that was just acquired. Whatever waits in their queues when a
    /// session of the desk opens is dropped.
    pub(crate) fn start(
        listeners: Vec<StdListener>,
        desk: &Arc<Desk>,
        connections_max: usize,
    ) -> std::io::Result<Self> {
        let proxy = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let permits = Arc::new(Semaphore::new(connections_max));
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let shared = listeners.iter().map(StdListener::try_clone);
        desk.listen(shared.collect::<Result<_, _>>()?);
        for listener in listeners {
            let listener = TcpListener::from_std(listener)?;
            let server = Server {
                desk: Arc::clone(desk),
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
                let accept = poll_fn(|context| self.desk.admit(|| listener.poll_accept(context)));
                let (stream, visit) = match accept.await {
                    Ok(((stream, _), Some(visit))) => (stream, visit),
                    // No task runs, so nobody is there to be answered.
                    Ok((_, None)) => continue,
                    Err(error) => {
                        tracing::warn!(%error, "local manta cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let _ = stream.set_nodelay(true);
                let stream = Counted::new(stream, Arc::clone(&self.desk.traffic));
                let bound = visit.connections.token();
                let (stop, ended) = (self.stop.clone(), visit.ended.clone());
                let desk = Arc::clone(&self.desk);
                let tunnels = Tunnels::new(&self.tasks, &self.stop);
                self.tasks.spawn(async move {
                    // In here, so that it is gone when the session's end has waited for `bound`.
                    let connection = connection(stream, desk, visit, tunnels);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = ended.cancelled() => {}
                        () = connection => {}
                    }
                    drop(permit);
                    drop(bound);
                });
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = serve => {}
        }
    }
}

async fn connection(stream: Counted<TcpStream>, desk: Arc<Desk>, visit: Visit, tunnels: Tunnels) {
    let service = service_fn(|request| {
        let answer = answer(&desk, &visit, &tunnels, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    // Clients in a zone may do what they like with their connections.
    if let Err(error) = served {
        tracing::debug!(%error, "local manta connection ended early");
    }
}

async fn answer(
    desk: &Desk,
    visit: &Visit,
    tunnels: &Tunnels,
    mut request: Request<Incoming>,
) -> Response<Body> {
    // The session may be over though its connections are not gone yet.
    let visit = Some(visit).filter(|visit| desk.knows(visit));
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
        let what = (what.as_str(), head.uri.query());
        return control::answer(desk, visit, &head.method, what, &body.to_bytes());
    }
    let Some(visit) = visit else {
        let message = "no task is running in this zone";
        return control::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        );
    };
    if tunnel::is_wanted(visit, &request) {
        let ours = hyper::upgrade::on(&mut request);
        let (head, body) = passed_on(visit, request);
        let head = tunnel::keep_upgrade(head);
        let response = send(&visit.front_door, head, body).await;
        return tunnels.open(visit, ours, response);
    }
    let emission = match Emission::of(request.method(), request.headers(), request.uri().path()) {
        Ok(emission) => emission,
        Err(message) => {
            return control::error(StatusCode::CONFLICT, "InvalidArgument", &message);
        }
    };
    if emission.streams {
        desk.streams(visit);
    }
    let Some(output) = emission.output else {
        return forward(visit, request).await;
    };
    if output.reference {
        return match desk.emit(visit, output) {
            Ok(()) => control::with_body(StatusCode::NO_CONTENT, empty()),
            Err(error) => refuse(desk, visit, error),
        };
    }
    if let Err(error) = desk.has_room(visit, &output.name) {
        return refuse(desk, visit, error);
    }
    let response = forward(visit, request).await;
    if response.status().is_success()
        && let Err(error) = desk.emit(visit, output)
    {
        return refuse(desk, visit, error);
    }
    response
}

/// Ends a task that emits without measure: what it wants cannot be done, and part of it is of no use.
fn refuse(desk: &Desk, visit: &Visit, error: TooMuch) -> Response<Body> {
    let message = error.to_string();
    let error = TaskError::new(ErrorCode::UserTask, message.as_str());
    desk.decide(visit, Decision::Fail(error));
    control::error(StatusCode::CONFLICT, "InvalidArgument", &message)
}

async fn forward(visit: &Visit, request: Request<Incoming>) -> Response<Body> {
    let (builder, body) = passed_on(visit, request);
    let mut response = send(&visit.front_door, builder, body).await;
    for name in &HOP_BY_HOP {
        response.headers_mut().remove(name);
    }
    response
}

/// The request for the front door: with the token of the job, without what concerns this connection only.
fn passed_on(visit: &Visit, request: Request<Incoming>) -> (http::request::Builder, Body) {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let token = Some(visit.job.token());
    let mut builder = visit.front_door.request(head.method, path, token);
    if let Some(headers) = builder.headers_mut() {
        for (name, value) in &head.headers {
            let ours = name == AUTHORIZATION || name == HOST || is_ours(name);
            if !ours && !HOP_BY_HOP.contains(name) {
                headers.append(name, value.clone());
            }
        }
    }
    (builder, body.map_err(Into::into).boxed_unsync())
}

async fn send(
    front_door: &FrontDoor,
    builder: http::request::Builder,
    body: Body,
) -> Response<Body> {
    let sent = match builder.body(body) {
        Ok(request) => front_door.send(request).await,
        Err(error) => Err(FrontDoorError::Transport(error.into())),
    };
    match sent {
        Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(FrontDoorError::Refused {
            status,
            code,
            message,
        }) => control::error(status, &code, &message),
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

/// Headers that the front door does not get from a zone: those about outputs, which are read here, and those by
/// which somebody would be taken for somebody else.
fn is_ours(name: &HeaderName) -> bool {
    [
        STREAM,
        REFERENCE,
        REDUCER,
        "x-auth-token",
        "x-forwarded-for",
    ]
    .iter()
    .any(|ours| name == ours)
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
            .and_then(json_type)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("directory"));
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
        let reference = text(REFERENCE) == Some("true");
        check_text(name)?;
        // What a reference names is looked at where it is used. Source: marlin.md section 4, rule 6.
        if !reference {
            check_place(name)?;
        }
        Ok(Self {
            streams: true,
            output: Some(Output {
                name: name.to_owned(),
                reducer,
                reference,
            }),
        })
    }
}

/// Whether a name may stand in the lists of a job, which are text, one name to a line.
fn check_text(name: &str) -> Result<(), &'static str> {
    if name.chars().any(char::is_control) {
        return Err("the name of an output must not hold control characters");
    }
    if name.len() > libmanta::PATH_BYTES_MAX + LOGIN_BYTES_MAX + 1 {
        return Err("the name of an output is too long");
    }
    Ok(())
}

fn check_place(name: &str) -> Result<(), &'static str> {
    let normal = names::normalize(name);
    let account = normal.strip_prefix('/').and_then(|n| n.split_once('/'));
    match account {
        Some((login, rest)) if login.len() <= LOGIN_BYTES_MAX && !rest.is_empty() => Ok(()),
        _ => Err("the name of an output must be an absolute path below an account"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpStream as StdStream;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::agent::desk::NAME_BYTES_MAX;
    use crate::context::JobContext;

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
        // The front door stores this, as an object of a strange type.
        let strange = ("content-type", "text/plain; type=directory");
        let stored = emission(Method::PUT, &[stream, strange], "/u/stor/a").unwrap();
        assert!(stored.output.is_some());
        let other = emission(Method::PUT, &[("x-manta-stream", "stderr")], "/u/stor/a").unwrap();
        assert_eq!(other, Emission::default());
    }

    #[test]
    fn names_lose_their_trailing_slash_and_keep_their_percent_signs() {
        let headers = [("x-manta-stream", "stdout"), ("x-manta-reference", "true")];
        for (path, name) in [
            ("/u/stor/", "/u/stor"),
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
    fn names_that_could_forge_a_line_or_are_none_are_refused() {
        let long = format!("/u/{}", "x".repeat(50_000));
        for path in [
            "/u/stor/a%0A/victim/stor/b",
            "/u/stor/a%0D",
            "/u/stor/a%00",
            "/u/stor/%7F",
            "/u/stor/%C2%85",
            &long,
        ] {
            for more in [&[][..], &[(REFERENCE, "true")]] {
                let headers = [&[(STREAM, "stdout")][..], more].concat();
                assert!(emission(Method::PUT, &headers, path).is_err(), "{path:.40}");
            }
        }
        // No object can be there; what a reference names is the next phase's affair.
        for path in ["/", "/u", "/u/", "u/stor/a", "/u/.."] {
            let stored = emission(Method::PUT, &[(STREAM, "stdout")], path);
            assert!(stored.is_err(), "{path}");
            let headers = [(STREAM, "stdout"), (REFERENCE, "true")];
            assert!(emission(Method::PUT, &headers, path).is_ok(), "{path}");
        }
        let longest = format!("/u/{}", "x".repeat(libmanta::PATH_BYTES_MAX - 1));
        assert_eq!(check_text(&longest), Ok(()));
        assert_eq!(check_text("/u/stor/\u{fc} \"%"), Ok(()));
    }

    fn door() -> FrontDoor {
        FrontDoor::new("http://127.0.0.1:1")
    }

    /// A local Manta without a front door, and a way to connect to it.
    fn local(connections: usize) -> (Arc<Desk>, Proxy, impl Fn() -> StdStream) {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk::default());
        let proxy = Proxy::start(vec![listener], &desk, connections).unwrap();
        (desk, proxy, move || StdStream::connect(address).unwrap())
    }

    async fn send(stream: &mut TcpStream, request: &str) -> String {
        let request = format!(
            "{request} HTTP/1.1\r\nHost: x\r\n{}\r\n",
            match request {
                put if put.starts_with("PUT") => {
                    "x-manta-stream: stdout\r\nx-manta-reference: true\r\nContent-Length: 0\r\n"
                }
                _ => "",
            }
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let n = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..n]).into_owned()
    }

    fn tokio_stream(stream: StdStream) -> TcpStream {
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_speak_for_the_task_that_opened_them_or_not_at_all() {
        let (desk, proxy, connect) = local(1);
        let _first = desk.open(
            JobContext::of_nobody(),
            door(),
            serde_json::json!({ "task": "first" }),
        );
        let mut held = tokio_stream(connect());
        let answer = send(&mut held, "GET /my/jobs/task/task").await;
        assert!(answer.contains("first"), "{answer}");
        // There is room for one, so this one waits in the kernel, its request already sent.
        let mut queued = connect();
        queued
            .write_all(b"POST /my/jobs/task/fail HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        // The end of a task waits for nobody who holds a connection.
        let ended = tokio::time::timeout(Duration::from_secs(20), desk.close()).await;
        ended.expect("a held connection keeps a task from ending");
        let mut rest = Vec::new();
        let end = held.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || end.is_err(), "{rest:?}");
        let mut between = connect();
        between
            .write_all(b"POST /my/jobs/task/fail HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let mut second = desk.open(
            JobContext::of_nobody(),
            door(),
            serde_json::json!({ "task": "second" }),
        );
        for stream in [queued, between] {
            let mut stream = tokio_stream(stream);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        }
        let answer = send(&mut tokio_stream(connect()), "GET /my/jobs/task/task").await;
        assert!(answer.contains("second"), "{answer}");
        assert!(second.try_recv().is_err());
        desk.close().await;
        proxy.close().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_emits_without_measure_fails() {
        let (desk, proxy, connect) = local(4);
        let name = format!("/u/{}", "x".repeat(4093));
        let mut decision = desk.open(JobContext::of_nobody(), door(), serde_json::json!({}));
        let mut stream = tokio_stream(connect());
        for _ in 0..NAME_BYTES_MAX / name.len() {
            let answer = send(&mut stream, &format!("PUT {name}")).await;
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        }
        assert!(decision.try_recv().is_err());
        let answer = send(&mut stream, "PUT /u/stor/x").await;
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
        assert!(answer.contains("InvalidArgument"), "{answer}");
        match decision.await.unwrap() {
            Decision::Fail(error) => {
                assert_eq!(error.code, ErrorCode::UserTask);
                assert_eq!(error.message, TooMuch.to_string());
            }
            Decision::Commit => panic!("committed"),
        }
        let takings = desk.close().await;
        let bytes: usize = takings.outputs.iter().map(|o| o.name.len()).sum();
        assert!(bytes <= NAME_BYTES_MAX);
        proxy.close().await;
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

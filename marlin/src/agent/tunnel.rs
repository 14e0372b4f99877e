//! The one connection out of a zone that is not a request: the zone's end of the interactive session of the very
//! job that runs in it.
//!
//! Nothing else is let through, so a task gains no way to speak to anybody but its own user, who attached to
//! this job. It ends with the task, as all connections of a zone do. Source: marlin.md sections 12.2, 7.4.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::desk::Visit;
use crate::front_door::{Body, decode_path};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Keeps what has been let through.
#[derive(Clone, Debug)]
pub(crate) struct Tunnels {
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Whether this is the upgrade that a zone may ask for.
pub(crate) fn is_wanted(visit: &Visit, request: &Request<Incoming>) -> bool {
    let websocket = request.headers().get(UPGRADE);
    let websocket = websocket.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let end = format!(
        "/{}/medusa/attach/{}/slave",
        visit.job.login(),
        visit.job.id()
    );
    let path = decode_path(request.uri().path());
    websocket && request.method() == Method::GET && path.is_some_and(|path| path == end)
}

/// Asks the front door for the same.
pub(crate) fn keep_upgrade(request: http::request::Builder) -> http::request::Builder {
    request
        .header(CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(UPGRADE, WEBSOCKET)
}

impl Tunnels {
    pub(crate) fn new(tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        Self {
            tasks: tasks.clone(),
            stop: stop.clone(),
        }
    }

    /// Answers as the front door did. If that was yes, joins the two connections once both have been upgraded.
    pub(crate) fn open(
        &self,
        visit: &Visit,
        ours: OnUpgrade,
        mut response: Response<Body>,
    ) -> Response<Body> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        let theirs = hyper::upgrade::on(&mut response);
        let (stop, ended) = (self.stop.clone(), visit.ended.clone());
        let bound = visit.connections.token();
        self.tasks.spawn(async move {
            let pass = async {
                let (ours, theirs) = tokio::try_join!(ours, theirs)?;
                let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                // A few kilobytes a direction; whoever takes nothing holds the other back.
                let passed = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
                if let Err(error) = passed {
                    tracing::debug!(%error, "session of a zone ended early");
                }
                Ok::<_, hyper::Error>(())
            };
            let passed = tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = ended.cancelled() => Ok(()),
                passed = pass => passed,
            };
            if let Err(error) = passed {
                tracing::debug!(%error, "session of a zone did not begin");
            }
            drop(bound);
        });
        response
    }
}

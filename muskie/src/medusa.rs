//! Sessions of `mlogin` over HTTP: `GET /:login/medusa/attach/:id/:type`, which becomes a websocket. What
//! the two ends then say to each other is theirs; [`reflector`] joins them.
//! Source: rest-api.md section 7, marlin.md section 12.

mod reflector;
mod relay;

use http::StatusCode;
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use libmanta::JobId;
use libmanta::marlin::JobState;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::jobs;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::storage::Request;

use self::reflector::NoSeat;
pub(crate) use self::reflector::Reflector;

/// The only version there is. Clients of Manta never sent it.
const VERSION: &[u8] = b"13";

/// Answers with the upgrade; the session begins once it is through. The checks come in the documented order.
pub(crate) async fn attach(
    request: &Request<'_>,
    (id, end): (&str, &str),
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let not_found = || Error::NotFound {
        path: request.path(),
    };
    let id: JobId = id.parse().map_err(|_| not_found())?;
    let (jobs, owner) = (&request.server.jobs, request.owner.id);
    let status = jobs.status(owner, id).await;
    let status = status.map_err(|error| Error::from_job(error, &request.head.path))?;
    jobs::check_access(request, "mlogin", &["jobs", &id.to_string()]).await?;
    if status.cancelled || status.state == JobState::Done {
        let state = if status.cancelled {
            "cancelled"
        } else {
            "done"
        };
        return Err(Error::InvalidJobState { id, state });
    }
    let (key, upgrade) = wants_websocket(request, body).ok_or_else(|| Error::ExpectedUpgrade {
        path: request.path(),
    })?;
    let reflector = &request.server.reflector;
    match end {
        "master" => {
            let seat = reflector
                .seat_master(id, owner)
                .map_err(|no_seat| match no_seat {
                    NoSeat::Taken => Error::SessionTaken {
                        path: request.path(),
                    },
                    NoSeat::Full | NoSeat::Closing => Error::ServiceUnavailable,
                })?;
            reflector.serve_master(seat, upgrade, jobs.clone());
        }
        "slave" => {
            let seat = reflector.seat_slave(id).ok_or_else(not_found)?;
            reflector.serve_slave(seat, upgrade);
        }
        other => {
            return Err(Error::InvalidAttachType {
                given: other.to_owned(),
            });
        }
    }
    exchange.upgraded();
    let mut reply = Reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    // In one word each: a client compares them as a whole.
    reply.set_text(CONNECTION, "Upgrade");
    reply.set_text(UPGRADE, "websocket");
    reply.set_text(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(&key));
    Ok(reply)
}

/// The key of the handshake, and what the connection becomes, if that is what the request asks for.
fn wants_websocket(request: &Request<'_>, body: &mut RequestBody) -> Option<(Vec<u8>, OnUpgrade)> {
    let header = |name: &HeaderName| request.head.headers.get(name).map(|value| value.as_bytes());
    let websocket = header(&UPGRADE)?.eq_ignore_ascii_case(b"websocket");
    let version = header(&SEC_WEBSOCKET_VERSION).is_none_or(|version| version == VERSION);
    let key = header(&SEC_WEBSOCKET_KEY)?.to_vec();
    let upgrade = body.take_upgrade()?;
    (websocket && version && body.is_complete()).then_some((key, upgrade))
}

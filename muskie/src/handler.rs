//! From a request to a response: the pipeline whose order decides which error wins.
//! Source: rest-api.md section 0.5.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::FutureExt as _;
use http::header::EXPECT;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use libmanta::Timestamp;

use crate::account_root;
use crate::auth::{self, Credentials, Somebody};
use crate::client_stream::ConnectionState;
use crate::errors::{Error, Result};
use crate::exchange::{Exchange, Head};
use crate::forwarded;
use crate::insecure;
use crate::jobs;
use crate::medusa;
use crate::multipart;
use crate::pace::Pace;
use crate::plain_routes::{self, Plain};
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::response_body::ResponseBody;
use crate::roles;
use crate::router::{self, Route};
use crate::server::Server;
use crate::storage;
use crate::throttle::{Asker, Class};
use crate::tokens;

/// Whether a connection is served or only told to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Welcome,
    ComeBackLater,
}

/// What a connection tells about its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) remote: SocketAddr,
    /// Nobody can listen in.
    pub(crate) secure: bool,
    pub(crate) admission: Admission,
}

/// Never fails: what goes wrong is a response too. Dropping the future means that the client is gone;
/// changes under way go on, reads stop.
pub(crate) async fn handle(
    server: Arc<Server>,
    connection: Arc<ConnectionState>,
    origin: Origin,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (mut parts, incoming) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let admission = origin.admission;
    let mut head = Head::new(parts, origin.remote);
    head.secure = origin.secure;
    head.client = forwarded::client_ip(
        head.remote.ip(),
        head.header("x-forwarded-for").as_deref(),
        &server.config.trusted_proxies,
    );
    let head = Arc::new(head);
    let mut exchange = Box::new(Exchange::new(server.clone(), connection, head.clone()));
    let expects_continue = head
        .headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let pace = Pace::new(
        server.config.upload_stall,
        server.config.upload_rate_min_bytes_per_s,
    );
    let mut body = RequestBody::new(incoming, expects_continue, pace).with_upgrade(upgrade);

    let answer = async {
        if admission == Admission::ComeBackLater {
            return Err(Error::Throttled);
        }
        answer(&server, &head, &mut exchange, &mut body).await
    };
    let reply = match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => refuse(&server, &error, &mut exchange),
        Err(_) => {
            server.metrics.panics.fetch_add(1, Relaxed);
            tracing::error!(url = head.target(), "a request panicked");
            refuse(&server, &Error::Internal, &mut exchange)
        }
    };
    exchange.received_bytes = body.received_bytes();
    body.end_turn();
    let reply = if admission == Admission::ComeBackLater {
        reply.closing()
    } else {
        reply
    };
    let body_left = !body.is_complete();
    reply.into_response(&server, &head, exchange, body_left)
}

fn refuse(server: &Server, error: &Error, exchange: &mut Exchange) -> Reply {
    let answer = error.answer().on(server.config.surface);
    let reply = Reply::from_error(error, &answer);
    exchange.error = Some(answer);
    reply
}

async fn answer(
    server: &Arc<Server>,
    head: &Arc<Head>,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let (operation, route) = router::route(head, &server.config)?;
    exchange.operation = operation;
    check_transfer_encoding(head)?;
    if let Route::Plain(plain) = route {
        // What the operator reads is not for everybody on the way.
        if plain == Plain::Metrics && !head.secure {
            return Err(Error::SecureTransportRequired);
        }
        return Ok(plain_routes::handle(plain, server).await);
    }
    router::check_version(head)?;
    check_age(server, head)?;
    let mut credentials = Credentials::read(server, head)?;
    if !head.secure {
        insecure::check(head, &credentials)?;
    }
    body.take_turn(server.throttling.enter(head.client).await?);
    let role_tag = credentials.role_tag.take();
    let class = Class::of(&route, &head.method);
    let somebody = authenticate(server, head, credentials, class).await?;
    exchange.caller = somebody.as_ref().map(Somebody::name);
    let asker = match &somebody {
        Some(somebody) => Asker::Account(somebody.account.id),
        None => Asker::address(head.client),
    };
    let login = somebody.as_ref().map(|s| s.account.login.as_str());
    server.throttling.check(asker, login, class)?;
    let owner = auth::owner(server, head, somebody.as_ref()).await?;
    exchange.owner = Some(owner.login.to_string());
    let caller = match somebody {
        Some(somebody) => Some(roles::activate(server, somebody).await?),
        None => roles::anonymous(server, &owner).await?,
    };
    let request = storage::Request {
        server,
        head,
        caller,
        owner,
        role_tag,
    };
    match route {
        Route::Plain(plain) => Ok(plain_routes::handle(plain, server).await),
        Route::Account => account_root::handle(&request, exchange).await,
        Route::CreateToken => tokens::create(&request, body).await,
        Route::Storage(verb) => storage::handle(&request, verb, exchange, body).await,
        Route::Jobs(route) => jobs::handle(&request, &route, exchange, body).await,
        Route::Attach { id, end } => medusa::attach(&request, (&id, &end), exchange, body).await,
        Route::Uploads(route) => multipart::handle(&request, &route, exchange, body).await,
    }
}

/// An address may not guess as often as it likes: one that failed too often is not even told that it has
/// guessed right. Nobody guesses a token of ours, so whatever becomes of one says nothing about the address:
/// that of all jobs of a machine is the same.
async fn authenticate(
    server: &Server,
    head: &Head,
    credentials: Credentials,
    class: Class,
) -> Result<Option<Somebody>> {
    let guessed = credentials.may_be_guessed(server);
    if guessed {
        server.throttling.may_try(head.client, class)?;
    }
    let somebody = auth::authenticate(server, head, credentials).await;
    // Of any other error it is the store that cannot tell.
    let refused = |error: &Error| error.answer().status.is_client_error();
    if somebody.as_ref().is_err_and(refused) {
        if guessed {
            server.throttling.failed(head.client, class);
        } else {
            // It costs what a request of nobody does.
            let nobody = Asker::address(head.client);
            server.throttling.check(nobody, None, class)?;
        }
    }
    somebody
}

/// Only chunks are taken apart here, so of anything else the encoded bytes would be stored as the object.
/// A `Content-Length` besides is dropped below us, and the connection ends with the response.
fn check_transfer_encoding(head: &Head) -> Result<()> {
    match head.header("transfer-encoding") {
        Some(value) if !value.trim().eq_ignore_ascii_case("chunked") => {
            Err(Error::TransferEncodingUnknown { value })
        }
        _ => Ok(()),
    }
}

/// Source: rest-api.md section 0.5 (3). A date that does not parse is dealt with where it is signed.
fn check_age(server: &Server, head: &Head) -> Result<()> {
    let Some(date) = head.header("date") else {
        return Ok(());
    };
    let Some(sent) = Timestamp::parse_http(&date) else {
        return Ok(());
    };
    if server.clock.now().since(sent) > server.config.request_age_max {
        return Err(Error::RequestExpired { date });
    }
    Ok(())
}

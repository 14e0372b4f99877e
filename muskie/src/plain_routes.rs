//! Routes that concern no account: they are answered before anybody is asked who they are.
//! Source: rest-api.md sections 1.1, 12.3, 12.5.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};

use crate::health;
use crate::reply::Reply;
use crate::server::Server;

/// Lets Flash programs from anywhere read what is public.
const CROSS_DOMAIN: &str = "<?xml version=\"1.0\"?>\n\
    <!DOCTYPE cross-domain-policy SYSTEM \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">\n\
    <cross-domain-policy>\n\
    \x20 <allow-access-from domain=\"*\" secure=\"false\"/>\n\
    \x20 <allow-http-request-headers-from domain=\"*\" headers=\"*\" secure=\"false\"/>\n\
    </cross-domain-policy>\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    Redirect,
    Ping,
    Metrics,
    CrossDomain,
}

pub(crate) async fn handle(route: Plain, server: &Server) -> Reply {
    match route {
        Plain::Redirect => redirect(),
        Plain::Ping => ping(server).await,
        Plain::Metrics => metrics(server),
        Plain::CrossDomain => Reply::document(StatusCode::OK, "text/xml", CROSS_DOMAIN),
    }
}

fn redirect() -> Reply {
    let mut reply = Reply::empty(StatusCode::FOUND);
    let there = "http://apidocs.tritondatacenter.com/manta/";
    reply.set(LOCATION, HeaderValue::from_static(there));
    reply.set(CONTENT_LENGTH, HeaderValue::from_static("0"));
    reply
}

/// Not well while it ends, or can tell nobody what is stored: a load balancer sends the next request elsewhere.
async fn ping(server: &Server) -> Reply {
    let question = health::question(&*server.moray);
    let well = !server.is_draining() && server.health.is_well(question).await;
    let mut reply = Reply::empty(match well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    });
    reply.set(CONTENT_LENGTH, HeaderValue::from_static("0"));
    reply.bare().closing()
}

fn metrics(server: &Server) -> Reply {
    let mut text = String::with_capacity(16 << 10);
    server.metrics.render(&mut text);
    server.throttling.render(&mut text);
    server.commits.render(&mut text);
    (server.extra_metrics)(&mut text);
    let mut reply = Reply::document(StatusCode::OK, "text/plain; version=0.0.4", text);
    reply.set(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4"),
    );
    reply.bare()
}

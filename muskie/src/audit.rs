//! One JSON document for each request but `/ping`: the message of an event with target `audit`.
//!
//! Whoever collects it writes the message as a line. Written by hand, because every request pays for it;
//! not written at all when nobody listens. Source: rest-api.md section 12.4.

use http::header::AUTHORIZATION;

use crate::exchange::Exchange;
use crate::json;
use crate::latin1;
use crate::operation::Operation;

pub(crate) fn write(exchange: &Exchange) {
    if exchange.operation == Operation::Ping
        || !tracing::enabled!(target: "audit", tracing::Level::INFO)
    {
        return;
    }
    let line = String::from_utf8(line(exchange)).unwrap_or_default();
    tracing::info!(target: "audit", "{line}");
}

struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        json::string(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, name: &str, value: &str) {
        json::string(self.name(name), value);
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        json::number(self.name(name), value);
    }

    fn millis(&mut self, name: &str, value: std::time::Duration) {
        self.number(name, u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    }

    fn object(&mut self, name: &str) -> Object<'_> {
        Object::begin(self.name(name))
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

fn line(exchange: &Exchange) -> Vec<u8> {
    let head = &exchange.head;
    let mut out = Vec::with_capacity(1024);
    let mut line = Object::begin(&mut out);
    line.name("_audit").extend_from_slice(b"true");
    line.text("operation", exchange.operation.name());
    line.text("billable_operation", exchange.billable());
    line.number(
        "bytesTransferred",
        exchange.received_bytes + exchange.sent_bytes,
    );
    line.text("logicalRemoteAddress", &head.client.to_string());
    line.text("remoteAddress", &head.remote.ip().to_string());
    line.number("remotePort", head.remote.port().into());
    line.text("req_id", exchange.request_id.to_str().unwrap_or_default());

    let mut req = line.object("req");
    req.text("method", head.method.as_str());
    req.text("url", head.target());
    req.text(
        "httpVersion",
        if head.version == http::Version::HTTP_10 {
            "1.0"
        } else {
            "1.1"
        },
    );
    req.optional("owner", exchange.owner.as_deref());
    if let Some(name) = &exchange.caller {
        // Logins have no slashes.
        let (login, user) = match name.split_once('/') {
            Some((login, user)) => (login, Some(user)),
            None => (name.as_str(), None),
        };
        let mut caller = req.object("caller");
        caller.text("login", login);
        caller.optional("user", user);
        caller.end();
    }
    let mut headers = req.object("headers");
    for (name, value) in &head.headers {
        // Whoever reads the audit must not be able to act as the caller.
        if name != AUTHORIZATION && name != "x-auth-token" {
            headers.text(name.as_str(), &latin1::decode(value));
        }
    }
    headers.end();
    req.end();

    let mut res = line.object("res");
    res.number("statusCode", exchange.final_status().into());
    res.end();
    if let Some(error) = &exchange.error {
        let mut err = line.object("err");
        err.text("code", error.code);
        err.text("message", &error.message);
        err.end();
    }
    line.millis("latency", exchange.started.elapsed());
    line.millis("latencyToFirstByte", exchange.first_byte);
    let secure: &[u8] = if head.secure { b"true" } else { b"false" };
    line.name("secure").extend_from_slice(secure);
    let object_id = exchange.object_id.map(|id| id.to_string());
    line.optional("objectId", object_id.as_deref());
    let previous = exchange.previous_object_id.map(|id| id.to_string());
    line.optional("prevObjectId", previous.as_deref());
    if !exchange.sharks.is_empty() {
        let out = line.name("sharksContacted");
        out.push(b'[');
        for (at, shark) in exchange.sharks.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json::string(out, shark.as_str());
        }
        out.push(b']');
    }
    line.end();
    out
}

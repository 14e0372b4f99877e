//! A response before the headers that all responses share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    LAST_MODIFIED, RETRY_AFTER, SERVER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use libmanta::{ObjectId, Timestamp};
use md5::{Digest as _, Md5};

use crate::errors::{Answer, Error};
use crate::exchange::{Exchange, Head};
use crate::latin1;
use crate::response_body::{Content, ResponseBody};
use crate::server::Server;

pub(crate) static CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
static X_SERVER_NAME: HeaderName = HeaderName::from_static("x-server-name");

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// Without the headers that name the request: `/ping` and its like.
    bare: bool,
    close: bool,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, content: Content) -> Self {
        Self {
            status,
            headers: HeaderMap::with_capacity(16),
            content,
            bare: false,
            close: false,
        }
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::new(status, Content::Empty)
    }

    pub(crate) fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// A body in one piece, with its length and MD5.
    pub(crate) fn document(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        let body = body.into();
        let mut reply = Self::empty(status);
        reply.set(CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply.set(CONTENT_LENGTH, HeaderValue::from(body.len()));
        reply.set(CONTENT_MD5.clone(), base64_value(&Md5::digest(&body)));
        reply.content = Content::Full(body);
        reply
    }

    pub(crate) fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    /// Sets a header from stored text; text that cannot be a header is left out.
    pub(crate) fn set_text(&mut self, name: HeaderName, text: &str) {
        if let Some(value) = latin1::encode(text) {
            self.headers.insert(name, value);
        }
    }

    pub(crate) fn set_etag(&mut self, id: ObjectId) {
        self.set(ETAG, etag_value(id));
    }

    pub(crate) fn set_last_modified(&mut self, at: Timestamp) {
        self.set_text(LAST_MODIFIED, &at.to_http());
    }

    pub(crate) fn from_error(error: &Error, answer: &Answer) -> Self {
        let body = answer.body();
        let mut reply = Self::document(answer.status, "application/json", body);
        if let Some(seconds) = answer.retry_after {
            reply.set(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        match error {
            Error::MethodNotAllowed { allow, .. } => {
                reply.set(ALLOW, HeaderValue::from_static(allow));
            }
            Error::RangeNotSatisfiable { size_bytes } => {
                reply.set_text(CONTENT_RANGE, &format!("bytes */{size_bytes}"));
            }
            _ => {}
        }
        reply
    }

    /// Adds what every response has and hands over to the connection. `body_left`: the request has a body
    /// that was not read to its end, so nothing else can come over this connection.
    pub(crate) fn into_response(
        mut self,
        server: &Server,
        head: &Head,
        mut exchange: Box<Exchange>,
        body_left: bool,
    ) -> Response<ResponseBody> {
        if head.method == http::Method::HEAD {
            if self.status.is_client_error() || self.status.is_server_error() {
                for name in [&CONTENT_TYPE, &CONTENT_LENGTH, &CONTENT_MD5] {
                    self.headers.remove(name);
                }
            }
            self.content = Content::Empty;
        }
        if let Some(id) = exchange.existing_etag
            && !self.headers.contains_key(ETAG)
        {
            self.set_etag(id);
        }
        if let Some(at) = exchange.existing_mtime
            && !self.headers.contains_key(LAST_MODIFIED)
        {
            self.set_last_modified(at);
        }
        exchange.answered(self.status.as_u16());
        self.set(SERVER, server.config.surface.server());
        if !self.bare {
            self.set(X_REQUEST_ID.clone(), exchange.request_id.clone());
            let millis = u64::try_from(exchange.first_byte.as_millis()).unwrap_or(u64::MAX);
            self.set(X_RESPONSE_TIME.clone(), HeaderValue::from(millis));
            self.set(X_SERVER_NAME.clone(), server.name.clone());
        }
        if body_left {
            exchange.linger();
        }
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.finish(exchange);
        }
        let close = body_left || self.close || server.is_draining() || client_wants_close(head);
        let connection = if close { "close" } else { "keep-alive" };
        self.set(CONNECTION, HeaderValue::from_static(connection));
        self.finish(exchange)
    }

    fn finish(self, exchange: Box<Exchange>) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::new(self.content, exchange));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A bare `curl -I` would otherwise wait for the connection to end.
fn client_wants_close(head: &Head) -> bool {
    let curl = head
        .headers
        .get(USER_AGENT)
        .is_some_and(|ua| ua.as_bytes().starts_with(b"curl"));
    let mut says = head
        .headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii);
    let keeps = |option: &[u8]| option.eq_ignore_ascii_case(b"keep-alive");
    if head.version == Version::HTTP_11 {
        curl || says.any(|option| option.eq_ignore_ascii_case(b"close"))
    } else {
        curl || !says.any(keeps)
    }
}

pub(crate) fn etag_value(id: ObjectId) -> HeaderValue {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = id.as_uuid().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(crate) fn base64_value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_str(&STANDARD.encode(bytes)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

//! One request and its response, from the first look to the last byte: what it was, what it touched, how
//! it ended. When it is dropped it is counted and written to the audit, whatever became of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use libmanta::{Entry, ObjectId, StorageId, Timestamp};
use tokio::time::Instant;

use crate::audit;
use crate::client_stream::ConnectionState;
use crate::config::Surface;
use crate::errors::Answer;
use crate::latin1;
use crate::operation::Operation;
use crate::path::RequestPath;
use crate::query::Query;
use crate::server::Server;

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) path: RequestPath,
    pub(crate) query: Query,
    pub(crate) remote: SocketAddr,
    /// Where it began, as far as proxies that we know can tell.
    pub(crate) client: IpAddr,
    /// Nobody can listen in.
    pub(crate) secure: bool,
}

impl Head {
    pub(crate) fn new(parts: http::request::Parts, remote: SocketAddr) -> Self {
        Self {
            path: RequestPath::clean(parts.uri.path()),
            query: Query::parse(parts.uri.query()),
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            remote,
            client: remote.ip(),
            secure: true,
        }
    }

    /// A header as text, several of one name joined.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        latin1::get(&self.headers, name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// Path and query as sent.
    pub(crate) fn target(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }
}

/// How far the response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No status yet.
    Working,
    Sending,
    Complete,
    /// We could not go on.
    CutShort,
}

pub(crate) struct Exchange {
    server: Arc<Server>,
    connection: Arc<ConnectionState>,
    pub(crate) head: Arc<Head>,
    pub(crate) request_id: HeaderValue,
    pub(crate) operation: Operation,
    /// The answer is a listing.
    pub(crate) lists: bool,
    pub(crate) started: Instant,
    pub(crate) caller: Option<String>,
    pub(crate) owner: Option<String>,
    /// Etag and time of the entry as it was before the request; on every answer from its lookup on.
    pub(crate) existing_etag: Option<ObjectId>,
    pub(crate) existing_mtime: Option<Timestamp>,
    pub(crate) object_id: Option<ObjectId>,
    pub(crate) previous_object_id: Option<ObjectId>,
    pub(crate) sharks: Vec<StorageId>,
    pub(crate) error: Option<Answer>,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) status: u16,
    pub(crate) first_byte: Duration,
    pub(crate) progress: Progress,
}

impl Exchange {
    pub(crate) fn new(
        server: Arc<Server>,
        connection: Arc<ConnectionState>,
        head: Arc<Head>,
    ) -> Self {
        connection.requests.fetch_add(1, Release);
        connection.busy.store(true, Release);
        Self {
            request_id: request_id(&head.headers, server.config.surface),
            server,
            connection,
            head,
            operation: Operation::Unrouted,
            lists: false,
            started: Instant::now(),
            caller: None,
            owner: None,
            existing_etag: None,
            existing_mtime: None,
            object_id: None,
            previous_object_id: None,
            sharks: Vec::new(),
            error: None,
            received_bytes: 0,
            sent_bytes: 0,
            status: 0,
            first_byte: Duration::ZERO,
            progress: Progress::Working,
        }
    }

    /// Remembers what was there before the request, for the headers of its answer.
    pub(crate) fn found(&mut self, entry: Option<&Entry>) {
        self.existing_etag = entry.and_then(Entry::object).map(|object| object.object_id);
        self.existing_mtime = entry.map(|entry| entry.mtime);
    }

    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
        self.first_byte = self.started.elapsed();
        self.progress = Progress::Sending;
    }

    /// The socket goes on reading after the response is out.
    pub(crate) fn linger(&self) {
        self.connection.linger.store(true, Release);
    }

    /// The socket is the session's from here on, which has its own patience.
    pub(crate) fn upgraded(&self) {
        self.connection.upgraded.store(true, Release);
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    pub(crate) fn sent_everything(&mut self) {
        self.progress = Progress::Complete;
    }

    pub(crate) fn cut_short(&mut self) {
        self.progress = Progress::CutShort;
    }

    /// What this costs: `GET`, `LIST`, `HEAD`, `PUT`, `DELETE`, `POST`.
    pub(crate) fn billable(&self) -> &str {
        if self.lists {
            "LIST"
        } else {
            self.head.method.as_str()
        }
    }

    /// The status for the records: also says that the client left, or that we failed too late to say so.
    pub(crate) fn final_status(&self) -> u16 {
        match self.progress {
            Progress::Working => 499,
            // A client may close once it has the head of an answer that it will not read to the end.
            Progress::Sending if self.status < 400 => 499,
            Progress::CutShort => 597,
            Progress::Sending | Progress::Complete => self.status,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let metrics = &self.server.metrics;
        let status = self.final_status();
        metrics.completed(self.operation, self.billable(), status, self.first_byte);
        metrics
            .inbound_bytes
            .fetch_add(self.received_bytes, Relaxed);
        metrics.outbound_bytes.fetch_add(self.sent_bytes, Relaxed);
        audit::write(self);
        self.connection.busy.store(false, Release);
    }
}

/// The client's own id where it is a plain word, else a fresh one; always a fresh one where the second
/// version is asked for.
fn request_id(headers: &HeaderMap, surface: Surface) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        (1..=128).contains(&value.len())
            && value
                .as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
    };
    let sent = match surface {
        Surface::Manta => headers
            .get("x-request-id")
            .or_else(|| headers.get("request-id")),
        Surface::Manta2 => None,
    };
    if let Some(id) = sent.filter(plain) {
        return id.clone();
    }
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

//! HTTP by hand: what goes over the wire is what the test wrote, also when it is wrong.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libmanta::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::store::User;

/// Nothing here takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Sized(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

pub(crate) fn http_date(offset_secs: i64) -> String {
    let now = SystemTime::now();
    let shift = Duration::from_secs(offset_secs.unsigned_abs());
    let at = if offset_secs < 0 {
        now - shift
    } else {
        now + shift
    };
    Timestamp::from_system(at).to_http()
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let headers = vec![("host".to_owned(), "localhost".to_owned())];
        Self {
            method: method.into(),
            path: path.into(),
            headers,
            body: Body::None,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.headers.retain(|(name, _)| name != "host");
        self.header("host", host)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Sized(body.into());
        self
    }

    pub(crate) fn chunked(mut self, chunks: &[&[u8]]) -> Self {
        self.body = Body::Chunked(chunks.iter().map(|chunk| chunk.to_vec()).collect());
        self
    }

    pub(crate) fn signed_by(self, user: &User) -> Self {
        self.signed_at(user, &http_date(0))
    }

    pub(crate) fn signed_at(self, user: &User, date: &str) -> Self {
        let algorithm = user.key.public().default_algorithm();
        let signature = user
            .key
            .sign(algorithm, format!("date: {date}").as_bytes())
            .unwrap();
        let signature = STANDARD.encode(signature);
        let key_id = user.key_id();
        self.header("date", date).header(
            "authorization",
            format!(
                "Signature keyId=\"{key_id}\",algorithm=\"{algorithm}\",signature=\"{signature}\""
            ),
        )
    }

    /// The head as bytes, with the framing of the body.
    pub(crate) fn head_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::None => {}
            Body::Sized(body) => head.push_str(&format!("content-length: {}\r\n", body.len())),
            Body::Chunked(_) => head.push_str("transfer-encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        // Characters up to U+00FF stand for bytes.
        head.chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect()
    }

    pub(crate) fn body_bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Sized(body) => body.clone(),
            Body::Chunked(chunks) => {
                let mut bytes = Vec::new();
                for chunk in chunks {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
                bytes
            }
        }
    }

    /// Over a connection of its own. Whatever comes back says when, who and which, and for which request.
    pub(crate) async fn send(&self, address: SocketAddr) -> Response {
        let response = Connection::open(address).await.exchange(self).await;
        // What machines ask for, and what could not be read as HTTP, is answered in short.
        let short = ["/ping", "/metrics"].contains(&self.path.as_str())
            || (response.status == 400 && response.body.is_empty());
        for name in ["date", "server", "x-request-id", "x-server-name"] {
            let (method, path) = (&self.method, &self.path);
            let there = short || response.get(name).is_some();
            assert!(there, "{method} {path}: no {name} in {response:?}");
        }
        response
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffered: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffered: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn exchange(&mut self, request: &Request) -> Response {
        let mut bytes = request.head_bytes();
        bytes.extend_from_slice(&request.body_bytes());
        // The answer to a refused upload may come before everything is written.
        let (mut reader, mut writer) = self.stream.split();
        let write = async {
            let _ = writer.write_all(&bytes).await;
        };
        let head_only = request.method == "HEAD";
        let buffered = &mut self.buffered;
        let read = tokio::time::timeout(PATIENCE, read_response(&mut reader, buffered, head_only));
        let (response, ()) = tokio::join!(read, write);
        response.expect("no answer in time")
    }

    /// The connection, and what has come over it already.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffered)
    }

    pub(crate) async fn read_response(&mut self) -> Response {
        let read = read_response(&mut self.stream, &mut self.buffered, false);
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("no answer in time")
    }

    /// Everything until the server closes; whether it closed in good order.
    pub(crate) async fn read_to_end(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = std::mem::take(&mut self.buffered);
        let read = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await;
        let orderly = read.expect("the server does not close").is_ok();
        (bytes, orderly)
    }
}

async fn read_response(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    buffered: &mut Vec<u8>,
    head_only: bool,
) -> Response {
    let mut response = Response {
        raw: std::mem::take(buffered),
        ..Response::default()
    };
    loop {
        match response.parse(head_only) {
            Parsed::Complete(used) => {
                *buffered = response.raw.split_off(used);
                return response;
            }
            Parsed::Partial => {}
        }
        let mut piece = vec![0; 64 << 10];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => {
                response.cut = true;
                return response;
            }
            Ok(n) => response.raw.extend_from_slice(&piece[..n]),
        }
    }
}

enum Parsed {
    Complete(usize),
    Partial,
}

#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection ended before the response did.
    pub(crate) cut: bool,
    raw: Vec<u8>,
}

impl Response {
    fn parse(&mut self, head_only: bool) -> Parsed {
        let Some(end) = self.raw.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Parsed::Partial;
        };
        let head: String = self.raw[..end].iter().map(|b| char::from(*b)).collect();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        self.status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        self.headers = lines
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let start = end + 4;
        if head_only || matches!(self.status, 100 | 101 | 204 | 304) {
            self.body.clear();
            return Parsed::Complete(start);
        }
        if let Some(length) = self.get("content-length") {
            let length: usize = length.parse().unwrap();
            if self.raw.len() < start + length {
                self.body = self.raw[start..].to_vec();
                return Parsed::Partial;
            }
            self.body = self.raw[start..start + length].to_vec();
            return Parsed::Complete(start + length);
        }
        self.body.clear();
        let mut at = start;
        loop {
            let Some(line) = self.raw[at..].windows(2).position(|w| w == b"\r\n") else {
                return Parsed::Partial;
            };
            let size = std::str::from_utf8(&self.raw[at..at + line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let data = at + line + 2;
            if self.raw.len() < data + size + 2 {
                return Parsed::Partial;
            }
            self.body.extend_from_slice(&self.raw[data..data + size]);
            at = data + size + 2;
            if size == 0 {
                return Parsed::Complete(at);
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} {:?}", self.text(), self.headers);
        self
    }

    /// A refusal, with everything that belongs to one.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str, message: &str) -> Self {
        let expected = serde_json::json!({"code": code, "message": message}).to_string();
        assert_eq!(
            (self.status, self.text().as_str()),
            (status, expected.as_str())
        );
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("content-length"), expected.len().to_string());
        use md5::Digest as _;
        let md5 = STANDARD.encode(md5::Md5::digest(expected.as_bytes()));
        assert_eq!(self.header("content-md5"), md5);
        self
    }

    /// What every response must have.
    #[track_caller]
    pub(crate) fn complete(self) -> Self {
        for name in ["date", "x-request-id", "x-response-time", "connection"] {
            self.header(name);
        }
        assert_eq!(self.header("server"), "Manta");
        assert_eq!(self.header("x-server-name"), "front.test");
        self
    }

    /// Of a refusal.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["code"].as_str().unwrap().to_owned()
    }

    /// Lines of a body, as JSON.
    pub(crate) fn rows(&self) -> Vec<serde_json::Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.rows()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

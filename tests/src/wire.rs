//! HTTP as bytes: a small client that sends what it is told, also what no decent client would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Signer;

/// Beyond this a server that says nothing is taken to hang. Well above its own limits.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request; signed unless said otherwise.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    length: Option<u64>,
    signed: bool,
}

impl Request {
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            length: None,
            signed: true,
        }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.length = Some(self.body.len() as u64);
        self
    }

    /// Announces another length than that of the body.
    #[must_use]
    pub fn claiming(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }

    /// What goes over the wire.
    #[must_use]
    pub fn bytes(&self, signer: Option<&Signer>) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            head += "host: store\r\n";
        }
        if let (true, Some(signer)) = (self.signed, signer) {
            for (name, value) in signer.headers() {
                head += &format!("{name}: {value}\r\n");
            }
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = self.length {
            head += &format!("content-length: {length}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An answer, complete.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error code of the body; empty when there is none.
    #[must_use]
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless the answer has this status.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "expected {status}, got {}: {}",
            self.status,
            self.text()
        );
        Ok(self)
    }

    /// Fails unless the answer is this error, with a JSON body of exactly two keys.
    pub fn expect_error(self, status: u16, code: &str) -> Result<Self> {
        let response = self.expect(status)?;
        let body: Value = serde_json::from_slice(&response.body)
            .with_context(|| format!("understand the error {:?}", response.text()))?;
        let keys: Vec<&String> = body
            .as_object()
            .into_iter()
            .flat_map(|o| o.keys())
            .collect();
        ensure!(
            keys == ["code", "message"],
            "an error has a code and a message, not {keys:?}"
        );
        ensure!(
            body["code"] == code,
            "expected {code}, got {}",
            response.text()
        );
        Ok(response)
    }
}

/// One connection. Not signed, not repeated, not looked at: bytes out, answers in.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::with_capacity(256 * 1024, stream),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("send")
    }

    /// Says that nothing more will be sent.
    pub fn end_of_sending(&self) -> Result<()> {
        self.stream
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .context("end sending")
    }

    /// The next answer to a request of this method, interim ones included.
    pub fn receive(&mut self, method: &str) -> Result<Response> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .with_context(|| format!("understand the status line {status_line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("understand the header {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let bodiless = method == "HEAD" || status / 100 == 1 || status == 204 || status == 304;
        if !bodiless {
            response.body = self.body(&response)?;
        }
        Ok(response)
    }

    /// Whether the server has closed the connection; waits for that or for another byte.
    pub fn is_closed(&mut self) -> Result<bool> {
        match self.stream.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error).context("wait for the end"),
        }
    }

    fn body(&mut self, response: &Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if response
            .header("transfer-encoding")
            .is_some_and(|coding| coding.contains("chunked"))
        {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
                    .with_context(|| format!("understand the chunk size {line:?}"))?;
                let start = body.len();
                body.resize(start + size, 0);
                self.stream
                    .read_exact(&mut body[start..])
                    .context("read a chunk")?;
                let end = self.line()?;
                ensure!(
                    end.is_empty(),
                    "a chunk must end with an empty line, not {end:?}"
                );
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match response.header("content-length") {
            Some(length) => {
                body.resize(length.parse().context("understand the length")?, 0);
                self.stream.read_exact(&mut body).context("read the body")?;
            }
            None => {
                self.stream
                    .read_to_end(&mut body)
                    .context("read the body to its end")?;
            }
        }
        Ok(body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.stream
            .read_until(b'\n', &mut line)
            .context("read a line of the answer")?;
        if !line.ends_with(b"\r\n") {
            bail!(
                "the connection ended within {:?}",
                String::from_utf8_lossy(&line)
            );
        }
        line.truncate(line.len() - 2);
        // Header values are bytes; anything beyond ASCII is kept recognisable, not exact.
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// A client with one connection that it keeps, and a key to sign with.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    signer: Option<Signer>,
    connection: Option<Connection>,
}

impl Client {
    #[must_use]
    pub fn new(address: SocketAddr, signer: Option<Signer>) -> Self {
        Self {
            address,
            signer,
            connection: None,
        }
    }

    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and waits for its final answer. Nothing is tried twice; after a failure the next
    /// call uses a new connection.
    pub fn call(&mut self, request: &Request) -> Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address)?,
        };
        connection.send(&request.bytes(self.signer.as_ref()))?;
        let mut response = connection.receive(&request.method)?;
        while response.status == 100 {
            response = connection.receive(&request.method)?;
        }
        if response
            .header("connection")
            .is_none_or(|value| !value.eq_ignore_ascii_case("close"))
        {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.call(&Request::new("GET", path))
    }

    pub fn head(&mut self, path: &str) -> Result<Response> {
        self.call(&Request::new("HEAD", path))
    }

    pub fn put(&mut self, path: &str, body: impl Into<Vec<u8>>) -> Result<Response> {
        self.call(&Request::new("PUT", path).body(body))
    }

    pub fn delete(&mut self, path: &str) -> Result<Response> {
        self.call(&Request::new("DELETE", path))
    }

    pub fn mkdir(&mut self, path: &str) -> Result<Response> {
        let request =
            Request::new("PUT", path).header("content-type", "application/json; type=directory");
        self.call(&request.claiming(0))
    }

    /// The rows of all objects in a tree.
    pub fn objects_below(&mut self, path: &str) -> Result<Vec<Value>> {
        let rows = self.get(&format!("{path}?recursive=true&type=o"))?;
        let rows = rows.expect(200)?.text();
        rows.lines()
            .map(|row| serde_json::from_str(row).context("understand a row"))
            .collect()
    }

    /// Names in a directory, all of them, in order.
    pub fn names(&mut self, path: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let marker = names.last().map(|name| format!("&marker={}", escape(name)));
            let target = format!("{path}?limit=1024{}", marker.unwrap_or_default());
            let page = self.get(&target)?.expect(200)?;
            let mut rows = Vec::new();
            for line in page.text().lines() {
                let row: Value = serde_json::from_str(line).context("understand a listing")?;
                rows.push(row["name"].as_str().context("a row has a name")?.to_owned());
            }
            let full = rows.len() == 1024;
            let repeated = usize::from(names.last().is_some_and(|last| rows.first() == Some(last)));
            names.extend(rows.drain(repeated..));
            if !full {
                return Ok(names);
            }
        }
    }
}

/// Percent-encodes everything but what needs it in no place.
#[must_use]
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

//! One HTTP/1.1 connection: a request out, its answer in, and again.
//!
//! Surprise: written by hand instead of taken from a library. The load generator shares its cores with the
//! store, and what it costs is missing there: a request is one `write`, an answer usually one `read`, and of
//! its head nothing is looked at but the status and where the body ends.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::signer::Signer;

/// Room for a small answer; grows for larger ones.
const BUFFER_BYTES: usize = 64 << 10;
/// No head of an answer is longer.
const HEAD_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
    /// How much of `input` has been received.
    filled: usize,
    /// The body of a chunked answer, put together.
    joined: Vec<u8>,
}

/// A request but for what signs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Path and query, escaped where needed.
    pub(crate) target: &'a str,
    pub(crate) content_type: Option<&'a str>,
    /// What is to be linked or renamed.
    pub(crate) location: Option<&'a str>,
    /// With the header; otherwise the target itself is.
    pub(crate) is_signed: bool,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: &'a str, target: &'a str) -> Self {
        Self {
            method,
            target,
            content_type: None,
            location: None,
            is_signed: true,
            body: b"",
        }
    }

    pub(crate) fn body(self, content_type: Option<&'a str>, body: &'a [u8]) -> Self {
        Self {
            content_type,
            body,
            ..self
        }
    }

    /// Appends the head for a body of `length` bytes.
    pub(crate) fn write_head(
        &self,
        signer: &Signer,
        length: u64,
        output: &mut Vec<u8>,
    ) -> Result<()> {
        for part in [
            self.method,
            " ",
            self.target,
            " HTTP/1.1\r\nhost: localhost\r\n",
        ] {
            output.extend_from_slice(part.as_bytes());
        }
        if self.is_signed {
            output.extend_from_slice(signer.lines()?.as_bytes());
        }
        if let Some(location) = self.location {
            output.extend_from_slice(format!("location: {location}\r\n").as_bytes());
        }
        if let Some(content_type) = self.content_type {
            output.extend_from_slice(format!("content-type: {content_type}\r\n").as_bytes());
        }
        if matches!(self.method, "PUT" | "POST") {
            output.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        output.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// An answer, complete; borrowed until the next request.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "expected {status}, the store answered {}: {}",
            self.status,
            String::from_utf8_lossy(self.body)
        );
        Ok(self)
    }

    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("send without delay")?;
        Ok(Self {
            stream,
            output: Vec::with_capacity(BUFFER_BYTES),
            input: vec![0; BUFFER_BYTES],
            filled: 0,
            joined: Vec::new(),
        })
    }

    /// Sends a request and waits for its answer. Nothing is tried twice. When dropped before its end, the
    /// connection is of no more use.
    pub(crate) async fn call(
        &mut self,
        signer: &Signer,
        request: &Request<'_>,
    ) -> Result<Answer<'_>> {
        self.output.clear();
        request.write_head(signer, request.body.len() as u64, &mut self.output)?;
        self.output.extend_from_slice(request.body);
        self.stream
            .write_all(&self.output)
            .await
            .context("send a request")?;
        self.receive(request.method == "HEAD")
            .await
            .with_context(|| format!("{} {}", request.method, request.target))
    }

    async fn receive(&mut self, to_head: bool) -> Result<Answer<'_>> {
        self.filled = 0;
        let mut searched = 0;
        let end = loop {
            self.fill().await?;
            if let Some(end) = find(&self.input[searched..self.filled], b"\r\n\r\n") {
                break searched + end + 4;
            }
            ensure!(
                self.filled < HEAD_BYTES_MAX,
                "the head of an answer is too long"
            );
            // The four bytes may have come in two parts.
            searched = self.filled.saturating_sub(3);
        };
        let head = Head::parse(&self.input[..end])?;
        let body = match head.framing {
            _ if to_head => end..end,
            Framing::Empty => end..end,
            Framing::Length(length) => {
                self.fill_to(end + length).await?;
                end..end + length
            }
            Framing::Chunked => return self.receive_chunks(head.status, end).await,
        };
        ensure!(
            self.filled == body.end,
            "the store sent more than an answer"
        );
        Ok(Answer {
            status: head.status,
            head: &self.input[..end],
            body: &self.input[body],
        })
    }

    async fn receive_chunks(&mut self, status: u16, head_end: usize) -> Result<Answer<'_>> {
        self.joined.clear();
        let mut at = head_end;
        loop {
            let line = self.line(at).await?;
            let size = chunk_size(&self.input[line.clone()])?;
            at = line.end + 2;
            if size == 0 {
                break;
            }
            self.fill_to(at + size + 2).await?;
            self.joined.extend_from_slice(&self.input[at..at + size]);
            ensure!(
                &self.input[at + size..at + size + 2] == b"\r\n",
                "a chunk has no end"
            );
            at += size + 2;
        }
        loop {
            let trailer = self.line(at).await?;
            at = trailer.end + 2;
            if trailer.is_empty() {
                break;
            }
        }
        ensure!(self.filled == at, "the store sent more than an answer");
        Ok(Answer {
            status,
            head: &self.input[..head_end],
            body: &self.joined,
        })
    }

    /// The line that begins at `start`, without its end; received if need be.
    async fn line(&mut self, start: usize) -> Result<Range<usize>> {
        loop {
            if let Some(length) = find(&self.input[start..self.filled], b"\r\n") {
                return Ok(start..start + length);
            }
            ensure!(self.filled - start < HEAD_BYTES_MAX, "a line is too long");
            self.fill().await?;
        }
    }

    async fn fill_to(&mut self, wanted: usize) -> Result<()> {
        if self.input.len() < wanted {
            self.input.resize(wanted.next_power_of_two(), 0);
        }
        while self.filled < wanted {
            self.fill().await?;
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        if self.filled == self.input.len() {
            self.input.resize(2 * self.input.len(), 0);
        }
        let read = self
            .stream
            .read(&mut self.input[self.filled..])
            .await
            .context("receive an answer")?;
        ensure!(read > 0, "the store closed the connection");
        self.filled += read;
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Empty,
    Length(usize),
    Chunked,
}

impl Head {
    /// Reads a head, the empty line included, of an answer. What it says of the body is not true of one to HEAD.
    pub(crate) fn parse(head: &[u8]) -> Result<Self> {
        let status = head
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
            .context("an answer has a status line")?;
        let framing = if status == 204 || status == 304 {
            Framing::Empty
        } else if let Some(length) = header(head, "content-length") {
            Framing::Length(length.parse().context("understand a length")?)
        } else if header(head, "transfer-encoding").is_some_and(|coding| coding == "chunked") {
            Framing::Chunked
        } else {
            bail!("an answer does not say how long it is");
        };
        ensure!(
            status >= 200,
            "the store sent an interim answer nobody asked for"
        );
        Ok(Self { status, framing })
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| std::str::from_utf8(value.trim_ascii()).ok())?
    })
}

fn chunk_size(line: &[u8]) -> Result<usize> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let size = std::str::from_utf8(size).context("understand the size of a chunk")?;
    usize::from_str_radix(size.trim(), 16).context("understand the size of a chunk")
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_end_of_a_body_is_found_in_the_head() {
        let parse = |head: &str| Head::parse(head.as_bytes()).unwrap();
        let length = parse("HTTP/1.1 200 OK\r\nx: 1\r\nContent-Length: 12\r\n\r\n");
        assert_eq!(
            length,
            Head {
                status: 200,
                framing: Framing::Length(12)
            }
        );
        let chunked = parse("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(chunked.framing, Framing::Chunked);
        assert_eq!(
            parse("HTTP/1.1 204 No Content\r\n\r\n").framing,
            Framing::Empty
        );
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 100 Continue\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(Head::parse(b"nonsense\r\n\r\n").is_err());
    }

    /// Answers one request with these parts, each sent on its own.
    async fn answered(parts: Vec<Vec<u8>>) -> Result<(u16, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                seen.push(byte[0]);
            }
            for part in parts {
                stream.write_all(&part)?;
                stream.flush()?;
            }
            Ok(())
        });
        let mut connection = Connection::open(address).await?;
        connection
            .stream
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .await?;
        let answer = connection
            .receive(false)
            .await
            .map(|answer| (answer.status, answer.body.to_vec()));
        server.join().expect("the server ends")?;
        answer
    }

    #[tokio::test]
    async fn chunks_are_put_together_however_they_arrive() {
        let body: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let mut whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(48_000) {
            whole.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
            whole.extend_from_slice(chunk);
            whole.extend_from_slice(b"\r\n");
        }
        whole.extend_from_slice(b"0\r\ntrailer: 1\r\n\r\n");
        for part in [7, 4096, whole.len()] {
            let parts = whole.chunks(part).map(<[u8]>::to_vec).collect();
            assert_eq!(
                answered(parts).await.unwrap(),
                (200, body.clone()),
                "parts of {part}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_or_late_is_an_error() {
        let early = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc".to_vec();
        assert!(answered(vec![early]).await.is_err());
        let late = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc".to_vec();
        assert!(answered(vec![late]).await.is_err());
        let right = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc".to_vec();
        assert_eq!(answered(vec![right]).await.unwrap(), (200, b"abc".to_vec()));
    }
}

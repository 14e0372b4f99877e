//! The names of a job's inputs, as they arrive: one on each line, as many as there are, handed on in
//! batches. A name counts once its batch was accepted, also if a later one is refused.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use libmanta::JobId;

use crate::errors::{Error, Result};
use crate::request_body::RequestBody;
use crate::storage::Request;

/// Names in one batch. The port promises nothing for more.
const BATCH_MAX: usize = 1000;

/// Far beyond every name that exists; a line that never ends must not fill the memory.
const NAME_BYTES_MAX: usize = 16 << 10;

/// With `ends` the last batch, which may be empty, ends the input.
pub(crate) async fn add(
    request: &Request<'_>,
    id: JobId,
    body: &mut RequestBody,
    ends: bool,
) -> Result<()> {
    body.without_stall_limit();
    // The state is checked also when nothing comes.
    let mut sent_any = false;
    let mut lines = Lines::default();
    loop {
        // What is there goes out together; what is not there yet is not waited for.
        let next = match body.next().now_or_never() {
            Some(next) => next?,
            None => {
                while lines.has_any() {
                    sent_any = true;
                    send(request, id, lines.batch(), false).await?;
                }
                body.next().await?
            }
        };
        let Some(bytes) = next else { break };
        lines.push(&bytes)?;
        while lines.has_batch() {
            sent_any = true;
            send(request, id, lines.batch(), false).await?;
        }
    }
    lines.end();
    let mut left = ends || !sent_any || lines.has_any();
    while left {
        let names = lines.batch();
        left = lines.has_any();
        send(request, id, names, ends && !left).await?;
    }
    Ok(())
}

async fn send(request: &Request<'_>, id: JobId, names: Vec<String>, last: bool) -> Result<()> {
    let (server, head, owner) = (
        request.server.clone(),
        request.head.clone(),
        request.owner.id,
    );
    let add = async move {
        let added = server.jobs.add_inputs(owner, id, names, last).await;
        added.map_err(|error| Error::from_job(error, &head.path))
    };
    request.server.to_the_end(add).await
}

/// Cuts bytes into lines, whatever way they arrive.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
    complete: VecDeque<String>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let mut pieces = bytes
            .split(|byte| *byte == b'\n' || *byte == b'\r')
            .peekable();
        while let Some(piece) = pieces.next() {
            if self.begun.len() + piece.len() > NAME_BYTES_MAX {
                return Err(Error::InputNameTooLong {
                    limit: NAME_BYTES_MAX,
                });
            }
            self.begun.extend_from_slice(piece);
            if pieces.peek().is_some() {
                self.end();
            }
        }
        Ok(())
    }

    /// The line that has begun is complete. Empty ones do not count.
    fn end(&mut self) {
        if !self.begun.is_empty() {
            let line = String::from_utf8_lossy(&self.begun).into_owned();
            self.complete.push_back(line);
            self.begun.clear();
        }
    }

    fn has_any(&self) -> bool {
        !self.complete.is_empty()
    }

    fn has_batch(&self) -> bool {
        self.complete.len() >= BATCH_MAX
    }

    fn batch(&mut self) -> Vec<String> {
        let count = self.complete.len().min(BATCH_MAX);
        self.complete.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece.as_bytes()).unwrap();
        }
        lines.end();
        lines.batch()
    }

    #[test]
    fn lines_end_in_any_way_and_arrive_in_any_pieces() {
        assert_eq!(lines(&["/a\r\n/b\n\n/c"]), ["/a", "/b", "/c"]);
        assert_eq!(lines(&["/a\r", "\n/b", "c", "\r\n"]), ["/a", "/bc"]);
        assert_eq!(lines(&["", "\n", "\r\n"]), [""; 0]);
        assert_eq!(lines(&["\u{e9}"]), ["\u{e9}"]);
    }

    #[test]
    fn batches_are_bounded_and_so_are_names() {
        let mut lines = Lines::default();
        lines.push("/x\n".repeat(2500).as_bytes()).unwrap();
        assert_eq!(
            [
                lines.batch().len(),
                lines.batch().len(),
                lines.batch().len()
            ],
            [1000, 1000, 500]
        );
        lines.push(&[b'x'; NAME_BYTES_MAX]).unwrap();
        assert!(lines.push(b"x").is_err());
    }
}

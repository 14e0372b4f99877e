//! Answers that are read line by line.

use bytes::{Buf as _, BytesMut};

use crate::body::Body;
use crate::error::Error;

/// Longer than any entry or error record; what goes beyond is no list.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The lines of a body. Empty lines are left out, `\r\n` ends a line as `\n` does, and so does the end.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    ended: bool,
}

impl Lines {
    #[must_use]
    pub fn new(body: Body) -> Lines {
        Lines {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
        }
    }

    /// The next line without its end, or `None` after the last.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            while let Some(line) = self.take_line() {
                if !line.is_empty() {
                    let line = String::from_utf8(line.to_vec());
                    let line = line.map_err(|_| Error::Malformed("a line is not UTF-8".into()))?;
                    return Ok(Some(line));
                }
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.ended = true,
            }
            if self.buffer.len() > LINE_BYTES_MAX && self.searched == self.buffer.len() {
                return Err(Error::Malformed("a line is too long".into()));
            }
        }
    }

    fn take_line(&mut self) -> Option<BytesMut> {
        let found = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let mut line = match found {
            Some(offset) => {
                let line = self.buffer.split_to(self.searched + offset);
                self.buffer.advance(1);
                line
            }
            None if self.ended && !self.buffer.is_empty() => self.buffer.split(),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }
}

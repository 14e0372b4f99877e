//! Storing a file through the local Manta. Whatever is uploaded lies in a file first, because an upload may
//! have to be repeated.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio_util::io::ReaderStream;

use crate::front_door::{FrontDoor, FrontDoorError, empty, encode_path};

/// Source: marlin.md section 9.2.
const ATTEMPTS: u32 = 3;
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) type Header = (HeaderName, HeaderValue);

/// How a file is to be stored.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// The whole name.
    pub(super) object: String,
    /// Whether missing directories above it are made.
    pub(super) parents: bool,
    pub(super) headers: Vec<Header>,
}

impl Upload {
    /// Makes the object an output of the task, for that reducer of the next phase if there is one.
    pub(super) fn emit(&mut self, reducer: Option<u32>) {
        let stream = HeaderName::from_static("x-manta-stream");
        self.headers
            .push((stream, HeaderValue::from_static("stdout")));
        if let Some(reducer) = reducer {
            let name = HeaderName::from_static("x-manta-reducer");
            self.headers.push((name, reducer.into()));
        }
    }

    /// Stores the file, in as many attempts as it is worth. The error is that of the last one.
    pub(super) async fn store(&self, manta: &FrontDoor, file: &Path) -> Result<(), FrontDoorError> {
        let mut attempt = 1;
        loop {
            match self.attempt(manta, file).await {
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
            tokio::time::sleep(Duration::from_millis(rand::random_range(1000..3000))).await;
        }
    }

    async fn attempt(&self, manta: &FrontDoor, file: &Path) -> Result<(), FrontDoorError> {
        match self.put(manta, file).await {
            Err(error) if error.is_missing_directory() && self.parents => {
                make_parents(manta, &self.object).await?;
                self.put(manta, file).await
            }
            result => result,
        }
    }

    async fn put(&self, manta: &FrontDoor, file: &Path) -> Result<(), FrontDoorError> {
        let local = |error: io::Error| FrontDoorError::Transport(error.into());
        let file = tokio::fs::File::open(file).await.map_err(local)?;
        let size = file.metadata().await.map_err(local)?.len();
        let mut request = manta
            .request(Method::PUT, &encode_path(&self.object), None)
            .header(CONTENT_LENGTH, size);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES);
        let frames = chunks.map_ok(Frame::data).map_err(Into::into);
        let body = StreamBody::new(frames).boxed_unsync();
        manta.call(request, body).await.map(drop)
    }
}

/// Makes every directory above the object that can be made; the areas of an account always exist.
async fn make_parents(manta: &FrontDoor, object: &str) -> Result<(), FrontDoorError> {
    let ends = object.match_indices('/').map(|(at, _)| at).skip(3);
    for end in ends {
        let directory = object.get(..end).unwrap_or_default();
        let request = manta
            .request(Method::PUT, &encode_path(directory), None)
            .header(CONTENT_TYPE, "application/json; type=directory")
            .header(CONTENT_LENGTH, 0);
        manta.call(request, empty()).await?;
    }
    Ok(())
}

/// The value of an option `-H`: what is before the first colon, and what is behind it, without one space.
pub(super) fn parse_header(text: &str) -> Result<Header, String> {
    let bad = || format!("not a header: \"{text}\"");
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?;
    Ok((name, value))
}

/// A file of this process among those of all tools, gone when it is dropped.
#[derive(Debug)]
pub(super) struct Staging(PathBuf);

impl Staging {
    /// An empty file. `suffix` tells those of one tool apart.
    pub(super) fn create(tool: &str, suffix: &str) -> io::Result<(Self, File)> {
        let path = PathBuf::from(format!("/var/tmp/{tool}.{}{suffix}", std::process::id()));
        // What a process of the same number left when it was killed is nobody's any more.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::create_new(&path)?;
        Ok((Self(path), file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // A zone is reset in the end, so nothing depends on it.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_at_the_first_colon() {
        for (text, name, value) in [
            ("a:b:c", "a", "b:c"),
            ("d: e:f", "d", "e:f"),
            ("g:h: i", "g", "h: i"),
            ("m-A:", "m-a", ""),
        ] {
            let header = parse_header(text).unwrap();
            assert_eq!(
                (header.0.as_str(), header.1.as_bytes()),
                (name, value.as_bytes())
            );
        }
        for bad in ["", "a", ":b", "a b:c", "a:b\nc"] {
            assert!(parse_header(bad).is_err(), "{bad}");
        }
    }
}

//! What all uploads share: patience with a server that is busy, the media type, and the digest of a file.

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName};
use manta_client::{Client, Error, MissingDirectories, Payload, PutOptions};
use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::ReaderStream;

use super::progress::Meter;

/// A file can be read again, so its upload is worth some patience.
pub(super) const RETRIES: u32 = 3;
const RETRY_DELAY_MIN: Duration = Duration::from_secs(1);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 * 1024;

/// Repeats an upload whose failure may have been a matter of the moment.
pub(super) async fn patiently<T>(
    retries: u32,
    mut attempt: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut failures = 0;
    loop {
        let error = match attempt().await {
            Err(error) if failures < retries => error,
            outcome => return outcome,
        };
        let Some(pause) = pause_after(&error, failures) else {
            return Err(error);
        };
        failures += 1;
        tracing::debug!(%error, failures, "upload failed, will try again");
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait before the next try, after so many others; `None` where it would fail as well.
fn pause_after(error: &Error, failures: u32) -> Option<Duration> {
    let asked = match error {
        Error::Reply(reply) => reply.retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let doubled = RETRY_DELAY_MIN.saturating_mul(2_u32.saturating_pow(failures));
    is_worth_retrying(error).then(|| doubled.max(asked).min(RETRY_DELAY_MAX))
}

/// The server refusing is an answer; a server that could not, or a broken connection, may do better.
fn is_worth_retrying(error: &Error) -> bool {
    match error {
        Error::Reply(reply) => reply.status.is_server_error(),
        Error::Connect { .. } | Error::Broken(_) => true,
        _ => false,
    }
}

/// Stores a file under `path`, as long as it is when it is opened.
pub(super) async fn put_file(
    client: &Client,
    path: &str,
    file: &Path,
    options: &PutOptions,
    meter: &Meter,
) -> Result<(), Error> {
    patiently(RETRIES, async || {
        put_file_once(client, path, file, options, meter).await
    })
    .await
}

/// The same into a tree whose directories may be missing.
pub(super) async fn put_file_into(
    client: &Client,
    directories: &MissingDirectories,
    path: &str,
    file: &Path,
    options: &PutOptions,
    meter: &Meter,
) -> Result<(), Error> {
    let put = async || put_file_once(client, path, file, options, meter).await;
    patiently(RETRIES, async || {
        making_directory(directories, path, &put).await
    })
    .await
}

/// Does it again with the directory made, if that was missing.
pub(super) async fn making_directory(
    directories: &MissingDirectories,
    path: &str,
    put: impl AsyncFn() -> Result<(), Error>,
) -> Result<(), Error> {
    match put().await {
        Err(error) if error.is_code("DirectoryDoesNotExist") => {
            directories.make(parent_of(path)).await?;
            put().await
        }
        other => other,
    }
}

async fn put_file_once(
    client: &Client,
    path: &str,
    file: &Path,
    options: &PutOptions,
    meter: &Meter,
) -> Result<(), Error> {
    let source = tokio::fs::File::open(file).await.map_err(Error::Source)?;
    let size = source.metadata().await.map_err(Error::Source)?.len();
    let payload = counted(source.take(size), path, Some(size), meter);
    client.put(path, payload, options.clone()).await.map(drop)
}

/// New directories are tagged as the objects in them, or those who may read these could not list them.
pub(super) fn role_tag_of(headers: &HeaderMap) -> HeaderMap {
    let name = HeaderName::from_static("role-tag");
    let tag = headers.get(&name).cloned();
    tag.into_iter().map(|tag| (name.clone(), tag)).collect()
}

pub(super) fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(parent, _)| parent)
}

/// The bytes of a source, counted as they go.
pub(super) fn counted(
    source: impl AsyncRead + Send + 'static,
    path: &str,
    size: Option<u64>,
    meter: &Meter,
) -> Payload {
    let mut count = meter.start(path, size);
    let stream = ReaderStream::with_capacity(source, READ_BYTES);
    let stream = stream.inspect(move |chunk| match chunk {
        Ok(chunk) => count.advance(chunk.len()),
        Err(_) => count.finish(),
    });
    Payload::stream(stream, size)
}

/// The media type that the name of the target suggests.
pub(super) fn content_type(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match mime_guess::from_path(name).first_raw() {
        Some(kind) => kind.to_owned(),
        None => std::env::var("MANTA_DEFAULT_CONTENT_TYPE")
            .ok()
            .filter(|kind| !kind.is_empty())
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
    }
}

/// Base64 of the MD5 of a file, as the server writes it.
pub(super) async fn digest_of(file: &Path) -> Result<String, io::Error> {
    let file = file.to_owned();
    // Hashing is work for the processor, and must not stop the transfers.
    let digest = tokio::task::spawn_blocking(move || {
        let (_, digest) = digest_of_reader(std::fs::File::open(file)?)?;
        Ok(digest)
    });
    digest.await.map_err(io::Error::other)?
}

/// The length of what is read, and base64 of its MD5. Blocks.
pub(super) fn digest_of_reader(mut source: impl io::Read) -> io::Result<(u64, String)> {
    let mut digest = Md5::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok((bytes, STANDARD.encode(digest.finalize()))),
            count => {
                digest.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use manta_client::ErrorReply;

    use super::*;

    #[test]
    fn the_targets_extension_says_the_type() {
        assert_eq!(content_type("/a/stor/x.txt"), "text/plain");
        assert_eq!(content_type("/a/stor/x.JSON"), "application/json");
        assert_eq!(content_type("/a/stor.txt/x"), "application/octet-stream");
    }

    fn refusal(status: StatusCode, retry_after: Option<u64>) -> Error {
        Error::Reply(Box::new(ErrorReply {
            method: Method::PUT,
            target: "/a/stor/x".into(),
            status,
            code: "X".into(),
            message: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }))
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let pause = |error: &Error, failures| pause_after(error, failures).map(|d| d.as_secs());
        let busy = refusal(StatusCode::SERVICE_UNAVAILABLE, None);
        assert_eq!(
            [0, 1, 2, 3, 4, 40].map(|failures| pause(&busy, failures)),
            [1, 2, 4, 8, 10, 10].map(Some)
        );
        for (asked, waited) in [(5, 5), (3600, 10)] {
            let busy = refusal(StatusCode::SERVICE_UNAVAILABLE, Some(asked));
            assert_eq!(pause(&busy, 0), Some(waited));
        }
        for status in [StatusCode::PRECONDITION_FAILED, StatusCode::FORBIDDEN] {
            assert_eq!(pause(&refusal(status, None), 0), None, "{status}");
        }
    }

    #[tokio::test]
    async fn a_refusal_ends_it_at_once() {
        let mut tries = 0;
        let outcome = patiently(RETRIES, async || {
            tries += 1;
            Err::<(), _>(refusal(StatusCode::FORBIDDEN, None))
        });
        assert_eq!(
            outcome.await.unwrap_err().status(),
            Some(StatusCode::FORBIDDEN)
        );
        assert_eq!(tries, 1);
    }
}

//! Reading an object, with its length and MD5 checked, over more than one connection if need be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONTENT_LENGTH, ETAG, IF_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use md5::{Digest as _, Md5};

use crate::body::{Body, Payload};
use crate::client::{Client, text_of};
use crate::error::Error;

/// A connection that breaks this often is not going to carry the object.
const RESUMES_MAX: u32 = 5;

/// An object being read. Dropping it stops the transfer.
#[derive(Debug)]
pub struct Download {
    client: Client,
    target: String,
    /// The request's own headers, for asking again.
    request: HeaderMap,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    length: Option<u64>,
    received: u64,
    /// Only while the whole object is being read.
    digest: Option<(Md5, String)>,
    /// How often the transfer may still go on where it broke off.
    resumes_left: u32,
}

impl Download {
    pub(crate) async fn start(
        client: Client,
        target: String,
        request: HeaderMap,
    ) -> Result<Download, Error> {
        let response = client
            .request_ok(Method::GET, &target, request.clone(), Payload::Empty)
            .await?;
        let (parts, body) = response.into_parts();
        // With a range of the caller's own nothing is the whole object's.
        let whole = parts.status == StatusCode::OK && !request.contains_key(RANGE);
        let md5 = text_of(&parts.headers, HeaderName::from_static("content-md5"));
        let digest = md5.filter(|_| whole).map(|expected| (Md5::new(), expected));
        let length = text_of(&parts.headers, CONTENT_LENGTH)
            .and_then(|text| text.parse().ok())
            .filter(|_| whole);
        Ok(Download {
            client,
            target,
            request,
            status: parts.status,
            headers: parts.headers,
            body,
            length,
            received: 0,
            digest,
            resumes_left: RESUMES_MAX,
        })
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers of the first answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Bytes of the whole object, if the server said.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece, or `None` when all of it has arrived and is what was stored.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.chunk().await {
                Ok(Some(chunk)) => {
                    self.received += chunk.len() as u64;
                    if let Some((digest, _)) = &mut self.digest {
                        digest.update(&chunk);
                    }
                    return Ok(Some(chunk));
                }
                Ok(None) => {
                    self.check_end()?;
                    return Ok(None);
                }
                Err(error) => self.resume(error).await?,
            }
        }
    }

    /// The whole of a small object; what is beyond `bytes_max` is an error.
    pub async fn bytes(mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > bytes_max {
                return Err(Error::Malformed(format!("more than {bytes_max} bytes")));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        futures_util::stream::try_unfold(self, async |mut download: Download| {
            Ok(download.chunk().await?.map(|chunk| (chunk, download)))
        })
    }

    fn check_end(&mut self) -> Result<(), Error> {
        if let Some(expected) = self.length
            && expected != self.received
        {
            return Err(Error::Length {
                expected,
                actual: self.received,
            });
        }
        if let Some((digest, expected)) = self.digest.take() {
            let actual = STANDARD.encode(digest.finalize());
            if actual != expected {
                return Err(Error::Checksum { expected, actual });
            }
        }
        Ok(())
    }

    /// Asks for the rest. Only of the same object, which its etag guarantees; without one, or when this
    /// was tried too often, the transfer ends with the error that broke it.
    async fn resume(&mut self, broken: Error) -> Result<(), Error> {
        let etag = self.headers.get(ETAG).cloned();
        let (Some(length), Some(etag)) = (self.length, etag) else {
            return Err(broken);
        };
        if self.resumes_left == 0 || self.received >= length {
            return Err(broken);
        }
        self.resumes_left -= 1;
        let mut headers = self.request.clone();
        let range = format!("bytes={}-{}", self.received, length - 1);
        headers.insert(
            RANGE,
            HeaderValue::from_str(&range).map_err(http::Error::from)?,
        );
        headers.insert(IF_MATCH, etag);
        tracing::debug!(error = %broken, received = self.received, "resuming a broken transfer");
        let response = self
            .client
            .request_ok(Method::GET, &self.target, headers, Payload::Empty)
            .await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(broken);
        }
        self.body = response.into_body();
        Ok(())
    }
}

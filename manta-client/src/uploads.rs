//! Multipart uploads: create, upload parts in any order, commit.
//!
//! An upload lives in a directory of its own, and everything but creating one is addressed to that
//! directory. Whoever knows only the id asks for it ([`Client::find_upload`]).

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_TYPE, EXPECT, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::body::Payload;
use crate::client::{Client, Stored, accept, text_of};
use crate::error::Error;
use crate::listing::{Entry, ListOptions};

/// Every part but the last must have at least this many bytes (5 MiB).
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// The fewest parts that any server takes for one upload.
pub const PARTS_MAX: u64 = 800;

/// A state is a small document with the headers of the object in it.
const STATE_BYTES_MAX: usize = 1 << 20;
/// Uploads lie in thousands of directories, which are listed so many at once.
const LISTINGS: usize = 16;
const FEATURE: &str = "multipart upload";

/// What the object is to become.
#[derive(Clone, Debug, Default)]
pub struct UploadOptions {
    /// Stored with the object: content type, `m-` headers, `role-tag` and so on. Conditions are refused.
    pub headers: HeaderMap,
    /// Number of copies.
    pub copies: Option<u32>,
    /// Bytes of the whole object; a commit of another size is refused.
    pub size: Option<u64>,
    /// Base64 MD5 of the whole object; a commit of other bytes is refused.
    pub md5: Option<String>,
}

impl UploadOptions {
    /// The object's headers as an upload is created with them, and as its state shows them: names in
    /// lower case, numbers where they are numbers, the options before what is among the headers.
    #[must_use]
    pub fn document(&self) -> Map<String, Value> {
        let mut headers = Map::new();
        for name in self.headers.keys() {
            let values: Vec<String> = self
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            let value = number_or_text(name, values.join(", "));
            headers.insert(name.as_str().to_owned(), value);
        }
        if let Some(copies) = self.copies {
            headers.insert("durability-level".to_owned(), copies.into());
        }
        if let Some(size) = self.size {
            headers.insert("content-length".to_owned(), size.into());
        }
        if let Some(md5) = &self.md5 {
            headers.insert("content-md5".to_owned(), md5.as_str().into());
        }
        headers
    }
}

/// Where an upload is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    pub id: String,
    /// As it is sent: escaped.
    pub parts_directory: String,
}

/// What the server knows of an upload.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadState {
    pub id: String,
    /// `created`, `finalizing` or `done`.
    pub state: String,
    /// `committed` or `aborted`, once it is done.
    pub result: Option<String>,
    /// Missing once it is done.
    pub parts_directory: Option<String>,
    pub target_object: String,
    /// The headers of the object, names in lower case.
    #[serde(default)]
    pub headers: Map<String, Value>,
    pub num_copies: u32,
    /// Since the epoch.
    pub creation_time_ms: u64,
    /// The document as it came, for those who pass it on.
    #[serde(skip)]
    pub text: String,
}

/// A part that was uploaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    pub number: u32,
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// Base64, where the listing has it.
    pub md5: Option<String>,
}

impl Client {
    /// Begins an upload. `NotSupported` where there are no uploads.
    ///
    /// Whether there can be an object at `path` is only seen at the commit.
    pub async fn create_upload(
        &self,
        path: &str,
        options: &UploadOptions,
    ) -> Result<Upload, Error> {
        let body = serde_json::json!({
            "objectPath": self.target(path)?,
            "headers": options.document(),
        });
        let target = self.target(&self.own("uploads"))?;
        let response = self
            .request_ok(Method::POST, &target, json(), body.to_string().into())
            .await
            .map_err(without_feature)?;
        if response.status() != StatusCode::CREATED {
            return Err(Error::NotSupported(FEATURE));
        }
        let text = response.into_body().collect(STATE_BYTES_MAX).await?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::Malformed(format!("an upload: {error}")))
    }

    /// Where the upload with this id is. `NotFound` (without a message) when there is none, or when
    /// there are no uploads at all.
    pub async fn find_upload(&self, id: &str) -> Result<Upload, Error> {
        let target = self.target(&self.own(&format!("uploads/{id}")))?;
        let response = self
            .request_ok(Method::HEAD, &target, accept("*/*"), Payload::Empty)
            .await?;
        let location = text_of(response.headers(), LOCATION);
        match location {
            Some(parts_directory) if response.status() == StatusCode::MOVED_PERMANENTLY => {
                Ok(Upload {
                    id: id.to_owned(),
                    parts_directory,
                })
            }
            _ => Err(Error::Malformed(format!(
                "locating upload: unexpected status {}",
                response.status().as_u16()
            ))),
        }
    }

    /// Uploads a part, or replaces it. `md5` is base64; the server refuses other bytes.
    ///
    /// A stream is not touched before the server has agreed to take it.
    pub async fn put_part(
        &self,
        upload: &Upload,
        number: u32,
        payload: Payload,
        md5: Option<&str>,
    ) -> Result<Stored, Error> {
        let target = format!("{}/{number}", upload.parts_directory);
        let mut headers = accept("application/json");
        let content_type = HeaderValue::from_static("application/octet-stream");
        headers.insert(CONTENT_TYPE, content_type);
        if let Some(md5) = md5 {
            let value = HeaderValue::from_str(md5).map_err(http::Error::from)?;
            headers.insert("content-md5", value);
        }
        if matches!(payload, Payload::Stream { .. }) {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        let response = self
            .request_ok(Method::PUT, &target, headers, payload)
            .await?;
        let (parts, body) = response.into_parts();
        body.drain().await?;
        Ok(Stored::of(parts.headers))
    }

    pub async fn upload_state(&self, upload: &Upload) -> Result<UploadState, Error> {
        let target = format!("{}/state", upload.parts_directory);
        let headers = accept("application/json");
        let response = self
            .request_ok(Method::GET, &target, headers, Payload::Empty)
            .await?;
        let text = response.into_body().collect(STATE_BYTES_MAX).await?;
        let mut state: UploadState = serde_json::from_slice(&text)
            .map_err(|error| Error::Malformed(format!("the state of an upload: {error}")))?;
        state.text = String::from_utf8_lossy(&text).into_owned();
        Ok(state)
    }

    /// The parts that are there, by number.
    pub async fn upload_parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        let mut listing = self.list(&unescaped(upload), ListOptions::default())?;
        let mut parts = Vec::new();
        while let Some(entry) = listing.next().await? {
            // A part has a number for its name; whatever else is there is none.
            if let (Ok(number), Some(etag)) = (entry.name.parse(), entry.etag) {
                parts.push(Part {
                    number,
                    etag,
                    size: entry.size,
                    md5: entry.content_md5,
                });
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Makes the object of the first parts, one etag for each, in order. The answer has the MD5 of the
    /// whole. Doing it again with the same list does no harm, so it may be repeated after a failure.
    pub async fn commit_upload(&self, upload: &Upload, etags: &[String]) -> Result<Stored, Error> {
        let target = format!("{}/commit", upload.parts_directory);
        let body = serde_json::json!({ "parts": etags }).to_string();
        let response = self
            .request_ok(Method::POST, &target, json(), body.into())
            .await?;
        let (parts, body) = response.into_parts();
        body.drain().await?;
        Ok(Stored::of(parts.headers))
    }

    /// Gives an upload up; the server removes its parts. Doing it again does no harm.
    pub async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        let target = format!("{}/abort", upload.parts_directory);
        let headers = accept("application/json");
        let response = self
            .request_ok(Method::POST, &target, headers, Payload::Empty)
            .await?;
        response.into_body().drain().await
    }

    /// The account's uploads, finished ones included until they are collected.
    pub async fn list_uploads(&self) -> Result<Vec<Upload>, Error> {
        let root = &self.target(&self.own("uploads"))?;
        let prefixes = self
            .list(&self.own("uploads"), ListOptions::default())?
            .all()
            .await?;
        let uploads: Vec<Vec<Upload>> = stream::iter(prefixes)
            .map(|prefix| async move {
                let directory = self.own(&format!("uploads/{}", prefix.name));
                let ids = self.list(&directory, ListOptions::default())?.all().await?;
                let upload = |id: Entry| Upload {
                    parts_directory: format!("{root}/{}/{}", prefix.name, id.name),
                    id: id.name,
                };
                Ok::<_, Error>(ids.into_iter().map(upload).collect())
            })
            .buffered(LISTINGS)
            .try_collect()
            .await?;
        Ok(uploads.into_iter().flatten().collect())
    }
}

/// The path of the parts, as [`Client::list`] wants it.
fn unescaped(upload: &Upload) -> String {
    percent_decode_str(&upload.parts_directory)
        .decode_utf8_lossy()
        .into_owned()
}

fn json() -> HeaderMap {
    let mut headers = accept("application/json");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// Where the route does not exist there are no uploads.
fn without_feature(error: Error) -> Error {
    match error.status() {
        Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            Error::NotSupported(FEATURE)
        }
        _ => error,
    }
}

fn number_or_text(name: &HeaderName, text: String) -> Value {
    if matches!(name.as_str(), "content-length" | "durability-level")
        && let Ok(number) = text.parse::<u64>()
    {
        return number.into();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_headers_and_numbers_are_numbers() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("5"));
        headers.insert("durability-level", HeaderValue::from_static("3"));
        headers.append("m-a", HeaderValue::from_static("1"));
        headers.append("m-a", HeaderValue::from_static("2"));
        let mut options = UploadOptions {
            headers,
            ..UploadOptions::default()
        };
        let text = |options: &UploadOptions| Value::Object(options.document()).to_string();
        assert_eq!(
            text(&options),
            r#"{"content-length":5,"durability-level":3,"m-a":"1, 2"}"#
        );
        options.copies = Some(1);
        options.size = Some(9);
        options.md5 = Some("x".to_owned());
        assert_eq!(
            text(&options),
            r#"{"content-length":9,"durability-level":1,"m-a":"1, 2","content-md5":"x"}"#
        );
    }

    #[test]
    fn states_are_read_in_all_their_forms() {
        let done = r#"{"id":"i","state":"done","result":"committed","targetObject":"/a/stor/x",
            "headers":{},"numCopies":2,"creationTimeMs":1795234768765}"#;
        let state: UploadState = serde_json::from_str(done).unwrap();
        assert_eq!(state.result.as_deref(), Some("committed"));
        assert_eq!(state.parts_directory, None);
        assert_eq!(state.creation_time_ms, 1_795_234_768_765);
    }
}

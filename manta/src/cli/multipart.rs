//! A large file as a multipart upload that goes on where an earlier one broke off.
//!
//! Nothing about an upload is kept on this side: what was begun is found again in the server's own list,
//! so it survives whatever happens here, and can be finished from another machine. An upload is taken up
//! if it is for the same object with the same size and headers. What is in it is believed part by part:
//! only a part whose MD5 is that of the same range of the file *now* stays, every other is sent again. So
//! the object is never put together of two versions of the file, whatever its name and times say.
//!
//! A part is hashed before it is sent, and the server refuses other bytes. A file that has changed by the
//! time all parts are there is not committed; the next run sends what changed.

use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use manta_client::{
    Client, Error, PART_BYTES_MIN, PARTS_MAX, Part, PutOptions, Upload, UploadOptions,
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{OnceCell, Semaphore};

use super::progress::Meter;
use super::upload::{RETRIES, counted, digest_of_reader, patiently};

/// The state of an upload that takes parts.
const CREATED: &str = "created";
/// Requests that look for earlier uploads at once.
const SEARCHES: usize = 16;
/// Part sizes are rounded up to this, so that they do not change with every byte that a file grows.
const PART_BYTES_STEP: u64 = 1024 * 1024;

/// A file on its way to an object.
#[derive(Debug)]
pub(super) struct Multipart<'a> {
    pub(super) client: &'a Client,
    pub(super) path: &'a str,
    pub(super) file: &'a Path,
    pub(super) options: &'a PutOptions,
    /// Wanted size of a part; more where the file would have too many parts.
    pub(super) part_bytes: u64,
    pub(super) parts_at_once: usize,
    /// A permit for each part on its way, of all files that share it.
    pub(super) slots: &'a Semaphore,
    /// Where to look for an upload to go on with.
    pub(super) begun: &'a Begun,
    pub(super) meter: &'a Meter,
}

/// The uploads that were begun and not finished, asked for when they are first needed: for many files there
/// may be many, and each costs a request.
#[derive(Debug, Default)]
pub(super) struct Begun {
    uploads: OnceCell<Vec<(String, Upload)>>,
}

/// Whether the object is there now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Stored,
    /// There are no uploads on this server or for this user, and nothing was sent: use an ordinary PUT.
    Unavailable,
}

/// What must not change while a file is being sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Version {
    size: u64,
    modified: SystemTime,
}

impl Version {
    async fn of(file: &Path) -> Result<Version, Error> {
        let version = async {
            let metadata = tokio::fs::metadata(file).await?;
            Ok(Version {
                size: metadata.len(),
                modified: metadata.modified()?,
            })
        };
        version
            .await
            .map_err(|error: io::Error| unreadable(file, &error))
    }
}

impl Begun {
    /// Those for the object at `path`, as they were when this was first called.
    async fn uploads_of(&self, client: &Client, path: &str) -> Result<Vec<Upload>, Error> {
        let target = client.target(path)?;
        let all = self.uploads.get_or_try_init(|| Begun::all(client)).await?;
        let of_path = all
            .iter()
            .filter(|(object, _)| *object == path || *object == target);
        Ok(of_path.map(|(_, upload)| upload.clone()).collect())
    }

    /// Every upload that is not finished, with its object.
    async fn all(client: &Client) -> Result<Vec<(String, Upload)>, Error> {
        let uploads = match client.list_uploads().await {
            Ok(uploads) => uploads,
            // Never made one, or no such feature, or not allowed to look.
            Err(error) if is_unavailable(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut states = stream::iter(uploads)
            .map(async |upload| (client.upload_state(&upload).await, upload))
            .buffer_unordered(SEARCHES);
        let mut begun = Vec::new();
        while let Some((state, upload)) = states.next().await {
            match state {
                Ok(state) if state.state == CREATED => begun.push((state.target_object, upload)),
                Ok(_) => {}
                // Collected in the meantime.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(begun)
    }
}

impl Multipart<'_> {
    /// Whether these headers can go with an upload: conditions cannot, for it says nothing about the
    /// moment at which the object appears.
    pub(super) fn can_carry(options: &PutOptions) -> bool {
        options.headers.keys().all(|name| {
            let name = name.as_str();
            !name.starts_with("if-") && name != "max-content-length" && name != "content-length"
        })
    }

    /// Uploads the parts that are not there yet and commits. Interrupted at any point, it can be run again.
    pub(super) async fn run(&self) -> Result<Outcome, Error> {
        let version = Version::of(self.file).await?;
        let options = self.upload_options(version.size)?;
        let (upload, there) = match self.find(&options).await? {
            Some(found) => found,
            None => match self.client.create_upload(self.path, &options).await {
                Ok(upload) => (upload, Vec::new()),
                Err(error) if is_unavailable(&error) => return Ok(Outcome::Unavailable),
                Err(error) => return Err(error),
            },
        };
        tracing::debug!(id = upload.id, parts = there.len(), "uploading in parts");
        let ranges = ranges(version.size, self.part_bytes);
        let etags: Vec<String> = stream::iter(ranges.into_iter().enumerate())
            .map(|(number, range)| self.part(&upload, number as u32, range, &there))
            .buffered(self.parts_at_once)
            .try_collect()
            .await?;
        let now = Version::of(self.file).await?;
        if now != version {
            if now.size != version.size {
                // Its size was promised to the server: this upload cannot become anything any more.
                self.client.abort_upload(&upload).await?;
            }
            let changed = "it was changed while it was uploaded; nothing was stored, try again";
            return Err(unreadable(self.file, &changed));
        }
        patiently(RETRIES, async || {
            self.client.commit_upload(&upload, &etags).await
        })
        .await?;
        Ok(Outcome::Stored)
    }

    fn upload_options(&self, size: u64) -> Result<UploadOptions, Error> {
        let mut headers = self.options.headers.clone();
        if !headers.contains_key(CONTENT_TYPE)
            && let Some(kind) = &self.options.content_type
        {
            let kind = HeaderValue::from_str(kind).map_err(http::Error::from);
            headers.insert(CONTENT_TYPE, kind?);
        }
        Ok(UploadOptions {
            headers,
            copies: self.options.copies,
            size: Some(size),
            md5: self.options.content_md5.clone(),
        })
    }

    /// The latest upload that would make the same object, and the parts it has.
    async fn find(&self, options: &UploadOptions) -> Result<Option<(Upload, Vec<Part>)>, Error> {
        let wanted = options.document();
        let mut latest: Option<(u64, Upload)> = None;
        for upload in self.begun.uploads_of(self.client, self.path).await? {
            // Asked again, for it may have been a while ago that it was found.
            let state = match self.client.upload_state(&upload).await {
                Ok(state) => state,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let is_same = state.state == CREATED && state.headers == wanted;
            let is_later = latest
                .as_ref()
                .is_none_or(|(created, _)| *created < state.creation_time_ms);
            if is_same && is_later {
                latest = Some((state.creation_time_ms, upload));
            }
        }
        let Some((_, upload)) = latest else {
            return Ok(None);
        };
        let parts = self.client.upload_parts(&upload).await?;
        Ok(Some((upload, parts)))
    }

    /// Makes sure of one part and returns its etag.
    async fn part(
        &self,
        upload: &Upload,
        number: u32,
        range: Range<u64>,
        there: &[Part],
    ) -> Result<String, Error> {
        let slot = self.slots.acquire().await;
        let _slot = slot.expect("slots are never closed: nobody calls close");
        let size = range.end - range.start;
        let digest = digest_of_range(self.file, range.clone()).await?;
        let same = there.iter().find(|part| {
            part.number == number && part.size == size && part.md5.as_ref() == Some(&digest)
        });
        if let Some(part) = same {
            self.meter.skip(size);
            return Ok(part.etag.clone());
        }
        let stored = patiently(RETRIES, async || {
            let mut source = tokio::fs::File::open(self.file)
                .await
                .map_err(Error::Source)?;
            let start = SeekFrom::Start(range.start);
            source.seek(start).await.map_err(Error::Source)?;
            let payload = counted(source.take(size), self.path, Some(size), self.meter);
            self.client
                .put_part(upload, number, payload, Some(&digest))
                .await
        })
        .await?;
        let missing = || Error::Malformed("a part without an etag".to_owned());
        stored.etag.ok_or_else(missing)
    }
}

/// No uploads here: the route is missing, or the user is one who may not have any.
fn is_unavailable(error: &Error) -> bool {
    matches!(error, Error::NotSupported(_))
        || error.is_not_found()
        || error.is_code("AuthorizationFailed")
        || error.is_code("NoMatchingRoleTag")
}

/// The file cut into equal pieces, the last one shorter; none of an empty file.
fn ranges(size: u64, wanted: u64) -> Vec<Range<u64>> {
    let least = size.div_ceil(PARTS_MAX).next_multiple_of(PART_BYTES_STEP);
    let bytes = wanted.max(PART_BYTES_MIN).max(least);
    (0..size.div_ceil(bytes))
        .map(|number| number * bytes..size.min((number + 1) * bytes))
        .collect()
}

/// Base64 of the MD5 of a piece of a file. A file that has become too short gives an error.
async fn digest_of_range(file: &Path, range: Range<u64>) -> Result<String, Error> {
    let path = file.to_owned();
    let hashing = move || {
        let mut source = std::fs::File::open(path)?;
        source.seek(SeekFrom::Start(range.start))?;
        let size = range.end - range.start;
        let (bytes, digest) = digest_of_reader(source.take(size))?;
        if bytes < size {
            return Err(io::Error::other("the file has become shorter"));
        }
        Ok(digest)
    };
    // Hashing is work for the processor, and must not stop the transfers.
    let digest = tokio::task::spawn_blocking(hashing).await;
    digest
        .map_err(io::Error::other)
        .and_then(|digest| digest)
        .map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, why: &dyn fmt::Display) -> Error {
    Error::Source(io::Error::other(format!("{}: {why}", file.display())))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderMap;
    use md5::{Digest as _, Md5};

    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn pieces_cover_a_file_and_are_neither_too_small_nor_too_many() {
        let sizes = [
            1,
            5 * MIB - 1,
            5 * MIB,
            5 * MIB + 1,
            64 * MIB,
            1000 * MIB + 7,
            800 * 64 * MIB,
            800 * 64 * MIB + 1,
            10 << 40,
        ];
        for size in sizes {
            for wanted in [0, 1, 5 * MIB, 64 * MIB, 1 << 40] {
                let ranges = ranges(size, wanted);
                assert!(ranges.len() as u64 <= PARTS_MAX, "{size} {wanted}");
                assert_eq!(ranges.first().map(|range| range.start), Some(0));
                assert_eq!(ranges.last().map(|range| range.end), Some(size));
                for pair in ranges.windows(2) {
                    assert_eq!(pair[0].end, pair[1].start);
                    assert!(pair[0].end - pair[0].start >= PART_BYTES_MIN);
                }
                assert!(ranges.iter().all(|range| range.start < range.end));
            }
        }
        assert!(ranges(0, 64 * MIB).is_empty());
        assert_eq!(ranges(11 * MIB, 5 * MIB).len(), 3);
    }

    #[test]
    fn conditions_keep_a_file_in_one_piece() {
        let with = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("x"));
            Multipart::can_carry(&PutOptions {
                headers,
                ..PutOptions::default()
            })
        };
        assert!(with("m-if-match"));
        assert!(with("content-type"));
        for name in [
            "if-match",
            "if-none-match",
            "if-unmodified-since",
            "max-content-length",
        ] {
            assert!(!with(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_piece_has_the_digest_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, b"0123456789").unwrap();
        let digest = digest_of_range(&file, 2..5).await.unwrap();
        assert_eq!(digest, STANDARD.encode(Md5::digest(b"234")));
        assert!(digest_of_range(&file, 8..11).await.is_err());
    }
}

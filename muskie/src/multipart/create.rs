//! `POST /:login/uploads`. Source: rest-api.md section 5.3.
//!
//! The outcome is made first and the upload last: whoever can find an upload finds its outcome, its directory
//! and its nodes. A crash in between leaves an outcome without an upload, which the collector removes after
//! an hour; so a request that took longer than a fraction of that gives up instead of finishing.

use std::time::Duration;

use http::HeaderValue;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use libmanta::ObjectKey;
use libmanta::moray::MakeDirectory;
use tokio::time::Instant;

use super::document::{self, Wanted};
use super::ledger;
use super::records::Upload;
use super::upload_id::UploadId;
use crate::errors::{Error, Result};
use crate::path::RequestPath;
use crate::picker::{self, PickError};
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::response_body::Content;
use crate::server::Server;
use crate::storage::Request;

/// Longest document. Source: rest-api.md section 5.3.
const BODY_BYTES_MAX: usize = 100_000;
/// From the outcome to the upload; a twelfth of what the collector waits.
const TIME_MAX: Duration = Duration::from_secs(300);

pub(crate) async fn handle(request: &Request<'_>, body: &mut RequestBody) -> Result<Reply> {
    check_type(request)?;
    let text = body.collect(BODY_BYTES_MAX).await?;
    let server = request.server;
    let config = &server.config;
    let wanted = document::wanted(&text, config.copies_default, config.copies_max)?;
    let object_key = target(request, &wanted.object_path).await?;
    let id = UploadId::random(config.multipart.prefix_chars);
    let sharks = choose(server, &wanted)?;
    let upload = Upload::new(
        id,
        request.owner.id,
        (wanted.object_path, object_key),
        wanted.headers,
        wanted.copies,
        wanted.content_length,
        wanted.content_md5,
        sharks,
        server.clock.now(),
    );
    let directory = request.parts_directory(id)?;
    let prefix = id.prefix_directory(request.owner.id);
    let prefix = prefix.map_err(|_| request.not_found())?;
    let (for_task, head) = (server.clone(), request.head.clone());
    server
        .to_the_end(async move {
            let made = make(&for_task, upload, [prefix, directory]).await;
            made.map_err(|error| match error {
                Making::Error(error) => error,
                Making::Namespace(error) => Error::from_namespace(error, "POST", &head.path),
            })
        })
        .await?;
    let document = serde_json::json!({
        "id": id.to_string(),
        "partsDirectory": id.path(&request.owner.login),
    })
    .to_string();
    let mut reply = Reply::empty(StatusCode::CREATED);
    reply.set(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.set(CONTENT_LENGTH, HeaderValue::from(document.len()));
    reply.content = Content::Full(document.into());
    Ok(reply)
}

enum Making {
    Error(Error),
    Namespace(libmanta::moray::NamespaceError),
}

impl From<libmanta::moray::MorayError> for Making {
    fn from(error: libmanta::moray::MorayError) -> Self {
        Self::Error(error.into())
    }
}

async fn make(server: &Server, upload: Upload, directories: [ObjectKey; 2]) -> Result<(), Making> {
    let begun = Instant::now();
    let directory = directories[1].clone();
    let moray = &*server.moray;
    if !ledger::begin_outcome(moray, &directory, &upload).await? {
        return Err(Making::Error(Error::Internal));
    }
    for key in directories {
        let make = MakeDirectory {
            key,
            mtime: server.clock.now(),
            headers: Vec::new(),
            roles: Vec::new(),
            judged: None,
        };
        let made = moray.make_directory(make).await;
        made.map_err(Making::Namespace)?;
    }
    if begun.elapsed() > TIME_MAX {
        return Err(Making::Error(Error::ServiceUnavailable));
    }
    match ledger::begin(moray, &directory, &upload).await? {
        true => Ok(()),
        false => Err(Making::Error(Error::Internal)),
    }
}

fn check_type(request: &Request<'_>) -> Result<()> {
    let sent = request.head.header("content-type").unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::UnsupportedMediaType {
        media_type: essence.to_owned(),
    })
}

/// Where the object will be. Whether there can be one is not looked at before the commit; only that the name
/// is one, in an account that exists, and not that of a part.
async fn target(request: &Request<'_>, object_path: &str) -> Result<ObjectKey> {
    let path = RequestPath::clean(object_path);
    let login = path.login()?;
    let owner = request.server.identity.account(&login).await?;
    let owner = owner.ok_or(Error::AccountDoesNotExist { login })?;
    let key = path.key(owner.id)?;
    if key.is_upload() && key.root().is_none() {
        return Err(Error::InvalidResource {
            path: path.as_str().to_owned(),
        });
    }
    Ok(key)
}

fn choose(server: &Server, wanted: &Wanted) -> Result<Vec<libmanta::StorageId>> {
    // Of an unknown length whatever room there is will do, as with a `PUT` of unknown length.
    let room_bytes = wanted.content_length.unwrap_or(1);
    let picked = picker::pick(
        &server.sharks,
        picker::Wanted {
            copies: usize::from(wanted.copies),
            room_bytes,
            except: &[],
        },
        &mut rand::rng(),
    );
    match picked {
        Ok(nodes) => Ok(nodes.iter().map(|node| node.storage_id().clone()).collect()),
        Err(PickError::NotEnoughSpace) => Err(Error::NotEnoughSpace {
            megabytes: room_bytes.div_ceil(1 << 20),
        }),
        Err(PickError::NotEnoughNodes) => Err(Error::StorageExhausted),
    }
}

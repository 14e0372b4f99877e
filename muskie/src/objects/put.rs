//! `PUT` of an object: from the checks that need no body, through the bytes, to the commit.
//!
//! Nothing of the body is asked for before every check that can be made without it, so a client that waits
//! for `100 Continue` sends nothing in vain. Then the order of durability: bytes on every node, then the
//! entry, then the answer. Once the body is complete the rest happens whether or not the client waits for
//! it. Source: rest-api.md sections 3.1 to 3.4, 3.8, 3.9.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::HeaderName;
use libmanta::moray::{NamespaceError, Parent, PutObject, Replaced};
use libmanta::{AccountId, Condition, Entry, EntryKind, Object, ObjectId, PreconditionFailed};
use md5::{Digest as _, Md5};
use uuid::Uuid;

use crate::access::NotPut;
use crate::conditions;
use crate::content_disposition;
use crate::content_type;
use crate::cors::echo_origin;
use crate::errors::{Error, Result};
use crate::exchange::{Exchange, Head};
use crate::objects::metadata::ABOUT_BYTES;
use crate::replicas::{Length, NewObject, Replicas};
use crate::reply::{Reply, base64_value};
use crate::request_body::RequestBody;
use crate::roles;
use crate::server::Server;
use crate::storage::{OwnedRequest, Request, Target};
use crate::stored_headers;

pub(crate) static COMPUTED_MD5: HeaderName = HeaderName::from_static("computed-md5");

/// Larger pieces are hashed off the runtime: this much takes about a tenth of a millisecond.
const HASH_INLINE_BYTES_MAX: usize = 64 << 10;

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let server = request.server;
    let head = request.head;
    let Some(caller) = request.principal() else {
        return Err(request.forbidden());
    };
    let wishes = Wishes::parse(head, server)?;
    check_place(request, &target)?;
    let tags = roles::tags(request)?;
    stored_headers::check_lengths(&head.headers)?;
    let mut condition = conditions::parse(&head.headers);
    condition
        .check(target.entry.as_ref())
        .map_err(Error::Precondition)?;
    condition.judged = request.judged(&request.owner, target.entry.as_ref());

    let object_id = server.moray.new_object_id(&target.key);
    exchange.object_id = Some(object_id);
    let upload = receive(server, wishes, caller.account, object_id, exchange, body).await?;
    exchange.received_bytes = body.received_bytes();
    check_md5(head, &upload.md5)?;
    let entry = entry(request, target, caller.account, object_id, &upload, tags)?;

    let computed_md5 = base64_value(&upload.md5);
    let replaced = server
        .to_the_end(commit(
            request.to_owned(),
            upload.replicas,
            entry,
            condition,
        ))
        .await?;
    exchange.previous_object_id = replaced
        .before
        .as_ref()
        .and_then(Entry::object)
        .map(|object| object.object_id);
    exchange.found(Some(&replaced.after));
    let mut reply = Reply::no_content();
    reply.set(COMPUTED_MD5.clone(), computed_md5);
    echo_origin(head, &mut reply);
    Ok(reply)
}

/// What the headers say about how to keep the bytes.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    copies: usize,
    /// Most bytes a chunked body may have, if the request says so.
    max_bytes: Option<u64>,
}

impl Wishes {
    fn parse(head: &Head, server: &Server) -> Result<Self> {
        let config = &server.config;
        let level = head
            .header("durability-level")
            .or_else(|| head.header("x-durability-level"));
        let copies = match level {
            None => config.copies_default,
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|level| (1..=config.copies_max).contains(level))
                .ok_or(Error::InvalidDurabilityLevel {
                    max: config.copies_max,
                })?,
        };
        let max_bytes = match head.header("max-content-length") {
            None => None,
            Some(value) => match value.trim().parse() {
                Ok(bytes) => Some(bytes),
                Err(_) => return Err(Error::InvalidMaxContentLength { value }),
            },
        };
        Ok(Self {
            copies: usize::from(copies),
            max_bytes,
        })
    }
}

/// Whether an object may be where the target is.
pub(crate) fn check_place(request: &Request<'_>, target: &Target) -> Result<()> {
    let head = request.head;
    if target.is_directory() {
        if let Some(header) = ABOUT_BYTES.into_iter().find(|name| head.has(name)) {
            return Err(Error::InvalidUpdate {
                header,
                on_directory: true,
            });
        }
        return Err(Error::IsDirectory {
            method: request.method(),
            path: request.path(),
        });
    }
    match target.parent {
        Parent::Directory => Ok(()),
        Parent::Object => Err(Error::ParentNotDirectory {
            parent: head.path.parent().to_owned(),
        }),
        Parent::Missing => Err(Error::DirectoryDoesNotExist {
            parent: head.path.parent().to_owned(),
        }),
    }
}

/// A body that has arrived, in copies that are not durable yet.
struct Upload {
    /// `None` for an object without bytes, which is stored nowhere.
    replicas: Option<Replicas>,
    size_bytes: u64,
    md5: [u8; 16],
}

async fn receive(
    server: &Arc<Server>,
    wishes: Wishes,
    creator: AccountId,
    object_id: ObjectId,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Upload> {
    if body.length() == Some(0) {
        return Ok(Upload {
            replicas: None,
            size_bytes: 0,
            md5: Md5::digest(b"").into(),
        });
    }
    let place = server.uploads.admit(creator).ok_or(Error::Throttled)?;
    body.take_place(&place);
    let _counted = Counted::new(server);
    let length = match (body.length(), wishes.max_bytes) {
        (Some(length), _) => Length::Known(length),
        (None, Some(max)) => Length::Bounded(max),
        (None, None) => Length::Open(server.config.chunked_bytes_max),
    };
    let max_bytes = length.max_bytes();
    let object = NewObject {
        creator,
        object_id,
        copies: wishes.copies,
        length,
    };
    let mut replicas = Replicas::open(server, object).await?;
    exchange.sharks = replicas.storage_ids();
    let mut hash = Hash::default();
    let mut size_bytes: u64 = 0;
    while let Some(bytes) = body.next().await? {
        size_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size_bytes > max_bytes {
            return Err(Error::MaxContentLengthExceeded {
                received_bytes: size_bytes,
            });
        }
        let (hashed, written) =
            futures_util::join!(hash.update(&bytes), replicas.write(server, &bytes));
        hashed?;
        written?;
    }
    // A chunked body may turn out to be empty.
    let replicas = (size_bytes > 0).then_some(replicas);
    Ok(Upload {
        replicas,
        size_bytes,
        md5: hash.finish(),
    })
}

/// Shows an upload in the metrics for as long as it lasts.
pub(crate) struct Counted<'a>(&'a Server);

impl<'a> Counted<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        server.metrics.uploads.fetch_add(1, Relaxed);
        Self(server)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.uploads.fetch_sub(1, Relaxed);
    }
}

/// An MD5 in the making.
#[derive(Default)]
pub(crate) struct Hash(Md5);

impl From<Md5> for Hash {
    fn from(md5: Md5) -> Self {
        Self(md5)
    }
}

impl From<Hash> for Md5 {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

impl Hash {
    pub(crate) async fn update(&mut self, bytes: &Bytes) -> Result<()> {
        if bytes.len() <= HASH_INLINE_BYTES_MAX {
            self.0.update(bytes);
            return Ok(());
        }
        let (mut hash, bytes) = (std::mem::take(&mut self.0), bytes.clone());
        let hashed = tokio::task::spawn_blocking(move || {
            hash.update(&bytes);
            hash
        });
        // Fails only when the runtime is going away.
        self.0 = hashed.await.map_err(|_| Error::Internal)?;
        Ok(())
    }

    pub(crate) fn finish(self) -> [u8; 16] {
        self.0.finalize().into()
    }
}

pub(crate) fn check_md5(head: &Head, computed: &[u8; 16]) -> Result<()> {
    let Some(sent) = head.header("content-md5") else {
        return Ok(());
    };
    match STANDARD.decode(sent.trim()) {
        Ok(bytes) if bytes == computed => Ok(()),
        Ok(bytes) if bytes.len() == computed.len() => Err(Error::ContentMd5Mismatch {
            computed: STANDARD.encode(computed),
            sent,
        }),
        _ => Err(Error::ContentMd5Invalid),
    }
}

fn entry(
    request: &Request<'_>,
    target: Target,
    creator: AccountId,
    object_id: ObjectId,
    upload: &Upload,
    tags: Vec<Uuid>,
) -> Result<Entry> {
    let head = request.head;
    let content_disposition = content_disposition::stored(head.header("content-disposition"))?;
    let content_type = content_type::stored(head.header("content-type").as_deref())
        .or_else(|| {
            target
                .entry
                .as_ref()?
                .object()
                .map(|object| object.content_type.clone())
        })
        .unwrap_or_else(|| content_type::DEFAULT.to_owned());
    let mut headers = stored_headers::collect(&head.headers);
    if target.key.is_public() {
        stored_headers::open_to_all_origins(&mut headers);
    }
    Ok(Entry {
        key: target.key,
        mtime: request.server.clock.now(),
        headers,
        roles: tags,
        kind: EntryKind::Object(Object {
            object_id,
            size_bytes: upload.size_bytes,
            md5: upload.md5,
            content_type,
            content_disposition,
            creator,
            copies: upload
                .replicas
                .as_ref()
                .map(Replicas::storage_ids)
                .unwrap_or_default(),
        }),
    })
}

/// Bytes first, then the entry: the other way round a crash in between would leave a name without bytes.
async fn commit(
    request: OwnedRequest,
    replicas: Option<Replicas>,
    entry: Entry,
    condition: Condition,
) -> Result<Replaced> {
    let request = request.get();
    let server = request.server;
    let written = match replicas {
        Some(replicas) => Some(replicas.commit(server).await?),
        None => None,
    };
    let directory_entries_max = server.config.directory_entries_max;
    let put = PutObject {
        entry,
        condition,
        directory_entries_max,
        also: None,
    };
    let not_put = match request.put_judged(&request.owner, put).await {
        Ok(replaced) => return Ok(replaced),
        Err(not_put) => not_put,
    };
    // When the shard does not know whether the entry is there, the bytes must stay: the sweep finds out.
    let refused = !matches!(not_put, NotPut::ByMoray(NamespaceError::Moray(_)));
    if let Some(written) = written
        && refused
    {
        written.discard().await;
    }
    Err(match not_put {
        NotPut::ByRights(error) => error,
        // Not to be decided again from the beginning: the body is gone.
        NotPut::ByMoray(NamespaceError::Precondition(PreconditionFailed::Judged)) => {
            Error::ServiceUnavailable
        }
        NotPut::ByMoray(error) => Error::from_namespace(error, "PUT", &request.head.path),
    })
}

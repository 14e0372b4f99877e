//! Parts: put, replaced, looked at. Source: rest-api.md section 5.4.
//!
//! A part is an object like any other, with two differences: its copies go to the nodes of the upload, and
//! the transaction that writes it demands that nobody has begun to end the upload.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use libmanta::moray::{Lookup, NamespaceError, PutObject, Replaced};
use libmanta::{Condition, Entry, EntryKind, Object, ObjectId, ObjectKey};
use md5::Md5;

use super::ledger::{self, Seen};
use super::md5_chain::{self, Link};
use super::records::State;
use super::state::find;
use super::upload_id::UploadId;
use crate::conditions;
use crate::content_type;
use crate::errors::{Error, Result};
use crate::exchange::{Exchange, Head};
use crate::objects;
use crate::objects::put::{COMPUTED_MD5, Counted, Hash, check_md5};
use crate::replicas::{Length, NewObject, Replicas};
use crate::reply::{Reply, base64_value};
use crate::request_body::RequestBody;
use crate::server::Server;
use crate::storage::{Request, Target};

/// A number as it must be written: decimal, without signs and leading zeros, below `parts_max`.
pub(crate) fn part_number(text: &str, parts_max: usize) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (number < parts_max && number.to_string() == text).then_some(number)
}

pub(crate) async fn put(
    request: &Request<'_>,
    id: UploadId,
    number: &str,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let (server, head) = (request.server, request.head);
    let number = check(request, id, number)?;
    let seen = find(request, id).await?;
    if seen.upload.state != State::Created {
        return Err(finalized(id));
    }
    let key = part_key(&seen.directory, number)?;
    let (before, link) = neighbours(server, &seen.directory, &key, number).await?;
    exchange.found(before.as_ref());
    let condition = conditions::parse(&head.headers);
    condition
        .check(before.as_ref())
        .map_err(Error::Precondition)?;

    let object_id = ObjectId::random();
    exchange.object_id = Some(object_id);
    let received = receive(server, head, &seen, object_id, link, exchange, body).await?;
    exchange.received_bytes = body.received_bytes();
    check_md5(head, &received.md5)?;
    let computed_md5 = base64_value(&received.md5);
    let content_type = content_type::stored(head.header("content-type").as_deref())
        .or_else(|| Some(before?.object()?.content_type.clone()))
        .unwrap_or_else(|| content_type::DEFAULT.to_owned());
    let entry = Entry {
        key,
        mtime: server.clock.now(),
        headers: received.link.iter().map(Link::header).collect(),
        roles: Vec::new(),
        kind: EntryKind::Object(Object {
            object_id,
            size_bytes: received.size_bytes,
            md5: received.md5,
            content_type,
            content_disposition: None,
            creator: seen.upload.owner,
            copies: received
                .replicas
                .as_ref()
                .map(Replicas::storage_ids)
                .unwrap_or_default(),
        }),
    };
    let write = Writing {
        server: server.clone(),
        head: head.clone(),
        id,
        directory: seen.directory,
        replicas: received.replicas,
        entry,
        condition,
    };
    let replaced = server.to_the_end(write.run()).await?;
    exchange.previous_object_id = replaced
        .before
        .as_ref()
        .and_then(Entry::object)
        .map(|object| object.object_id);
    exchange.found(Some(&replaced.after));
    let mut reply = Reply::no_content();
    reply.set(COMPUTED_MD5.clone(), computed_md5);
    Ok(reply)
}

/// Headers of a part. A `GET` is refused, but says first when there is nothing.
pub(crate) async fn head(
    request: &Request<'_>,
    id: UploadId,
    number: &str,
    exchange: &mut Exchange,
) -> Result<Reply> {
    let number = part_number(number, request.server.config.parts_max());
    let number = number.ok_or_else(|| request.not_found())?;
    let key = part_key(&request.parts_directory(id)?, number)?;
    let Lookup { entry, parent } = request.server.moray.lookup(&key).await?;
    let mut entry = entry.ok_or_else(|| request.not_found())?;
    if request.head.method != http::Method::HEAD {
        return Err(Error::MethodNotAllowed {
            method: request.method(),
            allow: "HEAD, PUT",
        });
    }
    entry.headers.retain(|(name, _)| name != md5_chain::HEADER);
    let target = Target {
        key,
        entry: Some(entry),
        parent,
    };
    objects::get::handle(request, target, exchange).await
}

fn check(request: &Request<'_>, id: UploadId, number: &str) -> Result<usize> {
    let head = request.head;
    if head.has("durability-level") || head.has("x-durability-level") {
        return Err(Error::MultipartInvalid {
            upload: id.to_string(),
            reason: String::from("cannot change durability level for multipart uploads"),
        });
    }
    let parsed = part_number(number, request.server.config.parts_max());
    parsed.ok_or_else(|| Error::MultipartInvalid {
        upload: head.path.parent().to_owned(),
        reason: format!("{number} is not a valid part number"),
    })
}

fn part_key(directory: &ObjectKey, number: usize) -> Result<ObjectKey> {
    directory
        .child(&number.to_string())
        .map_err(|_| Error::Internal)
}

fn finalized(id: UploadId) -> Error {
    Error::MultipartState(id.to_string(), "already finalized")
}

/// What is there of this part, and the state of the MD5 before it where that is known.
async fn neighbours(
    server: &Server,
    directory: &ObjectKey,
    key: &ObjectKey,
    number: usize,
) -> Result<(Option<Entry>, Option<Link>)> {
    let moray = &server.moray;
    let Some(number_before) = number.checked_sub(1) else {
        let found = moray.lookup(key).await?;
        return Ok((found.entry, Some(Link::start())));
    };
    let before = part_key(directory, number_before)?;
    let (found, before) = futures_util::try_join!(moray.lookup(key), moray.lookup(&before))?;
    Ok((found.entry, before.entry.as_ref().and_then(Link::of)))
}

/// A part that has arrived, in copies that are not durable yet.
struct Received {
    /// `None` for a part without bytes, which is stored nowhere.
    replicas: Option<Replicas>,
    size_bytes: u64,
    md5: [u8; 16],
    /// The MD5 of everything up to here, if it was known before.
    link: Option<Link>,
}

async fn receive(
    server: &Arc<Server>,
    head: &Head,
    seen: &Seen,
    object_id: ObjectId,
    link: Option<Link>,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Received> {
    let etags = link.as_ref().map(|link| link.etags.and(object_id));
    let mut chain = link.map(|link| Hash::from(link.md5));
    let mut hash = Hash::default();
    let mut size_bytes: u64 = 0;
    let mut replicas = None;
    if body.length() != Some(0) {
        let owner = seen.upload.owner;
        let place = server.uploads.admit(owner).ok_or(Error::Throttled)?;
        body.take_place(&place);
        let _counted = Counted::new(server);
        let length = match (body.length(), max_bytes(head)?) {
            (Some(length), _) => Length::Known(length),
            (None, Some(max)) => Length::Bounded(max),
            (None, None) => Length::Open(server.config.chunked_bytes_max),
        };
        let object = NewObject {
            creator: owner,
            object_id,
            copies: seen.upload.sharks.len(),
            length,
        };
        let mut copies = Replicas::open_on(server, object, &seen.upload.sharks).await?;
        exchange.sharks = copies.storage_ids();
        while let Some(bytes) = body.next().await? {
            size_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if size_bytes > length.max_bytes() {
                return Err(Error::MaxContentLengthExceeded {
                    received_bytes: size_bytes,
                });
            }
            let in_chain = async {
                match &mut chain {
                    Some(chain) => chain.update(&bytes).await,
                    None => Ok(()),
                }
            };
            let (hashed, chained, written) =
                futures_util::join!(hash.update(&bytes), in_chain, copies.write(server, &bytes));
            hashed?;
            chained?;
            written?;
        }
        // A chunked body may turn out to be empty.
        replicas = (size_bytes > 0).then_some(copies);
    }
    let link = chain.zip(etags).map(|(chain, etags)| Link {
        etags,
        md5: Md5::from(chain),
    });
    Ok(Received {
        replicas,
        size_bytes,
        md5: hash.finish(),
        link,
    })
}

fn max_bytes(head: &Head) -> Result<Option<u64>> {
    let Some(value) = head.header("max-content-length") else {
        return Ok(None);
    };
    match value.trim().parse() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => Err(Error::InvalidMaxContentLength { value }),
    }
}

/// A part on its way into the store.
struct Writing {
    server: Arc<Server>,
    head: Arc<Head>,
    id: UploadId,
    directory: ObjectKey,
    replicas: Option<Replicas>,
    entry: Entry,
    condition: Condition,
}

impl Writing {
    /// Bytes first, then the entry, and that only while the gate is open.
    async fn run(self) -> Result<Replaced> {
        let server = &self.server;
        let written = match self.replicas {
            Some(replicas) => Some(replicas.commit(server).await?),
            None => None,
        };
        let put = PutObject {
            entry: self.entry,
            condition: self.condition,
            directory_entries_max: server.config.directory_entries_max,
            also: Some(ledger::gate_is_open(&self.directory)),
        };
        let error = match server.moray.put_object(put).await {
            Ok(replaced) => return Ok(replaced),
            Err(error) => error,
        };
        // When the shard does not know whether the entry is there, the bytes must stay: the sweep finds out.
        let refused = !matches!(error, NamespaceError::Moray(_));
        if let Some(written) = written
            && refused
        {
            written.discard().await;
        }
        Err(match error {
            NamespaceError::AlsoConflict => finalized(self.id),
            // The upload was collected while the part came.
            NamespaceError::ParentNotFound => Error::NotFound {
                path: self.head.path.as_str().to_owned(),
            },
            error => Error::from_namespace(error, "PUT", &self.head.path),
        })
    }
}

/// Counts bytes that a commit had to read again.
pub(crate) fn read_again(server: &Server, bytes: usize) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    server
        .metrics
        .multipart_bytes_read_at_commit
        .fetch_add(bytes, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_are_written_in_one_way() {
        for (text, number) in [("0", 0), ("7", 7), ("799", 799)] {
            assert_eq!(part_number(text, 800), Some(number));
        }
        for bad in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            "1.5",
            "foo",
            "800",
            "99999999999999999999",
        ] {
            assert_eq!(part_number(bad, 800), None, "{bad}");
        }
    }
}

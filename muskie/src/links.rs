//! `PUT` with `type=link` or `type=rename`: another name for an object that is there already.
//!
//! A link is Manta's SnapLink. A rename is ours: one instant before which only the old name exists and after
//! which only the new one. Conditions are about the source, as they always were for links; what is to be
//! replaced can be named by `x-target-if-match` and `x-target-if-none-match`.
//! Source: rest-api.md section 4.

use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderName;
use libmanta::moray::links::{Link, Rename, Transferred};
use libmanta::moray::{Lookup, NamespaceError};
use libmanta::{Account, Condition, Entry, EtagList, ObjectKey};

use crate::auth::check_approved;
use crate::conditions;
use crate::config::Surface;
use crate::cors::echo_origin;
use crate::errors::{Error, Result};
use crate::exchange::{Exchange, Head};
use crate::latin1;
use crate::objects::put::check_place;
use crate::path::RequestPath;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::roles;
use crate::storage::{Request, Target};

static TARGET_IF_MATCH: HeaderName = HeaderName::from_static("x-target-if-match");
static TARGET_IF_NONE_MATCH: HeaderName = HeaderName::from_static("x-target-if-none-match");

/// What is to happen to the old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldName {
    Stays,
    Goes,
}

pub(crate) async fn handle(
    request: &Request<'_>,
    target: Target,
    old_name: OldName,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let head = request.head;
    if old_name == OldName::Stays && request.server.config.surface == Surface::Manta2 {
        return Err(Error::SnaplinksUnsupported);
    }
    if old_name == OldName::Stays && request.owner.snaplinks_disabled {
        return Err(Error::SnaplinksDisabled);
    }
    check_place(request, &target)?;
    if is_signed_by_url(request) {
        return Err(request.forbidden());
    }
    // First, because the client decides how long it takes, and what is checked below must still be so.
    body.discard().await?;
    let source = Source::find(request, old_name).await?;
    let mut source_condition = conditions::parse(&head.headers);
    source_condition
        .check(Some(&source.entry))
        .map_err(Error::Precondition)?;
    let mut target_condition = target_condition(&head.headers);
    target_condition
        .check(target.entry.as_ref())
        .map_err(Error::Precondition)?;
    // Or somebody who may have the one object gets another one that was put in its place just now.
    source_condition.judged = request.judged(&source.owner, Some(&source.entry));
    target_condition.judged = request.judged(&request.owner, target.entry.as_ref());
    let tags = roles::tags(request)?;
    let moray = request.server.moray.clone();
    let directory_entries_max = request.server.config.directory_entries_max;
    let transfer = Transfer {
        head: head.clone(),
        location: source.location,
    };
    let transferred = match old_name {
        OldName::Stays => {
            let link = Link {
                source: source.key,
                target: target.key,
                mtime: request.server.clock.now(),
                roles: tags,
                source_condition,
                target_condition,
                directory_entries_max,
            };
            let done = async move { transfer.outcome(moray.link(link).await) };
            request.server.to_the_end(done).await?
        }
        OldName::Goes => {
            let rename = Rename {
                source: source.key,
                target: target.key,
                mtime: None,
                roles: request.role_tag.is_some().then_some(tags),
                source_condition,
                target_condition,
                directory_entries_max,
            };
            let done = async move { transfer.outcome(moray.rename(rename).await) };
            request.server.to_the_end(done).await?
        }
    };
    exchange.previous_object_id = transferred
        .before
        .as_ref()
        .and_then(Entry::object)
        .map(|object| object.object_id);
    let object_id = transferred.after.object().map(|object| object.object_id);
    exchange.object_id = object_id;
    // Tag and date of the source, which for a rename are those of the new name as well.
    exchange.found(Some(&transferred.source));
    let mut reply = Reply::no_content();
    echo_origin(head, &mut reply);
    Ok(reply)
}

/// A signed URL covers neither `Content-Type` nor `Location`: whoever was given one to put an object with
/// could otherwise publish, or take away, any object of the signer.
fn is_signed_by_url(request: &Request<'_>) -> bool {
    !request.head.has("authorization") && request.head.query.get("signature").is_some()
}

/// Conditions on what has the new name now.
fn target_condition(headers: &HeaderMap) -> Condition {
    Condition {
        if_match: latin1::get(headers, &TARGET_IF_MATCH).map(EtagList),
        if_none_match: latin1::get(headers, &TARGET_IF_NONE_MATCH).map(EtagList),
        ..Condition::default()
    }
}

/// The object that `Location` names.
struct Source {
    location: String,
    owner: Arc<Account>,
    key: ObjectKey,
    entry: Entry,
}

impl Source {
    /// The checks in the order of rest-api.md section 4.
    async fn find(request: &Request<'_>, old_name: OldName) -> Result<Self> {
        let location = request
            .head
            .header("location")
            .filter(|location| !location.trim().is_empty())
            .ok_or(Error::LocationRequired)?;
        let invalid = || Error::InvalidLink {
            location: location.clone(),
        };
        let path = path_of(&location).ok_or_else(invalid)?;
        let owner = Self::owner(request, &path, &location).await?;
        if old_name == OldName::Stays && owner.snaplinks_disabled {
            return Err(Error::SourceSnaplinksDisabled);
        }
        let missing = || Error::SourceObjectNotFound {
            location: location.clone(),
        };
        let key = path.key(owner.id).map_err(|_| invalid())?;
        let Lookup { entry, .. } = request.server.moray.lookup(&key).await?;
        let is_directory = entry.as_ref().is_some_and(Entry::is_directory);
        if is_directory || (entry.is_none() && key.root().is_some()) {
            return Err(Error::LinkNotObject { location });
        }
        let entry = entry.ok_or_else(missing)?;
        let actions: &[_] = match old_name {
            OldName::Stays => &["getobject"],
            OldName::Goes => &["getobject", "deleteobject"],
        };
        for action in actions {
            request
                .check_entry_of(&owner, action, &key, Some(&entry), false)
                .await?;
        }
        Ok(Self {
            location,
            owner,
            key,
            entry,
        })
    }

    async fn owner(
        request: &Request<'_>,
        path: &RequestPath,
        location: &str,
    ) -> Result<Arc<Account>> {
        let login = path.login().map_err(|_| Error::InvalidLink {
            location: location.to_owned(),
        })?;
        if login == request.owner.login.as_str() {
            return Ok(request.owner.clone());
        }
        let owner = request.server.identity.account(&login).await?;
        let owner = owner.ok_or_else(|| Error::SourceObjectNotFound {
            location: location.to_owned(),
        })?;
        if !request.is_operator() {
            check_approved(&owner)?;
        }
        Ok(owner)
    }
}

/// The path in a `Location`, which may be a whole URL. `None` when it lies in no storage area.
fn path_of(location: &str) -> Option<RequestPath> {
    let uri: http::Uri = match location.starts_with('/') {
        // Without this two slashes in front would make the first name a host.
        true => format!("/{}", location.trim_start_matches('/')).parse(),
        false => location.parse(),
    }
    .ok()?;
    let path = RequestPath::clean(uri.path());
    let is_storage = {
        let mut segments = path.segments().skip(1);
        match segments.next()? {
            "jobs" => segments.nth(1) == Some("stor"),
            "stor" | "public" | "reports" => true,
            _ => false,
        }
    };
    is_storage.then_some(path)
}

/// What an error of the namespace means here.
struct Transfer {
    head: Arc<Head>,
    location: String,
}

impl Transfer {
    fn outcome(self, result: Result<Transferred, NamespaceError>) -> Result<Transferred> {
        result.map_err(|error| match error {
            NamespaceError::SourceNotFound => Error::SourceObjectNotFound {
                location: self.location,
            },
            NamespaceError::SourceIsDirectory => Error::LinkNotObject {
                location: self.location,
            },
            error => Error::from_namespace(error, "PUT", &self.head.path),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_paths_or_urls_in_storage_areas() {
        let id = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
        for (location, path) in [
            ("/alice/stor/a", Some("/alice/stor/a")),
            ("//alice//stor/a/", Some("/alice/stor/a")),
            (
                "https://host:1/alice/public/a%20b?x=1",
                Some("/alice/public/a%20b"),
            ),
            ("/alice/reports/a", Some("/alice/reports/a")),
            ("/alice/stor", Some("/alice/stor")),
            ("/alice", None),
            ("/alice/other/a", None),
            ("/alice/uploads/a", None),
            ("alice/stor/a", None),
            ("/alice/stor/a b", None),
            ("", None),
        ] {
            let found = path_of(location);
            assert_eq!(found.as_ref().map(RequestPath::as_str), path, "{location}");
        }
        assert!(path_of(&format!("/alice/jobs/{id}/stor/x")).is_some());
        assert!(path_of(&format!("/alice/jobs/{id}/live")).is_none());
        assert!(path_of(&format!("/alice/jobs/{id}")).is_none());
    }
}

//! The tree: what happens to every request below `/:login/stor` and its siblings before it is known
//! whether it concerns an object or a directory. Source: rest-api.md section 0.5 (10 to 14).

use std::sync::Arc;

use libmanta::mahi::Principal;
use libmanta::moray::{Lookup, Parent};
use libmanta::{Account, Entry, ObjectKey, Root};

use crate::access::DECISIONS_MAX;
use crate::cors;
use crate::directories;
use crate::errors::{Error, Result};
use crate::exchange::{Exchange, Head};
use crate::links::{self, OldName};
use crate::listing;
use crate::objects;
use crate::operation::Verb;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::roles::{ANONYMOUS, Caller};
use crate::server::Server;
use crate::tree;

/// A request whose caller and owner are known.
pub(crate) struct Request<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) head: &'a Arc<Head>,
    pub(crate) caller: Option<Caller>,
    pub(crate) owner: Arc<Account>,
    /// Names of roles to tag with what is stored.
    pub(crate) role_tag: Option<String>,
}

/// The same on its own, for a change that goes on when the client is gone.
pub(crate) struct OwnedRequest {
    server: Arc<Server>,
    head: Arc<Head>,
    caller: Option<Caller>,
    owner: Arc<Account>,
}

impl OwnedRequest {
    pub(crate) fn get(&self) -> Request<'_> {
        Request {
            server: &self.server,
            head: &self.head,
            caller: self.caller.clone(),
            owner: self.owner.clone(),
            role_tag: None,
        }
    }
}

/// An entry that the caller may touch, and what was there a moment ago.
pub(crate) struct Target {
    pub(crate) key: ObjectKey,
    pub(crate) entry: Option<Entry>,
    pub(crate) parent: Parent,
}

impl Target {
    /// Also when it is one of those that exist without a record.
    pub(crate) fn is_directory(&self) -> bool {
        match &self.entry {
            Some(entry) => entry.is_directory(),
            None => self.key.root().is_some(),
        }
    }
}

impl Request<'_> {
    /// Without the role tags, which are settled by then.
    pub(crate) fn to_owned(&self) -> OwnedRequest {
        OwnedRequest {
            server: self.server.clone(),
            head: self.head.clone(),
            caller: self.caller.clone(),
            owner: self.owner.clone(),
        }
    }

    pub(crate) fn path(&self) -> String {
        self.head.path.as_str().to_owned()
    }

    pub(crate) fn method(&self) -> String {
        self.head.method.to_string()
    }

    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.caller.as_ref().map(|caller| &caller.principal)
    }

    pub(crate) fn is_operator(&self) -> bool {
        self.principal().is_some_and(|principal| principal.operator)
    }

    pub(crate) fn forbidden(&self) -> Error {
        let caller = self.caller.as_ref().map(Caller::name);
        Error::AuthorizationFailed {
            caller: caller.unwrap_or_else(|| ANONYMOUS.to_owned()),
            path: self.path(),
        }
    }
}

pub(crate) async fn handle(
    request: &Request<'_>,
    verb: Verb,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    for _ in 1..DECISIONS_MAX {
        match decide(request, verb, exchange, body).await {
            Err(Error::RightsOutdated) => {}
            decided => return decided,
        }
    }
    decide(request, verb, exchange, body).await
}

/// Looks, and does what may be done with what is there. `RightsOutdated` when it is no longer what was seen;
/// then nothing has changed, and nothing but what does not matter was read of the body.
async fn decide(
    request: &Request<'_>,
    verb: Verb,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    let path = &request.head.path;
    let key = path.key(request.owner.id)?;
    let preflight = verb == Verb::Options && request.caller.is_none();
    if preflight && request.server.config.cors_unsigned_preflight {
        return cors::unsigned_preflight(request, &key).await;
    }
    // Strangers do not learn what exists, unless it is public, or the owner lets them be somebody.
    let reads = matches!(verb, Verb::Get | Verb::Head);
    if request.caller.is_none() && !(reads && key.is_public()) {
        return Err(request.forbidden());
    }
    let Lookup { entry, parent } = request.server.moray.lookup(&key).await?;
    exchange.found(entry.as_ref());
    let target = Target { key, entry, parent };
    check_existence(request, verb, &target)?;
    request
        .check_target(verb, exchange.operation, &target)
        .await?;
    match verb {
        Verb::Get if target.is_directory() && tree::is_asked_for(&request.head.query) => {
            tree::list::handle(request, target, exchange).await
        }
        Verb::Delete if target.is_directory() && tree::is_asked_for(&request.head.query) => {
            tree::remove::handle(request, target, exchange).await
        }
        Verb::Get | Verb::Head if target.is_directory() => {
            listing::handle(request, target, exchange).await
        }
        Verb::Get | Verb::Head => objects::get::handle(request, target, exchange).await,
        Verb::Delete if target.is_directory() => directories::remove(request, target).await,
        Verb::Delete => objects::delete::handle(request, target, exchange).await,
        Verb::PutDirectory => directories::make(request, target, exchange, body).await,
        Verb::PutMetadata => objects::metadata::handle(request, target, exchange, body).await,
        Verb::PutObject => Box::pin(objects::put::handle(request, target, exchange, body)).await,
        Verb::PutLink => links::handle(request, target, OldName::Stays, exchange, body).await,
        Verb::Rename => links::handle(request, target, OldName::Goes, exchange, body).await,
        Verb::Options => cors::preflight(request, target).await,
    }
}

fn check_existence(request: &Request<'_>, verb: Verb, target: &Target) -> Result<()> {
    if target.entry.is_some() {
        return Ok(());
    }
    match verb {
        Verb::Get | Verb::Head | Verb::Options if target.key.root().is_some() => Ok(()),
        // Not there, and yet not to be removed.
        Verb::Delete if target.key.root() == Some(Root::Area) => Ok(()),
        Verb::Get | Verb::Head | Verb::Delete => Err(Error::NotFound {
            path: request.path(),
        }),
        Verb::Options if !cors::asks_to_put(request.head) => Err(Error::NotFound {
            path: request.path(),
        }),
        Verb::PutObject
        | Verb::PutDirectory
        | Verb::PutMetadata
        | Verb::PutLink
        | Verb::Rename
        | Verb::Options => {
            if target.parent == Parent::Missing {
                let parent = request.head.path.parent().to_owned();
                return Err(Error::DirectoryDoesNotExist { parent });
            }
            Ok(())
        }
    }
}

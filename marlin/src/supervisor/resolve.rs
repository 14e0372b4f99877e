//! From the name of an input to the object behind it. Source: marlin.md section 5.5 (1 to 4) and 13.3.

use std::sync::Arc;

use libmanta::mahi::{
    ANONYMOUS_USER, Caller, Conditions, Context, IdentityError, Principal, Resource, authorize,
};
use libmanta::{Account, AccountId, Entry, ObjectId, ObjectKey, Root, StorageId};

use crate::config::Deps;
use crate::record::{ErrorCode, TaskError};

/// An input that exists and may be read. Reducers have one of these for each input, so it is small.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Located {
    pub(crate) name: Arc<str>,
    pub(crate) creator: AccountId,
    pub(crate) object_id: ObjectId,
    pub(crate) size_bytes: u64,
    pub(crate) copies: Arc<[StorageId]>,
}

/// Looks `name` (normalised) up and checks that `principal` may read it. Cancel-safe.
pub(crate) async fn resolve(
    deps: &Deps,
    principal: &Principal,
    name: Arc<str>,
) -> Result<Located, TaskError> {
    let malformed = || not_found(format!("malformed object name: \"{name}\""));
    let missing = || not_found(format!("no such object: \"{name}\""));
    let (login, rest) = name
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .filter(|(login, _)| !login.is_empty())
        .ok_or_else(malformed)?;
    let account = deps
        .identity
        .account(login)
        .await
        .map_err(|error| {
            tracing::warn!(%error, "input not resolved");
            TaskError::internal()
        })?
        .ok_or_else(missing)?;
    // A trailing slash makes an empty name, which no key has.
    let key = ObjectKey::new(account.id, rest.split('/')).map_err(|_| missing())?;
    if key.root() == Some(Root::Area) {
        // They have no metadata of their own. Source: marlin.md section 20.
        return Err(missing());
    }
    let lookup = deps.namespace.lookup(&key).await.map_err(|error| {
        tracing::warn!(%error, "input not resolved");
        TaskError::internal()
    })?;
    let entry = lookup.entry.ok_or_else(missing)?;
    let Some(object) = entry.object() else {
        let message = format!("objects of type \"directory\" are not supported: \"{name}\"");
        return Err(TaskError::new(ErrorCode::InvalidArgument, message));
    };
    if !may_read(deps, principal, &account, &key, &entry).await? {
        let message = format!("permission denied: \"{name}\"");
        return Err(TaskError::new(ErrorCode::Authorization, message));
    }
    Ok(Located {
        creator: object.creator,
        object_id: object.object_id,
        size_bytes: object.size_bytes,
        copies: object.copies.as_slice().into(),
        name,
    })
}

/// Decides as the front door would for a `GET` from inside the job, in the roles that were active when the
/// job was made, as they are now.
async fn may_read(
    deps: &Deps,
    principal: &Principal,
    owner: &Account,
    key: &ObjectKey,
    entry: &Entry,
) -> Result<bool, TaskError> {
    let internal = |error: IdentityError| {
        tracing::warn!(%error, "input not resolved");
        TaskError::internal()
    };
    let identity = &deps.identity;
    let user = principal.user.as_ref().map(|user| user.id);
    let account = identity.account_by_id(principal.account).await;
    let Some(account) = account.map_err(internal)? else {
        return Ok(false);
    };
    let held = identity.held_roles(account.id, user).await;
    let held = held.map_err(internal)?;
    let anonymous = match owner.users.get(ANONYMOUS_USER) {
        None => None,
        Some(user) => {
            let held = identity.held_roles(owner.id, Some(user.id)).await;
            Some(held.map_err(internal)?)
        }
    };
    let mut path = format!("/{}", owner.login);
    for name in key.names() {
        path.push('/');
        path.push_str(name);
    }
    let conditions = Conditions {
        method: "GET",
        time: deps.clock.now(),
        overwrite: false,
        region: None,
        source_ip: None,
        user_agent: None,
    };
    let principal = Principal {
        from_job: true,
        operator: principal.operator && (account.operator || account.role_operator),
        ..principal.clone()
    };
    let decided = authorize(&Context {
        caller: Some(Caller {
            account: &account,
            principal: &principal,
            held: &held,
        }),
        owner,
        action: "getobject",
        resource: Resource {
            path: &path,
            public: key.is_public(),
            roles: &entry.roles,
        },
        conditions: &conditions,
        anonymous: anonymous.as_deref(),
    });
    Ok(decided.is_ok())
}

fn not_found(message: String) -> TaskError {
    TaskError::new(ErrorCode::ResourceNotFound, message)
}

//! From the name of an input to the object behind it. Source: marlin.md section 5.5 (1 to 4) and 13.3.

use std::sync::Arc;

use libmanta::mahi::{Access, Principal, allowed_without_roles};
use libmanta::{AccountId, ObjectId, ObjectKey, Root, StorageId};

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
    let caller = Principal {
        from_job: true,
        ..principal.clone()
    };
    if !allowed_without_roles(Some(&caller), Access::Read, &key) {
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

fn not_found(message: String) -> TaskError {
    TaskError::new(ErrorCode::ResourceNotFound, message)
}

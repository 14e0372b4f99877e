//! May they? What a request wants, in the words of `libmanta::mahi`, which decides.
//!
//! The owner and operators are let through without looking anything up, for that is nearly every request.
//! For all others the roles of the entry count, or, when there is none yet, those of the directory it would
//! lie in, and the rules are compared with the path that the request names, as it is stored.
//! Source: rest-api.md sections 10.2, 10.6.

use std::sync::Arc;

use libmanta::mahi::{self, Conditions, Context, Denied, Held, Resource};
use libmanta::moray::{NamespaceError, PutObject, Replaced};
use libmanta::{Account, Entry, Judged, ObjectKey, PreconditionFailed, Timestamp};
use uuid::Uuid;

use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::operation::{Operation, Verb};
use crate::roles::{ANONYMOUS, Caller};
use crate::storage::{Request, Target};

/// How often a request is decided upon, each time because others have changed what it was decided on before.
pub(crate) const DECISIONS_MAX: usize = 8;

/// What somebody wants with one thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// In lower case, as rules name it.
    pub(crate) action: &'a str,
    pub(crate) owner: &'a Arc<Account>,
    /// As rules name it.
    pub(crate) path: &'a str,
    pub(crate) public: bool,
    pub(crate) tags: &'a [Uuid],
    /// The request replaces something.
    pub(crate) overwrite: bool,
}

/// `/alice/stor/a b`: a key with the login in place of the account's id.
pub(crate) fn login_path(owner: &Account, key: &ObjectKey) -> String {
    let mut path = format!("/{}", owner.login);
    for name in key.names() {
        path.push('/');
        path.push_str(name);
    }
    path
}

/// The action of a request in the tree.
fn action(verb: Verb, operation: Operation, on_directory: bool) -> &'static str {
    match (verb, on_directory) {
        (Verb::Get | Verb::Head, false) => "getobject",
        (Verb::Get | Verb::Head, true) => "getdirectory",
        (Verb::Delete, false) => "deleteobject",
        (Verb::Delete, true) => "deletedirectory",
        (Verb::PutObject | Verb::Rename, _) | (Verb::PutMetadata, false) => "putobject",
        (Verb::PutDirectory, _) | (Verb::PutMetadata, true) => "putdirectory",
        (Verb::PutLink, _) => "putlink",
        (Verb::Options, _) => operation.name(),
    }
}

/// Who did not let an object be written.
#[derive(Debug)]
pub(crate) enum NotPut {
    ByMoray(NamespaceError),
    /// Those of whoever asks; or nobody could tell them. Certainly nothing was written.
    ByRights(Error),
}

impl Request<'_> {
    /// Whether the caller may do with the target what the verb says.
    pub(crate) async fn check_target(
        &self,
        verb: Verb,
        operation: Operation,
        target: &Target,
    ) -> Result<()> {
        let action = action(verb, operation, target.is_directory());
        let reads = matches!(verb, Verb::Get | Verb::Head);
        self.check_entry(action, &target.key, target.entry.as_ref(), !reads)
            .await
    }

    /// Whether the caller may do `action` with what `key` names in the owner's tree. `entry` is what is there;
    /// when nothing is and `makes` says that the request would make it, the directory counts.
    pub(crate) async fn check_entry(
        &self,
        action: &str,
        key: &ObjectKey,
        entry: Option<&Entry>,
        makes: bool,
    ) -> Result<()> {
        self.check_entry_of(&self.owner, action, key, entry, makes)
            .await
    }

    /// The same in the tree of another account.
    pub(crate) async fn check_entry_of(
        &self,
        owner: &Arc<Account>,
        action: &str,
        key: &ObjectKey,
        entry: Option<&Entry>,
        makes: bool,
    ) -> Result<()> {
        if self.has_all_rights(owner) {
            return Ok(());
        }
        let parent = match (entry, key.parent()) {
            (None, Some(parent)) if makes => self.server.moray.lookup(&parent).await?.entry,
            _ => None,
        };
        let counts = entry.or(parent.as_ref());
        let wanted = Wanted {
            action,
            owner,
            path: &login_path(owner, key),
            public: key.is_public(),
            tags: counts.map_or(&[][..], |entry| &entry.roles),
            overwrite: makes && entry.is_some(),
        };
        self.check(wanted).await
    }

    /// Whether roles play no part, because the caller is the account itself or an operator.
    pub(crate) fn has_all_rights(&self, owner: &Account) -> bool {
        self.caller.as_ref().is_some_and(|caller| {
            caller.is_account()
                && (caller.principal.operator || caller.principal.account == owner.id)
        })
    }

    /// What the rights in that tree depended on, for whoever changes something there: it must still be so then.
    /// Where there was nothing they depended on the directory above, whose roles are not compared again.
    pub(crate) fn judged(&self, owner: &Account, entry: Option<&Entry>) -> Option<Judged> {
        (!self.has_all_rights(owner)).then(|| Judged::of(entry))
    }

    /// Writes an object in that account's tree whose bytes are stored, which may have taken hours: where
    /// something else is there by now than what `put` was judged on, it is judged again. Only the entry is
    /// written again, never the bytes.
    pub(crate) async fn put_judged(
        &self,
        owner: &Arc<Account>,
        mut put: PutObject,
    ) -> Result<Replaced, NotPut> {
        let (moray, key) = (&self.server.moray, put.entry.key.clone());
        for _ in 1..DECISIONS_MAX {
            match moray.put_object(put.clone()).await {
                Err(NamespaceError::Precondition(PreconditionFailed::Judged)) => {}
                done => return done.map_err(NotPut::ByMoray),
            }
            let again = async {
                let there = moray.lookup(&key).await?.entry;
                self.check_entry_of(owner, "putobject", &key, there.as_ref(), true)
                    .await?;
                Ok(self.judged(owner, there.as_ref()))
            };
            put.condition.judged = again.await.map_err(NotPut::ByRights)?;
        }
        moray.put_object(put).await.map_err(NotPut::ByMoray)
    }

    /// Refuses with the error that the client sees.
    pub(crate) async fn check(&self, wanted: Wanted<'_>) -> Result<()> {
        let denied = match self.decide(wanted).await? {
            Ok(()) => return Ok(()),
            Err(denied) => denied,
        };
        Err(match denied {
            Denied::AccountBlocked { login } => Error::AccountBlocked { login },
            Denied::NoMatchingRoleTag => Error::NoMatchingRoleTag,
            Denied::NotAllowed => self.forbidden(),
            Denied::InvalidRole { role } => {
                let found = self.server.identity.role(role).await?;
                let name = found.map_or_else(|| role.to_string(), |role| role.name.clone());
                Error::InvalidRole { name }
            }
        })
    }

    /// The decision itself.
    pub(crate) async fn decide(&self, wanted: Wanted<'_>) -> Result<Result<(), Denied>> {
        let judge = self.judge(wanted.owner).await?;
        Ok(judge.decide(wanted))
    }

    /// Whoever decides about many things at once, in one account's tree.
    pub(crate) async fn judge(&self, owner: &Arc<Account>) -> Result<Judge> {
        let anonymous = match owner.users.get(ANONYMOUS) {
            None => None,
            Some(user) => {
                let identity = &self.server.identity;
                Some(identity.held_roles(owner.id, Some(user.id)).await?)
            }
        };
        Ok(Judge {
            has_all_rights: self.has_all_rights(owner),
            caller: self.caller.clone().filter(|caller| !caller.anonymous),
            anonymous,
            owner: owner.clone(),
            head: self.head.clone(),
            now: self.server.clock.now(),
            region: self.server.config.region.clone(),
        })
    }
}

/// Everything about a request that a decision may depend on.
#[derive(Debug)]
pub(crate) struct Judge {
    has_all_rights: bool,
    caller: Option<Caller>,
    anonymous: Option<Arc<[Held]>>,
    owner: Arc<Account>,
    head: Arc<Head>,
    now: Timestamp,
    region: Option<String>,
}

impl Judge {
    fn decide(&self, wanted: Wanted<'_>) -> Result<(), Denied> {
        let user_agent = self.head.header("user-agent");
        let conditions = Conditions {
            method: self.head.method.as_str(),
            time: self.now,
            overwrite: wanted.overwrite,
            region: self.region.as_deref(),
            source_ip: Some(self.head.client),
            user_agent: user_agent.as_deref(),
        };
        mahi::authorize(&Context {
            caller: self.caller.as_ref().map(|caller| mahi::Caller {
                account: &caller.account,
                principal: &caller.principal,
                held: &caller.held,
            }),
            owner: wanted.owner,
            action: wanted.action,
            resource: Resource {
                path: wanted.path,
                public: wanted.public,
                roles: wanted.tags,
            },
            conditions: &conditions,
            anonymous: self.anonymous.as_deref(),
        })
    }

    /// Whether the directory may be listed.
    pub(crate) fn may_list(&self, directory: &Entry) -> bool {
        self.may("getdirectory", directory)
    }

    /// Whether the entry may be deleted.
    pub(crate) fn may_remove(&self, entry: &Entry) -> bool {
        let action = match entry.is_directory() {
            true => "deletedirectory",
            false => "deleteobject",
        };
        self.may(action, entry)
    }

    /// What that depended on.
    pub(crate) fn judged(&self, entry: &Entry) -> Option<Judged> {
        (!self.has_all_rights).then(|| Judged::of(Some(entry)))
    }

    fn may(&self, action: &str, entry: &Entry) -> bool {
        if self.has_all_rights {
            return true;
        }
        let wanted = Wanted {
            action,
            owner: &self.owner,
            path: &login_path(&self.owner, &entry.key),
            public: entry.key.is_public(),
            tags: &entry.roles,
            overwrite: false,
        };
        self.decide(wanted).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use libmanta::{AccountId, Login};

    use super::*;
    use crate::operation::Area;

    #[test]
    fn rules_see_paths_with_logins_and_without_escapes() {
        let account = Account::new(AccountId::random(), Login::parse("alice").unwrap());
        let key = ObjectKey::new(account.id, ["stor", "a b", "\u{20ac}"]).unwrap();
        assert_eq!(login_path(&account, &key), "/alice/stor/a b/\u{20ac}");
    }

    #[test]
    fn every_verb_has_an_action_for_objects_and_directories() {
        for (verb, object, directory) in [
            (Verb::Get, "getobject", "getdirectory"),
            (Verb::Head, "getobject", "getdirectory"),
            (Verb::Delete, "deleteobject", "deletedirectory"),
            (Verb::PutObject, "putobject", "putobject"),
            (Verb::PutDirectory, "putdirectory", "putdirectory"),
            (Verb::PutMetadata, "putobject", "putdirectory"),
            (Verb::PutLink, "putlink", "putlink"),
            (Verb::Rename, "putobject", "putobject"),
            (Verb::Options, "optionsstorage", "optionsstorage"),
        ] {
            let operation = Operation::Storage(verb, Area::Stor);
            assert_eq!(action(verb, operation, false), object);
            assert_eq!(action(verb, operation, true), directory);
        }
    }
}

//! Roles: in which of them a request acts, and which of them its entries are tagged with.
//! Source: rest-api.md sections 10.3 to 10.5.

use std::sync::Arc;

use http::header::HeaderName;
use libmanta::mahi::{ActingUser, Held, Principal};
use libmanta::{Account, Entry};
use uuid::Uuid;

use crate::auth::{Asked, Somebody};
use crate::errors::{Error, Result};
use crate::reply::Reply;
use crate::server::Server;
use crate::storage::Request;

static ROLE_TAG: HeaderName = HeaderName::from_static("role-tag");

/// The subuser that stands for everybody without a key.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// Somebody with the roles they act in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// Stands for everybody without a key.
    pub(crate) anonymous: bool,
}

impl Caller {
    /// `account` or `account/user`, as messages have it.
    pub(crate) fn name(&self) -> String {
        match &self.principal.user {
            _ if self.anonymous => ANONYMOUS.to_owned(),
            None => self.principal.login.to_string(),
            Some(user) => format!("{}/{}", self.principal.login, user.login),
        }
    }

    /// The account itself, not one of its subusers.
    pub(crate) fn is_account(&self) -> bool {
        self.principal.user.is_none()
    }
}

/// Takes on the roles that were asked for.
pub(crate) async fn activate(server: &Server, somebody: Somebody) -> Result<Caller> {
    let becomes_operator = somebody.becomes_operator();
    let Somebody {
        account,
        user,
        asked,
    } = somebody;
    let held = server
        .identity
        .held_roles(account.id, user.as_ref().map(|user| user.id))
        .await?;
    let principal = match asked {
        // Rights that were taken away since are taken from tokens too.
        Asked::Stored(principal) => Principal {
            operator: principal.operator && (account.operator || becomes_operator),
            ..principal
        },
        Asked::Names(names) => {
            let roles = if becomes_operator {
                Vec::new()
            } else {
                choose(&held, names.as_deref(), user.is_some())?
            };
            Principal {
                operator: user.is_none() && (account.operator || becomes_operator),
                user,
                roles,
                ..Principal::of(&account)
            }
        }
    };
    Ok(Caller {
        principal,
        anonymous: false,
    })
}

fn choose(held: &[Held], names: Option<&str>, is_user: bool) -> Result<Vec<Uuid>> {
    let ids = |wanted: &dyn Fn(&Held) -> bool| -> Vec<Uuid> {
        let wanted = held.iter().filter(|held| wanted(held));
        wanted.map(|held| held.role.id).collect()
    };
    let names: Vec<&str> = names.map(split).unwrap_or_default();
    match names.as_slice() {
        [] => Ok(ids(&|held| held.default)),
        ["*"] if is_user => Ok(ids(&|_| true)),
        names => {
            let mut active = Vec::new();
            for name in names {
                // Several accounts may have a role of that name, and then all of them are meant.
                let found = ids(&|held| held.role.name == *name);
                if found.is_empty() {
                    return Err(Error::InvalidRole {
                        name: (*name).to_owned(),
                    });
                }
                active.extend(found);
            }
            active.sort_unstable();
            active.dedup();
            Ok(active)
        }
    }
}

/// The owner's subuser for everybody without a key, if there is one.
pub(crate) async fn anonymous(server: &Server, owner: &Arc<Account>) -> Result<Option<Caller>> {
    let Some(user) = owner.users.get(ANONYMOUS) else {
        return Ok(None);
    };
    let held = server.identity.held_roles(owner.id, Some(user.id)).await?;
    let principal = Principal {
        operator: false,
        roles: choose(&held, None, true)?,
        user: Some(ActingUser {
            id: user.id,
            login: user.login.clone(),
        }),
        ..Principal::of(owner)
    };
    Ok(Some(Caller {
        principal,
        anonymous: true,
    }))
}

/// The tags for what this request stores.
pub(crate) fn tags(request: &Request<'_>) -> Result<Vec<Uuid>> {
    let Some(names) = &request.role_tag else {
        // What a subuser stores belongs to those it acts for.
        let caller = request.caller.as_ref().filter(|c| !c.is_account());
        return Ok(caller
            .map(|caller| caller.principal.roles.clone())
            .unwrap_or_default());
    };
    let mut tags = Vec::new();
    for name in split(names) {
        let id = request.owner.roles.get(name);
        let id = *id.ok_or_else(|| Error::InvalidRoleTag {
            name: name.to_owned(),
        })?;
        if !tags.contains(&id) {
            tags.push(id);
        }
    }
    Ok(tags)
}

/// Puts the names of an entry's tags on the response; those of roles that are gone are left out.
pub(crate) async fn show(server: &Server, entry: &Entry, reply: &mut Reply) -> Result<()> {
    let mut names = Vec::new();
    for id in &entry.roles {
        if let Some(role) = server.identity.role(*id).await? {
            names.push(role.name.clone());
        }
    }
    if !names.is_empty() {
        reply.set_text(ROLE_TAG.clone(), &names.join(", "));
    }
    Ok(())
}

/// Names in a list, without blanks around them; empty ones do not count.
fn split(list: &str) -> Vec<&str> {
    let names = list.split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use libmanta::AccountId;
    use libmanta::mahi::Role;

    use super::*;

    fn held(name: &str, default: bool) -> Held {
        let role = Role {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            account: AccountId::random(),
            rules: Vec::new(),
        };
        Held {
            role: Arc::new(role),
            default,
        }
    }

    #[test]
    fn roles_are_chosen_by_name_or_by_default() {
        let all = [
            held("a", true),
            held("b", false),
            held("b", false),
            held("c", true),
        ];
        let names = |names: Option<&str>, is_user| -> Result<Vec<&str>> {
            let chosen = choose(&all, names, is_user)?;
            let by_id = |id: &Uuid| all.iter().find(|held| held.role.id == *id).unwrap();
            let mut names: Vec<_> = chosen
                .iter()
                .map(|id| by_id(id).role.name.as_str())
                .collect();
            names.sort_unstable();
            Ok(names)
        };
        assert_eq!(names(None, true), Ok(vec!["a", "c"]));
        assert_eq!(names(Some(" , "), true), Ok(vec!["a", "c"]));
        assert_eq!(names(Some("a,b"), true), Ok(vec!["a", "b", "b"]));
        assert_eq!(names(Some("c, c"), true), Ok(vec!["c"]));
        assert_eq!(names(Some("*"), true), Ok(vec!["a", "b", "b", "c"]));
        for (asked, is_user, name) in [
            ("*", false, "*"),
            ("*, a", true, "*"),
            ("a, x, y", true, "x"),
            ("A", true, "A"),
            ("_operator", true, "_operator"),
        ] {
            let expected = Err(Error::InvalidRole { name: name.into() });
            assert_eq!(names(Some(asked), is_user), expected, "{asked}");
        }
    }
}

//! Roles: in which of them a request acts, and which of them its entries are tagged with.
//! Source: rest-api.md sections 10.3 to 10.5.

use std::sync::Arc;

use http::header::HeaderName;
pub(crate) use libmanta::mahi::ANONYMOUS_USER as ANONYMOUS;
use libmanta::mahi::{self, ActingUser, Activated, Bearer, Held, Principal, UnknownRole};
use libmanta::{Account, Entry, Timestamp};
use uuid::Uuid;

use crate::auth::{Asked, Somebody};
use crate::errors::{Error, Result};
use crate::reply::Reply;
use crate::server::Server;
use crate::storage::Request;

static ROLE_TAG: HeaderName = HeaderName::from_static("role-tag");

/// Somebody with the roles they act in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) account: Arc<Account>,
    /// All their roles, active or not.
    pub(crate) held: Arc<[Held]>,
    /// Stands for everybody without a key.
    pub(crate) anonymous: bool,
    /// The end of the token it brought; `None` for a key.
    pub(crate) until: Option<Timestamp>,
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
    let Somebody {
        account,
        user,
        asked,
    } = somebody;
    let held = server
        .identity
        .held_roles(account.id, user.as_ref().map(|user| user.id))
        .await?;
    let mut until = None;
    let principal = match asked {
        Asked::Stored(Bearer { principal, expires }) => {
            until = Some(expires);
            Principal {
                // Rights that were taken away since are taken from tokens too.
                operator: principal.operator
                    && user.is_none()
                    && (account.operator || account.role_operator),
                ..principal
            }
        }
        Asked::Names(names) => {
            let activated = mahi::activate(&account, user.as_ref(), &held, names.as_deref());
            let Activated { operator, roles } = activated.map_err(unknown)?;
            Principal {
                operator,
                roles,
                user,
                ..Principal::of(&account)
            }
        }
    };
    Ok(Caller {
        principal,
        account,
        held,
        anonymous: false,
        until,
    })
}

fn unknown(UnknownRole { name }: UnknownRole) -> Error {
    Error::InvalidRole { name }
}

/// The owner's subuser for everybody without a key, if there is one.
pub(crate) async fn anonymous(server: &Server, owner: &Arc<Account>) -> Result<Option<Caller>> {
    let Some(user) = owner.users.get(ANONYMOUS) else {
        return Ok(None);
    };
    let held = server.identity.held_roles(owner.id, Some(user.id)).await?;
    let user = ActingUser {
        id: user.id,
        login: user.login.clone(),
    };
    let activated = mahi::activate(owner, Some(&user), &held, None);
    let Activated { operator, roles } = activated.map_err(unknown)?;
    let principal = Principal {
        operator,
        roles,
        user: Some(user),
        ..Principal::of(owner)
    };
    Ok(Some(Caller {
        principal,
        account: owner.clone(),
        held,
        anonymous: true,
        until: None,
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
    named(&request.owner, names)
}

/// The roles of `owner` with these names, which are a list.
pub(crate) fn named(owner: &Account, names: &str) -> Result<Vec<Uuid>> {
    let mut tags = Vec::new();
    for name in split(names) {
        let id = owner.roles.get(name);
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

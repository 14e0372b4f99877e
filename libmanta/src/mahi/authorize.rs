//! Whether a request may be done. Source: rest-api.md sections 10.2 and 10.3, metadata-auth-naming.md
//! section 5.8.
//!
//! The surprising thing: what a rule without resources is about depends on where its role is tagged, so a role
//! contributes all of its rules to an entry that carries its tag, and to other entries only those rules that
//! name resources themselves.

use std::net::IpAddr;
use std::sync::LazyLock;

use aperture::{Effect, List, Request, Rule, Value, Word, allows};
use thiserror::Error;
use uuid::Uuid;

use super::{Held, Principal};
use crate::{Account, Timestamp};

/// Whoever holds a role of this name may do what its account may.
pub const ADMINISTRATOR_ROLE: &str = "administrator";

/// The subuser that everybody without rights of their own may act as.
pub const ANONYMOUS_USER: &str = "anonymous";

/// Actions that need no rights below `/public`.
const PUBLIC_ACTIONS: [&str; 3] = ["getobject", "getdirectory", "mlogin"];

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// `None`: anonymous.
    pub caller: Option<Caller<'a>>,
    /// Whose tree the resource lies in.
    pub owner: &'a Account,
    /// In lower case, such as `getobject`.
    pub action: &'a str,
    pub resource: Resource<'a>,
    pub conditions: &'a Conditions<'a>,
    /// What the owner's subuser [`ANONYMOUS_USER`] holds; `None` when the owner has none.
    pub anonymous: Option<&'a [Held]>,
}

/// Who asks, and with what in hand.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The account of the principal, as it is now.
    pub account: &'a Account,
    /// With the roles that are active, and whether it acts as an operator.
    pub principal: &'a Principal,
    /// All roles of the principal, active or not, as they are now.
    pub held: &'a [Held],
}

/// What is asked for: the entry itself if it exists, or else, when it is to be made, its parent's tags under
/// its own path.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// As rules name it, beginning with the owner's login: `/alice/stor/a`.
    pub path: &'a str,
    /// It is `/public` of its account, or lies below it.
    pub public: bool,
    /// Role tags.
    pub roles: &'a [Uuid],
}

/// What conditions of rules may ask about, beside the principal and the owner.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Of the request: `GET`.
    pub method: &'a str,
    /// When the request came.
    pub time: Timestamp,
    /// The entry exists already.
    pub overwrite: bool,
    pub region: Option<&'a str>,
    pub source_ip: Option<IpAddr>,
    pub user_agent: Option<&'a str>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    #[error("{login} is not an active account")]
    AccountBlocked { login: String },
    /// A role is active that the caller does not hold, or not any more.
    #[error("role {role} is not held")]
    InvalidRole { role: Uuid },
    /// A role of the owner is active, but none has a rule that could be about this resource.
    #[error("none of the active roles is present on the resource")]
    NoMatchingRoleTag,
    #[error("no rule allows it")]
    NotAllowed,
}

/// Decides as the caller and, where that fails, as the owner's subuser [`ANONYMOUS_USER`] with its default
/// roles. Errors: the first reason, that is the caller's own if there is a caller.
pub fn authorize(context: &Context<'_>) -> Result<(), Denied> {
    if context.resource.public && PUBLIC_ACTIONS.contains(&context.action) {
        return Ok(());
    }
    let own = match &context.caller {
        Some(caller) => as_caller(context, caller),
        None => Err(Denied::NotAllowed),
    };
    let (Err(first), Some(held)) = (&own, context.anonymous) else {
        return own;
    };
    let active: Vec<&Held> = held.iter().filter(|held| held.default).collect();
    let anonymous = Acting {
        account: context.owner,
        operator: operates_for_users(context.owner),
        is_reader: false,
        from_job: context.caller.is_some_and(|c| c.principal.from_job),
    };
    let second =
        check_approved(context, &anonymous).and_then(|()| by_roles(context, &anonymous, &active));
    match context.caller {
        Some(_) => second.map_err(|_| first.clone()),
        None => second,
    }
}

fn as_caller(context: &Context<'_>, caller: &Caller<'_>) -> Result<(), Denied> {
    let Caller {
        account,
        principal,
        held,
    } = *caller;
    let is_account = principal.user.is_none();
    if is_account && (account.id == context.owner.id || principal.operator) {
        return Ok(());
    }
    let mut active = Vec::with_capacity(principal.roles.len());
    let mut invalid = None;
    for id in &principal.roles {
        match held.iter().find(|held| held.role.id == *id) {
            Some(held) => active.push(held),
            None => invalid = invalid.or(Some(*id)),
        }
    }
    let acting = Acting {
        account,
        operator: match is_account {
            true => principal.operator,
            false => operates_for_users(account),
        },
        is_reader: is_account && account.reader,
        from_job: principal.from_job,
    };
    check_approved(context, &acting)?;
    match invalid {
        Some(role) => Err(Denied::InvalidRole { role }),
        None => by_roles(context, &acting, &active),
    }
}

/// Who acts, as far as roles are concerned.
struct Acting<'a> {
    account: &'a Account,
    /// The account is an operator in this request, though its subusers get nothing of it but through its role
    /// [`ADMINISTRATOR_ROLE`], and that they are not stopped by a block.
    operator: bool,
    is_reader: bool,
    from_job: bool,
}

/// Blocked accounts neither act nor are acted upon, but for operators.
fn check_approved(context: &Context<'_>, acting: &Acting<'_>) -> Result<(), Denied> {
    for account in [acting.account, context.owner] {
        if !account.approved && !account.operator && !acting.operator {
            let login = account.login.to_string();
            return Err(Denied::AccountBlocked { login });
        }
    }
    Ok(())
}

/// A subuser cannot say `Role: _operator` for its account.
fn operates_for_users(account: &Account) -> bool {
    account.operator && !account.role_operator
}

fn by_roles(context: &Context<'_>, acting: &Acting<'_>, active: &[&Held]) -> Result<(), Denied> {
    let owner = context.owner.id;
    let mut rules: Vec<&Rule> = Vec::new();
    let mut contributed = false;
    let mut of_owner = false;
    for held in active {
        let role = &held.role;
        of_owner |= role.account == owner;
        if role.name == ADMINISTRATOR_ROLE {
            let own = acting.operator && role.account == acting.account.id;
            if role.account == owner || own {
                return Ok(());
            }
        } else if role.account == owner {
            let tagged = context.resource.roles.contains(&role.id);
            let before = rules.len();
            let counts = |rule: &&Rule| tagged || rule.resources.is_some();
            rules.extend(role.rules.iter().filter(counts));
            contributed |= tagged || rules.len() > before;
        }
    }
    if acting.is_reader {
        rules.push(&READERS_RULE);
        contributed = true;
    }
    if !contributed && of_owner {
        return Err(Denied::NoMatchingRoleTag);
    }
    if rules.is_empty() {
        return Err(Denied::NotAllowed);
    }
    let facts = facts(context, acting, active);
    let request = Request {
        principal: acting.account.login.as_str(),
        action: context.action,
        resource: context.resource.path,
        conditions: &facts,
    };
    match allows(rules, &request) {
        true => Ok(()),
        false => Err(Denied::NotAllowed),
    }
}

/// What the group `readers` may do, in whatever account.
static READERS_RULE: LazyLock<Rule> = LazyLock::new(|| {
    let actions = ["getobject", "getdirectory"].map(|name| Word::Exact(name.to_owned()));
    Rule {
        principals: None,
        effect: Effect::Can,
        actions: List::Words(actions.into()),
        resources: Some(List::Everything),
        condition: None,
    }
});

/// The names of rest-api.md section 10.6.
fn facts(context: &Context<'_>, acting: &Acting<'_>, active: &[&Held]) -> aperture::Conditions {
    let Conditions {
        method,
        time,
        overwrite,
        region,
        source_ip,
        user_agent,
    } = *context.conditions;
    let moment = Value::Moment(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let text = |text: &str| Value::Text(text.to_owned());
    let roles = active.iter().map(|held| held.role.id.to_string());
    let mut facts = aperture::Conditions::new()
        .with("activeRoles", Value::Strings(roles.collect()))
        .with("date", moment.clone())
        .with("day", moment.clone())
        .with("time", moment)
        .with("fromjob", Value::Boolean(acting.from_job))
        .with("method", text(method))
        .with("overwrite", Value::Boolean(overwrite))
        .with("owner", text(&context.owner.id.to_string()));
    if let Some(region) = region {
        facts = facts.with("region", text(region));
    }
    if let Some(address) = source_ip {
        facts = facts.with("sourceip", Value::Address(address));
    }
    if let Some(agent) = user_agent {
        facts = facts.with("user-agent", text(agent));
    }
    facts
}

#[cfg(test)]
#[path = "authorize/tests.rs"]
mod tests;

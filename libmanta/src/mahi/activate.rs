//! Which roles are active in a request, and whether its caller acts as an operator.
//! Source: rest-api.md sections 10.3 and 10.4.

use thiserror::Error;
use uuid::Uuid;

use super::{ActingUser, Held};
use crate::Account;

/// What a member of the group `role-operators` says to act as an operator.
pub const OPERATOR_ROLE: &str = "_operator";

/// What a caller has switched on for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activated {
    pub operator: bool,
    /// Ids, each once.
    pub roles: Vec<Uuid>,
}

/// A name that is none of a role the caller holds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("role \"{name}\" is invalid")]
pub struct UnknownRole {
    pub name: String,
}

/// `asked` is the value of the header `Role` (or of the parameter, in a signed URL): names with commas between
/// them, each activating every role of that name in whatever account; `*` alone is all roles of a subuser.
/// Absent or empty: the default roles. Not for tokens, which bring their roles with them.
pub fn activate(
    account: &Account,
    user: Option<&ActingUser>,
    held: &[Held],
    asked: Option<&str>,
) -> Result<Activated, UnknownRole> {
    let asked = asked.map(str::trim).unwrap_or_default();
    let says_operator = asked == OPERATOR_ROLE;
    let operator = match account.role_operator {
        true => says_operator,
        false => account.operator,
    };
    let operator = operator && user.is_none();
    if operator && says_operator {
        let roles = Vec::new();
        return Ok(Activated { operator, roles });
    }
    let mut roles: Vec<Uuid> = Vec::new();
    let mut add = |held: &Held| {
        if !roles.contains(&held.role.id) {
            roles.push(held.role.id);
        }
    };
    match asked {
        "" => held.iter().filter(|held| held.default).for_each(add),
        "*" if user.is_some() => held.iter().for_each(add),
        names => {
            for name in names.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                let mut named = held.iter().filter(|held| held.role.name == name).peekable();
                if named.peek().is_none() {
                    let name = name.to_owned();
                    return Err(UnknownRole { name });
                }
                named.for_each(&mut add);
            }
        }
    }
    Ok(Activated { operator, roles })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mahi::Role;
    use crate::{AccountId, Login, UserId};

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

    /// The table of rest-api.md section 10.4.
    #[test]
    fn roles_are_activated_by_name_in_every_account() {
        let account = Account::new(AccountId::random(), Login::parse("alice").unwrap());
        let user = ActingUser {
            id: UserId::random(),
            login: Login::parse("bob").unwrap(),
        };
        let all = [
            held("a", true),
            held("b", false),
            held("b", true),
            held("c", false),
        ];
        for (subuser, asked, expected) in [
            (true, None, Ok(vec![0, 2])),
            (true, Some(""), Ok(vec![0, 2])),
            (true, Some(" , "), Ok(vec![])),
            (true, Some("a"), Ok(vec![0])),
            (true, Some("b"), Ok(vec![1, 2])),
            (true, Some("c, a"), Ok(vec![3, 0])),
            (true, Some("a,a,,b"), Ok(vec![0, 1, 2])),
            (true, Some("*"), Ok(vec![0, 1, 2, 3])),
            (true, Some("a, *"), Err("*")),
            (true, Some("A"), Err("A")),
            (true, Some("a, x"), Err("x")),
            (true, Some("_operator"), Err("_operator")),
            (false, None, Ok(vec![0, 2])),
            (false, Some("c"), Ok(vec![3])),
            (false, Some("*"), Err("*")),
        ] {
            let user = subuser.then_some(&user);
            let found = activate(&account, user, &all, asked);
            let expected = expected.map(|at: Vec<usize>| Activated {
                operator: false,
                roles: at.iter().map(|at| all[*at].role.id).collect(),
            });
            let expected = expected.map_err(|name: &str| UnknownRole { name: name.into() });
            assert_eq!(found, expected, "{subuser} {asked:?}");
        }
    }

    /// Section 10.3: groups `operators` and `role-operators`, account or subuser, what is asked for.
    #[test]
    fn role_operators_must_say_that_they_act_as_operators() {
        let id = AccountId::random();
        let user = ActingUser {
            id: UserId::random(),
            login: Login::parse("bob").unwrap(),
        };
        let all = [held("a", true)];
        let default = vec![all[0].role.id];
        for (operator, role_operator, subuser, asked, expected) in [
            (false, false, false, None, Ok((false, &default))),
            (false, false, false, Some("_operator"), Err(())),
            (true, false, false, None, Ok((true, &default))),
            (true, false, false, Some("a"), Ok((true, &default))),
            (true, false, true, None, Ok((false, &default))),
            (false, true, false, None, Ok((false, &default))),
            (false, true, false, Some("_operator"), Ok((true, &vec![]))),
            (false, true, false, Some("_operator, a"), Err(())),
            (false, true, true, Some("_operator"), Err(())),
            (true, true, false, None, Ok((false, &default))),
            (true, true, false, Some("_operator"), Ok((true, &vec![]))),
        ] {
            let account = Account {
                operator,
                role_operator,
                ..Account::new(id, Login::parse("alice").unwrap())
            };
            let found = activate(&account, subuser.then_some(&user), &all, asked);
            let found = found.map(|is| (is.operator, is.roles)).map_err(drop);
            let expected = expected.map(|(is, roles)| (is, roles.clone()));
            assert_eq!(
                found, expected,
                "{operator} {role_operator} {subuser} {asked:?}"
            );
        }
    }
}

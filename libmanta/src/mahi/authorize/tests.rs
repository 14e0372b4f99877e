//! The decision tables of rest-api.md sections 9.7 and 10.2, row by row.

use std::sync::Arc;

use super::*;
use crate::mahi::{ActingUser, Role};
use crate::{AccountId, Login, UserId};

fn account(login: &str) -> Account {
    Account::new(AccountId::random(), Login::parse(login).unwrap())
}

fn role(name: &str, account: &Account, rules: &[&str]) -> Held {
    let role = Role {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        account: account.id,
        rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
    };
    Held {
        role: Arc::new(role),
        default: true,
    }
}

/// One request on `/alice/stor/a`; each test changes what it is about.
struct Case {
    owner: Account,
    caller: Option<(Account, Option<&'static str>)>,
    /// `None`: as the account is.
    operator: Option<bool>,
    held: Vec<Held>,
    /// `None`: all that is held.
    active: Option<Vec<Uuid>>,
    tags: Vec<Uuid>,
    action: &'static str,
    path: &'static str,
    anonymous: Option<Vec<Held>>,
}

impl Case {
    fn new(owner: &Account, caller: &Account, user: Option<&'static str>) -> Self {
        Self {
            caller: Some((caller.clone(), user)),
            ..Self::anonymous(owner)
        }
    }

    fn anonymous(owner: &Account) -> Self {
        Self {
            owner: owner.clone(),
            caller: None,
            operator: None,
            held: Vec::new(),
            active: None,
            tags: Vec::new(),
            action: "getobject",
            path: "/alice/stor/a",
            anonymous: None,
        }
    }

    fn holding(self, held: &[&Held]) -> Self {
        let held = held.iter().copied().cloned().collect();
        Self { held, ..self }
    }

    fn tagged(self, tags: &[&Held]) -> Self {
        let tags = tags.iter().map(|held| held.role.id).collect();
        Self { tags, ..self }
    }

    fn decide(&self) -> Result<(), Denied> {
        let principal = self.caller.as_ref().map(|(account, user)| Principal {
            operator: self.operator.unwrap_or(account.operator && user.is_none()),
            user: user.map(|login| ActingUser {
                id: UserId::random(),
                login: Login::parse(login).unwrap(),
            }),
            roles: self
                .active
                .clone()
                .unwrap_or_else(|| self.held.iter().map(|held| held.role.id).collect()),
            ..Principal::of(account)
        });
        let caller = match (&self.caller, &principal) {
            (Some((account, _)), Some(principal)) => Some(Caller {
                account,
                principal,
                held: &self.held,
            }),
            _ => None,
        };
        authorize(&Context {
            caller,
            owner: &self.owner,
            action: self.action,
            resource: Resource {
                path: self.path,
                public: self.path.starts_with("/alice/public"),
                roles: &self.tags,
            },
            conditions: &Conditions {
                method: "GET",
                time: Timestamp::from_millis(1_795_256_130_500),
                overwrite: false,
                region: Some("coal"),
                source_ip: "10.1.2.3".parse().ok(),
                user_agent: None,
            },
            anonymous: self.anonymous.as_deref(),
        })
    }
}

const BOB: Option<&str> = Some("bob");
const OK: Result<(), Denied> = Ok(());
const NOT_ALLOWED: Result<(), Denied> = Err(Denied::NotAllowed);
const NO_TAG: Result<(), Denied> = Err(Denied::NoMatchingRoleTag);

fn blocked(login: &str) -> Result<(), Denied> {
    let login = login.to_owned();
    Err(Denied::AccountBlocked { login })
}

/// Rows 1 and 2 of the decision.
#[test]
fn accounts_own_their_tree_operators_own_all_and_public_is_public() {
    let (alice, carol) = (account("alice"), account("carol"));
    let poseidon = Account {
        operator: true,
        ..account("poseidon")
    };
    for (caller, user, stor, public_read, public_write) in [
        (Some(&alice), None, OK, OK, OK),
        (Some(&poseidon), None, OK, OK, OK),
        (Some(&carol), None, NOT_ALLOWED, OK, NOT_ALLOWED),
        (Some(&alice), BOB, NOT_ALLOWED, OK, NOT_ALLOWED),
        (Some(&poseidon), BOB, NOT_ALLOWED, OK, NOT_ALLOWED),
        (None, None, NOT_ALLOWED, OK, NOT_ALLOWED),
    ] {
        let case = |action, path| {
            let case = match caller {
                Some(caller) => Case::new(&alice, caller, user),
                None => Case::anonymous(&alice),
            };
            Case {
                action,
                path,
                ..case
            }
            .decide()
        };
        let who = caller.map(|caller| (caller.login.as_str(), user));
        for action in ["getobject", "putobject", "deletedirectory", "createjob"] {
            assert_eq!(case(action, "/alice/stor/a"), stor, "{who:?} {action}");
        }
        for action in ["getobject", "getdirectory", "mlogin"] {
            assert_eq!(
                case(action, "/alice/public/a"),
                public_read,
                "{who:?} {action}"
            );
        }
        for action in ["putobject", "deleteobject", "optionspublicstorage"] {
            assert_eq!(
                case(action, "/alice/public/a"),
                public_write,
                "{who:?} {action}"
            );
        }
    }
}

/// Row 3: caller approved, caller operator, owner approved, owner operator.
#[test]
fn blocked_accounts_neither_act_nor_are_acted_upon() {
    let both = [false, true];
    for (caller_ok, caller_op, owner_ok, owner_op) in both.into_iter().flat_map(|a| {
        both.into_iter().flat_map(move |b| {
            both.into_iter()
                .flat_map(move |c| both.map(move |d| (a, b, c, d)))
        })
    }) {
        let alice = Account {
            approved: owner_ok,
            operator: owner_op,
            ..account("alice")
        };
        let carol = Account {
            approved: caller_ok,
            operator: caller_op,
            ..account("carol")
        };
        let all = role("all", &alice, &["CAN * *"]);
        let expected = match (caller_ok || caller_op, owner_ok || owner_op || caller_op) {
            (false, _) => blocked("carol"),
            (true, false) => blocked("alice"),
            (true, true) => OK,
        };
        for user in [None, BOB] {
            let case = Case::new(&alice, &carol, user).holding(&[&all]);
            let found = case.decide();
            assert_eq!(
                found, expected,
                "{caller_ok} {caller_op} {owner_ok} {owner_op} {user:?}"
            );
        }
        // The owner itself is stopped before, when it is authenticated; here it is let through.
        assert_eq!(Case::new(&alice, &alice, None).decide(), OK);
    }
}

/// Row 4, and how 5 and 6 name what is missing.
#[test]
fn a_role_counts_by_its_tag_and_by_the_resources_it_names() {
    let (alice, carol) = (account("alice"), account("carol"));
    let get = role("get", &alice, &["CAN getobject"]);
    let put = role("put", &alice, &["CAN putobject"]);
    let any = role("any", &alice, &["CAN getobject *"]);
    let this = role("this", &alice, &["CAN getobject /alice/stor/*"]);
    let other = role("other", &alice, &["CAN getobject /alice/stor/b*"]);
    let mixed = role(
        "mixed",
        &alice,
        &["CAN getobject", "CAN putobject /alice/stor/a"],
    );
    let empty = role("empty", &alice, &[]);
    let never = role("never", &alice, &["CAN NOT getobject"]);
    let foreign = role("foreign", &carol, &["CAN getobject *"]);
    for (held, tags, expected) in [
        (&[][..], &[][..], NOT_ALLOWED),
        (&[], &[&get], NOT_ALLOWED),
        (&[&get], &[&get], OK),
        (&[&get], &[&put, &get], OK),
        (&[&get], &[], NO_TAG),
        (&[&get], &[&put], NO_TAG),
        (&[&put], &[&put], NOT_ALLOWED),
        (&[&put, &get], &[&put], NOT_ALLOWED),
        (&[&put, &get], &[&get], OK),
        (&[&any], &[], OK),
        (&[&this], &[], OK),
        (&[&other], &[], NOT_ALLOWED),
        (&[&other, &get], &[], NOT_ALLOWED),
        (&[&mixed], &[], NOT_ALLOWED),
        (&[&mixed], &[&mixed], OK),
        (&[&empty], &[], NO_TAG),
        (&[&empty], &[&empty], NOT_ALLOWED),
        (&[&never, &get], &[&never, &get], OK),
        (&[&never], &[&never], NOT_ALLOWED),
        // Roles of other accounts count nowhere but there, also when they are tagged by mistake.
        (&[&foreign], &[], NOT_ALLOWED),
        (&[&foreign], &[&foreign], NOT_ALLOWED),
        (&[&foreign, &get], &[], NO_TAG),
    ] {
        let names = |of: &[&Held]| {
            of.iter()
                .map(|held| held.role.name.clone())
                .collect::<Vec<_>>()
        };
        for (caller, user) in [(&alice, BOB), (&carol, None), (&carol, BOB)] {
            let case = Case::new(&alice, caller, user).holding(held).tagged(tags);
            let (held, tags) = (names(held), names(tags));
            assert_eq!(case.decide(), expected, "{held:?} on {tags:?} by {user:?}");
        }
    }
    let case = Case {
        action: "putobject",
        ..Case::new(&alice, &alice, BOB).holding(&[&mixed])
    };
    assert_eq!(case.decide(), OK, "by the rule that names the path");
}

#[test]
fn only_active_roles_count_and_only_while_they_are_held() {
    let alice = account("alice");
    let get = role("get", &alice, &["CAN getobject"]);
    let put = role("put", &alice, &["CAN putobject"]);
    let case = |held: &[&Held], active: &[&Held]| {
        let active = active.iter().map(|held| held.role.id).collect();
        let case = Case::new(&alice, &alice, BOB)
            .holding(held)
            .tagged(&[&get, &put]);
        Case {
            active: Some(active),
            ..case
        }
        .decide()
    };
    assert_eq!(case(&[&get, &put], &[&get]), OK);
    assert_eq!(case(&[&get, &put], &[&put]), NOT_ALLOWED);
    assert_eq!(case(&[&get, &put], &[]), NOT_ALLOWED);
    let lost = Err(Denied::InvalidRole { role: put.role.id });
    assert_eq!(case(&[&get], &[&get, &put]), lost);
    assert_eq!(case(&[], &[&put]), lost);
}

#[test]
fn administrators_of_the_owner_and_of_operators_may_do_all() {
    let (alice, carol) = (account("alice"), account("carol"));
    let poseidon = Account {
        operator: true,
        ..account("poseidon")
    };
    let role_operator = Account {
        role_operator: true,
        ..poseidon.clone()
    };
    let of_alice = role("administrator", &alice, &[]);
    let of_carol = role("administrator", &carol, &[]);
    let of_poseidon = role("administrator", &poseidon, &[]);
    let named_otherwise = role("Administrator", &alice, &[]);
    for (caller, user, held, expected) in [
        (&alice, BOB, &of_alice, OK),
        (&carol, None, &of_alice, OK),
        (&carol, BOB, &of_alice, OK),
        (&carol, BOB, &of_carol, NOT_ALLOWED),
        (&alice, BOB, &of_carol, NOT_ALLOWED),
        (&poseidon, BOB, &of_poseidon, OK),
        (&role_operator, BOB, &of_poseidon, NOT_ALLOWED),
        (&carol, BOB, &of_poseidon, NOT_ALLOWED),
        (&alice, BOB, &named_otherwise, NO_TAG),
    ] {
        let case = Case {
            action: "putobject",
            ..Case::new(&alice, caller, user).holding(&[held])
        };
        let who = (caller.login.as_str(), user, &held.role.name);
        assert_eq!(case.decide(), expected, "{who:?}");
    }
}

#[test]
fn role_operators_are_operators_when_they_say_so() {
    let alice = account("alice");
    let triton = Account {
        role_operator: true,
        operator: true,
        ..account("triton")
    };
    for (operator, expected) in [(true, OK), (false, NOT_ALLOWED)] {
        let case = Case {
            operator: Some(operator),
            ..Case::new(&alice, &triton, None)
        };
        assert_eq!(case.decide(), expected);
    }
}

#[test]
fn readers_read_everything() {
    let alice = account("alice");
    let reader = Account {
        reader: true,
        ..account("reader")
    };
    for (action, expected) in [
        ("getobject", OK),
        ("getdirectory", OK),
        ("putobject", NOT_ALLOWED),
        ("deleteobject", NOT_ALLOWED),
        ("createjob", NOT_ALLOWED),
    ] {
        let of_account = Case {
            action,
            ..Case::new(&alice, &reader, None)
        };
        assert_eq!(of_account.decide(), expected, "{action}");
        let of_subuser = Case {
            action,
            ..Case::new(&alice, &reader, BOB)
        };
        assert_eq!(of_subuser.decide(), NOT_ALLOWED, "{action}");
    }
    let owner = Account {
        approved: false,
        ..alice
    };
    assert_eq!(Case::new(&owner, &reader, None).decide(), blocked("alice"));
}

/// Row 7, and rest-api.md section 9.7.
#[test]
fn the_owners_anonymous_user_is_a_second_chance() {
    let (alice, carol) = (account("alice"), account("carol"));
    let get = role("get", &alice, &["CAN getobject"]);
    let put = role("put", &alice, &["CAN putobject"]);
    let spare = Held {
        default: false,
        ..get.clone()
    };
    let none: Option<&[&Held]> = None;
    for (anonymous, tags, by_nobody, by_stranger, by_put) in [
        (none, &[&get][..], NOT_ALLOWED, NOT_ALLOWED, NO_TAG),
        (Some(&[&get][..]), &[&get], OK, OK, OK),
        (Some(&[&get]), &[], NO_TAG, NOT_ALLOWED, NO_TAG),
        (Some(&[&get]), &[&put], NO_TAG, NOT_ALLOWED, NOT_ALLOWED),
        (Some(&[&spare]), &[&get], NOT_ALLOWED, NOT_ALLOWED, NO_TAG),
        (Some(&[]), &[&get], NOT_ALLOWED, NOT_ALLOWED, NO_TAG),
        (
            Some(&[&put]),
            &[&put],
            NOT_ALLOWED,
            NOT_ALLOWED,
            NOT_ALLOWED,
        ),
    ] {
        let anonymous = anonymous.map(|held| held.iter().copied().cloned().collect::<Vec<_>>());
        let with = |case: Case| {
            Case {
                anonymous: anonymous.clone(),
                ..case
            }
            .tagged(tags)
            .decide()
        };
        let tags: Vec<_> = tags.iter().map(|held| &held.role.name).collect();
        let what = format!("{:?} on {tags:?}", anonymous.as_ref().map(Vec::len));
        assert_eq!(with(Case::anonymous(&alice)), by_nobody, "{what}");
        assert_eq!(with(Case::new(&alice, &carol, None)), by_stranger, "{what}");
        let bob = Case::new(&alice, &alice, BOB).holding(&[&put]);
        assert_eq!(with(bob), by_put, "{what}");
    }
    let owner = Account {
        approved: false,
        ..alice
    };
    let case = Case {
        anonymous: Some(vec![get.clone()]),
        ..Case::anonymous(&owner).tagged(&[&get])
    };
    assert_eq!(case.decide(), blocked("alice"));
}

#[test]
fn conditions_see_the_request() {
    let alice = account("alice");
    let own = format!("CAN * * WHEN owner = {}", alice.id);
    for (rule, expected) in [
        (own.as_str(), OK),
        (
            "CAN * * WHEN method = GET AND overwrite = false AND fromjob = false",
            OK,
        ),
        ("CAN * * WHEN sourceip = 10.0.0.0/8 AND region = coal", OK),
        ("CAN * * WHEN sourceip = 11.0.0.0/8", NOT_ALLOWED),
        (
            "CAN * * WHEN day = saturday AND time > 10:15 AND date < 2027",
            OK,
        ),
        ("CAN * * WHEN day IN (mon, tue)", NOT_ALLOWED),
        ("CAN * * WHEN activeRoles CONTAINS x", NOT_ALLOWED),
        // The request has none: neither true nor an error of ours.
        ("CAN * * WHEN user-agent LIKE /./", NOT_ALLOWED),
        ("CAN * * WHEN NOT user-agent LIKE /./", NOT_ALLOWED),
    ] {
        let held = role("r", &alice, &[rule]);
        let case = Case::new(&alice, &alice, BOB).holding(&[&held]);
        assert_eq!(case.decide(), expected, "{rule}");
    }
    let mut held = role("r", &alice, &[]);
    let rule = format!("CAN getobject * WHEN activeRoles CONTAINS {}", held.role.id);
    held.role = Arc::new(Role {
        rules: vec![rule.parse().unwrap()],
        ..(*held.role).clone()
    });
    assert_eq!(
        Case::new(&alice, &alice, BOB).holding(&[&held]).decide(),
        OK
    );
}

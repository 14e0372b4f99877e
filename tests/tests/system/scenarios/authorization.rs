//! Which objects of an account the jobs of others may read: its subusers, another account and its subuser, an
//! operator.
//!
//! Surprise: a legacy job is one of which only the record is left when its inputs come, since the store was
//! started again. Ours have always said whose they are, so that nobody loses what the reference's legacy jobs
//! lost: what is open to everybody.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use anyhow::{Context, Result};
use serde_json::json;
use tests::{Client, Job, Request};

use super::{Scenario, Stage, map, reduce};

/// What the account has: public, private, tagged for everybody, tagged for one of its subusers.
const OBJECTS: [&str; 4] = ["/%u/public/X", "/%u/stor/A", "/%u/stor/pub", "/%u/stor/U1"];

/// Whose job it is.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// The account that has the objects.
    A,
    /// Its subuser who has a role of an object.
    A1,
    /// Its subuser who has none.
    A2,
    /// Another account.
    B,
    /// A subuser of that.
    B1,
    Operator,
}

/// What a subuser has to be allowed so as to have jobs.
fn let_work(stage: &Stage, account: &str, user: &str) -> Result<Client> {
    let client = stage.store.add_user_of(account, user)?;
    let rules = [
        &*format!("CAN createjob /{account}/jobs"),
        "CAN putobject, putdirectory, getobject, getdirectory, getjob AND managejob",
    ];
    stage.store.add_role_of(account, "work", &rules)?;
    stage
        .store
        .give_role_of(account, "work", &json!({ "user": user }), true)?;
    Ok(client)
}

/// Makes the objects and the one whose job it is; returns the account and a client.
fn enter(stage: &Stage, who: Who) -> Result<(String, Client)> {
    let store = &stage.store;
    let account = store.account();
    let users = format!("/accounts/{account}/users");
    store.administer("POST", &users, &json!({ "login": "anonymous" }))?;
    for role in ["everybody", "u1"] {
        store.add_role(role, "CAN getobject")?;
    }
    store.give_role("everybody", &json!({ "user": "anonymous" }), true)?;
    let mut owner = store.client()?;
    for (name, tags) in OBJECTS.into_iter().zip(["", "", "everybody", "u1"]) {
        let put = Request::new("PUT", &stage.name(name)).header("role-tag", tags);
        owner.call(&put.body("one line\n"))?.expect(204)?;
    }
    let client = match who {
        Who::A => owner,
        Who::A1 | Who::A2 => {
            let client = let_work(stage, account, "jo")?;
            if who == Who::A1 {
                store.give_role("u1", &json!({ "user": "jo" }), true)?;
            }
            client
        }
        Who::B => store.add_account("other")?,
        Who::B1 => {
            store.add_account("other")?;
            let_work(stage, "other", "jo")?
        }
        Who::Operator => store.add_operator("operator")?,
    };
    let login = match who {
        Who::A | Who::A1 | Who::A2 => account,
        Who::B | Who::B1 => "other",
        Who::Operator => "operator",
    };
    Ok((login.to_owned(), client))
}

/// Runs over all the objects; those at `allowed` can be read, and the others are refused.
fn check(scenario: Scenario, who: Who, allowed: &[usize], legacy: bool) -> Result<()> {
    let mut stage = Stage::open()?;
    let (login, mut client) = enter(&stage, who)?;
    let refused: Vec<_> = (0..OBJECTS.len())
        .filter(|at| !allowed.contains(at))
        .filter_map(|at| OBJECTS.get(at))
        .map(|name| {
            json!({
                "phase": "0",
                "code": "AuthorizationError",
                "message": format!("permission denied: \"{name}\""),
                "input": name,
                "p0input": name,
            })
        })
        .collect();
    let scenario = scenario
        .inputs(&OBJECTS)
        .not_made(&OBJECTS)
        .errors(&refused);
    let phases = stage.prepare(&scenario)?;
    let job = Job::create_of(&mut client, &login, &phases)?;
    if legacy {
        stage.store.kill()?;
        stage.store.start()?;
        client = Client::new(stage.store.address(), client.signer().cloned());
    }
    stage.perform(scenario, &mut client, &job)?;
    stage.store.finish()
}

fn mapped(who: Who, allowed: &[usize], legacy: bool) -> Result<()> {
    let outputs = allowed.iter().map(|at| {
        let name = OBJECTS.get(*at).context("an object")?;
        Ok(format!("/%o/jobs/%j/stor{name}.0.*"))
    });
    let outputs: Vec<String> = outputs.collect::<Result<_>>()?;
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let contents = vec!["1 2 9\n"; outputs.len()];
    let scenario = map("wc").outputs(&outputs).contents(&contents);
    check(scenario, who, allowed, legacy)
}

fn reduced(who: Who, allowed: &[usize], legacy: bool) -> Result<()> {
    let lines = format!("{}\n", allowed.len());
    let scenario = reduce("wc -l").one_reduced().contents(&[&lines]);
    check(scenario, who, allowed, legacy)
}

#[test]
fn jobMauthzA() -> Result<()> {
    mapped(Who::A, &[0, 1, 2, 3], false)
}

#[test]
fn jobMauthzA1() -> Result<()> {
    mapped(Who::A1, &[0, 2, 3], false)
}

#[test]
fn jobMauthzA2() -> Result<()> {
    mapped(Who::A2, &[0, 2], false)
}

#[test]
fn jobMauthzB() -> Result<()> {
    mapped(Who::B, &[0, 2], false)
}

#[test]
fn jobMauthzB1() -> Result<()> {
    mapped(Who::B1, &[0, 2], false)
}

#[test]
fn jobMauthzOp() -> Result<()> {
    mapped(Who::Operator, &[0, 1, 2, 3], false)
}

#[test]
fn jobMauthzLegacyA() -> Result<()> {
    mapped(Who::A, &[0, 1, 2, 3], true)
}

#[test]
fn jobMauthzLegacyB() -> Result<()> {
    mapped(Who::B, &[0, 2], true)
}

#[test]
fn jobMauthzLegacyOp() -> Result<()> {
    mapped(Who::Operator, &[0, 1, 2, 3], true)
}

#[test]
fn jobRauthzA() -> Result<()> {
    reduced(Who::A, &[0, 1, 2, 3], false)
}

#[test]
fn jobRauthzA1() -> Result<()> {
    reduced(Who::A1, &[0, 2, 3], false)
}

#[test]
fn jobRauthzA2() -> Result<()> {
    reduced(Who::A2, &[0, 2], false)
}

#[test]
fn jobRauthzB() -> Result<()> {
    reduced(Who::B, &[0, 2], false)
}

#[test]
fn jobRauthzB1() -> Result<()> {
    reduced(Who::B1, &[0, 2], false)
}

#[test]
fn jobRauthzOp() -> Result<()> {
    reduced(Who::Operator, &[0, 1, 2, 3], false)
}

#[test]
fn jobRauthzLegacyOp() -> Result<()> {
    reduced(Who::Operator, &[0, 1, 2, 3], true)
}

//! What clients test for, authentication and access control: rest-api.md section 15.5, a test for each of its
//! lines, on the surface on which they test it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::signed_url::SignedUrl;
use tests::{Client, Launch, Request, Response, Signer, Store};

use crate::said::said;

fn store() -> Result<Store> {
    Launch::new()
        .setting("surface = \"manta2\"")
        .setting("jobs.isolation = \"off\"")
        .start()
}

fn signer(client: &Client) -> Result<Signer> {
    client.signer().cloned().context("somebody who signs")
}

/// A `GET`, or with something in `body` a `PUT`, in the roles named.
fn ask(client: &mut Client, path: &str, role: &str, body: Option<&str>) -> Result<Response> {
    let mut request = match body {
        None => Request::new("GET", path),
        Some(body) => Request::new("PUT", path).body(body),
    };
    if !role.is_empty() {
        request = request.header("role", role);
    }
    client.call(&request)
}

/// An object of the account's with role tags.
fn tagged(store: &Store, below: &str, tags: &str) -> Result<String> {
    let path = store.path(below);
    let request = Request::new("PUT", &path).header("role-tag", tags);
    store.client()?.call(&request.body("x"))?.expect(204)?;
    Ok(path)
}

/// A directory of the account's with role tags.
fn tagged_directory(store: &Store, below: &str, tags: &str) -> Result<String> {
    let path = store.path(below);
    let request = Request::new("PUT", &path)
        .header("role-tag", tags)
        .header("content-type", "application/json; type=directory");
    store.client()?.call(&request.claiming(0))?.expect(204)?;
    Ok(path)
}

/// The subuser jo with the default role `default` and the roles `a` and `b`, all of which read objects; the
/// role `other` is not jo's.
fn with_jo() -> Result<(Store, Client)> {
    let store = store()?;
    let jo = store.add_user("jo")?;
    for (name, default) in [("default", true), ("a", false), ("b", false)] {
        store.add_role(name, "CAN getobject")?;
        store.give_role(name, &json!({ "user": "jo" }), default)?;
    }
    store.add_role("other", "CAN getobject")?;
    Ok((store, jo))
}

#[test]
fn unknown_account_or_key_or_corrupted_signature() -> Result<()> {
    let store = store()?;
    let signer = store.signer()?;
    let path = store.path("stor");
    let [(_, date), (_, good)] = signer.headers();
    let print = signer
        .key_id()
        .rsplit('/')
        .next()
        .context("a fingerprint")?;
    let account = format!("/{}/keys/", store.account());
    for (authorization, code) in [
        (
            good.replace(&account, "/nobody/keys/"),
            "AccountDoesNotExist",
        ),
        (
            good.replace(print, &print.replace(':', "-")),
            "KeyDoesNotExist",
        ),
        (
            good.replace("signature=\"", "signature=\"AAAA"),
            "InvalidSignature",
        ),
    ] {
        let request = Request::new("GET", &path)
            .header("date", &date)
            .header("authorization", &authorization);
        store.anonymous().call(&request)?.expect_error(403, code)?;
    }
    store.finish()
}

#[test]
fn presigned_urls_that_are_incomplete_expired_corrupted_or_good() -> Result<()> {
    let store = store()?;
    let path = tagged(&store, "stor/o", "")?;
    let signer = store.signer()?;
    let mut client = store.anonymous();
    let url = SignedUrl::new("GET", &path, &signer);
    for name in ["expires", "keyId", "algorithm"] {
        let refused = client.get(&url.clone().without(name).signed(&signer))?;
        refused.expect_error(403, "InvalidQueryStringAuthentication")?;
    }
    let good = url.signed(&signer);
    let (unsigned, _) = good.split_once("&signature=").context("a signature")?;
    let refused = client.get(unsigned)?;
    refused.expect_error(403, "InvalidQueryStringAuthentication")?;
    let refused = client.get(&url.with("expires", "1").signed(&signer))?;
    refused.expect_error(403, "InvalidQueryStringAuthentication")?;
    let refused = client.get(&good.replace("&signature=", "&signature=AAAA"))?;
    refused.expect_error(403, "InvalidSignature")?;
    ensure!(client.get(&good)?.expect(200)?.text() == "x");
    for path in [store.path("stor"), store.path("stor/")] {
        let url = SignedUrl::new("GET", &path, &signer);
        client.get(&url.signed(&signer))?.expect(200)?;
    }
    store.finish()
}

#[test]
fn presigned_url_for_another_accounts_object_is_refused() -> Result<()> {
    let store = store()?;
    let path = tagged(&store, "stor/o", "")?;
    let jack = signer(&store.add_account("jack")?)?;
    let url = SignedUrl::new("GET", &path, &jack).signed(&jack);
    store.anonymous().get(&url)?.expect(403)?;
    store.finish()
}

#[test]
fn anonymous_and_other_accounts_see_what_is_public() -> Result<()> {
    let store = store()?;
    let private = tagged(&store, "stor/o", "")?;
    let public = tagged(&store, "public/o", "")?;
    store.anonymous().get(&private)?.expect(403)?;
    store.anonymous().get(&public)?.expect(200)?;
    store.anonymous().get("/poseidon/public")?.expect(200)?;
    let mut jack = store.add_account("jack")?;
    jack.get(&public)?.expect(200)?;
    jack.get("/poseidon/public")?.expect(200)?;
    jack.get(&private)?
        .expect_error(403, "AuthorizationFailed")?;
    let stor = store.path("stor");
    jack.get(&stor)?.expect_error(403, "AuthorizationFailed")?;
    store.finish()
}

#[test]
fn subuser_with_default_needed_wrong_all_and_unknown_roles() -> Result<()> {
    let (store, mut jo) = with_jo()?;
    let default = tagged(&store, "stor/default", "default")?;
    let plain = tagged(&store, "stor/plain", "")?;
    let needs_a = tagged(&store, "stor/a", "a")?;
    for (path, role, status, code) in [
        (&default, "", 200, ""),
        (&plain, "", 403, "NoMatchingRoleTag"),
        (&needs_a, "", 403, "NoMatchingRoleTag"),
        (&needs_a, "a", 200, ""),
        (&needs_a, "a, b", 200, ""),
        (&needs_a, "b", 403, "NoMatchingRoleTag"),
        (&needs_a, "*", 200, ""),
        (&needs_a, "nosuch", 409, "InvalidRole"),
        (&needs_a, "other", 409, "InvalidRole"),
    ] {
        let response = ask(&mut jo, path, role, None)?;
        let response = response
            .expect(status)
            .with_context(|| format!("{path} as {role}"))?;
        ensure!(
            code.is_empty() || response.code() == code,
            "{path} as {role}"
        );
    }
    store.finish()
}

#[test]
fn cross_account_roles() -> Result<()> {
    let store = store()?;
    let mut jack = store.add_account("jack")?;
    store.add_role("guest", "CAN getobject")?;
    store.give_role("guest", &json!({ "account": "jack" }), false)?;
    let path = tagged(&store, "stor/o", "guest")?;
    ask(&mut jack, &path, "nosuch", None)?.expect_error(409, "InvalidRole")?;
    ask(&mut jack, &path, "guest", None)?.expect(200)?;
    ask(&mut jack, &path, "", None)?.expect_error(403, "AuthorizationFailed")?;
    store.finish()
}

#[test]
fn mchmod_works_and_refuses_unknown_roles() -> Result<()> {
    let (store, mut jo) = with_jo()?;
    let path = tagged(&store, "stor/o", "")?;
    ask(&mut jo, &path, "a", None)?.expect(403)?;
    let mchmod = |tags: &str| {
        let target = format!("{path}?metadata=true");
        store
            .client()?
            .call(&Request::new("PUT", &target).header("role-tag", tags))
    };
    mchmod("a")?.expect(204)?;
    let seen = ask(&mut jo, &path, "a", None)?.expect(200)?;
    ensure!(seen.header("role-tag") == Some("a"));
    mchmod("nosuch")?.expect_error(409, "InvalidRoleTag")?;
    let seen = store.client()?.head(&path)?.expect(200)?;
    ensure!(seen.header("role-tag") == Some("a"), "nothing may change");
    store.finish()
}

#[test]
fn subuser_creates_with_the_tag_on_the_parent_and_the_right_action() -> Result<()> {
    let (store, mut jo) = with_jo()?;
    for (name, rule) in [
        ("objects", "CAN putobject"),
        ("directories", "CAN putdirectory"),
    ] {
        store.add_role(name, rule)?;
        store.give_role(name, &json!({ "user": "jo" }), false)?;
    }
    let shut = tagged_directory(&store, "stor/shut", "")?;
    let open = tagged_directory(&store, "stor/open", "objects, directories")?;
    let mut make = |kind: &str, path: &str, role: &str| {
        let request = Request::new("PUT", path).header("role", role);
        jo.call(&match kind {
            "object" => request.body("x"),
            _ => request
                .header("content-type", "application/json; type=directory")
                .claiming(0),
        })
    };
    for (kind, right, wrong) in [
        ("object", "objects", "directories"),
        ("directory", "directories", "objects"),
    ] {
        let refused = make(kind, &format!("{shut}/{kind}"), right)?;
        refused.expect_error(403, "NoMatchingRoleTag")?;
        let refused = make(kind, &format!("{open}/{kind}"), wrong)?;
        refused.expect_error(403, "AuthorizationFailed")?;
        make(kind, &format!("{open}/{kind}"), right)?.expect(204)?;
    }
    ensure!(store.client()?.names(&shut)?.is_empty());
    ensure!(store.client()?.names(&open)? == ["directory", "object"]);
    store.finish()
}

#[test]
fn subuser_getting_a_missing_object_is_told_so() -> Result<()> {
    let (store, mut jo) = with_jo()?;
    let path = store.path("stor/missing");
    jo.get(&path)?.expect_error(404, "ResourceNotFound")?;
    store.finish()
}

#[test]
fn signed_url_of_a_subuser_takes_roles_from_its_parameter() -> Result<()> {
    let (store, jo) = with_jo()?;
    let jo = signer(&jo)?;
    let default = tagged(&store, "stor/default", "default")?;
    let needs_a = tagged(&store, "stor/a", "a")?;
    for (path, parameter, header, status, code) in [
        (&default, "", "", 200, ""),
        (&needs_a, "", "", 403, "NoMatchingRoleTag"),
        (&needs_a, "", "a", 403, "NoMatchingRoleTag"),
        (&default, "", "nosuch", 200, ""),
        (&needs_a, "a", "", 200, ""),
        (&needs_a, "b", "", 403, "NoMatchingRoleTag"),
        (&needs_a, "nosuch", "", 409, "InvalidRole"),
    ] {
        let mut url = SignedUrl::new("GET", path, &jo);
        if !parameter.is_empty() {
            url = url.with("role", parameter);
        }
        let response = ask(&mut store.anonymous(), &url.signed(&jo), header, None)?;
        let row = format!("{path} with {parameter:?} and {header:?}");
        let response = response.expect(status).context(row.clone())?;
        ensure!(code.is_empty() || response.code() == code, "{row}");
    }
    store.finish()
}

#[test]
fn rules_with_a_star_or_a_glob_work_on_untagged_objects() -> Result<()> {
    let (store, mut jo) = with_jo()?;
    let glob = format!("CAN getobject {}", store.path("stor/log-*"));
    for (name, rule) in [("star", "CAN getobject *"), ("glob", glob.as_str())] {
        store.add_role(name, rule)?;
        store.give_role(name, &json!({ "user": "jo" }), false)?;
    }
    let log = tagged(&store, "stor/log-1", "")?;
    let other = tagged(&store, "stor/other", "")?;
    ask(&mut jo, &log, "star", None)?.expect(200)?;
    ask(&mut jo, &other, "star", None)?.expect(200)?;
    ask(&mut jo, &log, "glob", None)?.expect(200)?;
    ask(&mut jo, &other, "glob", None)?.expect(403)?;
    store.finish()
}

#[test]
fn object_created_by_a_subuser_gets_its_active_roles() -> Result<()> {
    let (store, mut jo) = with_jo()?;
    for name in ["x", "y"] {
        store.add_role(name, "CAN putobject AND getobject")?;
        store.give_role(name, &json!({ "user": "jo" }), false)?;
    }
    let open = tagged_directory(&store, "stor/open", "x, y")?;
    let path = format!("{open}/o");
    ask(&mut jo, &path, "x", Some("1"))?.expect(204)?;
    let seen = ask(&mut jo, &path, "x", None)?.expect(200)?;
    ensure!(seen.header("role-tag") == Some("x"));
    ask(&mut jo, &path, "y", None)?.expect(403)?;
    store.finish()
}

#[test]
fn tokens_bogus_of_an_operator_and_made_with_a_signed_url() -> Result<()> {
    let store = store()?;
    let path = tagged(&store, "stor/o", "")?;
    let get = |path: &str, token: &str| {
        let request = Request::new("GET", path);
        let header = format!("Token {token}");
        store
            .anonymous()
            .call(&request.header("authorization", &header))
    };
    let refused = get(&path, "bm90IG91cnM=")?;
    refused.expect_error(403, "InvalidAuthenticationToken")?;
    let login = store.account().to_owned();
    store.administer(
        "PATCH",
        &format!("/accounts/{login}"),
        &json!({ "operator": true }),
    )?;
    let tokens = store.path("tokens");
    let made = store.client()?.call(&Request::new("POST", &tokens))?;
    let signer = store.signer()?;
    let url = SignedUrl::new("POST", &tokens, &signer).signed(&signer);
    let by_url = store.anonymous().call(&Request::new("POST", &url))?;
    for made in [made, by_url] {
        let document: Value = serde_json::from_str(&made.expect(201)?.text())?;
        let token = document["token"].as_str().context("a token")?;
        get(&path, token)?.expect(200)?;
        // As the operator that it is of.
        get("/poseidon/stor", token)?.expect(200)?;
    }
    store.finish()
}

#[test]
fn signed_urls_for_get_head_put_options_and_escaped_paths() -> Result<()> {
    let store = store()?;
    let signer = store.signer()?;
    let mut client = store.anonymous();
    for path in [store.path("stor/o"), store.path("stor/a%20b%27%E2%82%AC")] {
        for (method, status) in [("PUT", 204), ("GET", 200), ("HEAD", 200), ("OPTIONS", 200)] {
            let url = SignedUrl::new(method, &path, &signer).signed(&signer);
            let mut request = Request::new(method, &url);
            if method == "PUT" {
                request = request.body("x");
            }
            let response = client.call(&request)?.expect(status)?;
            let server = response.header("server").unwrap_or_default();
            ensure!(server.split('/').next() == Some("Manta"), "{server}");
        }
    }
    store.finish()
}

/// With the client that this store brings: it says what is wrong, and nothing else happens.
#[test]
fn jm_changed_or_missing_key_fails_cleanly() -> Result<()> {
    let store = store()?;
    let home = store.user()?;
    let path = tagged(&store, "stor/o", "")?;
    let fails = |command: &mut std::process::Command, why: &str| {
        let said = said(command)?;
        ensure!(said.code == Some(1) && said.stdout.is_empty(), "{said:?}");
        let told = said.stderr;
        ensure!(told.starts_with("mget: ") && told.contains(why), "{told}");
        anyhow::Ok(())
    };
    // Of an account that knows nothing of this one.
    store.add_account("jack")?;
    let changed = store.scratch().join("jack");
    let changed = changed.to_str().context("a path")?;
    let mut mget = home.own("mget");
    mget.env_remove("MANTA_KEY_ID")
        .env("MANTA_KEY_FILE", changed);
    fails(mget.arg(&path), "KeyDoesNotExist")?;
    std::fs::remove_dir_all(home.path().join(".ssh"))?;
    fails(home.own("mget").arg(&path), ".ssh")?;
    let anonymous = store.anonymous().get(&path)?;
    anonymous.expect_error(403, "AuthorizationFailed")?;
    ensure!(store.client()?.get(&path)?.expect(200)?.text() == "x");
    store.finish()
}

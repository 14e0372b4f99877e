//! Tokens: made by `POST /:login/tokens`, good for what their maker could do in the roles of then.

use libmanta::mahi::Identity as _;

use crate::client::{Request, Response};
use crate::rights::with_jo;
use crate::store::{Store, User, start};

async fn make(store: &Store, user: &User, path: &str, role: &str) -> Response {
    store.by(user, "POST", path, role).await
}

fn token(response: &Response) -> String {
    let document: serde_json::Value = serde_json::from_str(&response.text()).unwrap();
    document["token"].as_str().unwrap().to_owned()
}

async fn with_token(store: &Store, token: &str, method: &str, path: &str) -> Response {
    let mut request = Request::new(method, path).header("authorization", format!("Token {token}"));
    if method == "PUT" {
        request = request.body("x");
    }
    request.send(store.address).await
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_operators_make_tokens_for_themselves() {
    let store = start().await;
    let made = make(&store, &store.alice, "/alice/tokens", "")
        .await
        .is(201)
        .complete();
    assert_eq!(made.header("content-type"), "application/json");
    made.header("content-md5");
    let alices = token(&made);
    with_token(&store, &alices, "PUT", "/alice/stor/o")
        .await
        .is(204);
    with_token(&store, &alices, "GET", "/alice/stor/o")
        .await
        .is(200);
    with_token(&store, &alices, "GET", "/bob/stor")
        .await
        .is(403);
    // An operator's is the operator's, wherever it was made.
    let operators = make(&store, &store.poseidon, "/alice/tokens", "")
        .await
        .is(201);
    let operators = token(&operators);
    with_token(&store, &operators, "GET", "/bob/stor?sort=none")
        .await
        .is(200);
    // No token makes another, or it would never expire.
    for (bearer, name) in [(&alices, "alice"), (&operators, "poseidon")] {
        let refused = with_token(&store, bearer, "POST", "/alice/tokens").await;
        let message = format!("{name} is not allowed to access /alice/tokens");
        refused.refused(403, "AuthorizationFailed", &message);
    }
    // A job makes jobs, so its token is not good for longer than the one that made it.
    let made = Request::new("POST", "/alice/jobs")
        .header("authorization", format!("Token {alices}"))
        .body(r#"{"phases":[{"exec":"wc"}]}"#)
        .send(store.address)
        .await
        .is(201);
    let id = made.header("location").rsplit('/').next().unwrap().parse();
    let of_job = store.jobs.job(id.unwrap()).unwrap().new.token;
    let expires = |token: &str| store.identity.open_token(token).unwrap().expires;
    assert_eq!(expires(&of_job), expires(&alices));
    let refused = make(&store, &store.bob, "/alice/tokens", "").await;
    refused.refused(
        403,
        "AuthorizationFailed",
        "bob is not allowed to access /alice/tokens",
    );
    let anonymous = Request::new("POST", "/alice/tokens")
        .send(store.address)
        .await;
    anonymous.refused(
        403,
        "AuthorizationFailed",
        "anonymous is not allowed to access /alice/tokens",
    );
    for method in ["GET", "PUT", "DELETE"] {
        let refused = store.by(&store.alice, method, "/alice/tokens", "").await;
        assert_eq!(refused.is(405).header("allow"), "POST");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_ours_opens_nothing() {
    let store = start().await;
    let made = make(&store, &store.alice, "/alice/tokens", "")
        .await
        .is(201);
    let good = token(&made);
    let bogus = mahi::Service::open(
        store.moray.clone(),
        mahi::Config::new([8; 32]),
        std::sync::Arc::new(libmanta::SystemClock),
    )
    .await
    .unwrap();
    let account = store.identity.account("alice").await.unwrap().unwrap();
    let forged = bogus.mint_token(&libmanta::mahi::Principal::of(&account), None);
    let message = "the authentication token you provided is malformed";
    for bad in ["", "x", &good[1..], &good[..good.len() - 2], &forged] {
        let refused = with_token(&store, bad, "GET", "/alice/stor").await;
        refused.refused(403, "InvalidAuthenticationToken", message);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_keeps_its_roles_and_loses_what_its_maker_loses() {
    let (store, jo) = with_jo().await;
    let people = &store.people;
    people
        .add_role("alice", "minter", &["CAN createtoken /alice"])
        .await;
    people.add_role("alice", "reader", &["CAN getobject"]).await;
    for name in ["minter", "reader"] {
        people.give("alice", name, "alice/jo", false).await;
    }
    store.tagged("/alice/stor/o", Some("x"), "reader").await;
    // A subuser may not, unless a role says so.
    make(&store, &jo, "/alice/tokens", "reader").await.is(403);
    let made = make(&store, &jo, "/alice/tokens", "minter, reader")
        .await
        .is(201);
    let jos = token(&made);
    with_token(&store, &jos, "GET", "/alice/stor/o")
        .await
        .is(200);
    // The header of a request does not replace the stored roles, and is not even looked at.
    for role in ["minter", "nosuch"] {
        let request = Request::new("GET", "/alice/stor/o")
            .header("authorization", format!("Token {jos}"))
            .header("role", role);
        request.send(store.address).await.is(200);
    }
    with_token(&store, &jos, "POST", "/alice/tokens")
        .await
        .is(403);
    let only_minter = make(&store, &jo, "/alice/tokens", "minter").await.is(201);
    with_token(&store, &token(&only_minter), "GET", "/alice/stor/o")
        .await
        .is(403);
    people.remove_role("alice", "reader").await;
    with_token(&store, &jos, "GET", "/alice/stor/o")
        .await
        .is(409);
    people
        .change("alice", |alice| {
            alice.users.clear();
        })
        .await;
    with_token(&store, &jos, "GET", "/alice/stor/o")
        .await
        .refused(403, "UserDoesNotExist", "alice/jo does not exist");
    // An operator who is none any more.
    let made = make(&store, &store.poseidon, "/poseidon/tokens", "")
        .await
        .is(201);
    let operators = token(&made);
    with_token(&store, &operators, "GET", "/alice/stor/o")
        .await
        .is(200);
    people
        .change("poseidon", |account| account.operator = false)
        .await;
    with_token(&store, &operators, "GET", "/alice/stor/o")
        .await
        .is(403);
    people
        .change("poseidon", |account| account.approved = false)
        .await;
    with_token(&store, &operators, "GET", "/alice/stor/o")
        .await
        .refused(403, "AccountBlocked", "poseidon is not an active account");
    store.stop().await;
}

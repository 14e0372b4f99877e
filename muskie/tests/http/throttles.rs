//! Limits that are shared fairly, and changed while the store runs.

use httpsig::PrivateKey;
use libmanta::mahi::{Identity as _, Principal};
use libmanta::{Account, AccountId, Login};
use muskie::{Rates, Throttle};

use crate::client::{Connection, Request};
use crate::store::{POSEIDON_KEY, Store, User, start, start_with};

fn get(path: &str) -> Request {
    Request::new("GET", path)
}

fn with_token(token: &str) -> Request {
    get("/alice/stor").header("authorization", format!("Token {token}"))
}

fn rates(requests: u32) -> Rates {
    Rates {
        requests,
        ..Rates::default()
    }
}

async fn begin_upload(store: &Store, request: Request) -> Connection {
    let request = request.header("content-length", "1000000");
    let mut connection = Connection::open(store.address).await;
    connection.write(&request.head_bytes()).await;
    connection.write(b"hello").await;
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn each_account_and_each_address_has_its_own_allowance() {
    let store = start_with(|config| config.throttle.each = rates(3)).await;
    let hers = get("/alice/stor").signed_by(&store.alice);
    let anonymous = get("/alice/public");
    let mut refused = 0;
    // More than comes back in the time that they may take.
    for _ in 0..50 {
        let answer = hers.send(store.address).await;
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), "1");
            answer.refused(503, "ThrottledError", "manta throttled this request");
            refused += 1;
        }
    }
    assert!(refused > 0, "fifty requests of three a second");
    let his = get("/bob/stor").signed_by(&store.bob);
    his.send(store.address).await.is(200);
    anonymous.send(store.address).await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_claims_to_be_somebody_spends_nothing_of_theirs() {
    let store = start_with(|config| {
        config.throttle.each = rates(1);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let nobody = User {
        login: "alice",
        key: PrivateKey::parse(POSEIDON_KEY).unwrap(),
    };
    let forged = get("/alice/stor").signed_by(&nobody);
    let from = |request: &Request, address| request.clone().header("x-forwarded-for", address);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = from(&forged, "10.0.0.1").send(store.address).await;
        match answer.status {
            403 => assert_eq!(answer.code(), "KeyDoesNotExist"),
            _ => assert_eq!(answer.header("retry-after"), "1"),
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[0], 403);
    assert!(statuses.contains(&503), "twenty of one a second");
    let hers = get("/alice/stor").signed_by(&store.alice);
    let hers = from(&hers, "10.0.0.2").send(store.address).await;
    hers.is(200);
    store.stop().await;
}

/// A job of a blocked account may ask as often as nobody does, from the address of all jobs; to name one that is blocked
/// proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_somebody_who_is_blocked_is_theirs_and_a_signature_may_be_anybodys() {
    let store = start_with(|config| config.throttle.each = rates(1)).await;
    let people = &store.people;
    people.change("bob", |bob| bob.approved = false).await;
    let bob = store.identity.account("bob").await.unwrap().unwrap();
    let his = store.identity.mint_token(&Principal::of(&bob), None);
    refused_as_often_as_nobody(&store, &his, "AccountBlocked").await;
    store.get("/alice/stor").await.is(200);
    let forged = get("/bob/stor").signed_by(&store.bob);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(forged.send(store.address).await.status);
    }
    assert_eq!(statuses[0], 403);
    assert!(statuses.contains(&503), "twenty of one a second");
    store.stop().await;
}

/// Or whoever guesses would only have to wait for another status.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_failed_too_often_is_not_told_that_it_is_right() {
    let store = start_with(|config| {
        config.throttle.each = rates(2);
        config.throttle.accounts = [("alice".to_owned(), rates(1_000_000))].into();
    })
    .await;
    let right = get("/alice/stor").signed_by(&store.alice);
    let mut unseen = 0;
    for _ in 0..30 {
        for _ in 0..3 {
            with_token("wrong").send(store.address).await;
        }
        let answer = right.send(store.address).await;
        assert!([200, 503].contains(&answer.status), "{}", answer.status);
        unseen += usize::from(answer.status == 503);
        // Whoever claims nothing is somebody else.
        let public = get("/alice/public").send(store.address).await;
        assert_ne!(public.status, 403);
    }
    assert!(unseen > 0, "thirty times three guesses at two a second");
    store.stop().await;
}

/// Of twenty requests at once with a token of ours that is good for nothing the first is told why, and most are put off.
async fn refused_as_often_as_nobody(store: &Store, token: &str, code: &str) {
    let mut put_off = 0;
    for n in 0..20 {
        let answer = with_token(token).send(store.address).await;
        if n == 0 || answer.status != 503 {
            assert_eq!(answer.is(403).code(), code);
        } else {
            put_off += 1;
        }
    }
    assert!(put_off > 0, "twenty of one a second");
}

/// All jobs of a machine ask from one address, with tokens of ours.
#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_token_of_ours_says_nothing_about_the_address() {
    let store = start_with(|config| {
        config.throttle.each = rates(1);
        config.throttle.accounts = [("alice".to_owned(), rates(1_000_000))].into();
    })
    .await;
    let gone = Account::new(AccountId::random(), Login::parse("gone").unwrap());
    let gone = store.identity.mint_token(&Principal::of(&gone), None);
    refused_as_often_as_nobody(&store, &gone, "AccountDoesNotExist").await;
    store.get("/alice/stor").await.is(200);
    // Nor is one refused for what others there have guessed.
    let alice = store.identity.account("alice").await.unwrap().unwrap();
    let hers = store.identity.mint_token(&Principal::of(&alice), None);
    let mut refused = 0;
    for _ in 0..20 {
        let guess = with_token("wrong").send(store.address).await;
        refused += usize::from(guess.status == 503);
        with_token(&hers).send(store.address).await.is(200);
    }
    assert!(refused > 0, "twenty guesses at one a second");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_of_operations_are_limited_apart() {
    let store = start_with(|config| {
        config.throttle.each = Rates {
            writes: 1,
            jobs: 1,
            ..Rates::default()
        };
    })
    .await;
    let status =
        async |method: &str, path: &str| store.send(Request::new(method, path)).await.status;
    let mut refused = [0, 0];
    for _ in 0..20 {
        assert_eq!(status("GET", "/alice/stor").await, 200);
        refused[0] += usize::from(status("DELETE", "/alice/stor/x").await == 503);
        refused[1] += usize::from(status("GET", "/alice/jobs?state=running").await == 503);
    }
    assert!(refused[0] > 0 && refused[1] > 0, "{refused:?}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_while_the_store_runs() {
    let store = start().await;
    assert_eq!(store.handle.throttle(), Throttle::default());
    let many = async || {
        let mut served = 0;
        for _ in 0..30 {
            served += usize::from(store.get("/alice/stor").await.status == 200);
        }
        served
    };
    assert_eq!(many().await, 30);
    let strict = Throttle {
        all: rates(1),
        ..Throttle::default()
    };
    store.handle.set_throttle(strict.clone());
    assert_eq!(store.handle.throttle(), strict);
    assert!(many().await < 30);
    // A plain liveness check is no request of anybody's.
    get("/ping").send(store.address).await.is(200);
    store.handle.set_throttle(Throttle {
        accounts: [("alice".to_owned(), rates(1_000_000))].into(),
        each: rates(1),
        ..Throttle::default()
    });
    assert_eq!(many().await, 30);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_their_client_are_not_worked_on() {
    let store = start_with(|config| {
        config.throttle.concurrency = 1;
        config.throttle.queue_max = 0;
    })
    .await;
    let upload = Request::new("PUT", "/alice/stor/slow").signed_by(&store.alice);
    let slow = begin_upload(&store, upload).await;
    store.wait_metric("muskie_uploads", 1).await;
    for _ in 0..3 {
        store.get("/alice/stor").await.is(200);
    }
    drop(slow);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_trickle_do_not_keep_others_out() {
    let store = start_with(|config| config.uploads_max = 4).await;
    let mut held = Vec::new();
    for (n, user) in [&store.alice, &store.alice, &store.bob, &store.bob]
        .into_iter()
        .enumerate()
    {
        let path = format!("/{}/stor/slow{n}", user.login);
        let request = Request::new("PUT", &path).signed_by(user);
        held.push(begin_upload(&store, request).await);
        let uploads = u64::try_from(n + 1).unwrap();
        store.wait_metric("muskie_uploads", uploads).await;
    }
    // Every place is taken by two accounts that may go on for ever. A third one is served at once.
    let path = "/poseidon/stor/o";
    let put = Request::new("PUT", path)
        .body("hello")
        .signed_by(&store.poseidon);
    put.send(store.address).await.is(204);
    // One of the others paid for it, was told so, and left nothing behind.
    let mut cut = 0;
    for connection in &mut held {
        connection.write(b"more").await;
        let ended = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            connection.read_response(),
        );
        if let Ok(answer) = ended.await {
            assert_eq!(answer.header("connection"), "close");
            answer.refused(503, "ThrottledError", "manta throttled this request");
            cut += 1;
        }
    }
    assert_eq!(cut, 1);
    drop(held);
    store.wait_metric("muskie_uploads", 0).await;
    assert_eq!(store.copy_files().len(), 2);
    store.stop().await;
}

//! Accounts over a real shard: what was done is there after a restart, and the admin socket does it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::Path;
use std::sync::Arc;

use libmanta::mahi::Identity as _;
use libmanta::{Clock, SystemClock};
use mahi::admin::{self, Client, ClientError, CreateAccount};
use mahi::{AccountError, Config, NewAccount, Service};

const KEY_1: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g one@host";
const KEY_2: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICAfHh0cGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIB two";

struct Store {
    shard: Arc<moray::Shard>,
    service: Arc<Service>,
}

async fn open(directory: &Path) -> Store {
    let path = directory.join("moray.sqlite");
    let shard = moray::Shard::open(moray::Config::new("1.moray.local", path)).unwrap();
    let service = service(&shard).await;
    Store { shard, service }
}

async fn service(shard: &Arc<moray::Shard>) -> Arc<Service> {
    let ring = electric_moray::Ring::new(10, &["1.moray.local".to_owned()]).unwrap();
    let router = electric_moray::Router::new(ring, vec![shard.clone()]).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Service::open(Arc::new(router), Config::new([1; 32]), clock)
        .await
        .unwrap()
}

fn new(login: &str) -> NewAccount {
    NewAccount {
        login: login.to_owned(),
        operator: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let alice = store.service.create_account(new("alice")).await.unwrap();
    let operator = NewAccount {
        login: "poseidon".into(),
        operator: true,
    };
    store.service.create_account(operator).await.unwrap();
    let one = store.service.add_key("alice", KEY_1).await.unwrap();
    let two = store.service.add_key("alice", KEY_2).await.unwrap();
    store.service.remove_key("alice", &two).await.unwrap();
    let before = store.service.accounts();
    drop(store.service);
    store.shard.close().await;
    drop(store.shard);

    let store = open(directory.path()).await;
    let after = store.service.accounts();
    assert_eq!(after, before);
    let found = store.service.account("alice").await.unwrap().unwrap();
    assert_eq!(found.id, alice.id);
    assert_eq!(found.keys.keys().collect::<Vec<_>>(), [&one]);
    assert!(found.keys[&one].ends_with("one@host"));
    let by_id = store
        .service
        .account_by_id(alice.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(by_id, found);
    assert!(
        store
            .service
            .account("poseidon")
            .await
            .unwrap()
            .unwrap()
            .operator
    );
    assert!(store.service.account("nobody").await.unwrap().is_none());
    store.shard.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_accounts_than_a_page_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let mut creates = tokio::task::JoinSet::new();
    for n in 0..1201 {
        let service = store.service.clone();
        creates.spawn(async move { service.create_account(new(&format!("user{n}"))).await });
    }
    while let Some(created) = creates.join_next().await {
        created.unwrap().unwrap();
    }
    let again = service(&store.shard).await;
    assert_eq!(again.accounts().len(), 1201);
    store.shard.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_given_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    // Two services on the same records, as when two stores ran by mistake.
    let other = service(&store.shard).await;
    let (a, b) = tokio::join!(
        store.service.create_account(new("alice")),
        other.create_account(new("alice"))
    );
    let taken = [a.is_err(), b.is_err()];
    assert!(taken[0] != taken[1], "{a:?} {b:?}");
    for login in ["a", "9a", "", "a b", "a/b", "al\u{e9}", &"a".repeat(65)] {
        let refused = store.service.create_account(new(login)).await;
        assert!(
            matches!(refused, Err(AccountError::InvalidLogin(_))),
            "{login}"
        );
    }
    store.shard.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_changes_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let other = service(&store.shard).await;
    store.service.create_account(new("alice")).await.unwrap();
    let (a, b) = tokio::join!(
        store.service.add_key("alice", KEY_1),
        other.add_key("alice", KEY_2)
    );
    let (one, two) = (a.unwrap(), b.unwrap());
    let again = service(&store.shard).await;
    let keys = again.account("alice").await.unwrap().unwrap().keys.clone();
    assert!(keys.contains_key(&one) && keys.contains_key(&two));
    store.shard.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_named_by_either_fingerprint() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let service = &store.service;
    service.create_account(new("alice")).await.unwrap();
    let md5 = service
        .add_key("alice", &format!("{KEY_1}\n"))
        .await
        .unwrap();
    assert_eq!(
        service.add_key("alice", KEY_1).await.unwrap(),
        md5,
        "repeating is harmless"
    );
    let sha256 = httpsig::PublicKey::parse_openssh(KEY_1)
        .unwrap()
        .sha256_fingerprint();
    assert_eq!(service.remove_key("alice", &sha256).await.unwrap(), md5);
    for gone in [md5.as_str(), &sha256, "nonsense", ""] {
        let refused = service.remove_key("alice", gone).await;
        assert!(
            matches!(refused, Err(AccountError::NoSuchKey { .. })),
            "{gone}"
        );
    }
    for bad in ["", "nonsense", "ssh-ed25519", "ssh-ed25519 AAAA"] {
        let refused = service.add_key("alice", bad).await;
        assert!(matches!(refused, Err(AccountError::InvalidKey(_))), "{bad}");
    }
    let refused = service.add_key("bob", KEY_1).await;
    assert!(matches!(refused, Err(AccountError::NoSuchAccount(_))));
    assert!(
        service
            .account("alice")
            .await
            .unwrap()
            .unwrap()
            .keys
            .is_empty()
    );
    store.shard.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_socket_does_all_of_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let socket = directory.path().join("admin.sock");
    let handle = admin::serve(store.service.clone(), &socket).unwrap();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = Client::new(&socket);

    assert_eq!(client.accounts().await.unwrap(), []);
    let create = CreateAccount {
        login: "alice".into(),
        operator: true,
    };
    let alice = client.create_account(&create).await.unwrap();
    assert!(alice.operator && alice.approved && alice.keys.is_empty());
    let key = client.add_key("alice", None, KEY_1).await.unwrap();
    assert_eq!(
        client.accounts().await.unwrap()[0].keys,
        std::slice::from_ref(&key)
    );
    let removed = client
        .remove_key("alice", None, &key.fingerprint)
        .await
        .unwrap();
    assert_eq!(removed, key);

    let code = |error: ClientError| match error {
        ClientError::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        code(client.create_account(&create).await.unwrap_err()),
        "LoginTaken"
    );
    assert_eq!(
        code(client.add_key("bob", None, KEY_1).await.unwrap_err()),
        "NoSuchAccount"
    );
    assert_eq!(
        code(client.add_key("alice", None, "x").await.unwrap_err()),
        "InvalidKey"
    );
    assert_eq!(
        code(client.remove_key("alice", None, "x").await.unwrap_err()),
        "NoSuchKey"
    );
    assert_eq!(
        code(client.add_key("a/b", None, KEY_1).await.unwrap_err()),
        "InvalidLogin"
    );
    let long = CreateAccount {
        login: "x".repeat(100_000),
        operator: false,
    };
    assert_eq!(
        code(client.create_account(&long).await.unwrap_err()),
        "BadRequest"
    );

    // A second server takes the place of a socket that a crash left behind.
    let again = admin::serve(store.service.clone(), &socket).unwrap();
    assert_eq!(client.accounts().await.unwrap().len(), 1);
    again.shutdown().await;
    assert!(!socket.exists());
    assert!(matches!(
        client.accounts().await.unwrap_err(),
        ClientError::Connect { .. }
    ));
    drop(handle);
    store.shard.close().await;
}

//! Subusers, policies, roles and their members over a real shard.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::Path;
use std::sync::Arc;

use libmanta::mahi::{ActingUser, Held, Identity as _, InvalidToken, Principal};
use libmanta::moray::{Buckets, Expect, RecordKey, Write};
use libmanta::{Account, Clock, SystemClock, Timestamp};
use mahi::admin::{
    self, AddMember, Client, ClientError, CreateAccount, CreatePolicy, CreateRole, MemberName,
};
use mahi::{
    AccountError, AuthToken, Config, Groups, HELD_MAX, Member, NewAccount, RULES_MAX, Service,
};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g one@host";

struct Store {
    shard: Arc<moray::Shard>,
    buckets: Arc<dyn Buckets>,
    service: Arc<Service>,
}

async fn open(directory: &Path) -> Store {
    let path = directory.join("moray.sqlite");
    let shard = moray::Shard::open(moray::Config::new("1.moray.local", path)).unwrap();
    let ring = electric_moray::Ring::new(10, &["1.moray.local".to_owned()]).unwrap();
    let buckets: Arc<dyn Buckets> =
        Arc::new(electric_moray::Router::new(ring, vec![shard.clone()]).unwrap());
    let service = service(&buckets).await;
    Store {
        shard,
        buckets,
        service,
    }
}

async fn service(buckets: &Arc<dyn Buckets>) -> Arc<Service> {
    service_with(buckets, Config::new([1; 32])).await
}

async fn service_with(buckets: &Arc<dyn Buckets>, config: Config) -> Arc<Service> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Service::open(buckets.clone(), config, clock).await.unwrap()
}

impl Store {
    async fn with_accounts(directory: &Path, logins: &[&str]) -> Self {
        let store = open(directory).await;
        for login in logins {
            let new = NewAccount {
                login: (*login).to_owned(),
                operator: false,
            };
            store.service.create_account(new).await.unwrap();
        }
        store
    }

    async fn account(&self, login: &str) -> Arc<Account> {
        self.service.account(login).await.unwrap().unwrap()
    }

    /// What the account, or its subuser, holds: name of role, whether it is a default, its rules.
    async fn held(&self, login: &str, user: Option<&str>) -> Vec<(String, bool, Vec<String>)> {
        let account = self.account(login).await;
        let user = user.map(|user| account.users[user].id);
        let held = self.service.held_roles(account.id, user).await.unwrap();
        let view = |held: &Held| {
            let rules = held.role.rules.iter().map(ToString::to_string).collect();
            (held.role.name.clone(), held.default, rules)
        };
        let mut all: Vec<_> = held.iter().map(view).collect();
        all.sort();
        all
    }

    async fn close(self) {
        drop((self.service, self.buckets));
        self.shard.close().await;
    }
}

fn rules(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn has(name: &str, default: bool, texts: &[&str]) -> (String, bool, Vec<String>) {
    (name.to_owned(), default, rules(texts))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_give_the_rules_of_their_policies_to_their_members() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::with_accounts(directory.path(), &["alice", "carol"]).await;
    let service = &store.service;
    service.create_user("alice", "bob").await.unwrap();
    service.create_user("alice", "dan").await.unwrap();
    let read = rules(&["CAN getobject", "can getdirectory *"]);
    service.create_policy("alice", "read", &read).await.unwrap();
    let write = rules(&["CAN putobject"]);
    service
        .create_policy("alice", "write", &write)
        .await
        .unwrap();
    service
        .create_role("alice", "guest", &rules(&["read"]))
        .await
        .unwrap();
    service.create_role("alice", "author", &[]).await.unwrap();
    let (bob, carol) = (Member::User("bob"), Member::Account("carol"));
    service
        .add_member("alice", "guest", bob, true)
        .await
        .unwrap();
    service
        .add_member("alice", "guest", carol, false)
        .await
        .unwrap();
    service
        .add_member("alice", "author", bob, false)
        .await
        .unwrap();

    let reads = ["CAN getobject", "CAN getdirectory *"];
    let expected = [has("author", false, &[]), has("guest", true, &reads)];
    assert_eq!(store.held("alice", Some("bob")).await, expected);
    assert_eq!(store.held("alice", Some("dan")).await, []);
    assert_eq!(
        store.held("carol", None).await,
        [has("guest", false, &reads)]
    );
    assert_eq!(store.held("alice", None).await, []);

    // A change is in effect when it returns, and is there after a restart.
    service
        .attach_policy("alice", "author", "write")
        .await
        .unwrap();
    service
        .set_rules("alice", "read", &rules(&["CAN getobject /alice/stor/a"]))
        .await
        .unwrap();
    service
        .add_member("alice", "guest", carol, true)
        .await
        .unwrap();
    let get = ["CAN getobject /alice/stor/a"];
    let bobs = [
        has("author", false, &["CAN putobject"]),
        has("guest", true, &get),
    ];
    assert_eq!(store.held("alice", Some("bob")).await, bobs);
    assert_eq!(store.held("carol", None).await, [has("guest", true, &get)]);
    let before = store.account("alice").await;
    let role = service.role(before.roles["guest"]).await.unwrap().unwrap();
    assert_eq!((role.name.as_str(), role.account), ("guest", before.id));
    store.close().await;

    let store = open(directory.path()).await;
    assert_eq!(*store.account("alice").await, *before);
    assert_eq!(store.held("alice", Some("bob")).await, bobs);
    assert_eq!(store.held("carol", None).await, [has("guest", true, &get)]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::with_accounts(directory.path(), &["alice", "carol", "erin"]).await;
    let service = &store.service;
    for owner in ["alice", "carol"] {
        service.create_user(owner, "bob").await.unwrap();
        service
            .create_policy(owner, "p", &rules(&["CAN x"]))
            .await
            .unwrap();
        service
            .create_policy(owner, "q", &rules(&["CAN y"]))
            .await
            .unwrap();
        service
            .create_role(owner, "r", &rules(&["p", "q"]))
            .await
            .unwrap();
        service
            .add_member(owner, "r", Member::User("bob"), true)
            .await
            .unwrap();
        service
            .add_member(owner, "r", Member::Account("erin"), true)
            .await
            .unwrap();
    }
    let whole = || has("r", true, &["CAN x", "CAN y"]);
    assert_eq!(store.held("erin", None).await, [whole(), whole()]);

    service.remove_policy("alice", "q").await.unwrap();
    assert_eq!(
        store.held("alice", Some("bob")).await,
        [has("r", true, &["CAN x"])]
    );
    assert_eq!(store.held("carol", Some("bob")).await, [whole()]);
    service.detach_policy("alice", "r", "p").await.unwrap();
    assert_eq!(
        store.held("erin", None).await,
        [has("r", true, &[]), whole()]
    );

    let alice = store.account("alice").await;
    let bob = alice.users["bob"].id;
    service.remove_user("alice", "bob").await.unwrap();
    assert!(
        service
            .held_roles(alice.id, Some(bob))
            .await
            .unwrap()
            .is_empty()
    );
    // One of the same name is somebody else.
    service.create_user("alice", "bob").await.unwrap();
    assert_eq!(store.held("alice", Some("bob")).await, []);

    service.remove_role("alice", "r").await.unwrap();
    assert_eq!(service.role(alice.roles["r"]).await.unwrap(), None);
    assert_eq!(store.held("erin", None).await, [whole()]);
    service
        .remove_member("carol", "r", Member::Account("erin"))
        .await
        .unwrap();
    assert_eq!(store.held("erin", None).await, []);
    let carols_bob = store.account("carol").await.users["bob"].id;
    let strange = service
        .held_roles(alice.id, Some(carols_bob))
        .await
        .unwrap();
    assert!(strange.is_empty(), "a subuser acts in its own account only");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::with_accounts(directory.path(), &["alice", "carol"]).await;
    let service = &store.service;
    service.create_user("alice", "bob").await.unwrap();
    service
        .create_policy("alice", "p", &rules(&["CAN x"]))
        .await
        .unwrap();
    service.create_role("alice", "r", &[]).await.unwrap();
    let state = || async {
        store
            .buckets
            .scan("mahi", "accounts", "", 10)
            .await
            .unwrap()
    };
    let before = state().await;

    let bad = rules(&["CAN x", "CAN y,\n z"]);
    let refused = service
        .create_policy("alice", "bad", &bad)
        .await
        .unwrap_err();
    let AccountError::InvalidRule { number: 2, source } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!((source.line, source.column), (2, 3));
    assert!(service.set_rules("alice", "p", &bad).await.is_err());
    for unknown in [
        "CAN x WHEN color = red",
        "CAN x WHEN sourceip = red",
        "CAN x WHEN day LIKE /m/",
    ] {
        let refused = service
            .create_policy("alice", "bad", &rules(&[unknown]))
            .await;
        assert!(
            matches!(refused, Err(AccountError::InvalidRule { number: 1, .. })),
            "{unknown}"
        );
    }
    let named = service
        .create_policy("alice", "bad", &rules(&["bob CAN x"]))
        .await;
    assert!(matches!(
        named,
        Err(AccountError::RuleWithPrincipals { number: 1 })
    ));
    for count in [0, RULES_MAX + 1] {
        let refused = service
            .create_policy("alice", "bad", &vec!["CAN x".into(); count])
            .await;
        assert!(matches!(refused, Err(AccountError::NumberOfRules(_))));
    }
    for name in [
        "",
        "*",
        "_operator",
        "a b",
        "a,b",
        "a/b",
        "-a",
        "\u{e4}",
        &"a".repeat(65),
    ] {
        let role = service.create_role("alice", name, &[]).await;
        assert!(matches!(role, Err(AccountError::InvalidName(_))), "{name}");
        let policy = service
            .create_policy("alice", name, &rules(&["CAN x"]))
            .await;
        assert!(
            matches!(policy, Err(AccountError::InvalidName(_))),
            "{name}"
        );
    }
    for user in ["", "b", "9a", "a b", "a/b"] {
        let refused = service.create_user("alice", user).await;
        assert!(
            matches!(refused, Err(AccountError::InvalidLogin(_))),
            "{user}"
        );
    }
    macro_rules! refuses {
        ($call:expr, $error:pat) => {
            let refused = $call.await;
            assert!(matches!(refused, Err($error)), "{refused:?}");
        };
    }
    use AccountError as E;
    let (bob, eve) = (Member::User("bob"), Member::User("eve"));
    let (alice, carol, mallory) = (
        Member::Account("alice"),
        Member::Account("carol"),
        Member::Account("mallory"),
    );
    refuses!(service.create_user("alice", "bob"), E::UserTaken { .. });
    refuses!(
        service.create_policy("alice", "p", &rules(&["CAN y"])),
        E::PolicyTaken { .. }
    );
    refuses!(service.create_role("alice", "r", &[]), E::RoleTaken { .. });
    refuses!(
        service.create_role("alice", "s", &rules(&["p", "z"])),
        E::NoSuchPolicy { .. }
    );
    refuses!(service.create_user("mallory", "bob"), E::NoSuchAccount(_));
    refuses!(service.remove_user("alice", "eve"), E::NoSuchUser { .. });
    refuses!(service.remove_user("carol", "bob"), E::NoSuchUser { .. });
    refuses!(service.remove_policy("alice", "z"), E::NoSuchPolicy { .. });
    refuses!(
        service.set_rules("alice", "z", &rules(&["CAN x"])),
        E::NoSuchPolicy { .. }
    );
    refuses!(service.remove_role("alice", "z"), E::NoSuchRole { .. });
    refuses!(
        service.attach_policy("alice", "z", "p"),
        E::NoSuchRole { .. }
    );
    refuses!(
        service.attach_policy("alice", "r", "z"),
        E::NoSuchPolicy { .. }
    );
    refuses!(
        service.detach_policy("alice", "r", "p"),
        E::NotAttached { .. }
    );
    refuses!(
        service.add_member("alice", "z", bob, true),
        E::NoSuchRole { .. }
    );
    refuses!(
        service.add_member("alice", "r", eve, true),
        E::NoSuchUser { .. }
    );
    refuses!(
        service.add_member("alice", "r", mallory, true),
        E::NoSuchAccount(_)
    );
    refuses!(service.add_member("alice", "r", alice, true), E::OwnRole(_));
    refuses!(
        service.remove_member("alice", "r", bob),
        E::NoSuchMember { .. }
    );
    refuses!(
        service.remove_member("alice", "r", carol),
        E::NoSuchMember { .. }
    );
    refuses!(
        service.add_user_key("alice", "eve", KEY),
        E::NoSuchUser { .. }
    );
    refuses!(
        service.remove_user_key("alice", "bob", "aa"),
        E::NoSuchKey { .. }
    );
    assert_eq!(state().await, before);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_more_roles_than_a_token_can_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::with_accounts(directory.path(), &["alice", "carol"]).await;
    let service = &store.service;
    service.create_user("alice", "bob").await.unwrap();
    for member in [Member::User("bob"), Member::Account("carol")] {
        for n in 0..HELD_MAX {
            let role = format!("r{n}");
            let created = service.create_role("alice", &role, &[]).await;
            assert!(matches!(
                created,
                Ok(()) | Err(AccountError::RoleTaken { .. })
            ));
            service
                .add_member("alice", &role, member, false)
                .await
                .unwrap();
        }
        // One that is held already may change.
        service
            .add_member("alice", "r0", member, true)
            .await
            .unwrap();
        let created = service.create_role("alice", "last", &[]).await;
        assert!(matches!(
            created,
            Ok(()) | Err(AccountError::RoleTaken { .. })
        ));
        let refused = service.add_member("alice", "last", member, false).await;
        assert!(
            matches!(refused, Err(AccountError::TooManyRoles { .. })),
            "{refused:?}"
        );
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_changes_of_one_account_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::with_accounts(directory.path(), &["alice"]).await;
    let other = service(&store.buckets).await;
    let mut changes = tokio::task::JoinSet::new();
    for n in 0..8 {
        let service = if n % 2 == 0 { &store.service } else { &other };
        let service = service.clone();
        changes.spawn(async move { service.create_user("alice", &format!("user{n}")).await });
    }
    while let Some(created) = changes.join_next().await {
        created.unwrap().unwrap();
    }
    let again = service(&store.buckets).await;
    assert_eq!(
        again.account("alice").await.unwrap().unwrap().users.len(),
        8
    );
    drop((again, other));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_either_format_restore_who_acts_and_in_which_roles() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::with_accounts(directory.path(), &["alice", "carol"]).await;
    let own = &store.service;
    own.create_user("alice", "bob").await.unwrap();
    for owner in ["alice", "carol"] {
        own.create_role(owner, "r", &[]).await.unwrap();
    }
    let (hex, life) = (
        "00112233445566778899aabbccddeeff",
        std::time::Duration::from_secs(60),
    );
    let keys = AuthToken::parse(hex, hex, &hex[..16], life).unwrap();
    for bad in ["", "0011", "zz112233445566778899aabbccddeeff"] {
        assert_eq!(AuthToken::parse(bad, hex, &hex[..16], life), None);
        assert_eq!(AuthToken::parse(hex, bad, &hex[..16], life), None);
    }
    let config = Config {
        auth_token: Some(keys),
        ..Config::new([1; 32])
    };
    let reference = service_with(&store.buckets, config).await;
    let (alice, carol) = (store.account("alice").await, store.account("carol").await);
    let bob = Principal {
        user: Some(ActingUser {
            id: alice.users["bob"].id,
            login: alice.users["bob"].login.clone(),
        }),
        roles: vec![alice.roles["r"], carol.roles["r"]],
        ..Principal::of(&alice)
    };
    let who = |store: &Service, token: &str| store.open_token(token).map(|bearer| bearer.principal);
    for principal in [Principal::of(&alice), bob.clone()] {
        let token = own.mint_token(&principal, None);
        assert_eq!(who(own, &token), Ok(principal.clone()));
        assert_eq!(
            who(&reference, &token),
            Ok(principal.clone()),
            "both are accepted"
        );
        let token = reference.mint_token(&principal, None);
        assert_eq!(who(&reference, &token), Ok(principal.clone()));
        assert_eq!(
            who(own, &token),
            Err(InvalidToken::Malformed),
            "only where configured"
        );
        let of_job = Principal {
            from_job: true,
            ..principal
        };
        assert_eq!(
            who(own, &reference.mint_token(&of_job, None)),
            Ok(of_job),
            "jobs keep ours"
        );
    }
    let whole = own.open_token(&own.mint_token(&bob, None)).unwrap();
    let far = Timestamp::from_millis(u64::MAX);
    let soon = Timestamp::from_millis(whole.expires.as_millis() - 3_600_000);
    for store in [own, &reference] {
        let token = store.mint_token(&bob, Some(soon));
        let sooner = own.open_token(&token).unwrap();
        assert_eq!((&sooner.principal, sooner.expires), (&bob, soon));
        let token = store.mint_token(&bob, Some(far));
        let no_later = own.open_token(&token).unwrap();
        assert!(no_later.expires < far, "{no_later:?}");
    }
    let token = reference.mint_token(&bob, None);
    reference.remove_user("alice", "bob").await.unwrap();
    assert_eq!(who(&reference, &token), Err(InvalidToken::Malformed));
    drop(reference);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_first_version_are_read_and_carried_on() {
    const FIRST: &str = r#"{"version":1,"revision":7,"account":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49808","login":"alice","operator":true,"approved":true,"keys":{}}}"#;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let write = Write {
        key: RecordKey {
            bucket: "mahi".into(),
            route: "accounts".into(),
            key: "alice".into(),
        },
        value: Some(FIRST.into()),
        expect: Expect::Absent,
    };
    store.buckets.batch(vec![write]).await.unwrap();
    store.close().await;

    let store = open(directory.path()).await;
    assert!(store.account("alice").await.operator);
    store.service.create_user("alice", "bob").await.unwrap();
    store.close().await;
    let store = open(directory.path()).await;
    let alice = store.account("alice").await;
    assert!(alice.operator && alice.users.contains_key("bob"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_socket_manages_roles() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::with_accounts(directory.path(), &["carol"]).await;
    let socket = directory.path().join("admin.sock");
    let handle = admin::serve(store.service.clone(), &socket).unwrap();
    let client = Client::new(&socket);
    let new = CreateAccount {
        login: "alice".into(),
        operator: false,
    };
    client.create_account(&new).await.unwrap();

    let blocked = Groups {
        approved: Some(false),
        reader: Some(true),
        ..Groups::default()
    };
    let alice = client.set_groups("alice", &blocked).await.unwrap();
    assert!(!alice.approved && alice.reader && !alice.operator);
    let account = store.account("alice").await;
    assert!(!account.approved && account.reader);
    let all = Groups {
        approved: Some(true),
        operator: Some(true),
        role_operator: Some(true),
        reader: Some(false),
        snaplinks_disabled: Some(true),
    };
    client.set_groups("alice", &all).await.unwrap();
    let alice = client.account("alice").await.unwrap();
    assert!(alice.approved && alice.operator && alice.role_operator && alice.snaplinks_disabled);
    assert!(!alice.reader);

    let bob = client.create_user("alice", "bob").await.unwrap();
    assert_eq!(bob.login, "bob");
    let key = client.add_key("alice", Some("bob"), KEY).await.unwrap();
    let policy = CreatePolicy {
        name: "p".into(),
        rules: rules(&["CAN getobject"]),
    };
    client.create_policy("alice", &policy).await.unwrap();
    let role = CreateRole {
        name: "r".into(),
        policies: rules(&["p"]),
    };
    client.create_role("alice", &role).await.unwrap();
    for (member, default) in [
        (MemberName::User("bob".into()), true),
        (MemberName::Account("carol".into()), false),
    ] {
        let add = AddMember { member, default };
        client.add_member("alice", "r", &add).await.unwrap();
    }
    let users = client.users("alice").await.unwrap();
    assert_eq!(users[0].keys, std::slice::from_ref(&key));
    assert_eq!(
        (&users[0].default_roles, &users[0].other_roles),
        (&rules(&["r"]), &vec![])
    );
    let roles = client.roles("alice").await.unwrap();
    assert_eq!(roles[0].policies, ["p"]);
    assert!(roles[0].users[0].login == "bob" && roles[0].users[0].default);
    assert!(roles[0].accounts[0].login == "carol" && !roles[0].accounts[0].default);
    client
        .set_rules("alice", "p", &rules(&["CAN putobject"]))
        .await
        .unwrap();
    assert_eq!(
        client.policies("alice").await.unwrap()[0].rules,
        ["CAN putobject"]
    );
    assert_eq!(
        store.held("carol", None).await,
        [has("r", false, &["CAN putobject"])]
    );

    client.detach_policy("alice", "r", "p").await.unwrap();
    client.attach_policy("alice", "r", "p").await.unwrap();
    let carol = MemberName::Account("carol".into());
    client.remove_member("alice", "r", &carol).await.unwrap();
    assert_eq!(
        client
            .remove_key("alice", Some("bob"), &key.fingerprint)
            .await
            .unwrap(),
        key
    );

    let code = |error: ClientError| match error {
        ClientError::Refused(refusal) => (refusal.code, refusal.message),
        other => panic!("{other:?}"),
    };
    let bad = CreatePolicy {
        name: "bad".into(),
        rules: rules(&["CAN x WHEN y = z"]),
    };
    let (word, sentence) = code(client.create_policy("alice", &bad).await.unwrap_err());
    assert_eq!(word, "InvalidRule");
    let expected = "rule 1 does not parse: line 1, column 12: \
                    \"y\" has no type of its own; write y::string, or another type";
    assert_eq!(sentence, expected);
    let twice = client
        .remove_member("alice", "r", &carol)
        .await
        .unwrap_err();
    assert_eq!(code(twice).0, "NoSuchMember");
    assert_eq!(
        code(client.remove_role("alice", "a/b").await.unwrap_err()).0,
        "InvalidName"
    );
    assert_eq!(
        code(client.users("nobody").await.unwrap_err()).0,
        "NoSuchAccount"
    );

    client.remove_role("alice", "r").await.unwrap();
    client.remove_policy("alice", "p").await.unwrap();
    client.remove_user("alice", "bob").await.unwrap();
    assert_eq!(client.users("alice").await.unwrap(), []);
    assert_eq!(client.roles("alice").await.unwrap(), []);
    assert_eq!(client.policies("alice").await.unwrap(), []);
    handle.shutdown().await;
    store.close().await;
}

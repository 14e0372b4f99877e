//! Who may do what: the decisions of rest-api.md section 10, a row for each.

use crate::client::{Request, Response};
use crate::presigned::SignedUrl;
use crate::store::{Store, User, start, start_with};

/// Alice's subuser jo, who signs with a key of his own.
pub(crate) fn jo(store: &Store) -> User {
    store.poseidon.named("alice/jo")
}

pub(crate) async fn add_jo(store: &Store) -> User {
    let jo = jo(store);
    store.people.add_user("alice", "jo", Some(&jo)).await;
    jo
}

pub(crate) async fn with_jo() -> (Store, User) {
    let store = start().await;
    let jo = add_jo(&store).await;
    (store, jo)
}

impl Store {
    /// An object or (without a body) a directory of alice's, with role tags.
    pub(crate) async fn tagged(&self, path: &str, body: Option<&str>, tags: &str) {
        let mut request = Request::new("PUT", path).header("role-tag", tags);
        if body.is_none() {
            request = request.header("content-type", "application/json; type=directory");
        }
        self.send(request.body(body.unwrap_or_default()))
            .await
            .is(204);
    }

    pub(crate) async fn by(&self, user: &User, method: &str, path: &str, role: &str) -> Response {
        let mut request = Request::new(method, path);
        if method == "PUT" {
            request = request.body("new");
        }
        if !role.is_empty() {
            request = request.header("role", role);
        }
        request.signed_by(user).send(self.address).await
    }
}

const NO_TAG: (u16, &str, &str) = (
    403,
    "NoMatchingRoleTag",
    "None of your active roles are present on the resource.",
);

#[tokio::test(flavor = "multi_thread")]
async fn subusers_are_told_apart_from_their_account() {
    let (store, jo) = with_jo().await;
    // The subuser's key is not the account's.
    let as_account = jo.named("alice");
    store
        .by(&as_account, "GET", "/alice/stor", "")
        .await
        .is(403);
    // Nothing is allowed without roles, and nothing is changed by trying.
    store.put("/alice/stor/o", "x").await.is(204);
    for (method, path) in [
        ("GET", "/alice/stor/o"),
        ("HEAD", "/alice/stor/o"),
        ("DELETE", "/alice/stor/o"),
        ("PUT", "/alice/stor/o"),
        ("PUT", "/alice/stor/new"),
        ("GET", "/alice/stor"),
        ("GET", "/alice"),
        ("OPTIONS", "/alice/stor/o"),
        ("POST", "/alice/tokens"),
    ] {
        let refused = store.by(&jo, method, path, "").await.is(403);
        if method != "HEAD" {
            let message = format!("alice/jo is not allowed to access {path}");
            refused.refused(403, "AuthorizationFailed", &message);
        }
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "x");
    store.get("/alice/stor/new").await.is(404);
    // What is missing is missing for everybody who says who they are.
    store.by(&jo, "GET", "/alice/stor/none", "").await.refused(
        404,
        "ResourceNotFound",
        "/alice/stor/none was not found",
    );
    store
        .by(&jo, "PUT", "/alice/stor/none/x", "")
        .await
        .refused(
            404,
            "DirectoryDoesNotExist",
            "/alice/stor/none does not exist",
        );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn active_roles_on_the_resource_decide() {
    let (store, jo) = with_jo().await;
    let people = &store.people;
    for (name, rule, default) in [
        ("reader", "CAN getobject AND getdirectory", true),
        ("writer", "CAN putobject AND deleteobject", false),
        ("star", "CAN getobject *", false),
        ("glob", "CAN getobject /alice/stor/g-*", false),
        ("denies", "CAN NOT getobject *", false),
    ] {
        people.add_role("alice", name, &[rule]).await;
        people.give("alice", name, "alice/jo", default).await;
    }
    people
        .add_role("alice", "others", &["CAN getobject *"])
        .await;
    store.tagged("/alice/stor/plain", Some("x"), "").await;
    store.tagged("/alice/stor/g-1", Some("x"), "").await;
    store.tagged("/alice/stor/read", Some("x"), "reader").await;
    store.tagged("/alice/stor/write", Some("x"), "writer").await;
    store
        .tagged("/alice/stor/both", Some("x"), "reader, writer")
        .await;
    store.tagged("/alice/stor/d", None, "reader").await;
    store.tagged("/alice/stor/w", None, "writer").await;
    let failed = |path: &str| format!("alice/jo is not allowed to access {path}");
    for (method, path, role, expected) in [
        // Default roles.
        ("GET", "/alice/stor/read", "", None),
        ("HEAD", "/alice/stor/read", "", None),
        ("GET", "/alice/stor/d", "", None),
        ("GET", "/alice/stor/both", "", None),
        ("GET", "/alice/stor/plain", "", Some(NO_TAG)),
        ("GET", "/alice/stor/write", "", Some(NO_TAG)),
        ("GET", "/alice/stor", "", Some(NO_TAG)),
        // By name: only those.
        ("GET", "/alice/stor/read", "reader", None),
        ("GET", "/alice/stor/read", "writer", Some(NO_TAG)),
        ("GET", "/alice/stor/read", "writer, reader", None),
        ("GET", "/alice/stor/read", "*", None),
        // The role is there and does not allow it.
        (
            "GET",
            "/alice/stor/write",
            "writer",
            Some((403, "AuthorizationFailed", "")),
        ),
        (
            "DELETE",
            "/alice/stor/read",
            "",
            Some((403, "AuthorizationFailed", "")),
        ),
        (
            "PUT",
            "/alice/stor/read",
            "reader",
            Some((403, "AuthorizationFailed", "")),
        ),
        ("PUT", "/alice/stor/write", "writer", None),
        // Making something takes the tag on the directory.
        ("PUT", "/alice/stor/w/new", "writer", None),
        ("PUT", "/alice/stor/d/new", "writer", Some(NO_TAG)),
        ("PUT", "/alice/stor/new", "writer", Some(NO_TAG)),
        // What was made so carries the roles that made it.
        ("DELETE", "/alice/stor/w/new", "writer", None),
        // Rules that name resources need no tag.
        ("GET", "/alice/stor/plain", "star", None),
        ("GET", "/alice/stor/g-1", "glob", None),
        (
            "GET",
            "/alice/stor/plain",
            "glob",
            Some((403, "AuthorizationFailed", "")),
        ),
        ("GET", "/alice/stor/plain", "*", None),
        (
            "GET",
            "/alice/stor/d",
            "star",
            Some((403, "AuthorizationFailed", "")),
        ),
        // A denial denies nothing that something else allows, and allows nothing.
        (
            "GET",
            "/alice/stor/plain",
            "denies",
            Some((403, "AuthorizationFailed", "")),
        ),
        ("GET", "/alice/stor/plain", "denies, star", None),
        // Roles that are not held.
        (
            "GET",
            "/alice/stor/read",
            "others",
            Some((409, "InvalidRole", "others")),
        ),
        (
            "GET",
            "/alice/stor/read",
            "reader, nosuch",
            Some((409, "InvalidRole", "nosuch")),
        ),
        (
            "GET",
            "/alice/stor/none",
            "nosuch",
            Some((409, "InvalidRole", "nosuch")),
        ),
        (
            "PUT",
            "/alice/stor/w/x",
            "nosuch",
            Some((409, "InvalidRole", "nosuch")),
        ),
    ] {
        let response = store.by(&jo, method, path, role).await;
        let row = format!("{method} {path} as {role:?}");
        let Some((status, code, message)) = expected else {
            assert!(response.status < 300, "{row}: {}", response.text());
            continue;
        };
        let message = match code {
            "AuthorizationFailed" => failed(path),
            "InvalidRole" => format!("Role \"{message}\" is invalid."),
            _ => message.to_owned(),
        };
        eprintln!("{row}");
        response.refused(status, code, &message);
    }
    for path in ["/alice/stor/read", "/alice/stor/plain"] {
        assert_eq!(store.get(path).await.text(), "x");
    }
    store.get("/alice/stor/new").await.is(404);
    store.get("/alice/stor/w/x").await.is(404);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_act_as_their_account() {
    let (store, jo) = with_jo().await;
    let people = &store.people;
    people.add_role("alice", "administrator", &[]).await;
    people
        .give("alice", "administrator", "alice/jo", false)
        .await;
    people.add_role("bob", "administrator", &[]).await;
    people.give("bob", "administrator", "alice", false).await;
    for (user, path, role, allowed) in [
        (&jo, "/alice/stor/o", "administrator", true),
        (&jo, "/alice/stor/o", "", false),
        (&jo, "/bob/stor/o", "administrator", false),
        (&store.alice, "/bob/stor/o", "administrator", true),
        (&store.alice, "/bob/stor/o", "", false),
    ] {
        let status = store.by(user, "PUT", path, role).await.status;
        let expected = if allowed { 204 } else { 403 };
        assert_eq!(status, expected, "{} {path} {role:?}", user.login);
    }
    store
        .by(&jo, "GET", "/alice", "administrator")
        .await
        .is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_reach_each_other_through_roles() {
    let store = start().await;
    let people = &store.people;
    people.add_role("alice", "guest", &["CAN getobject"]).await;
    people.give("alice", "guest", "bob", false).await;
    people.add_role("alice", "pal", &["CAN getobject"]).await;
    people.give("alice", "pal", "bob", true).await;
    // A role of the same name in bob's own account is activated too and does no harm.
    people.add_role("bob", "guest", &["CAN getobject *"]).await;
    people.give("bob", "guest", "bob", false).await;
    store.tagged("/alice/stor/guest", Some("x"), "guest").await;
    store.tagged("/alice/stor/pal", Some("x"), "pal").await;
    let failed = "bob is not allowed to access";
    for (path, role, expected) in [
        ("/alice/stor/guest", "guest", None),
        ("/alice/stor/pal", "", None),
        ("/alice/stor/guest", "", Some(NO_TAG)),
        ("/alice/stor/pal", "guest", Some(NO_TAG)),
        (
            "/alice/stor/guest",
            "nosuch",
            Some((409, "InvalidRole", "Role \"nosuch\" is invalid.")),
        ),
        (
            "/alice/stor/guest",
            "*",
            Some((409, "InvalidRole", "Role \"*\" is invalid.")),
        ),
    ] {
        let response = store.by(&store.bob, "GET", path, role).await;
        match expected {
            None => drop(response.is(200)),
            Some((status, code, message)) => drop(response.refused(status, code, message)),
        }
    }
    let message = format!("{failed} /alice/stor/guest");
    people.remove_role("alice", "pal").await;
    let refused = store.by(&store.bob, "GET", "/alice/stor/guest", "").await;
    refused.refused(403, "AuthorizationFailed", &message);
    // Nobody gets into bob's tree by a role of alice's.
    let refused = store.by(&store.alice, "GET", "/bob/stor", "").await;
    refused.refused(
        403,
        "AuthorizationFailed",
        "alice is not allowed to access /bob/stor",
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_give_rights_over_everybodys_trees() {
    let store = start().await;
    store.put("/alice/stor/o", "x").await.is(204);
    let bob = &store.bob;
    store.by(bob, "GET", "/alice/stor/o", "").await.is(403);
    // Readers read.
    store.people.change("bob", |bob| bob.reader = true).await;
    store.by(bob, "GET", "/alice/stor/o", "").await.is(200);
    store.by(bob, "GET", "/alice/stor", "").await.is(200);
    store.by(bob, "PUT", "/alice/stor/o", "").await.is(403);
    store.by(bob, "GET", "/alice", "").await.is(403);
    // Role-operators are operators when they say so.
    let change = |account: &mut libmanta::Account| {
        account.reader = false;
        account.role_operator = true;
    };
    store.people.change("bob", change).await;
    store.by(bob, "GET", "/alice/stor/o", "").await.is(403);
    store
        .by(bob, "GET", "/alice/stor/o", "_operator")
        .await
        .is(200);
    store
        .by(bob, "PUT", "/alice/stor/new", "_operator")
        .await
        .is(204);
    store
        .by(bob, "GET", "/alice/stor?sort=none", "_operator")
        .await
        .is(200);
    store.by(bob, "GET", "/alice", "_operator").await.is(200);
    let with_more = store.by(bob, "GET", "/alice/stor/o", "_operator, x").await;
    with_more.refused(409, "InvalidRole", "Role \"_operator\" is invalid.");
    let stranger = store
        .by(&store.alice, "GET", "/bob/stor", "_operator")
        .await;
    stranger.refused(409, "InvalidRole", "Role \"_operator\" is invalid.");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_accounts_neither_act_nor_are_acted_upon() {
    let (store, jo) = with_jo().await;
    store.put("/alice/public/o", "x").await.is(204);
    store
        .people
        .change("alice", |alice| alice.approved = false)
        .await;
    let message = "alice is not an active account";
    for response in [
        store.get("/alice/public/o").await,
        store.put("/alice/stor/o", "x").await,
        store.by(&jo, "GET", "/alice/stor", "").await,
        store.by(&store.bob, "GET", "/alice/public/o", "").await,
        Request::new("GET", "/alice/public/o")
            .send(store.address)
            .await,
    ] {
        response.refused(403, "AccountBlocked", message);
    }
    // Blocked before the key is looked at.
    let wrong_key = store.poseidon.named("alice");
    let refused = store.by(&wrong_key, "GET", "/alice/stor", "").await;
    refused.refused(403, "AccountBlocked", message);
    let operator = &store.poseidon;
    store
        .by(operator, "GET", "/alice/public/o", "")
        .await
        .is(200);
    store
        .people
        .change("alice", |alice| alice.operator = true)
        .await;
    store.get("/alice/public/o").await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_may_read_what_is_public_and_be_who_the_owner_lets_them() {
    let store = start().await;
    let address = store.address;
    store.tagged("/alice/public/o", Some("x"), "").await;
    store.tagged("/alice/stor/o", Some("x"), "").await;
    let send = |method: &str, path: &str| {
        let request = Request::new(method, path);
        let request = if method == "PUT" {
            request.body("y")
        } else {
            request
        };
        async move { request.send(address).await }
    };
    let refused = |path: &str| format!("anonymous is not allowed to access {path}");
    // Without a subuser for them: public reads, whatever the roles, and nothing else, missing or not.
    for (method, path) in [
        ("GET", "/alice/public/o"),
        ("HEAD", "/alice/public/o"),
        ("GET", "/alice/public"),
    ] {
        send(method, path).await.is(200);
    }
    send("GET", "/alice/public/none").await.is(404);
    for (method, path) in [
        ("PUT", "/alice/public/new"),
        ("DELETE", "/alice/public/o"),
        ("OPTIONS", "/alice/public/o"),
        ("GET", "/alice/stor/o"),
        ("GET", "/alice/stor/none"),
        ("GET", "/alice"),
        ("POST", "/alice/jobs"),
        ("POST", "/alice/tokens"),
    ] {
        let response = send(method, path).await;
        response.refused(403, "AuthorizationFailed", &refused(path));
    }
    // With one, they are that one in its default roles.
    let people = &store.people;
    people.add_user("alice", "anonymous", None).await;
    for (name, rule, default) in [
        ("open", "CAN getobject, putobject AND getdirectory", true),
        ("closed", "CAN getobject", false),
    ] {
        people.add_role("alice", name, &[rule]).await;
        people.give("alice", name, "alice/anonymous", default).await;
    }
    store.tagged("/alice/stor/open", Some("x"), "open").await;
    store
        .tagged("/alice/stor/closed", Some("x"), "closed")
        .await;
    store.tagged("/alice/stor/box", None, "open").await;
    send("GET", "/alice/stor/open").await.is(200);
    send("PUT", "/alice/stor/box/new").await.is(204);
    assert_eq!(
        store.get("/alice/stor/box/new").await.header("role-tag"),
        "open"
    );
    send("GET", "/alice/stor/none").await.is(404);
    for path in ["/alice/stor/o", "/alice/stor/closed"] {
        let (status, code, message) = NO_TAG;
        send("GET", path).await.refused(status, code, message);
    }
    let response = send("DELETE", "/alice/stor/open").await;
    response.refused(403, "AuthorizationFailed", &refused("/alice/stor/open"));
    // A header cannot make them more than that.
    let named = Request::new("GET", "/alice/stor/closed").header("role", "closed");
    named.send(address).await.is(403);
    // Second chance: who is refused as themselves may do what everybody may; else the first reason counts.
    let bob = &store.bob;
    store.by(bob, "GET", "/alice/stor/open", "").await.is(200);
    store
        .by(bob, "GET", "/alice/stor/closed", "")
        .await
        .refused(
            403,
            "AuthorizationFailed",
            "bob is not allowed to access /alice/stor/closed",
        );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_may_ask_about_the_request() {
    let (store, jo) = with_jo().await;
    let store_region = store.people.clone();
    for (name, rule) in [
        ("get-only", "CAN getobject WHEN method = GET"),
        ("here", "CAN getobject WHEN sourceip = 127.0.0.0/8"),
        ("there", "CAN getobject WHEN sourceip = 10.0.0.0/8"),
        ("agent", "CAN getobject WHEN user-agent = tester"),
        ("new", "CAN putobject WHEN overwrite = false"),
        ("again", "CAN putobject WHEN overwrite = true"),
        ("outside", "CAN getobject WHEN fromjob = false"),
        ("inside", "CAN getobject WHEN fromjob = true"),
        ("past", "CAN getobject WHEN date < 2020-01-01T00:00:00Z"),
        ("now", "CAN getobject WHEN date > 2020-01-01T00:00:00Z"),
        (
            "days",
            "CAN getobject WHEN day IN (Mon, Tue, Wed, Thu, Fri, Sat, Sun)",
        ),
        ("hours", "CAN getobject WHEN time >= 00:00:00"),
        ("somewhere", "CAN getobject WHEN region::string = here"),
    ] {
        store_region.add_role("alice", name, &[rule]).await;
        store_region.give("alice", name, "alice/jo", false).await;
        store
            .tagged(&format!("/alice/stor/{name}"), None, name)
            .await;
        store
            .tagged(&format!("/alice/stor/{name}/o"), Some("x"), name)
            .await;
    }
    for (role, method, path, allowed) in [
        ("get-only", "GET", "o", true),
        ("get-only", "HEAD", "o", false),
        ("here", "GET", "o", true),
        ("there", "GET", "o", false),
        ("agent", "GET", "o", true),
        ("new", "PUT", "made", true),
        ("new", "PUT", "o", false),
        ("again", "PUT", "o", true),
        ("again", "PUT", "made", false),
        ("outside", "GET", "o", true),
        ("inside", "GET", "o", false),
        ("past", "GET", "o", false),
        ("now", "GET", "o", true),
        ("days", "GET", "o", true),
        ("hours", "GET", "o", true),
        ("somewhere", "GET", "o", false),
    ] {
        let mut request = Request::new(method, &format!("/alice/stor/{role}/{path}"))
            .header("role", role)
            .header("user-agent", "tester")
            // Nobody has said that this may be believed.
            .header("x-forwarded-for", "10.1.2.3");
        if method == "PUT" {
            request = request.body("y");
        }
        let status = request.signed_by(&jo).send(store.address).await.status;
        assert_eq!(status < 300, allowed, "{role} {method} {path}: {status}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_urls_of_subusers_take_roles_from_the_query() {
    let (store, jo) = with_jo().await;
    for (name, default) in [("a", true), ("b", false), ("c", false)] {
        store
            .people
            .add_role("alice", name, &["CAN getobject AND putobject"])
            .await;
        if name != "c" {
            store.people.give("alice", name, "alice/jo", default).await;
        }
        let path = format!("/alice/stor/{name}");
        store.tagged(&path, Some("x"), name).await;
    }
    store.tagged("/alice/stor/d", None, "b").await;
    let url = |method: &str, path: &str| SignedUrl::new(method, &jo.key_id(), path);
    for (path, role, header, status) in [
        ("/alice/stor/a", None, None, 200),
        ("/alice/stor/b", None, None, 403),
        // The header is ignored, also an invalid one.
        ("/alice/stor/b", None, Some("b"), 403),
        ("/alice/stor/a", None, Some("nosuch"), 200),
        ("/alice/stor/b", Some("b"), None, 200),
        ("/alice/stor/b", Some("a,b"), None, 200),
        ("/alice/stor/b", Some("*"), None, 200),
        ("/alice/stor/a", Some("b"), None, 403),
        ("/alice/stor/c", Some("c"), None, 409),
        ("/alice/stor/a", Some("nosuch"), None, 409),
    ] {
        let mut url = url("GET", path);
        if let Some(role) = role {
            url = url.with("role", role);
        }
        let mut request = Request::new("GET", &url.by(&jo));
        if let Some(header) = header {
            request = request.header("role", header);
        }
        let response = request.send(store.address).await;
        assert_eq!(response.status, status, "{path} {role:?} {header:?}");
    }
    // Tags come from the query too, and a header cannot add to what was signed.
    for (tags, expected) in [(Some("c, a"), "c, a"), (None, "b")] {
        let mut put = url("PUT", "/alice/stor/d/new").with("role", "b");
        if let Some(tags) = tags {
            put = put.with("role-tag", tags);
        }
        let request = Request::new("PUT", &put.by(&jo)).header("role-tag", "a");
        request.body("y").send(store.address).await.is(204);
        let got = store.get("/alice/stor/d/new").await;
        assert_eq!(got.header("role-tag"), expected);
        store.delete("/alice/stor/d/new").await.is(204);
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn walking_a_tree_asks_for_rights_at_every_entry() {
    let (store, jo) = with_jo().await;
    let rule = "CAN getdirectory, deleteobject AND deletedirectory";
    store.people.add_role("alice", "walker", &[rule]).await;
    store.people.give("alice", "walker", "alice/jo", true).await;
    store.tagged("/alice/stor/top", None, "walker").await;
    store.tagged("/alice/stor/top/open", None, "walker").await;
    store
        .tagged("/alice/stor/top/open/o", Some("x"), "walker")
        .await;
    store
        .tagged("/alice/stor/top/open/kept", Some("x"), "")
        .await;
    store.tagged("/alice/stor/top/shut", None, "").await;
    store
        .tagged("/alice/stor/top/shut/o", Some("x"), "walker")
        .await;
    let path = "/alice/stor/top?recursive=true";
    let listed = store.by(&jo, "GET", path, "").await.is(200).text();
    assert!(
        listed.contains("kept") && listed.contains("shut"),
        "{listed}"
    );
    let shown = store.get(path).await.is(200).text().lines().count();
    assert!(listed.lines().count() < shown, "{listed}");
    // Nor is a directory entered because a marker names something in it.
    let inside = "/alice/stor/top?recursive=true&marker=/alice/stor/top/shut/!";
    let listed = store.by(&jo, "GET", inside, "").await.is(200).text();
    assert!(!listed.contains("shut/"), "{listed}");
    assert!(!listed.contains("top/shut"), "{listed}");
    store.by(&jo, "DELETE", path, "").await.is(200);
    store.get("/alice/stor/top/open/o").await.is(404);
    store.get("/alice/stor/top/open/kept").await.is(200);
    store.get("/alice/stor/top/shut/o").await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_that_rules_see_comes_from_proxies_that_are_trusted() {
    let local = "127.0.0.0/8".parse().unwrap();
    let store = start_with(|config| config.trusted_proxies = vec![local]).await;
    let jo = jo(&store);
    store.people.add_user("alice", "jo", Some(&jo)).await;
    let rule = "CAN getobject WHEN sourceip = 10.0.0.0/8";
    store.people.add_role("alice", "there", &[rule]).await;
    store.people.give("alice", "there", "alice/jo", true).await;
    store.tagged("/alice/stor/o", Some("x"), "there").await;
    for (forwarded, status) in [
        (Some("10.1.2.3"), 200),
        (Some("11.1.2.3"), 403),
        (None, 403),
    ] {
        let mut request = Request::new("GET", "/alice/stor/o");
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let response = request.signed_by(&jo).send(store.address).await;
        assert_eq!(response.status, status, "{forwarded:?}");
    }
    store.stop().await;
}

//! URLs that carry their signature: what they allow, and that nothing about them can be altered.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::client::{Request, Response, http_date};
use crate::store::{Store, User, start};

/// A URL in the making, encoded by hand so that no mistake of the product can hide here.
#[derive(Clone)]
pub(crate) struct SignedUrl {
    pub(crate) methods: Vec<String>,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
}

pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

pub(crate) fn seconds_from_now(offset: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (i64::try_from(now.as_secs()).unwrap() + offset).to_string()
}

impl SignedUrl {
    pub(crate) fn new(method: &str, key_id: &str, path: &str) -> Self {
        Self {
            methods: vec![method.to_owned()],
            host: "localhost".into(),
            path: path.into(),
            query: vec![],
        }
        .with("algorithm", "ED25519-SHA512")
        .with("expires", &seconds_from_now(600))
        .with("keyId", key_id)
    }

    /// With this value, instead of the one before if there was one.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.query.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.query.retain(|(n, _)| n != name);
        self
    }

    /// For several methods: a list in the query, in any order.
    pub(crate) fn methods(mut self, methods: &[&str]) -> Self {
        self.methods = methods.iter().map(|m| (*m).to_owned()).collect();
        self.with("method", &methods.join(","))
    }

    fn text(&self) -> String {
        let mut methods = self.methods.clone();
        methods.sort();
        // In the order of the names themselves, not of their encoded forms.
        let mut query = self.query.clone();
        query.sort_by(|a, b| a.0.cmp(&b.0));
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let (methods, query) = (methods.join(","), query.join("&"));
        format!("{methods}\n{}\n{}\n{query}", self.host, self.path)
    }

    pub(crate) fn target(&self, signature: &str) -> String {
        let pairs = self.query.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let pairs: Vec<String> = pairs
            .chain([("signature", signature)])
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        format!("{}?{}", self.path, pairs.join("&"))
    }

    fn signature(&self, user: &User) -> String {
        let algorithm = user.key.public().default_algorithm();
        let text = self.text();
        STANDARD.encode(user.key.sign(algorithm, text.as_bytes()).unwrap())
    }

    /// Path and query, signed.
    pub(crate) fn by(&self, user: &User) -> String {
        self.target(&self.signature(user))
    }
}

fn of_alice(store: &Store, method: &str, path: &str) -> SignedUrl {
    SignedUrl::new(method, &store.alice.key_id(), path)
}

async fn send(store: &Store, method: &str, target: &str) -> Response {
    let mut request = Request::new(method, target);
    if method == "PUT" {
        request = request.body("by url");
    }
    request.send(store.address).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_acts_as_its_signer() {
    let store = start().await;
    store.put("/alice/stor/o", "x").await.is(204);
    store.mkdir("/alice/stor/a%20b").await.is(204);
    store.put("/alice/stor/a%20b/%E2%82%AC", "y").await.is(204);
    let get = |path: &str| of_alice(&store, "GET", path).by(&store.alice);
    for (target, body) in [
        (get("/alice/stor/o"), "x"),
        (get("/alice/stor/a%20b/%E2%82%AC"), "y"),
        // The path is signed as it is sent.
        (get("//alice/stor///o/"), "x"),
    ] {
        let response = send(&store, "GET", &target).await.is(200).complete();
        assert_eq!(response.text(), body, "{target}");
    }
    for path in ["/alice/stor", "/alice/stor/", "/alice/stor/a%20b/"] {
        send(&store, "GET", &get(path)).await.is(200);
    }
    let page = of_alice(&store, "GET", "/alice/stor").with("limit", "1");
    let listed = send(&store, "GET", &page.by(&store.alice)).await.is(200);
    assert_eq!(listed.names().len(), 1);
    let put = of_alice(&store, "PUT", "/alice/stor/new").by(&store.alice);
    send(&store, "PUT", &put).await.is(204);
    assert_eq!(store.get("/alice/stor/new").await.text(), "by url");
    let head = of_alice(&store, "HEAD", "/alice/stor/new").by(&store.alice);
    send(&store, "HEAD", &head).await.is(200);
    let delete = of_alice(&store, "DELETE", "/alice/stor/new").by(&store.alice);
    send(&store, "DELETE", &delete).await.is(204);
    store.get("/alice/stor/new").await.is(404);
    // Nothing more than the signer may.
    let theirs = of_alice(&store, "GET", "/bob/stor").by(&store.alice);
    send(&store, "GET", &theirs).await.refused(
        403,
        "AuthorizationFailed",
        "alice is not allowed to access /bob/stor",
    );
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_methods_are_a_list_in_any_order() {
    let store = start().await;
    for methods in [["OPTIONS", "PUT"], ["PUT", "OPTIONS"]] {
        let url = of_alice(&store, "PUT", "/alice/stor/o").methods(&methods);
        let target = url.by(&store.alice);
        send(&store, "PUT", &target).await.is(204);
        send(&store, "OPTIONS", &target).await.is(200);
        for method in ["GET", "HEAD", "DELETE"] {
            let refused = send(&store, method, &target).await.is(403);
            if method != "HEAD" {
                let message = format!("{method} was not a signed method");
                refused.refused(403, "InvalidQueryStringAuthentication", &message);
            }
        }
    }
    // One method needs no list, and then it is the only one.
    let target = of_alice(&store, "GET", "/alice/stor/o").by(&store.alice);
    send(&store, "GET", &target).await.is(200);
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS"] {
        send(&store, method, &target).await.is(403);
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "by url");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_do_not_change_what_a_signed_url_means() {
    let store = start().await;
    store.put("/alice/stor/o", "x").await.is(204);
    let target = of_alice(&store, "GET", "/alice/stor/o").by(&store.alice);
    // The date plays no part, and roles come from the query.
    let get = Request::new("GET", &target)
        .header("date", http_date(-400))
        .header("role", "nosuch");
    get.send(store.address).await.is(200);
    // A signature in the header counts alone: bob's, who may not, and a broken one.
    let get = Request::new("GET", &target);
    let refused = get.clone().signed_by(&store.bob).send(store.address).await;
    refused.is(403);
    let get = get.header("authorization", "Basic x");
    let refused = get.send(store.address).await.is(403);
    assert!(refused.text().contains("AuthorizationSchemeNotAllowed"));
    // And beside one the parameters mean nothing, even expired ones.
    let expired = of_alice(&store, "GET", "/alice/stor/o").with("expires", "1");
    let get = Request::new("GET", &expired.by(&store.bob));
    store.send(get).await.is(200);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_is_verified_once_and_ends_with_its_key() {
    let store = start().await;
    store.put("/alice/stor/o", "x").await.is(204);
    let before = store.metric("muskie_signatures_verified_total").await;
    let target = of_alice(&store, "GET", "/alice/stor/o").by(&store.alice);
    for _ in 0..3 {
        send(&store, "GET", &target).await.is(200);
    }
    let verified = store.metric("muskie_signatures_verified_total").await;
    assert_eq!(verified, before + 1);
    assert_eq!(store.metric("muskie_signatures_from_cache_total").await, 2);
    let fingerprint = store.alice.key.public().md5_fingerprint();
    let removed = store.identity.remove_key("alice", &fingerprint).await;
    removed.unwrap();
    let refused = send(&store, "GET", &target).await.is(403);
    assert!(refused.text().contains("KeyDoesNotExist"));
    store.stop().await;
}

/// One change of a URL that was signed, and how it is sent then.
fn altered(url: &SignedUrl, random: &mut StdRng) -> (&'static str, SignedUrl, &'static str) {
    let mut other = url.clone();
    let at = random.random_range(0..other.query.len());
    let flip = |text: &str, random: &mut StdRng| {
        let mut chars: Vec<char> = text.chars().collect();
        if chars.is_empty() {
            return String::from("x");
        }
        let at = random.random_range(0..chars.len());
        chars[at] = if chars[at] == 'x' { 'y' } else { 'x' };
        chars.into_iter().collect()
    };
    let mut method = "GET";
    let what = match random.random_range(0..8) {
        0 => {
            other.query[at].1 = flip(&other.query[at].1, random);
            "the value of a parameter"
        }
        1 => {
            other.query[at].0 = flip(&other.query[at].0, random);
            "the name of a parameter"
        }
        2 => {
            other.query.remove(at);
            "a parameter less"
        }
        3 => {
            let name = format!("n{}", random.random_range(0..1000));
            let extra = [name, "role-tag".into(), "limit".into(), "method".into()];
            let name = extra[random.random_range(0..extra.len())].clone();
            other.query.push((name, "GET".into()));
            "a parameter more"
        }
        4 => {
            let again = other.query[at].clone();
            other.query.push(again);
            "a parameter twice"
        }
        5 => {
            other.host.push_str(":80");
            "the host"
        }
        6 => {
            other.path = [
                "/alice/stor/p",
                "/alice/stor//o",
                "/alice/stor/%6f",
                "/alice/stor/o/",
            ][random.random_range(0..4)]
            .into();
            "the path"
        }
        _ => {
            method = ["HEAD", "PUT", "DELETE", "OPTIONS"][random.random_range(0..4)];
            "the method"
        }
    };
    (what, other, method)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_with_any_one_thing_altered_is_refused() {
    let seed = std::env::var("MANTA_TEST_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("repeat with MANTA_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let store = start().await;
    for path in ["/alice/stor/o", "/alice/stor/p"] {
        store.put(path, "x").await.is(204);
    }
    for round in 0..400 {
        let mut url = of_alice(&store, "GET", "/alice/stor/o");
        for (name, value) in [("marker", "a b+c"), ("empty", ""), ("\u{20ac}", "=&?")] {
            if random.random_bool(0.5) {
                url = url.with(name, value);
            }
        }
        let signature = url.signature(&store.alice);
        let fine = Request::new("GET", &url.target(&signature));
        fine.send(store.address).await.is(200);
        let (what, other, method) = altered(&url, &mut random);
        let mut request = Request::new(method, &other.target(&signature)).host(&other.host);
        if method == "PUT" {
            request = request.body("altered");
        }
        let response = request.send(store.address).await;
        assert_eq!(response.status, 403, "round {round}: {what}: {response:?}");
        // The same for a signature with one bit changed.
        let mut bytes = STANDARD.decode(&signature).unwrap();
        let at = random.random_range(0..bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        let forged = Request::new("GET", &url.target(&STANDARD.encode(&bytes)));
        forged.send(store.address).await.is(403);
    }
    assert_eq!(store.get("/alice/stor/o").await.text(), "x");
    store.stop().await;
}

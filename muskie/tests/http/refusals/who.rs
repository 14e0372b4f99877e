//! Who asks, in which roles, how it was signed, and what is not allowed.

use super::{Provocation, Row, Stage, asks, row};
use crate::authentication::signature;
use crate::client::{Request, http_date};
use crate::presigned::{SignedUrl, seconds_from_now};
use crate::store::User;

const INVALID_KEY_ID: &str = "the KeyId token you provided is invalid";
const FORGED: &str = "The signature we calculated does not match the one you sent";
const ALGORITHMS: &str = "RSA-SHA1, RSA-SHA256, RSA-SHA384, RSA-SHA512, DSA-SHA1, DSA-SHA256, ECDSA-SHA256, \
                          ECDSA-SHA384, ECDSA-SHA512, ED25519-SHA512";
const TOKEN: &str = "the authentication token you provided is malformed";

/// A removal, so that it would be seen if it were done.
fn with_header(authorization: &str) -> Request {
    let request = Request::new("DELETE", "/alice/stor/o").header("date", http_date(0));
    request.header("authorization", authorization)
}

fn signed_with(key_id: &str, algorithm: &str, signature: &str) -> Request {
    let words = format!("keyId=\"{key_id}\",algorithm=\"{algorithm}\",signature=\"{signature}\"");
    with_header(&format!("Signature {words}"))
}

/// By alice's key, whatever it is called here.
fn named(stage: &Stage, key_id: &str) -> Request {
    let date = http_date(0);
    let signature = signature(&stage.store.alice, &format!("date: {date}"));
    signed_with(key_id, "ed25519-sha512", &signature)
}

fn url(stage: &Stage) -> SignedUrl {
    SignedUrl::new("DELETE", &stage.store.alice.key_id(), "/alice/stor/o")
}

/// A removal by a URL.
fn by_url(target: &str) -> Request {
    Request::new("DELETE", target)
}

/// By a URL of alice's, whatever her key is called in it.
fn url_named(stage: &Stage, key_id: &str) -> Request {
    by_url(&url(stage).with("keyId", key_id).by(&stage.store.alice))
}

/// By header, and by URL.
fn both(stage: &Stage, key_id: &str, message: &str) -> [Provocation; 2] {
    [named(stage, key_id), url_named(stage, key_id)].map(|request| asks(request, message))
}

fn md5(user: &User) -> String {
    user.key.public().md5_fingerprint()
}

fn in_role(stage: &Stage, user: &User, method: &str, path: &str, role: &str) -> Request {
    let request = Request::new(method, path).header("role", role);
    let request = match (method, path) {
        ("POST", "/alice/jobs") => request
            .header("content-type", "application/json")
            .body("{\"phases\":[{\"exec\":\"wc\"}]}"),
        ("PUT", _) => request.body("new"),
        _ => request,
    };
    assert!(user.login.starts_with(stage.store.alice.login));
    request.signed_by(user)
}

pub(super) const ROWS: &[Row<Stage>] = &[
    row(400, "InvalidHeader", "Invalid Authorization header", |_| {
        let refused = asks(with_header("Signature"), "Invalid Authorization header");
        vec![refused]
    }),
    row(
        400,
        "InvalidHeader",
        "Invalid Signature Authorization header: {reason}",
        |stage| {
            let reasons = [
                (
                    "algorithm=\"rsa-sha1\",signature=\"A\"",
                    "keyId was not specified",
                ),
                (
                    "keyId=\"/a/keys/b\",signature=\"A\"",
                    "algorithm was not specified",
                ),
                (
                    "keyId=\"/a/keys/b\",algorithm=\"rsa-sha1\"",
                    "signature was not specified",
                ),
                (
                    "keyId=\"/a/keys/b\",algorithm=\"rsa-md5\",signature=\"A\"",
                    "rsa-md5 is not supported",
                ),
                (
                    "keyId=\"/a/keys/b\",algorithm=\"rsa-sha1\",headers=\"date x-foo\",signature=\"A\"",
                    "x-foo was not in the request",
                ),
            ];
            let message =
                |reason: &str| format!("Invalid Signature Authorization header: {reason}");
            let mut all: Vec<_> = reasons
                .map(|(words, reason)| {
                    asks(with_header(&format!("Signature {words}")), message(reason))
                })
                .into();
            let words = "keyId=\"/a/keys/b\",algorithm=\"rsa-sha1\",signature=\"A\"";
            let scheme = with_header(&format!("signature {words}"));
            all.push(asks(scheme, message("scheme was not \"Signature\"")));
            let undated = Request::new("DELETE", "/alice/stor/o")
                .header("authorization", format!("Signature {words}"));
            all.push(asks(undated, message("date was not in the request")));
            // Signed as it should be, but nobody can tell how old it is.
            let nonsense = Request::new("DELETE", "/alice/stor/o");
            let nonsense = nonsense.signed_at(&stage.store.alice, "yesterday");
            all.push(asks(nonsense, message("\"yesterday\" is not a date")));
            all
        },
    ),
    row(
        400,
        "RequestExpired",
        "Date header {date} is too old",
        |stage| {
            let old = http_date(-700);
            let message = format!("Date header {old} is too old");
            let removal = || Request::new("DELETE", "/alice/stor/o");
            vec![
                asks(removal().signed_at(&stage.store.alice, &old), &*message),
                asks(removal().header("date", old), message),
            ]
        },
    ),
    row(
        401,
        "InvalidAlgorithm",
        "{} is not a supported signing algorithm. Supported algorithms are {ALGORITHMS}",
        |_| {
            let message = format!(
                "HMAC-SHA256 is not a supported signing algorithm. Supported algorithms are {ALGORITHMS}"
            );
            vec![asks(signed_with("/a/keys/b", "hmac-sha256", "A"), message)]
        },
    ),
    row(
        403,
        "AuthorizationSchemeNotAllowed",
        "{scheme} is not allowed (use 'signature')",
        |_| {
            [("Basic YTpi", "basic"), ("Bearer x", "bearer")]
                .map(|(header, scheme)| {
                    let message = format!("{scheme} is not allowed (use 'signature')");
                    asks(with_header(header), message)
                })
                .into()
        },
    ),
    // Delegated tokens are not known here: alone they say nothing, and signed they are no better.
    row(
        401,
        "AuthorizationRequired",
        "Authorization is required",
        |_| {
            let delegated = Request::new("DELETE", "/alice/stor/o").header("x-auth-token", "{}");
            vec![asks(delegated, "Authorization is required")]
        },
    ),
    row(
        403,
        "InvalidHttpAuthenticationToken",
        "Invalid HTTP Auth Token",
        |stage| {
            let delegated = Request::new("DELETE", "/alice/stor/o").header("x-auth-token", "{}");
            vec![asks(stage.by_alice(delegated), "Invalid HTTP Auth Token")]
        },
    ),
    row(403, "InvalidAuthenticationToken", "(the reason)", |_| {
        ["x", ""]
            .map(|token| asks(with_header(&format!("Token {token}")), TOKEN))
            .into()
    }),
    row(
        403,
        "AccountDoesNotExist",
        "{login} does not exist",
        |stage| {
            let key_id = format!("/nobody/keys/{}", md5(&stage.store.alice));
            let mut all = Vec::from(both(stage, &key_id, "nobody does not exist"));
            all.push(asks(stage.get("/nowhere/stor"), "nowhere does not exist"));
            all
        },
    ),
    row(
        403,
        "AccountBlocked",
        "{login} is not an active account",
        |stage| {
            let message = "carol is not an active account";
            vec![
                asks(stage.get("/carol/public"), message),
                asks(Request::new("GET", "/carol/public"), message),
                asks(named(stage, "/carol/keys/any"), message),
            ]
        },
    ),
    row(
        403,
        "UserDoesNotExist",
        "{account}/{user} does not exist",
        |stage| {
            let key_id = format!("/alice/nobody/keys/{}", md5(&stage.store.alice));
            both(stage, &key_id, "alice/nobody does not exist").into()
        },
    ),
    row(403, "KeyDoesNotExist", "{key} does not exist", |stage| {
        let mut all = Vec::new();
        for print in [
            md5(&stage.store.poseidon).as_str(),
            "MD5:x",
            "SHA256:AAAA",
            "nonsense",
        ] {
            let key_id = format!("/alice/keys/{print}");
            all.extend(both(stage, &key_id, &format!("{key_id} does not exist")));
        }
        // The account's key is not its subuser's.
        let key_id = stage.store.alice.named("alice/jo").key_id();
        all.extend(both(stage, &key_id, &format!("{key_id} does not exist")));
        all
    }),
    row(
        403,
        "InvalidKeyId",
        "the KeyId token you provided is invalid",
        |stage| {
            let md5 = md5(&stage.store.alice);
            let odd = [
                format!("alice/keys/{md5}"),
                "/alice".to_owned(),
                format!("/alice/users/jo/keys/{md5}"),
            ];
            let all = odd.map(|key_id| both(stage, &key_id, INVALID_KEY_ID));
            all.into_iter().flatten().collect()
        },
    ),
    row(
        403,
        "InvalidSignature",
        "The signature we calculated does not match the one you sent",
        |stage| {
            let store = &stage.store;
            let text = format!("date: {}", http_date(0));
            let good = signature(&store.alice, &text);
            let forged = signature(&store.poseidon, &text);
            let ed = "ed25519-sha512";
            let mut all = Vec::new();
            for (algorithm, signature) in [
                (ed, forged.as_str()),
                (ed, "AAAA"),
                (ed, "not base64!"),
                ("rsa-sha256", good.as_str()),
                ("dsa-sha1", good.as_str()),
            ] {
                all.push(signed_with(&store.alice.key_id(), algorithm, signature));
            }
            let other_method = SignedUrl::new("GET", &store.alice.key_id(), "/alice/stor/o");
            for target in [
                other_method.by(&store.alice),
                url(stage).by(&store.poseidon),
                url(stage).target("AAAA"),
                url(stage).target("not base64!"),
                url(stage).with("algorithm", "RSA-SHA256").by(&store.alice),
            ] {
                all.push(by_url(&target));
            }
            all.into_iter()
                .map(|request| asks(request, FORGED))
                .collect()
        },
    ),
    row(
        403,
        "InvalidQueryStringAuthentication",
        "(the reason)",
        |stage| {
            let sign = |url: SignedUrl| url.by(&stage.store.alice);
            [
                (
                    "/alice/stor/o?algorithm=RSA-SHA256&expires=1".to_owned(),
                    "parameters \"keyId, signature\" are required",
                ),
                (
                    "/alice/public/o?signature=x".to_owned(),
                    "parameters \"algorithm, expires, keyId\" are required",
                ),
                (
                    sign(url(stage).without("expires")),
                    "parameters \"expires\" are required",
                ),
                (
                    sign(url(stage).with("expires", &seconds_from_now(-10))),
                    "request expired",
                ),
                (
                    sign(url(stage).with("expires", "abc")),
                    "expires is not a number of seconds",
                ),
                (
                    sign(url(stage).methods(&["PUT"])),
                    "DELETE was not a signed method",
                ),
                (
                    sign(url(stage).with("algorithm", "RSA-MD5")),
                    "RSA-MD5 is not a supported signing algorithm",
                ),
                (
                    sign(url(stage).with("algorithm", "HMAC-SHA256")),
                    "HMAC-SHA256 is not a supported signing algorithm",
                ),
            ]
            .map(|(target, message)| asks(by_url(&target), message))
            .into()
        },
    ),
    row(409, "InvalidRole", "Role \"{name}\" is invalid.", |stage| {
        let alice = &stage.store.alice;
        let by_url = by_url(&url(stage).with("role", "nosuch").by(alice));
        vec![
            asks(
                in_role(stage, alice, "DELETE", "/alice/stor/o", "admins, x"),
                "Role \"admins\" is invalid.",
            ),
            asks(
                in_role(stage, alice, "DELETE", "/alice/stor/o", "*"),
                "Role \"*\" is invalid.",
            ),
            asks(by_url, "Role \"nosuch\" is invalid."),
        ]
    }),
    row(
        409,
        "InvalidRoleTag",
        "Role tag \"{name}\" is invalid.",
        |stage| {
            let message = "Role tag \"r\" is invalid.";
            let directory = stage.put("role-tag", "r");
            let directory = directory.header("content-type", "application/json; type=directory");
            vec![
                asks(stage.put("role-tag", "r"), message),
                asks(stage.update("/alice/stor/o", "role-tag", "r"), message),
                asks(stage.update("/alice/stor", "role-tag", "r"), message),
                asks(directory, message),
            ]
        },
    ),
    row(
        403,
        "AuthorizationFailed",
        "{caller} is not allowed to access {path}",
        |stage| {
            let put = Request::new("PUT", "/bob/stor/o").body("new");
            let anonymous = Request::new("PUT", "/alice/public/o").body("new");
            let removal = Request::new("DELETE", "/alice/public/o").signed_by(&stage.store.bob);
            vec![
                asks(
                    stage.by_alice(put),
                    "alice is not allowed to access /bob/stor/o",
                ),
                asks(
                    anonymous,
                    "anonymous is not allowed to access /alice/public/o",
                ),
                asks(removal, "bob is not allowed to access /alice/public/o"),
                asks(
                    Request::new("DELETE", "/alice/stor/o").signed_by(&stage.jo),
                    "alice/jo is not allowed to access /alice/stor/o",
                ),
            ]
        },
    ),
    row(
        403,
        "NoMatchingRoleTag",
        "None of your active roles are present on the resource.",
        |stage| {
            let message = "None of your active roles are present on the resource.";
            ["DELETE", "PUT", "GET"]
                .map(|method| {
                    let path = "/alice/stor/o";
                    asks(in_role(stage, &stage.jo, method, path, "objects"), message)
                })
                .into()
        },
    ),
    row(
        403,
        "MissingPermission",
        "missing role allowing {action}",
        |stage| {
            [
                ("creator", "putobject"),
                ("creator, objects", "putdirectory"),
            ]
            .map(|(role, action)| {
                let request = in_role(stage, &stage.jo, "POST", "/alice/jobs", role);
                asks(request, format!("missing role allowing {action}"))
            })
            .into()
        },
    ),
    row(
        403,
        "QueryParameterForbidden",
        "Use of these query parameters is restricted to operators: {parameters}",
        |stage| {
            let message = "Use of these query parameters is restricted to operators: sort=none";
            vec![asks(stage.get("/alice/stor?sort=none"), message)]
        },
    ),
];

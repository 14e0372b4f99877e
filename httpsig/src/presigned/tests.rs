//! The documented examples, the documented refusals, and: whatever is altered, the text is another one.

use proptest::prelude::*;

use super::*;
use crate::generate::generate;
use crate::private_key::PrivateKey;
use crate::unsigned_url::{UnsignedUrl, UrlRequest};

const KEY_ID: &str = "/alice/keys/d0:e0:e3:ba:bf:ce:a2:44:18:4a:b8:7b:df:8d:92:8b";
const HOST: &str = "manta.example.com";
const NOW: u64 = 1_795_234_000;

fn request<'a>(methods: &'a [&'a str]) -> UrlRequest<'a> {
    UrlRequest {
        host: HOST,
        path: "/alice/stor/cdp",
        methods,
        key_id: KEY_ID,
        algorithm: Algorithm::parse("rsa-sha256").unwrap(),
        expires: 1_795_234_959,
        query: &[],
    }
}

fn query_of(url: &str) -> &str {
    url.split_once('?').unwrap().1
}

#[test]
fn the_documented_text_of_one_method() {
    let url = UnsignedUrl::new(&request(&["GET"]));
    let expected = "GET\nmanta.example.com\n/alice/stor/cdp\n\
        algorithm=RSA-SHA256&expires=1795234959&keyId=%2Falice%2Fkeys%2Fd0%3Ae0%3Ae3%3Aba%3Abf%3Ace\
        %3Aa2%3A44%3A18%3A4a%3Ab8%3A7b%3Adf%3A8d%3A92%3A8b";
    assert_eq!(url.text(), expected);

    let signed = url.signed(&[0xfb, 0xff]);
    assert!(
        signed.starts_with("/alice/stor/cdp?algorithm=RSA-SHA256&expires=1795234959&keyId=%2F")
    );
    assert!(signed.ends_with("%3A8b&signature=%2B%2F8%3D"), "{signed}");
    let read = Presigned::parse("GET", query_of(&signed), NOW)
        .unwrap()
        .unwrap();
    assert_eq!(read.text(HOST, "/alice/stor/cdp"), expected);
    assert_eq!(read.signature, [0xfb, 0xff]);
    assert_eq!(read.key_id, KEY_ID);
    assert_eq!(read.algorithm.name(), "rsa-sha256");
    assert_eq!(read.expires, 1_795_234_959);
    assert_eq!((read.role, read.role_tag), (None, None));
}

#[test]
fn the_documented_text_of_two_methods() {
    let url = UnsignedUrl::new(&request(&["PUT", "OPTIONS"]));
    assert!(url.text().starts_with("OPTIONS,PUT\n"));
    assert!(url.text().ends_with("%3A8b&method=OPTIONS%2CPUT"));
    // Whoever wrote the list in another order signed the sorted one all the same.
    let signed = url.signed(b"x").replace("OPTIONS%2CPUT", "PUT,OPTIONS");
    for method in ["PUT", "OPTIONS"] {
        let read = Presigned::parse(method, query_of(&signed), NOW)
            .unwrap()
            .unwrap();
        let text = read.text(HOST, "/alice/stor/cdp");
        assert_eq!(text.lines().next(), Some("OPTIONS,PUT"));
    }
    assert_eq!(
        Presigned::parse("GET", query_of(&signed), NOW)
            .unwrap_err()
            .to_string(),
        "GET was not a signed method"
    );
}

#[test]
fn escapes_of_the_query_do_not_matter_and_those_of_the_path_do() {
    let query = "expires=1795234959&algorithm=rsa-sha256&keyId=/k&signature=AA==&role=a,b+c&role-tag=%c3%bc";
    let read = Presigned::parse("GET", query, NOW).unwrap().unwrap();
    assert_eq!(
        read.text("h:8080", "//a/%73tor/b%2Fc"),
        "GET\nh:8080\n//a/%73tor/b%2Fc\n\
         algorithm=rsa-sha256&expires=1795234959&keyId=%2Fk&role=a%2Cb%20c&role-tag=%C3%BC"
    );
    assert_eq!(read.role.as_deref(), Some("a,b c"));
    assert_eq!(read.role_tag.as_deref(), Some("ü"));
    assert_eq!(
        encode_query("a-_.~/:, !'()*é".as_bytes()),
        "a-_.~%2F%3A%2C%20%21%27%28%29%2A%C3%A9"
    );
}

#[test]
fn what_is_no_signed_url_is_told_from_a_bad_one() {
    let parse = |query: &str| {
        Presigned::parse("GET", query, NOW)
            .map(|read| read.is_some())
            .map_err(|error| error.to_string())
    };
    for query in ["", "limit=2", "method=GET&role=x", "&&", "keyid=x"] {
        assert_eq!(parse(query), Ok(false), "{query}");
    }
    let rest = "&keyId=%2Fk&signature=AA";
    for (query, message) in [
        (
            "expires=1&algorithm=x".to_owned(),
            "parameters \"keyId, signature\" are required",
        ),
        (
            "signature=".to_owned(),
            "parameters \"algorithm, expires, keyId, signature\" are required",
        ),
        (
            format!("algorithm=rsa-sha1{rest}"),
            "parameters \"expires\" are required",
        ),
        (
            format!("expires=1795233999&algorithm=x{rest}"),
            "request expired",
        ),
        (
            format!("expires=abc&algorithm=rsa-sha1{rest}"),
            "expires is not a number of seconds",
        ),
        (
            format!("expires=-1&algorithm=rsa-sha1{rest}"),
            "expires is not a number of seconds",
        ),
        (
            format!("expires=1e99&algorithm=rsa-sha1{rest}"),
            "expires is not a number of seconds",
        ),
        (
            format!("expires=1795234959&algorithm=x&method=PUT,HEAD{rest}"),
            "GET was not a signed method",
        ),
        (
            format!("expires=1795234959&algorithm=RSA-MD5{rest}"),
            "RSA-MD5 is not a supported signing algorithm",
        ),
        (
            format!("expires=1795234959&algorithm=hmac-sha256{rest}"),
            "hmac-sha256 is not a supported signing algorithm",
        ),
        (
            format!("expires=1795234959&algorithm=rsa-sha1&role=a&role=b{rest}"),
            "parameter \"role\" is given more than once",
        ),
    ] {
        assert_eq!(parse(&query), Err(message.to_owned()), "{query}");
    }
    assert_eq!(
        parse(&format!("expires=1795234000.75&algorithm=rsa-sha1{rest}")),
        Ok(true)
    );
}

#[test]
fn a_signature_holds_for_its_own_url_only() {
    let key = PrivateKey::parse(&generate("").unwrap().private_pem).unwrap();
    let unsigned = UnsignedUrl::new(&UrlRequest {
        query: &[("role", "a,b"), ("limit", "3")],
        ..request(&["GET", "HEAD"])
    });
    let algorithm = key.public().default_algorithm();
    let url = unsigned.signed(&key.sign(algorithm, unsigned.text().as_bytes()).unwrap());
    let check = |method: &str, host: &str, path: &str, query: &str| {
        Presigned::parse(method, query, NOW).is_ok_and(|read| {
            read.is_some_and(|read| {
                let text = read.text(host, path);
                key.public()
                    .verify(read.algorithm, text.as_bytes(), &read.signature)
                    .is_ok()
            })
        })
    };
    let (path, query) = url.split_once('?').unwrap();
    assert!(check("GET", HOST, path, query));
    assert!(check("HEAD", HOST, path, query));
    assert!(!check("PUT", HOST, path, query));
    assert!(!check("GET", "manta.example.com:80", path, query));
    assert!(!check("GET", HOST, "/alice/stor/cdP", query));
    assert!(!check("GET", HOST, "/alice//stor/cdp", query));

    // Any parameter lost, added, doubled, or with another value.
    let pairs: Vec<&str> = query.split('&').collect();
    assert_eq!(pairs.len(), 7);
    for index in 0..pairs.len() {
        let mut without = pairs.clone();
        without.remove(index);
        assert!(
            !check("GET", HOST, path, &without.join("&")),
            "without {}",
            pairs[index]
        );
        let doubled = format!("{query}&{}", pairs[index]);
        assert!(
            !check("GET", HOST, path, &doubled),
            "twice {}",
            pairs[index]
        );
        let (name, value) = pairs[index].split_once('=').unwrap();
        let mut altered = pairs.clone();
        let last = if value.ends_with('0') { '1' } else { '0' };
        let mut value: String = value.to_owned();
        if name == "signature" {
            // Its end may be padding; its beginning is not.
            let first = if value.starts_with('0') { '1' } else { '0' };
            value = format!("{first}{}", &value[1..]);
        } else {
            value.push(last);
        }
        let pair = format!("{name}={value}");
        altered[index] = &pair;
        assert!(!check("GET", HOST, path, &altered.join("&")), "with {pair}");
    }
    assert!(!check("GET", HOST, path, &format!("{query}&x=1")));
}

/// A query as both sides see it: pairs of any text.
fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec((any::<String>(), any::<String>()), 0..6)
}

fn parse_own(query: &str) -> Option<Presigned> {
    let fixed = "expires=9999999999&algorithm=rsa-sha1&keyId=%2Fk&signature=AA";
    Presigned::parse("GET", &format!("{fixed}&{query}"), NOW)
        .ok()
        .flatten()
}

proptest! {
    #[test]
    fn no_query_makes_it_panic(query in any::<String>(), method in any::<String>()) {
        let _ = Presigned::parse(&method, &query, NOW);
        if let Some(read) = parse_own(&query) {
            let _ = read.text(&method, &query);
        }
    }

    #[test]
    fn whatever_a_client_adds_the_server_sees_the_same_text(more in pairs(), path in "/[!->@-~]{1,30}") {
        let reserved = ["expires", "algorithm", "keyId", "signature", "method", "role", "role-tag"];
        prop_assume!(more.iter().all(|(name, _)| !reserved.contains(&name.as_str())));
        prop_assume!(more.iter().all(|(name, value)| !(name.is_empty() && value.is_empty())));
        let query: Vec<(&str, &str)> = more.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let url = UnsignedUrl::new(&UrlRequest {
            path: &path,
            query: &query,
            ..request(&["GET"])
        });
        let signed = url.signed(b"signature");
        let (sent_path, sent_query) = signed.split_once('?').unwrap();
        let read = Presigned::parse("GET", sent_query, NOW).unwrap().unwrap();
        prop_assert_eq!(read.text(HOST, sent_path), url.text());
    }

    /// Two queries with the same text are the same query, but for the order of different names.
    #[test]
    fn the_text_says_all_there_is(one in pairs(), two in pairs()) {
        let sorted = |pairs: &[(String, String)]| {
            let mut pairs = pairs.to_vec();
            pairs.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            pairs
        };
        let same_text = canonical_query(&one) == canonical_query(&two);
        prop_assert_eq!(same_text, sorted(&one) == sorted(&two));
    }

    #[test]
    fn one_changed_character_changes_the_text(more in pairs(), at in any::<prop::sample::Index>()) {
        prop_assume!(!more.is_empty());
        let mut other = more.clone();
        at.get_mut(&mut other).1.push('x');
        prop_assert_ne!(canonical_query(&more), canonical_query(&other));
    }
}

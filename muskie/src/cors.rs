//! Requests that a web page makes to a store it did not come from.
//!
//! The rules are headers that the owner stored with an entry; nothing here interprets them further than a
//! browser would. A preflight has to be signed like everything else, unless the operator lets rules be read
//! by anyone; then the answer to an unsigned one says nothing but what the rules say, and in particular not
//! whether there is an entry. Source: rest-api.md section 11.

use futures_util::StreamExt as _;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN,
};
use http::{HeaderMap, Method, StatusCode};
use libmanta::ObjectKey;
use libmanta::moray::Parent;

use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::latin1;
use crate::reply::Reply;
use crate::response_body::Content;
use crate::storage::{Request, Target};

/// The headers in which an owner says who may do what from where.
#[derive(Clone, Copy)]
struct Rules<'a>(&'a [(String, String)]);

impl<'a> Rules<'a> {
    fn get(self, name: &HeaderName) -> Option<&'a str> {
        let found = self.0.iter().find(|(kept, _)| kept == name.as_str());
        found.map(|(_, value)| value.as_str())
    }

    fn lists(self, name: &HeaderName, is_it: impl Fn(&str) -> bool) -> bool {
        self.get(name)
            .is_some_and(|list| list.split(',').map(str::trim).any(is_it))
    }

    fn allow_origin(self, origin: &str) -> bool {
        self.lists(&ACCESS_CONTROL_ALLOW_ORIGIN, |one| {
            one == "*" || one == origin
        })
    }

    fn allow_method(self, method: &str) -> bool {
        self.lists(&ACCESS_CONTROL_ALLOW_METHODS, |one| one == method)
    }

    /// Every name of a list; an empty list asks for nothing.
    fn allow_headers(self, wanted: &str) -> bool {
        let mut names = wanted.split(',').map(str::trim).filter(|n| !n.is_empty());
        names.all(|name| {
            self.lists(&ACCESS_CONTROL_ALLOW_HEADERS, |one| {
                one.eq_ignore_ascii_case(name)
            })
        })
    }
}

/// Puts the rules on the response to a read. Without an `Origin` the owner sees them as they are; with one
/// they are the answer to a browser, whose preflight is over.
pub(crate) fn on_read(kept: &[(String, String)], head: &Head, response: &mut HeaderMap) {
    let rules = Rules(kept);
    let origin = head.headers.get(ORIGIN);
    let stays = |name: &HeaderName| rules.get(name).is_some();
    if origin.is_some()
        && stays(&ACCESS_CONTROL_ALLOW_METHODS)
        && !rules.allow_method(head.method.as_str())
    {
        return;
    }
    let for_preflight = [ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_MAX_AGE];
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        let Some(value) = rules.get(&name).and_then(latin1::encode) else {
            continue;
        };
        match origin {
            None => drop(response.insert(name, value)),
            Some(_) if for_preflight.contains(&name) => {}
            Some(origin) if name == ACCESS_CONTROL_ALLOW_ORIGIN => {
                if rules.allow_origin(&latin1::decode(origin)) {
                    response.insert(name, origin.clone());
                }
            }
            Some(_) => drop(response.insert(name, value)),
        }
    }
}

/// A page that may write may also read the answer.
pub(crate) fn echo_origin(head: &Head, reply: &mut Reply) {
    if let Some(origin) = head.headers.get(ORIGIN) {
        reply.set(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

/// Whether a preflight is about writing, so that the directory counts and the entry need not exist.
pub(crate) fn asks_to_put(head: &Head) -> bool {
    head.headers
        .get(ACCESS_CONTROL_REQUEST_METHOD)
        .is_some_and(|method| method == Method::PUT.as_str())
}

/// Answers whoever has the right to ask.
pub(crate) async fn preflight(request: &Request<'_>, target: Target) -> Result<Reply> {
    if !asks_to_put(request.head) {
        let rules = target.entry.map(|entry| entry.headers);
        return Ok(answer(request.head, &rules.unwrap_or_default()));
    }
    if target.parent == Parent::Object {
        return Err(Error::ParentNotDirectory {
            parent: request.head.path.parent().to_owned(),
        });
    }
    let rules = parent_rules(request, &target.key).await?;
    Ok(answer(request.head, &rules))
}

/// Answers anyone, with the rules and nothing else.
pub(crate) async fn unsigned_preflight(request: &Request<'_>, key: &ObjectKey) -> Result<Reply> {
    let rules = if asks_to_put(request.head) {
        parent_rules(request, key).await?
    } else {
        stored(request, key).await?
    };
    Ok(answer(request.head, &rules))
}

/// An area has no directory above it that could have rules.
async fn parent_rules(request: &Request<'_>, key: &ObjectKey) -> Result<Vec<(String, String)>> {
    match key.parent() {
        Some(parent) => stored(request, &parent).await,
        None => Ok(Vec::new()),
    }
}

async fn stored(request: &Request<'_>, key: &ObjectKey) -> Result<Vec<(String, String)>> {
    let entry = request.server.moray.lookup(key).await?.entry;
    Ok(entry.map(|entry| entry.headers).unwrap_or_default())
}

fn answer(head: &Head, rules: &[(String, String)]) -> Reply {
    // No length: this is how the answer has always looked.
    let nothing = Content::Stream(futures_util::stream::empty().boxed(), None);
    let mut reply = Reply::new(StatusCode::OK, nothing);
    let rules = Rules(rules);
    let header = |name| latin1::get(&head.headers, name);
    let (Some(origin), Some(method)) = (
        head.headers.get(ORIGIN),
        header(ACCESS_CONTROL_REQUEST_METHOD),
    ) else {
        return reply;
    };
    let wanted = header(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    if !rules.allow_origin(&latin1::decode(origin))
        || !rules.allow_method(&method)
        || !rules.allow_headers(&wanted)
    {
        return reply;
    }
    reply.set(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    for name in [
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        if let Some(value) = rules.get(&name) {
            reply.set_text(name, value);
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, headers: &[(&str, &str)]) -> Head {
        let mut request = http::Request::builder().method(method).uri("/alice/stor/o");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Head::new(parts, ([127, 0, 0, 1], 1).into())
    }

    fn kept(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own =
            |(name, value): &(&str, &str)| (format!("access-control-{name}"), String::from(*value));
        pairs.iter().map(own).collect()
    }

    /// The headers, without what their names have in common.
    fn short(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let short = |name: &'_ HeaderName| name.as_str()["access-control-".len()..].len();
        let mut all: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                let name = &name.as_str()[name.as_str().len() - short(name)..];
                (name, value.to_str().unwrap())
            })
            .collect();
        all.sort_unstable();
        all
    }

    const FULL: [(&str, &str); 5] = [
        ("allow-origin", "http://a, http://b"),
        ("allow-methods", "GET, PUT"),
        ("allow-headers", "X-One,x-two"),
        ("expose-headers", "m-x"),
        ("max-age", "5"),
    ];

    #[test]
    fn a_read_shows_the_owner_everything_and_a_browser_what_concerns_it() {
        let read = |rules: &[(&str, &str)], method: &str, origin: Option<&str>| {
            let origin: Vec<_> = origin
                .map(|origin| ("origin", origin))
                .into_iter()
                .collect();
            let mut response = HeaderMap::new();
            on_read(&kept(rules), &head(method, &origin), &mut response);
            short(&response)
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(read(&FULL, "GET", None).len(), FULL.len());
        assert_eq!(
            read(&FULL, "GET", Some("http://b")),
            [
                "allow-methods: GET, PUT",
                "allow-origin: http://b",
                "expose-headers: m-x"
            ]
        );
        assert_eq!(
            read(&FULL, "GET", Some("http://c")),
            ["allow-methods: GET, PUT", "expose-headers: m-x"]
        );
        assert!(read(&FULL, "HEAD", Some("http://b")).is_empty());
        let star = [("allow-origin", "*")];
        assert_eq!(
            read(&star, "HEAD", Some("http://c")),
            ["allow-origin: http://c"]
        );
        assert_eq!(read(&star, "GET", None), ["allow-origin: *"]);
    }

    #[test]
    fn a_preflight_is_answered_when_origin_method_and_headers_are_allowed() {
        let ask = |rules: &[(&str, &str)], headers: &[(&str, &str)]| {
            let reply = answer(&head("OPTIONS", headers), &kept(rules));
            assert_eq!(reply.status, StatusCode::OK);
            short(&reply.headers)
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect::<Vec<_>>()
        };
        let origin = ("origin", "http://b");
        let method = ("access-control-request-method", "PUT");
        let headers = ("access-control-request-headers", "x-TWO, x-one");
        let granted = [
            "allow-headers: X-One,x-two",
            "allow-methods: GET, PUT",
            "allow-origin: http://b",
            "max-age: 5",
        ];
        assert_eq!(ask(&FULL, &[origin, method, headers]), granted);
        assert_eq!(ask(&FULL, &[origin, method]), granted);
        for refused in [
            &[method, headers][..],
            &[origin, headers],
            &[("origin", "http://c"), method],
            &[origin, ("access-control-request-method", "DELETE")],
            &[origin, ("access-control-request-method", "put")],
            &[
                origin,
                method,
                ("access-control-request-headers", "x-one, x-three"),
            ],
            // A part of a name is not the name.
            &[origin, method, ("access-control-request-headers", "x-t")],
            &[],
        ] {
            assert!(ask(&FULL, refused).is_empty(), "{refused:?}");
        }
        let no_methods = [("allow-origin", "*")];
        assert!(ask(&no_methods, &[origin, method]).is_empty());
    }
}

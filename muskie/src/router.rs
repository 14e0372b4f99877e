//! Which request is what. Decided from method, path, query and content type alone, before anyone is
//! authenticated. Source: rest-api.md sections 0.5, 1.1, 6.1.

use http::Method;

use crate::content_type::{self, Kind};
use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::operation::{Area, Operation, Verb};
use crate::version_range::VersionRange;

/// What `Accept-Version` is compared with.
const API_VERSION: &str = "1.0.0";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Redirect,
    Ping,
    Metrics,
    /// `/:login`.
    Account,
    /// Anything in the tree.
    Storage(Verb),
    Jobs(JobRoute),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobRoute {
    Create,
    List,
    Live { id: String, what: Live },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    Status,
    AddInputs,
    EndInput,
    Cancel,
    Inputs,
    Outputs,
    Failures,
    Errors,
}

pub(crate) fn route(head: &Head) -> Result<(Operation, Route)> {
    let segments: Vec<&str> = head.path.segments().collect();
    let method = &head.method;
    match segments.as_slice() {
        [] | ["docs", ..] => match *method {
            Method::GET => Ok((Operation::Redirect, Route::Redirect)),
            _ => Err(not_allowed(method, "GET")),
        },
        ["ping"] if method == Method::GET => Ok((Operation::Ping, Route::Ping)),
        ["metrics"] if method == Method::GET => Ok((Operation::Metrics, Route::Metrics)),
        [login, ..] if !is_login(login) => Err(no_route(head)),
        [_] => account(method),
        [_, "jobs"] if method == Method::POST => {
            accepts(head, "application/json")?;
            Ok((Operation::CreateJob, Route::Jobs(JobRoute::Create)))
        }
        [_, "jobs"] if method == Method::GET && asks_for_live_jobs(head) => {
            Ok((Operation::ListJobs, Route::Jobs(JobRoute::List)))
        }
        [_, "jobs", id, "live", rest @ ..] if !rest.is_empty() => live(head, id, rest),
        [_, area, ..] => match Area::parse(area) {
            Some(area) => storage(head, area, segments.len()),
            None => Err(no_route(head)),
        },
    }
}

fn account(method: &Method) -> Result<(Operation, Route)> {
    let operation = match *method {
        Method::GET => Operation::GetAccount,
        Method::HEAD => Operation::HeadAccount,
        Method::PUT | Method::DELETE | Method::POST => Operation::ChangeAccount,
        _ => return Err(not_allowed(method, "DELETE, GET, HEAD, POST, PUT")),
    };
    Ok((operation, Route::Account))
}

fn storage(head: &Head, area: Area, depth: usize) -> Result<(Operation, Route)> {
    let verb = match head.method {
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        Method::DELETE => Verb::Delete,
        Method::OPTIONS => Verb::Options,
        Method::PUT => match content_type::kind(head.header("content-type").as_deref()) {
            Kind::Directory => Verb::PutDirectory,
            Kind::Link => Verb::PutLink,
            Kind::Object if head.query.non_empty("metadata").is_some() => Verb::PutMetadata,
            Kind::Object => Verb::PutObject,
        },
        _ if area == Area::Jobs && depth == 2 => {
            let allow = "DELETE, GET, HEAD, OPTIONS, POST, PUT";
            return Err(not_allowed(&head.method, allow));
        }
        _ => return Err(not_allowed(&head.method, "DELETE, GET, HEAD, OPTIONS, PUT")),
    };
    Ok((Operation::Storage(verb, area), Route::Storage(verb)))
}

fn live(head: &Head, id: &str, rest: &[&str]) -> Result<(Operation, Route)> {
    let method = &head.method;
    let (get, post) = (method == Method::GET, method == Method::POST);
    let (operation, what) = match rest {
        ["status"] if get => (Operation::GetJob, Live::Status),
        ["in"] if get => (Operation::GetJobInput, Live::Inputs),
        ["out"] if get => (Operation::GetJobOutput, Live::Outputs),
        ["fail"] if get => (Operation::GetJobFailures, Live::Failures),
        ["err"] if get => (Operation::GetJobErrors, Live::Errors),
        ["in"] if post => {
            accepts(head, "text/plain")?;
            (Operation::AddJobInputs, Live::AddInputs)
        }
        ["in", "end"] if post => (Operation::EndJobInput, Live::EndInput),
        ["cancel"] if post => (Operation::CancelJob, Live::Cancel),
        ["status" | "out" | "fail" | "err"] => return Err(not_allowed(method, "GET")),
        ["in"] => return Err(not_allowed(method, "GET, POST")),
        ["in", "end"] | ["cancel"] => return Err(not_allowed(method, "POST")),
        _ => return storage(head, Area::Jobs, rest.len() + 4),
    };
    Ok((
        operation,
        Route::Jobs(JobRoute::Live {
            id: id.to_owned(),
            what,
        }),
    ))
}

fn asks_for_live_jobs(head: &Head) -> bool {
    ["state", "status", "name"]
        .iter()
        .any(|name| head.query.get(name).is_some())
}

/// `[a-zA-Z][a-zA-Z0-9_\-.@%]+`
fn is_login(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && segment.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_-.@%".contains(&b))
}

/// A body of another type is refused; a request that does not say is believed.
fn accepts(head: &Head, media_type: &str) -> Result<()> {
    let Some(sent) = head.header("content-type") else {
        return Ok(());
    };
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() || essence.eq_ignore_ascii_case(media_type) {
        return Ok(());
    }
    Err(Error::UnsupportedMediaType {
        media_type: essence.to_owned(),
    })
}

pub(crate) fn check_version(head: &Head) -> Result<()> {
    let Some(version) = head.header("accept-version") else {
        return Ok(());
    };
    if VersionRange::parse(&version).is_some_and(|range| range.admits(API_VERSION)) {
        return Ok(());
    }
    Err(Error::InvalidVersion {
        version,
        method: head.method.to_string(),
        path: head.path.as_str().to_owned(),
    })
}

fn no_route(head: &Head) -> Error {
    Error::NoRoute {
        path: head.path.as_str().to_owned(),
    }
}

fn not_allowed(method: &Method, allow: &'static str) -> Error {
    Error::MethodNotAllowed {
        method: method.to_string(),
        allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, content_type: Option<&str>) -> Head {
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Head::new(parts, ([127, 0, 0, 1], 1).into())
    }

    fn of(method: &str, uri: &str) -> Result<Route> {
        route(&head(method, uri, None)).map(|(_, route)| route)
    }

    #[test]
    fn storage_paths_are_storage() {
        for (method, verb) in [
            ("GET", Verb::Get),
            ("HEAD", Verb::Head),
            ("DELETE", Verb::Delete),
            ("OPTIONS", Verb::Options),
            ("PUT", Verb::PutObject),
        ] {
            for path in [
                "/my-co/stor",
                "//al//public/a/b/",
                "/a%40b/reports/x",
                "/al/jobs/x/live",
            ] {
                assert_eq!(
                    of(method, path),
                    Ok(Route::Storage(verb)),
                    "{method} {path}"
                );
            }
        }
        assert_eq!(
            of("PUT", "/al/stor/a?metadata=false"),
            Ok(Route::Storage(Verb::PutMetadata))
        );
        assert_eq!(
            of("PUT", "/al/stor/a?metadata="),
            Ok(Route::Storage(Verb::PutObject))
        );
        let directory = head(
            "PUT",
            "/al/stor/a?metadata=true",
            Some("application/json;type=directory"),
        );
        assert_eq!(
            route(&directory).unwrap().1,
            Route::Storage(Verb::PutDirectory)
        );
    }

    #[test]
    fn jobs_have_their_own_paths() {
        let live = |what| {
            Ok(Route::Jobs(JobRoute::Live {
                id: "x".into(),
                what,
            }))
        };
        assert_eq!(of("POST", "/al/jobs"), Ok(Route::Jobs(JobRoute::Create)));
        assert_eq!(
            of("GET", "/al/jobs?state=live"),
            Ok(Route::Jobs(JobRoute::List))
        );
        assert_eq!(of("GET", "/al/jobs?limit=3"), Ok(Route::Storage(Verb::Get)));
        assert_eq!(of("GET", "/al/jobs/x/live/status"), live(Live::Status));
        assert_eq!(
            of("POST", "/al/jobs/x/live/in?end=true"),
            live(Live::AddInputs)
        );
        assert_eq!(of("POST", "/al/jobs/x/live/in/end"), live(Live::EndInput));
        assert_eq!(of("POST", "/al/jobs/x/live/cancel"), live(Live::Cancel));
        assert_eq!(
            of("GET", "/al/jobs/x/out.txt"),
            Ok(Route::Storage(Verb::Get))
        );
        assert!(matches!(
            of("PUT", "/al/jobs/x/live/in"),
            Err(Error::MethodNotAllowed {
                allow: "GET, POST",
                ..
            })
        ));
        let wrong = head("POST", "/al/jobs", Some("text/plain; charset=utf-8"));
        assert_eq!(
            route(&wrong),
            Err(Error::UnsupportedMediaType {
                media_type: "text/plain".into()
            })
        );
    }

    #[test]
    fn what_has_no_route_says_so() {
        for path in [
            "/9bad/stor",
            "/a/stor",
            "/al/tokens",
            "/al/uploads/x",
            "/al/%73tor",
            "/_x",
        ] {
            assert_eq!(of("GET", path), Err(Error::NoRoute { path: path.into() }));
        }
        assert_eq!(of("GET", "/alice%2Fstor"), Ok(Route::Account));
        assert_eq!(of("POST", "/ping"), Ok(Route::Account));
        assert_eq!(of("GET", "/docs/x"), Ok(Route::Redirect));
        for (method, path, expected) in [
            ("POST", "/", "GET"),
            ("POST", "/al/stor/x", "DELETE, GET, HEAD, OPTIONS, PUT"),
            ("PATCH", "/al", "DELETE, GET, HEAD, POST, PUT"),
        ] {
            assert!(matches!(
                of(method, path),
                Err(Error::MethodNotAllowed { allow, .. }) if allow == expected
            ));
        }
    }

    #[test]
    fn versions_are_ranges() {
        let with = |version: &str| {
            let mut head = head("GET", "/al/stor", None);
            head.headers
                .insert("accept-version", version.parse().unwrap());
            check_version(&head)
        };
        for good in ["~1.0", "*", "1.x", ">=0.9"] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in ["~2.0", "nonsense"] {
            let error = with(bad).unwrap_err().answer();
            assert_eq!(
                error.message,
                format!("{bad} is not supported by GET /al/stor")
            );
        }
    }
}

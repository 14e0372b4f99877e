//! Which request is what. Decided from method, path, query and content type alone, before anyone is
//! authenticated. Source: rest-api.md sections 0.5, 1.1, 6.1.

use http::Method;
use libmanta::VersionRange;

use crate::config::Config;
use crate::content_type::{self, Kind};
use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::multipart::{self, UploadRoute};
use crate::operation::{Area, Operation, Verb};
use crate::plain_routes::Plain;
use crate::routes::{Goes, TABLE};

/// What `Accept-Version` is compared with.
const API_VERSION: &str = "1.0.0";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Plain(Plain),
    /// `/:login`.
    Account,
    /// Anything in the tree.
    Storage(Verb),
    /// `/:login/tokens`.
    CreateToken,
    Jobs(JobRoute),
    /// `/:login/medusa/attach/:id/:type`.
    Attach {
        id: String,
        end: String,
    },
    Uploads(UploadRoute),
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
    Tasks,
}

pub(crate) fn route(head: &Head, config: &Config) -> Result<(Operation, Route)> {
    let path: Vec<&str> = head.path.segments().collect();
    let mut allow = None;
    for line in TABLE.iter() {
        if !line.fits(&path) || !line.line.offered.by(config) {
            continue;
        }
        if let Some(goes) = line.has(head.method.as_str()) {
            return resolve(goes, head, &path, config);
        }
        allow = Some(line.allow.as_str());
        if line.refuses_others() {
            break;
        }
    }
    Err(match allow {
        Some(allow) => Error::MethodNotAllowed {
            method: head.method.to_string(),
            allow,
        },
        None => Error::NoRoute {
            path: head.path.as_str().to_owned(),
        },
    })
}

fn resolve(goes: Goes, head: &Head, path: &[&str], config: &Config) -> Result<(Operation, Route)> {
    Ok(match goes {
        Goes::Redirect => (Operation::Redirect, Route::Plain(Plain::Redirect)),
        Goes::Ping => (Operation::Ping, Route::Plain(Plain::Ping)),
        Goes::Metrics => (Operation::Metrics, Route::Plain(Plain::Metrics)),
        Goes::CrossDomain => (Operation::CrossDomain, Route::Plain(Plain::CrossDomain)),
        Goes::Account => (account(&head.method), Route::Account),
        Goes::Storage(area) => storage(head, area),
        Goes::CreateToken => (Operation::CreateToken, Route::CreateToken),
        Goes::JobsDirectory if asks_for_live_jobs(head) => {
            (Operation::ListJobs, Route::Jobs(JobRoute::List))
        }
        Goes::JobsDirectory => storage(head, Area::Jobs),
        Goes::CreateJob => {
            accepts(head, "application/json")?;
            (Operation::CreateJob, Route::Jobs(JobRoute::Create))
        }
        Goes::Uploads => {
            let (operation, route) = multipart::resolve(head, path, config)?;
            (Operation::Upload(operation), Route::Uploads(route))
        }
        Goes::Attach => {
            let part = |at: usize| path.get(at).copied().unwrap_or_default().to_owned();
            let (id, end) = (part(3), part(4));
            (Operation::Attach, Route::Attach { id, end })
        }
        Goes::Live(what) => {
            let id = path.get(2).copied().unwrap_or_default().to_owned();
            (live(head, what)?, Route::Jobs(JobRoute::Live { id, what }))
        }
    })
}

fn account(method: &Method) -> Operation {
    match *method {
        Method::GET => Operation::GetAccount,
        Method::HEAD => Operation::HeadAccount,
        _ => Operation::ChangeAccount,
    }
}

fn storage(head: &Head, area: Area) -> (Operation, Route) {
    let verb = match head.method {
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        Method::DELETE => Verb::Delete,
        Method::OPTIONS => Verb::Options,
        _ => match content_type::kind(head.header("content-type").as_deref()) {
            Kind::Directory => Verb::PutDirectory,
            Kind::Link => Verb::PutLink,
            Kind::Rename => Verb::Rename,
            Kind::Object if head.query.non_empty("metadata").is_some() => Verb::PutMetadata,
            Kind::Object => Verb::PutObject,
        },
    };
    (Operation::Storage(verb, area), Route::Storage(verb))
}

fn live(head: &Head, what: Live) -> Result<Operation> {
    Ok(match what {
        // Apart from those that answer at once: how long it takes says nothing about us.
        Live::Status if head.query.get("wait").is_some() => Operation::WaitForJob,
        Live::Status => Operation::GetJob,
        Live::Inputs => Operation::GetJobInput,
        Live::Outputs => Operation::GetJobOutput,
        Live::Failures => Operation::GetJobFailures,
        Live::Errors => Operation::GetJobErrors,
        Live::Tasks => Operation::GetJobTasks,
        Live::AddInputs => {
            accepts(head, "text/plain")?;
            Operation::AddJobInputs
        }
        Live::EndInput => Operation::EndJobInput,
        Live::Cancel => Operation::CancelJob,
    })
}

fn asks_for_live_jobs(head: &Head) -> bool {
    ["state", "status", "name"]
        .iter()
        .any(|name| head.query.get(name).is_some())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Surface;

    fn head(method: &str, uri: &str, content_type: Option<&str>) -> Head {
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Head::new(parts, ([127, 0, 0, 1], 1).into())
    }

    fn of_head(head: &Head) -> Result<(Operation, Route)> {
        route(head, &Config::default())
    }

    fn of(method: &str, uri: &str) -> Result<Route> {
        of_head(&head(method, uri, None)).map(|(_, route)| route)
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
            of_head(&directory).unwrap().1,
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
            of_head(&wrong),
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
            "/al/uploads/a/b/c/d",
            "/al/%73tor",
            "/_x",
        ] {
            assert_eq!(of("GET", path), Err(Error::NoRoute { path: path.into() }));
        }
        assert_eq!(of("GET", "/alice%2Fstor"), Ok(Route::Account));
        assert_eq!(of("POST", "/ping"), Ok(Route::Account));
        assert_eq!(of("GET", "/docs/x"), Ok(Route::Plain(Plain::Redirect)));
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
    fn the_second_surface_has_no_jobs() {
        let config = Config {
            surface: Surface::Manta2,
            ..Config::default()
        };
        for (method, path) in [
            ("POST", "/al/jobs"),
            ("GET", "/al/jobs?state=running"),
            ("PUT", "/al/jobs/x"),
            ("GET", "/al/jobs/x/live/status"),
        ] {
            let path_only = path.split('?').next().unwrap().to_owned();
            assert_eq!(
                route(&head(method, path, None), &config),
                Err(Error::NoRoute { path: path_only })
            );
        }
        assert!(route(&head("GET", "/al/stor", None), &config).is_ok());
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

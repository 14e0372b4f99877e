//! Jobs over HTTP. What a job does is behind `libmanta::marlin`; here are its documents, its lists and its
//! directories. Source: rest-api.md section 6, marlin.md section 2.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use libmanta::mahi::Principal;
use libmanta::marlin::{JobError, JobFilter, JobList, JobState, NewJob};
use libmanta::moray::MakeDirectory;
use libmanta::{JobId, ObjectKey};

use crate::access::Wanted;
use crate::errors::{Error, Result};
use crate::exchange::Exchange;
use crate::job_definition;
use crate::job_inputs;
use crate::query::Query;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::response_body::{Content, CutShort};
use crate::roles;
use crate::router::{JobRoute, Live};
use crate::storage::Request;

const STATUS_TYPE: &str = "application/json; type=job";
const ROWS_TYPE: &str = "application/x-json-stream; type=job";
const ERRORS_TYPE: &str = "application/x-json-stream; type=job-error";
const TASKS_TYPE: &str = "application/x-json-stream; type=job-task";

/// Longest definition. Source: rest-api.md section 6.2.
const DEFINITION_BYTES_MAX: usize = 100_000;
const LISTED_MAX: usize = 1000;

/// Longest wait for a change, in seconds.
const WAIT_MAX_S: u64 = 300;

/// A list up to this long goes out in one piece, with its length; a longer one in chunks of about this.
const CHUNK_BYTES: usize = 32 << 10;

pub(crate) async fn handle(
    request: &Request<'_>,
    route: &JobRoute,
    exchange: &mut Exchange,
    body: &mut RequestBody,
) -> Result<Reply> {
    match route {
        JobRoute::Create => {
            check_access(request, "createjob", &["jobs"]).await?;
            create(request, body).await
        }
        JobRoute::List => {
            check_access(request, "listjobs", &["jobs"]).await?;
            exchange.lists = true;
            list(request).await
        }
        JobRoute::Live { id, what } => {
            let action = match what {
                Live::AddInputs | Live::EndInput | Live::Cancel => "managejob",
                Live::Status
                | Live::Inputs
                | Live::Outputs
                | Live::Failures
                | Live::Errors
                | Live::Tasks => "getjob",
            };
            check_access(request, action, &["jobs", id]).await?;
            let id = id.parse().map_err(|_| Error::NotFound {
                path: request.path(),
            })?;
            live(request, id, *what, body).await
        }
    }
}

/// The roles that count are those of a directory, whether or not somebody removed it meanwhile.
pub(crate) async fn check_access(
    request: &Request<'_>,
    action: &str,
    names: &[&str],
) -> Result<()> {
    if request.caller.is_none() {
        return Err(request.forbidden());
    }
    if request.has_all_rights(&request.owner) {
        return Ok(());
    }
    let key = ObjectKey::new(request.owner.id, names.iter().copied());
    let key = key.map_err(|_| Error::InvalidResource {
        path: request.path(),
    })?;
    let entry = request.server.moray.lookup(&key).await?.entry;
    request
        .check_entry(action, &key, entry.as_ref(), false)
        .await
}

/// What tasks store lies below the job's directory and carries the roles that are active now; a subuser who
/// may not put things there would get a job that can only fail.
async fn check_outputs(request: &Request<'_>) -> Result<()> {
    let Some(caller) = request.caller.as_ref().filter(|c| !c.is_account()) else {
        return Ok(());
    };
    let path = format!("/{}/jobs/{}/stor/x", request.owner.login, JobId::random());
    for action in ["putobject", "putdirectory"] {
        let wanted = Wanted {
            action,
            owner: &request.owner,
            path: &path,
            public: false,
            tags: &caller.principal.roles,
            overwrite: false,
        };
        if request.decide(wanted).await?.is_err() {
            return Err(Error::MissingPermission { action });
        }
    }
    Ok(())
}

async fn create(request: &Request<'_>, body: &mut RequestBody) -> Result<Reply> {
    let Some(caller) = request.principal() else {
        return Err(request.forbidden());
    };
    check_outputs(request).await?;
    let tags = roles::tags(request)?;
    let text = body.collect(DEFINITION_BYTES_MAX).await?;
    let mut images = request.server.jobs.images().await;
    images.extend_from_slice(&request.server.config.job_images);
    let definition = job_definition::parse(&text, caller.operator, &images)?;
    let owner = request.owner.id;
    let principal = Principal {
        from_job: true,
        ..caller.clone()
    };
    // Whoever holds a token could go on for ever by jobs that make jobs.
    let until = request.caller.as_ref().and_then(|caller| caller.until);
    let token = request.server.identity.mint_token(&principal, until);
    let job = NewJob {
        owner,
        principal,
        token,
        definition,
    };
    let server = request.server.clone();
    let head = request.head.clone();
    let id = request
        .server
        .to_the_end(async move {
            let id = server.jobs.create(job).await;
            let id = id.map_err(|error| Error::from_job(error, &head.path))?;
            let name = id.to_string();
            let make = |names: Vec<&str>| {
                let key = ObjectKey::new(owner, names);
                let (moray, mtime) = (&server.moray, server.clock.now());
                let roles = tags.clone();
                let path = &head.path;
                async move {
                    let key = key.map_err(|_| Error::Internal)?;
                    let headers = Vec::new();
                    let make = MakeDirectory {
                        key,
                        mtime,
                        headers,
                        roles,
                        judged: None,
                    };
                    let made = moray.make_directory(make).await;
                    made.map_err(|error| Error::from_namespace(error, "POST", path))
                }
            };
            make(vec!["jobs", &name]).await?;
            let live = make(vec!["jobs", &name, "live"]);
            let stor = make(vec!["jobs", &name, "stor"]);
            futures_util::try_join!(live, stor)?;
            Ok(id)
        })
        .await?;
    let mut reply = empty(StatusCode::CREATED);
    reply.set_text(LOCATION, &format!("/{}/jobs/{id}", request.owner.login));
    Ok(reply)
}

/// The wire tests of the ecosystem want a type even for nothing.
fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::empty(status);
    reply.set(CONTENT_LENGTH, HeaderValue::from_static("0"));
    reply.set(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

async fn list(request: &Request<'_>) -> Result<Reply> {
    let filter = filter(&request.head.query)?;
    let jobs = request.server.jobs.live(request.owner.id, &filter).await;
    let jobs = jobs.map_err(|error| Error::from_job(error, &request.head.path))?;
    let mut rows = String::with_capacity(jobs.len() * 100);
    for job in jobs.iter().take(filter.limit) {
        let (id, mtime) = (job.id, job.time_created.to_iso());
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            "{{\"name\":\"{id}\",\"type\":\"directory\",\"mtime\":\"{mtime}\"}}"
        );
    }
    let mut reply = Reply::new(StatusCode::OK, Content::Full(rows.into()));
    reply.set(CONTENT_TYPE, HeaderValue::from_static(ROWS_TYPE));
    Ok(reply)
}

fn filter(query: &Query) -> Result<JobFilter> {
    let mut state = None;
    for name in ["state", "status"] {
        match query.get(name) {
            None | Some("live") => {}
            Some("running") => state = Some(JobState::Running),
            Some(value) => {
                return Err(Error::InvalidParameter {
                    name,
                    value: value.to_owned(),
                });
            }
        }
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = query.get("name").map(String::from);
    if let Some(value) = name
        .as_ref()
        .filter(|n| n.is_empty() || !n.chars().all(is_plain))
    {
        return Err(Error::InvalidParameter {
            name: "name",
            value: value.clone(),
        });
    }
    // Larger values are cut, not refused; what is no number is not a limit.
    let limit = match query.get("limit") {
        None => LISTED_MAX,
        Some(text) => match text.parse::<usize>() {
            Ok(limit) => limit.min(LISTED_MAX),
            Err(_) => {
                return Err(Error::InvalidParameter {
                    name: "limit",
                    value: text.to_owned(),
                });
            }
        },
    };
    Ok(JobFilter { name, state, limit })
}

/// How long the answer may take, if it is asked to wait for news.
fn wait(query: &Query) -> Result<Option<Duration>> {
    let Some(text) = query.get("wait") else {
        return Ok(None);
    };
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.min(WAIT_MAX_S)))),
        Err(_) => Err(Error::InvalidParameter {
            name: "wait",
            value: text.to_owned(),
        }),
    }
}

async fn live(
    request: &Request<'_>,
    id: JobId,
    what: Live,
    body: &mut RequestBody,
) -> Result<Reply> {
    let owner = request.owner.id;
    let server = request.server;
    let head = request.head;
    let refused = |error| Error::from_job(error, &head.path);
    match what {
        Live::Status => {
            let status = match wait(&head.query)? {
                None => server.jobs.status(owner, id).await,
                Some(at_most) => {
                    // Whoever waits takes nobody's turn, but a connection, even when its client has left.
                    let share = server.job_waits.take(owner);
                    let at_most = share.as_ref().map_or(Duration::ZERO, |_| at_most);
                    body.end_turn();
                    tokio::select! {
                        status = server.jobs.wait(owner, id, at_most) => status,
                        () = server.draining.cancelled() => server.jobs.status(owner, id).await,
                    }
                }
            };
            let status = status.map_err(refused)?;
            let document = status.to_json().to_string();
            Ok(Reply::document(StatusCode::OK, STATUS_TYPE, document))
        }
        Live::AddInputs => {
            let ends = head.query.get("end") == Some("true");
            job_inputs::add(request, id, body, ends).await?;
            Ok(Reply::no_content())
        }
        Live::EndInput => {
            body.discard().await?;
            end_input(request, id).await?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        Live::Cancel => {
            body.discard().await?;
            let (server, head) = (server.clone(), head.clone());
            let cancel = async move {
                let cancelled = server.jobs.cancel(owner, id).await;
                cancelled.map_err(|error| Error::from_job(error, &head.path))
            };
            request.server.to_the_end(cancel).await?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        Live::Inputs => lines(request, id, JobList::Inputs, "text/plain").await,
        Live::Outputs => lines(request, id, JobList::Outputs, "text/plain").await,
        Live::Failures => lines(request, id, JobList::Failures, "text/plain").await,
        Live::Errors => lines(request, id, JobList::Errors, ERRORS_TYPE).await,
        Live::Tasks => lines(request, id, JobList::Tasks, TASKS_TYPE).await,
    }
}

async fn end_input(request: &Request<'_>, id: JobId) -> Result<()> {
    let (server, head, owner) = (
        request.server.clone(),
        request.head.clone(),
        request.owner.id,
    );
    let end = async move {
        let ended = server.jobs.end_input(owner, id).await;
        ended.map_err(|error| Error::from_job(error, &head.path))
    };
    request.server.to_the_end(end).await
}

type Lines = BoxStream<'static, Result<String, JobError>>;

/// A whole list, however long.
async fn lines(
    request: &Request<'_>,
    id: JobId,
    what: JobList,
    content_type: &'static str,
) -> Result<Reply> {
    let refused = |error| Error::from_job(error, &request.head.path);
    let mut lines = request
        .server
        .jobs
        .list(request.owner.id, id, what)
        .await
        .map_err(refused)?;
    let (first, more) = chunk(&mut lines).await.map_err(refused)?;
    if !more {
        return Ok(Reply::document(StatusCode::OK, content_type, first));
    }
    let rest = futures_util::stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match chunk(&mut lines).await {
            Ok((bytes, more)) => Some((Ok(bytes), more.then_some(lines))),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a job's list broke off"
                );
                Some((Err(CutShort), None))
            }
        }
    });
    let chunks = futures_util::stream::iter([Ok(first)]).chain(rest).boxed();
    let mut reply = Reply::new(StatusCode::OK, Content::Stream(chunks, None));
    reply.set(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(reply)
}

/// Some lines, each with its newline, and whether there may be more.
async fn chunk(lines: &mut Lines) -> Result<(Bytes, bool), JobError> {
    let mut bytes = BytesMut::new();
    while bytes.len() < CHUNK_BYTES {
        let Some(line) = lines.next().await.transpose()? else {
            return Ok((bytes.freeze(), false));
        };
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\n");
    }
    Ok((bytes.freeze(), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_whole_seconds_and_never_too_long() {
        let of = |text: &str| wait(&Query::parse(Some(text)));
        let seconds = |seconds| Ok(Some(Duration::from_secs(seconds)));
        assert_eq!(of("x=1"), Ok(None));
        assert_eq!(of("wait=0"), seconds(0));
        assert_eq!(of("wait=25"), seconds(25));
        assert_eq!(of("wait=18446744073709551615"), seconds(300));
        for value in ["", "-1", "1.5", "1s", "18446744073709551616"] {
            let expected = Error::InvalidParameter {
                name: "wait",
                value: value.into(),
            };
            assert_eq!(of(&format!("wait={value}")), Err(expected));
        }
    }

    #[test]
    fn filters_accept_what_is_documented() {
        let of = |text: &str| filter(&Query::parse(Some(text)));
        let running = of("state=running&name=my-job_1&limit=5000").unwrap();
        assert_eq!(running.state, Some(JobState::Running));
        assert_eq!(
            (running.name.as_deref(), running.limit),
            (Some("my-job_1"), 1000)
        );
        assert_eq!(of("status=live").unwrap().state, None);
        for (query, name, value) in [
            ("state=done", "state", "done"),
            ("status=queued", "status", "queued"),
            ("state=", "state", ""),
            ("name=bad@bad", "name", "bad@bad"),
            ("name=", "name", ""),
            ("name=x&limit=x", "limit", "x"),
        ] {
            let expected = Error::InvalidParameter {
                name,
                value: value.into(),
            };
            assert_eq!(of(query).unwrap_err(), expected, "{query}");
        }
    }
}

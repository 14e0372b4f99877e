//! The control API below `/my/jobs/task/`, which users may call. Source: marlin.md section 6.13.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::agent::desk::{Decision, Desk, Visit};
use crate::front_door::{Body, empty, full};
use crate::record::{ErrorCode, TaskError};

pub(crate) const PREFIX: &str = "/my/jobs/task/";
/// Most of a request's body that is read.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default, Deserialize)]
struct Failing {
    #[serde(default)]
    error: FailingError,
}

#[derive(Debug, Default, Deserialize)]
struct FailingError {
    code: Option<ErrorCode>,
    message: Option<String>,
}

/// Answers a control request. `visit` is `None` when no task runs.
pub(crate) fn answer(
    desk: &Desk,
    visit: Option<&Visit>,
    method: &Method,
    what: &str,
    body: &[u8],
) -> Response<Body> {
    let Some(visit) = visit else {
        return error(StatusCode::CONFLICT, "InvalidState", "no task is running");
    };
    match (method.as_str(), what) {
        ("GET", "task") => json(StatusCode::OK, &visit.document),
        ("POST", "live") => with_body(StatusCode::OK, empty()),
        ("POST", "commit") => {
            desk.decide(visit, Decision::Commit);
            with_body(StatusCode::NO_CONTENT, empty())
        }
        ("POST", "fail") => {
            let failing: Failing = match body {
                [] => Failing::default(),
                body => match serde_json::from_slice(body) {
                    Ok(failing) => failing,
                    Err(_) => {
                        let message = "the body must be an object with an error";
                        return error(StatusCode::CONFLICT, "InvalidArgument", message);
                    }
                },
            };
            let code = failing.error.code.unwrap_or(ErrorCode::UserTask);
            let message = failing.error.message;
            let message = message.unwrap_or_else(|| "no message given".to_owned());
            desk.decide(visit, Decision::Fail(TaskError::new(code, message)));
            with_body(StatusCode::NO_CONTENT, empty())
        }
        (_, "task" | "live" | "commit" | "fail") => {
            let message = "this method is not allowed here";
            error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
        }
        _ => error(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            "no such control request",
        ),
    }
}

/// An error in the shape that the front door gives its own.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    json(
        status,
        &serde_json::json!({ "code": code, "message": message }),
    )
}

fn json(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = with_body(status, full(Bytes::from(document.to_string())));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

pub(crate) fn with_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

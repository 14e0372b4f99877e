//! The control API below `/my/jobs/task/`, which users may call. Source: marlin.md section 6.13.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::agent::desk::{Decision, Desk, Visit};
use crate::front_door::{Body, empty, full};
use crate::perturbation::probability;
use crate::record::{ErrorCode, TaskError};

pub(crate) const PREFIX: &str = "/my/jobs/task/";
/// Most of a request's body that is read.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most of a task's message that is kept: every list of errors carries it.
const MESSAGE_BYTES_MAX: usize = 1024;

#[derive(Debug, Default, Deserialize)]
struct Failing {
    #[serde(default)]
    error: FailingError,
}

#[derive(Debug, Default, Deserialize)]
struct FailingError {
    /// Of any kind: what is not known counts as the ordinary one.
    code: Option<serde_json::Value>,
    message: Option<String>,
}

impl From<FailingError> for TaskError {
    fn from(error: FailingError) -> Self {
        let code = match error.code.as_ref().and_then(serde_json::Value::as_str) {
            Some("TaskInitError") => ErrorCode::TaskInit,
            // The other codes are ours to give.
            _ => ErrorCode::UserTask,
        };
        let message = error.message.as_deref().unwrap_or("no message given");
        let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        Self::new(code, message.get(..end).unwrap_or_default())
    }
}

/// Answers a control request. `visit` is `None` when no task runs.
pub(crate) fn answer(
    desk: &Desk,
    visit: Option<&Visit>,
    method: &Method,
    (what, query): (&str, Option<&str>),
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
            desk.decide(visit, Decision::Fail(failing.error.into()));
            with_body(StatusCode::NO_CONTENT, empty())
        }
        ("POST", "perturb") if visit.front_door.perturbation().is_allowed() => {
            let Some(probability) = probability(query) else {
                let message = "\"p\" must be a number from 0 to 1";
                return error(StatusCode::CONFLICT, "InvalidArgument", message);
            };
            visit.front_door.perturbation().set(probability);
            with_body(StatusCode::OK, empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(error: serde_json::Value) -> TaskError {
        let document = serde_json::json!({ "error": error });
        serde_json::from_value::<Failing>(document)
            .unwrap()
            .error
            .into()
    }

    #[test]
    fn tasks_may_give_two_codes_and_a_short_message() {
        for (code, expected) in [
            (serde_json::json!("TaskInitError"), ErrorCode::TaskInit),
            (serde_json::json!("UserTaskError"), ErrorCode::UserTask),
            (serde_json::json!("InternalError"), ErrorCode::UserTask),
            (serde_json::json!("JobCancelledError"), ErrorCode::UserTask),
            (serde_json::json!("mine"), ErrorCode::UserTask),
            (serde_json::json!(7), ErrorCode::UserTask),
        ] {
            let error = error_of(serde_json::json!({ "code": code }));
            assert_eq!(
                (error.code, &*error.message),
                (expected, "no message given")
            );
        }
        let long =
            error_of(serde_json::json!({ "message": format!("x{}", "\u{fc}".repeat(4000)) }));
        assert_eq!(long.message, format!("x{}", "\u{fc}".repeat(511)));
    }
}

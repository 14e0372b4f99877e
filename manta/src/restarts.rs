//! Parts of the store that the operator may start anew while the rest goes on. Source: marlin.md section 6.11.

use std::sync::Arc;

use http::Method;
use mahi::admin::Refusal;
use serde_json::{Value, json};

/// Answers `POST /agent/restart` and `POST /supervisors/JOB/restart` on the operator's socket: with what was
/// restarted, when it has been. `None` for anything else.
pub(crate) async fn answer(
    marlin: &Arc<marlin::Service>,
    method: &Method,
    path: &str,
) -> Option<Result<Value, Refusal>> {
    if method != Method::POST {
        return None;
    }
    let what = path.strip_prefix('/')?.strip_suffix("/restart")?;
    let restarted = match what.strip_prefix("supervisors/") {
        Some(id) => {
            let Ok(id) = id.parse() else {
                return Some(Err(refusal("BadRequest", format!("\"{id}\" is no job"))));
            };
            marlin.restart_supervisor(id).await
        }
        None if what == "agent" => marlin.restart_agent().await.map(|()| true),
        None => return None,
    };
    Some(match restarted {
        Ok(true) => Ok(json!({ "restarted": what })),
        Ok(false) => Err(refusal(
            "ResourceNotFound",
            "no such job is under way".to_owned(),
        )),
        Err(error) => Err(refusal("ServiceUnavailable", error.to_string())),
    })
}

fn refusal(code: &str, message: String) -> Refusal {
    let code = code.to_owned();
    Refusal { code, message }
}

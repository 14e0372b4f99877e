//! Waiting for a job.

use std::time::Duration;

use manta_client::{Client, Error};
use serde::Deserialize;

use crate::cli::failure::Failure;

/// A small job is done within a tenth of a second; asking only every so often would be most of its time.
const POLL_MIN: Duration = Duration::from_millis(20);
/// And at the end of a long one nobody wants to wait for the next question.
const POLL_MAX: Duration = Duration::from_secs(1);
/// Questions in a row that may go unanswered before the wait is given up; the job itself goes on.
const FAILURES_MAX: u32 = 10;

/// What matters of a status document.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    state: String,
    #[serde(default)]
    stats: Stats,
    /// The document itself.
    #[serde(skip)]
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
struct Stats {
    #[serde(default)]
    errors: u64,
}

impl Status {
    pub(super) fn errors(&self) -> u64 {
        self.stats.errors
    }

    fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "done" | "archiving")
    }
}

/// Asks until the job is done. A server that cannot answer for a moment does not end the wait.
pub(super) async fn wait(client: &Client, id: &str) -> Result<Status, Failure> {
    let mut pause = POLL_MIN;
    let mut failures = 0;
    loop {
        match client.job(id).await {
            Ok(text) => {
                failures = 0;
                let mut status: Status = serde_json::from_str(&text)
                    .map_err(|error| Error::Malformed(format!("the job's status: {error}")))?;
                if status.is_final() {
                    status.text = text;
                    return Ok(status);
                }
            }
            Err(error) if failures < FAILURES_MAX && is_passing(&error) => failures += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        pause = pause.mul_f64(1.5).min(POLL_MAX);
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Broken(_) | Error::Connect { .. })
        || error
            .status()
            .is_some_and(|status| status.is_server_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_and_archiving_are_final() {
        for (state, ends) in [
            ("queued", false),
            ("running", false),
            ("archiving", true),
            ("done", true),
        ] {
            let text = format!(r#"{{"id":"x","state":"{state}","stats":{{}}}}"#);
            let status: Status = serde_json::from_str(&text).unwrap();
            assert_eq!(status.is_final(), ends, "{state}");
            assert_eq!(status.errors(), 0);
        }
    }
}

//! What became of tasks that failed, told on stderr when a job was waited for.

use manta_client::{Client, Lines, LiveList};
use serde::Deserialize;

use super::wait::Status;
use crate::cli::failure::Failure;
use crate::cli::printable::printable;

/// Errors that are told; the rest are in the list.
const TOLD_MAX: u64 = 20;

/// An error of a job.
#[derive(Debug, Deserialize)]
pub(super) struct JobError {
    #[serde(default)]
    pub(super) what: String,
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    /// Name of what the task wrote to its stderr.
    pub(super) stderr: Option<String>,
    /// Name of the core file of a process that died.
    pub(super) core: Option<String>,
}

/// Fails if the job has errors, and says which on stderr, below how many there were.
pub(super) async fn check(client: &Client, id: &str, status: &Status) -> Result<(), Failure> {
    let count = status.stats.errors;
    if count == 0 {
        return Ok(());
    }
    eprintln!("mjob: {}", headline(id, count));
    // The list is a service on top: that there were errors is certain without it.
    match client.job_list(id, LiveList::Errors).await {
        Ok(lines) => tell(lines, id, count).await,
        Err(error) => eprintln!("mjob: errors of job {id} not read: {}", error.line()),
    }
    Err(Failure::Reported)
}

fn headline(id: &str, count: u64) -> String {
    match count {
        1 => format!("job {id} had 1 error"),
        count => format!("job {id} had {count} errors"),
    }
}

async fn tell(mut lines: Lines, id: &str, count: u64) {
    for told in 0..count {
        if told == TOLD_MAX {
            let rest = count - told;
            eprintln!("mjob: and {rest} more: mjob errors {id}");
            return;
        }
        match lines.next().await {
            Ok(Some(line)) => match serde_json::from_str::<JobError>(&line) {
                Ok(error) => eprintln!("{}", text(&error)),
                Err(_) => eprintln!("  {}", printable(&line)),
            },
            Ok(None) => return,
            Err(error) => {
                eprintln!("mjob: errors of job {id} not read: {}", error.line());
                return;
            }
        }
    }
}

fn text(error: &JobError) -> String {
    let JobError {
        what,
        code,
        message,
        stderr,
        core,
    } = error;
    let mut text = format!(
        "  {}: {}: {}",
        printable(what),
        printable(code),
        printable(message)
    );
    for (kind, name) in [("stderr", stderr), ("core", core)] {
        if let Some(name) = name {
            text.push_str(&format!("\n    {kind}: {}", printable(name)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_singular() {
        assert_eq!(headline("id", 1), "job id had 1 error");
        assert_eq!(headline("id", 2), "job id had 2 errors");
    }

    #[test]
    fn an_error_says_what_why_and_where() {
        let line = r#"{"phase":"0","what":"phase 0: input \"/u/stor/x\u001b[2J\"","code":"UserTaskError",
            "message":"user command exited with code 7","stderr":"/u/jobs/j/stor/u/stor/x.0.err.t","core":"/u/jobs/j/stor/cores/0/core.cat.t"}"#;
        let error: JobError = serde_json::from_str(line).unwrap();
        assert_eq!(
            text(&error),
            "  phase 0: input \"/u/stor/x\\u{1b}[2J\": UserTaskError: user command exited with code 7\n    \
             stderr: /u/jobs/j/stor/u/stor/x.0.err.t\n    \
             core: /u/jobs/j/stor/cores/0/core.cat.t"
        );
        let bare: JobError =
            serde_json::from_str(r#"{"what":"phase 1: reduce","code":"X"}"#).unwrap();
        assert_eq!(text(&bare), "  phase 1: reduce: X: ");
    }
}

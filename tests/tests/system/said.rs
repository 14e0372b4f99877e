//! What a command said and how it ended, as one value that can be compared.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::home::outcome_with;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
}

pub(crate) fn said(command: &mut Command) -> Result<Said> {
    said_with(command, b"")
}

pub(crate) fn said_with(command: &mut Command, input: &[u8]) -> Result<Said> {
    let output = outcome_with(command, input)?;
    Ok(Said {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    })
}

/// A failure is nothing on stdout, exactly this line on stderr, and exit code 1.
pub(crate) fn fails_with(command: &mut Command, line: &str) -> Result<()> {
    let shown = format!("{command:?}");
    let said = said(command)?;
    let expected = Said {
        stdout: String::new(),
        stderr: format!("{line}\n"),
        code: Some(1),
    };
    ensure!(
        said == expected,
        "{shown}: {said:#?}\nexpected {expected:#?}"
    );
    Ok(())
}

/// A wrong call is a message, how to call it right, and exit code 1.
pub(crate) fn is_wrong_usage(command: &mut Command, message: &str) -> Result<()> {
    let shown = format!("{command:?}");
    let said = said(command)?;
    ensure!(
        said.code == Some(1)
            && said.stdout.is_empty()
            && said.stderr.starts_with(&format!("{message}\n"))
            && said.stderr.contains("Usage: "),
        "{shown}: {said:#?}"
    );
    Ok(())
}

//! The log of a store, and the rule that it must not warn of anything the test did not provoke.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// What a store says of the machine it runs on, which no test can help: this one that the disk is nearly full.
const OF_THE_MACHINE: [&str; 1] = ["disks of zones do not fit all at once"];

/// Lines at level `warn` or `error` whose message is none of `expected`, and everything a panic wrote.
pub fn stray(log: &Path, expected: &[&str]) -> Result<Vec<String>> {
    let text = std::fs::read(log).with_context(|| format!("read {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text
        .lines()
        .filter(|line| is_stray(line, expected))
        .map(str::to_owned)
        .collect())
}

fn is_stray(line: &str, expected: &[&str]) -> bool {
    let Ok(Value::Object(record)) = serde_json::from_str(line) else {
        return line.contains("panicked at");
    };
    let loud = matches!(
        record.get("level").and_then(Value::as_str),
        Some("WARN" | "ERROR")
    );
    let message = record
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    loud && !expected.contains(&message) && !OF_THE_MACHINE.contains(&message)
}

/// What a report of a failure needs of a log: everything loud, then the end, each line cut to what fits on a
/// screen.
#[must_use]
pub fn digest(log: &Path) -> String {
    const LAST: usize = 12;
    const COLUMNS: usize = 300;
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let (earlier, last) = all.split_at(all.len().saturating_sub(LAST));
    let loud = earlier.iter().filter(|line| is_stray(line, &[]));
    let cut = |line: &&str| line.chars().take(COLUMNS).collect::<String>();
    loud.chain(last).map(cut).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_count_unless_they_were_announced() {
        let warning = r#"{"level":"WARN","message":"copy is damaged","storage_id":"1.stor"}"#;
        assert!(is_stray(warning, &[]));
        assert!(!is_stray(warning, &["copy is damaged"]));
        assert!(!is_stray(r#"{"level":"INFO","message":"ready"}"#, &[]));
        assert!(!is_stray("plain words", &[]));
        assert!(is_stray(
            "thread 'main' panicked at src/main.rs:1:1:",
            &["panicked at"]
        ));
    }
}

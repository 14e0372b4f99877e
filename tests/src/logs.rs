//! The log of a store, and the rule that it must not warn of anything the test did not provoke.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

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
    loud && !expected.contains(&message)
}

/// The last lines of a log, for the report of a failure.
#[must_use]
pub fn tail(log: &Path, lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
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

//! What every file keeps to: it says what it is, has a name of its own, and is not endless.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Beyond this a file has two reasons to change. Generated data and texts are not counted, only Rust.
const LINES_MAX: usize = 700;
/// Suites read as lists, a case after the other, and have one reason to change: what they test.
const SUITE_LINES_MAX: usize = 1_200;

/// Names under which ideas go to hide.
const NAMELESS: [&str; 6] = ["utils", "util", "helpers", "common", "misc", "types"];

/// Words that only make sense on one machine, or that put something off without saying until when. They
/// are written in two halves, so that this file does not hold them.
const FORBIDDEN: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/root/", ".cargo"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

/// Files that are not ours to word.
const NOT_OURS: [&str; 4] = ["LICENSE", "Cargo.lock", "package-lock.json", "examples"];

/// Findings, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let shown = file.strip_prefix(root).unwrap_or(&file);
        // Fixtures may be bytes; they have no words to look at.
        if let Ok(text) = std::str::from_utf8(&bytes) {
            findings.extend(look_at(shown, text));
        }
    }
    Ok(findings)
}

/// Everything below `directory` but what is built, hidden, or not ours.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let built = name == "target" || name == "manta-data" || name == "node_modules";
        if hidden || built || NOT_OURS.iter().any(|other| name == *other) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn look_at(file: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut found = |what: String| findings.push(format!("{}: {what}", file.display()));
    for (number, line) in text.lines().enumerate() {
        for word in FORBIDDEN {
            if line.contains(word) {
                found(format!("line {} says \"{word}\"", number + 1));
            }
        }
    }
    if file.extension() == Some(OsStr::new("rs")) {
        if !text.starts_with("//!") {
            found("does not begin with //! and what it is for".to_owned());
        }
        if file
            .file_stem()
            .is_some_and(|stem| NAMELESS.iter().any(|name| stem == *name))
        {
            found("hides its idea behind its name".to_owned());
        }
        let lines = text.lines().count();
        let is_suite = file.starts_with("testkit")
            || file.components().any(|part| part.as_os_str() == "tests");
        if lines > if is_suite { SUITE_LINES_MAX } else { LINES_MAX } {
            found(format!(
                "has {lines} lines; split it by its reasons to change"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> Vec<String> {
        look_at(Path::new(name), text)
    }

    #[test]
    fn a_good_file_passes() {
        assert_eq!(
            findings("ring.rs", "//! The ring.\nfn main() {}\n"),
            Vec::<String>::new()
        );
        assert_eq!(findings("README.md", "# Manta\n"), Vec::<String>::new());
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        assert_eq!(findings("ring.rs", "fn main() {}\n").len(), 1);
        assert_eq!(findings("utils.rs", "//! All sorts of things.\n").len(), 1);
        assert_eq!(
            findings("long.rs", &"//! x\n".repeat(LINES_MAX + 1)).len(),
            1
        );
        for word in FORBIDDEN {
            assert_eq!(
                findings("notes.md", &format!("see {word}x\n")).len(),
                1,
                "{word}"
            );
        }
    }
}

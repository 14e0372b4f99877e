//! `tests/BEHAVIOURS.md` against the sources: every line that clients test for has a test, and the test is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Sections of the appendix "behaviours clients test for" of rest-api.md, and how many lines each has. The
/// specification is not kept beside the sources, so the numbers are: a line that is new there is counted here
/// first, and then has to have a test.
const LINES: [(&str, usize); 7] = [
    ("15.1", 25),
    ("15.2", 25),
    ("15.3", 5),
    ("15.4", 10),
    ("15.5", 16),
    ("15.6", 2),
    ("15.7", 9),
];

/// A line of the table.
struct Row<'a> {
    /// `15.1.3` is the third line of section 15.1.
    line: &'a str,
    what: &'a str,
    tests: Vec<&'a str>,
    /// Why tests of it are those of another line too.
    shared: &'a str,
}

fn rows(table: &str) -> Result<Vec<Row<'_>>> {
    let lines = table.lines().filter(|line| line.starts_with("| 15."));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, line, what, tests, shared, _] = cells[..] else {
                anyhow::bail!("not four cells: {line}");
            };
            let tests = tests.split('`').skip(1).step_by(2).collect();
            Ok(Row {
                line,
                what,
                tests,
                shared,
            })
        })
        .collect()
}

/// Files of that name below `directory`.
fn find(directory: &Path, name: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), name, found)?;
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// The body of the test of that name: a function with an attribute that makes it one.
fn test<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let head = format!("fn {name}() ");
    let mut starts = source.match_indices(&head).map(|(at, _)| at);
    let at = starts.find(|at| {
        let before = source[..*at].trim_end_matches("async ");
        before.is_empty() || before.ends_with('\n')
    })?;
    let above = source[..at].trim_end_matches("async ").lines().rev();
    let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    attributes.find(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))?;
    let (body, _) = source[at..].split_once("\n}\n")?;
    Some(body)
}

/// Finds `crate::file::test`, the file anywhere among the tests of the crate. `m2` is for those of the second
/// version, which run on its surface: muskie's say so one by one, the others wherever they start a store.
fn check(root: &Path, named: &str, m2: bool) -> Result<()> {
    let [package, file, name] = named.split("::").collect::<Vec<_>>()[..] else {
        anyhow::bail!("{named} is not crate::file::test");
    };
    let mut files = Vec::new();
    let tests = root.join(package).join("tests");
    find(&tests, &format!("{file}.rs"), &mut files)?;
    ensure!(!files.is_empty(), "{named}: no such file");
    for path in files {
        let source = fs::read_to_string(&path)?;
        if let Some(body) = test(&source, name) {
            let says_so = match package {
                "muskie" => body.contains("start_m2()") || body.contains("Surface::Manta2"),
                _ => source.contains("surface = \\\"manta2\\\""),
            };
            ensure!(says_so || !m2, "{named} does not run on manta2");
            return Ok(());
        }
    }
    anyhow::bail!("{named}: no such test")
}

#[test]
fn every_line_that_clients_test_for_has_a_test() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    let table = fs::read_to_string(root.join("tests/BEHAVIOURS.md"))?;
    let rows = rows(&table)?;
    let listed: Vec<&str> = rows.iter().map(|row| row.line).collect();
    let expected: Vec<String> = LINES
        .iter()
        .flat_map(|(section, count)| (1..=*count).map(move |line| format!("{section}.{line}")))
        .collect();
    ensure!(listed == expected, "{listed:?}\nis not\n{expected:?}");
    let mut lines_of: BTreeMap<&str, Vec<&Row<'_>>> = BTreeMap::new();
    for row in &rows {
        ensure!(!row.what.is_empty(), "{} says nothing", row.line);
        ensure!(!row.tests.is_empty(), "{} has no test", row.line);
        for test in &row.tests {
            let m2 = row.what.starts_with("(m2");
            check(root, test, m2).with_context(|| row.line.to_owned())?;
            lines_of.entry(test).or_default().push(row);
        }
    }
    for (test, lines) in lines_of {
        let explained = lines.iter().all(|row| !row.shared.is_empty());
        ensure!(
            lines.len() == 1 || explained,
            "{test} is named twice, and nothing says why"
        );
    }
    for row in &rows {
        let shares = row.tests.iter().any(|test| {
            let others = rows.iter().filter(|other| other.line != row.line);
            others
                .flat_map(|other| &other.tests)
                .any(|other| other == test)
        });
        ensure!(
            shares || row.shared.is_empty(),
            "{} shares no test",
            row.line
        );
    }
    Ok(())
}

#[test]
fn only_what_is_run_counts_as_a_test() {
    let source = "#[test]\nfn a() {\n1\n}\n\n/// Shows.\n#[tokio::test(flavor = \"multi_thread\")]\n\
                  async fn b() -> R {\n2\n}\nfn c() {\n3\n}\n#[test]\nfn d(x: u8) {\n4\n}\n";
    for (name, last) in [
        ("a", Some("1")),
        ("b", Some("2")),
        ("c", None),
        ("d", None),
        ("e", None),
    ] {
        let body = test(source, name);
        assert_eq!(body.and_then(|body| body.lines().last()), last, "{name}");
    }
}

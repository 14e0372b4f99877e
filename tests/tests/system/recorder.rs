//! The recorder of the crash tests against a program that changes files in every way it knows.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::crash::{self, Step};
use tests::{home, trace};

#[test]
fn the_recorder_rebuilds_what_a_program_did() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let root = scratch.path().join("root");
    let traced = scratch.path().join("trace");
    std::fs::create_dir(&root)?;
    let script = scratch.path().join("recorder.py");
    std::fs::write(&script, include_str!("recorder.py"))?;
    let words = trace::command(&traced);
    home::run(
        Command::new(&words[0])
            .args(&words[1..])
            .arg("python3")
            .arg(&script)
            .arg(&root),
    )?;

    let text = std::fs::read_to_string(&traced).context("read the trace")?;
    let record = crash::record(&trace::parse(&text)?, &root)?;
    crash::compare(&record, &root)?;

    let done = record.answered("done").context("find what it printed")?;
    let synced = |wanted: &str| {
        record
            .operations
            .iter()
            .any(|operation| match &operation.step {
                Step::Names(names) => {
                    names.iter().any(|(_, name, _)| name == wanted.as_bytes())
                        && operation.durable.is_some_and(|line| line < done)
                }
                _ => false,
            })
    };
    ensure!(synced("file"), "the directory was synced after the rename");
    ensure!(
        !synced("symlink"),
        "the directory was not synced after the symbolic link"
    );
    ensure!(!synced("hardlink"), "another directory was never synced");
    Ok(())
}

//! What becomes of a job when Manta cannot be reached from it, and when it is called off.
//!
//! Surprise: the requests fail because the command asks for it, which the store of these tests allows and no
//! other does.

#![expect(non_snake_case, reason = "the names in the reference's suites")]

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Launch, wait_for};

use super::{Scenario, map, reduce};

const ONE: &str = "/%u/stor/obj1";
const MANY: usize = 100;

const PERTURB: &str = "http://localhost/my/jobs/task/perturb?p=";

/// Whatever the task asks of Manta from now on fails with this probability.
fn perturb(probability: f64) -> String {
    format!("curl -sf -X POST '{PERTURB}{probability}' || exit 99")
}

fn run(scenario: Scenario) -> Result<()> {
    let messages = ["output of a task not stored", "input of a reducer not read"];
    scenario.run_on(
        Launch::new()
            .setting("jobs.perturb = true")
            .expecting(&messages),
    )
}

fn with_many(scenario: Scenario) -> Scenario {
    let inputs: Vec<String> = (0..MANY).map(|n| format!("/%u/stor/obj{n}")).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    scenario.inputs(&inputs).within(Duration::from_secs(360))
}

fn failed(code: &str, message: &str) -> Value {
    json!({"phase": "0", "code": code, "message": message})
}

const EXITED: &str = "user command exited with code 1";

#[test]
fn jobMcancel() -> Result<()> {
    let names = ["obj1", "obj2", "obj3"].map(|name| format!("/%u/stor/{name}"));
    let errors = names.clone().map(|name| {
        json!({
            "phase": "0",
            "what": format!("phase 0: input \"{name}\""),
            "code": "JobCancelledError",
            "message": "job was cancelled",
            "input": name,
            "p0input": name,
        })
    });
    let inputs = names.each_ref().map(String::as_str);
    map("wc && sleep 3600")
        .inputs(&inputs)
        .errors(&errors)
        .meanwhile(|store, client, job| {
            wait_for("all tasks to run", Duration::from_secs(30), || {
                Ok((store.metric("marlin_tasks_started_total")? >= 3.0).then_some(()))
            })?;
            job.cancel(client)?;
            let status = job.status(client)?;
            ensure!(
                status["cancelled"] == true && status["inputDone"] == true,
                "{status}"
            );
            Ok(())
        })
        .run()
}

#[test]
fn jobMerrorMuskie() -> Result<()> {
    run(map(&format!("{}; cat", perturb(1.0)))
        .inputs(&[ONE])
        .errors(&[failed("InternalError", "internal error")]))
}

#[test]
fn jobMerrorMuskieMpipe() -> Result<()> {
    run(map(&format!("{}; cat | mpipe", perturb(1.0)))
        .inputs(&[ONE])
        .errors(&[failed("UserTaskError", EXITED)]))
}

#[test]
fn jobMerrorMuskieRetry() -> Result<()> {
    run(with_many(map(&format!("{}; cat", perturb(0.5))))
        .an_output_each()
        .some_fail(1..=25, failed("InternalError", "internal error")))
}

#[test]
fn jobMerrorMuskieRetryMpipe() -> Result<()> {
    run(with_many(map(&format!("{}; cat | mpipe", perturb(0.5))))
        .an_output_each()
        .some_fail(1..=25, failed("UserTaskError", EXITED)))
}

#[test]
fn jobRmuskieRetry() -> Result<()> {
    run(with_many(reduce("wc").with("init", json!(perturb(0.1))))
        .one_reduced()
        .contents(&["      0     401    5090\n"]))
}

#[test]
fn jobRerrorMuskieRetry() -> Result<()> {
    run(
        with_many(reduce("wc").with("init", json!(perturb(1.0)))).errors(&[json!({
            "what": "phase 0: reduce",
            "code": "ServiceUnavailableError",
            "message": "error fetching inputs*",
        })]),
    )
}

/// Nobody else can make requests fail.
#[test]
fn commands_do_not_perturb_what_the_operator_does_not_perturb() -> Result<()> {
    let ask = format!("curl -s -o /dev/null -w '%{{http_code}}\n' -X POST '{PERTURB}1'");
    map(&format!(
        "{ask}; mget -q $MANTA_INPUT_OBJECT > /dev/null && echo reached"
    ))
    .prints("404\nreached\n")
}

//! Jobs with many inputs, and an input far down.

#![expect(non_snake_case, reason = "the names in the reference's suites")]

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{Scenario, map};

fn with_inputs(count: usize, scenario: Scenario) -> Scenario {
    let inputs: Vec<String> = (0..count).map(|n| format!("/%u/stor/obj{n}")).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    scenario.inputs(&inputs).within(Duration::from_secs(600))
}

#[test]
fn jobM500() -> Result<()> {
    with_inputs(500, map("wc")).an_output_each().run()
}

#[test]
fn jobMR1000() -> Result<()> {
    with_inputs(1000, map("wc").then_reduce("wc"))
        .one_reduced()
        .contents(&["   1000    3000    9000\n"])
        .run()
}

#[test]
fn jobM4RR1000() -> Result<()> {
    let four = map("wc").then_reduce("wc").with("count", json!(4));
    with_inputs(
        1000,
        four.then_reduce("awk '{ sum += $1 } END { print sum }'"),
    )
    .one_reduced()
    .contents(&["1000\n"])
    .run()
}

#[test]
fn an_object_at_the_end_of_a_tree_of_300_levels() -> Result<()> {
    let name = format!("/%u/stor/{}obj", "d/".repeat(300));
    map("cat \"$MANTA_INPUT_FILE\" | wc -w")
        .inputs(&[&name])
        .an_output_each()
        .contents(&["5\n"])
        .run()
}

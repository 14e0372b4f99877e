//! Names with anything in them, and names that are too long.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use anyhow::Result;
use serde_json::json;

use super::{map, reduce};

#[test]
fn jobMRnormalize() -> Result<()> {
    reduce("mcat /%u//stor/obj1")
        .then_map("wc -w")
        .inputs(&["/%u/stor///obj1"])
        .outputs(&["/%u/jobs/%j/stor/%u/stor/obj1.1.*"])
        .contents(&["5\n"])
        .run()
}

#[test]
fn jobMRenc() -> Result<()> {
    let content = |name: &str| format!("auto-generated content for key /someuser/stor/{name}\n");
    let mut lines = [content("my obj1"), content("M%41RK"), content("obj1")];
    lines.sort();
    map("mcat \"$MANTA_INPUT_OBJECT\"")
        .then_map("cat && echo")
        .then_reduce("LC_ALL=C sort | mpipe \"${MANTA_OUTPUT_BASE} with spaces\"")
        .inputs(&[
            "/%u/stor/my obj1",
            "/%u/stor/M%41RK",
            "/%u/stor/obj1",
            "/%u/stor/my dir",
        ])
        .not_made(&["/%u/stor/my dir"])
        .outputs(&["/%u/jobs/%j/stor/reduce.2. with spaces"])
        .contents(&[&lines.concat()])
        .errors(&[json!({
            "code": "InvalidArgumentError",
            "message": "objects of type \"directory\" are not supported: \"/%u/stor/my dir\"",
        })])
        .run()
}

#[test]
fn jobRassetEncoding() -> Result<()> {
    reduce("find /assets -type f")
        .with("assets", json!(["/%u/stor/hello 1"]))
        .object("/%u/stor/hello 1", "hello")
        .one_reduced()
        .contents(&["/assets/%u/stor/hello 1\n"])
        .run()
}

/// A path of more than 1,024 characters is shortened where the file is shown.
#[test]
fn jobMerrorLongInputs() -> Result<()> {
    let name = format!("/%u/stor/{}", "x".repeat(255));
    let deep = format!("/%u/stor/foodir/{0}/{0}/{0}/{0}/end", "d".repeat(250));
    let warning = "user command exited with code 1 (WARNING: input file was mapped at an \
         unusual location because the object name was too long)";
    map("false")
        .inputs(&[&name, &deep])
        .errors(&[
            json!({"input": name, "message": "user command exited with code 1"}),
            json!({"input": deep, "message": warning}),
        ])
        .run()
}

#[test]
fn jobMlongInputs() -> Result<()> {
    let deep = format!(
        "/%u/stor/foodir/bardir/{0}/{0}/{0}/{0}/bazdir/bop",
        "d".repeat(250)
    );
    map("echo $MANTA_INPUT_OBJECT; echo $MANTA_INPUT_FILE; wc -w < $MANTA_INPUT_FILE")
        .inputs(&[&deep])
        .outputs(&["/%u/jobs/%j/stor*"])
        .contents(&[&format!(
            "{deep}\n/manta/%u/stor/foodir/_.../bazdir/bop\n5\n"
        )])
        .run()
}

#[test]
fn jobRlongInputs() -> Result<()> {
    let deep = format!("/%u/stor/{0}/{0}/{0}/{0}/end", "d".repeat(250));
    reduce("wc -w")
        .inputs(&[&deep, "/%u/stor/obj1"])
        .one_reduced()
        .contents(&["9\n"])
        .run()
}

#[test]
fn jobRerrorLongInputs() -> Result<()> {
    let deep = format!("/%u/stor/{0}/{0}/{0}/{0}/end", "d".repeat(250));
    reduce("false")
        .inputs(&[&deep])
        .errors(&[json!({"message": "user command exited with code 1", "input": null})])
        .run()
}

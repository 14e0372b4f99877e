//! What jobs say when something is wrong with their inputs, commands or outputs.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use anyhow::Result;
use serde_json::{Value, json};
use tests::Launch;

use super::{Scenario, Stage, map, reduce};

const ONE: &str = "/%u/stor/obj1";

/// Of a failing command on `obj1`.
fn of_obj1(code: &str, message: &str) -> Value {
    json!({
        "phase": "0",
        "what": "phase 0: input \"/%u/stor/obj1\"",
        "code": code,
        "message": message,
        "input": ONE,
        "p0input": ONE,
    })
}

/// Of a failing reducer.
pub(super) fn of_reducer(message: &str) -> Value {
    json!({"what": "phase 0: reduce", "code": "UserTaskError", "message": message, "input": null})
}

fn exited(code: u8) -> String {
    format!("user command exited with code {code}")
}

#[test]
fn jobMerrorEnc() -> Result<()> {
    let error = |name: &str| {
        json!({
            "what": format!("phase 0: input \"/%u/stor/{name}\""),
            "code": "UserTaskError",
            "message": exited(1),
            "input": format!("/%u/stor/{name}"),
            "stderr": format!("/%u/jobs/%j/stor/%u/stor/{name}.0.err*"),
        })
    };
    map("grep foobar")
        .inputs(&["/%u/stor/my obj1", "/%u/stor/M%41RK"])
        .errors(&[error("my obj1"), error("M%41RK")])
        .run()
}

#[test]
fn jobMerrorCmd() -> Result<()> {
    map("grep foobar")
        .inputs(&[ONE])
        .errors(&[of_obj1("UserTaskError", &exited(1))])
        .run()
}

/// The front door is told that there is such an image.
#[test]
fn jobMerrorBadImage() -> Result<()> {
    let stage = Stage::open_on(Launch::new().setting("jobs.images = [\"0.0.1\"]"))?;
    let message = "failed to dispatch task: requested image is not available";
    stage.play(
        map("wc")
            .with("image", json!("0.0.1"))
            .inputs(&[ONE])
            .errors(&[of_obj1("InvalidArgumentError", message)]),
    )?;
    stage.store.finish()
}

#[test]
fn jobMerrorMemoryTooBig() -> Result<()> {
    let message = "failed to dispatch task: not enough memory available";
    map("wc")
        .with("memory", json!(8192))
        .inputs(&[ONE])
        .errors(&[of_obj1("TaskInitError", message)])
        .run()
}

#[test]
fn jobMerrorDiskTooBig() -> Result<()> {
    let message = "failed to dispatch task: not enough disk space available";
    map("wc")
        .with("disk", json!(1024))
        .inputs(&[ONE])
        .errors(&[of_obj1("TaskInitError", message)])
        .run()
}

const BAD: [&str; 10] = [
    "/notavalidlogin/stor/obj1",
    "/%u/stor/notavalidfilename",
    "/%u/stor/mydir",
    "/",
    "/%u",
    "/%u/",
    "/%u/stor",
    "/%u/stor/",
    "/%u/jobs",
    "/%u/jobs/",
];

fn bad(phase: u8, input: &str, shown: &str, code: &str, message: &str) -> Value {
    let origin = match phase {
        0 => String::new(),
        _ => format!(" (from job input \"{ONE}\")"),
    };
    json!({
        "phase": phase.to_string(),
        "what": format!("phase {phase}: input \"{input}\"{origin}"),
        "code": code,
        "message": format!("{message}: \"{shown}\""),
    })
}

fn bad_in_phase_0() -> Vec<Value> {
    let (missing, malformed) = ("no such object", "malformed object name");
    BAD.into_iter()
        .map(|name| match name {
            "/%u/stor/mydir" => {
                let message = "objects of type \"directory\" are not supported";
                bad(0, name, name, "InvalidArgumentError", message)
            }
            "/" | "/%u" => bad(0, name, name, "ResourceNotFoundError", malformed),
            name => bad(0, name, name, "ResourceNotFoundError", missing),
        })
        .collect()
}

#[test]
fn jobMerrorsDispatch0() -> Result<()> {
    let inputs: Vec<&str> = BAD.into_iter().chain([ONE]).collect();
    map("wc")
        .inputs(&inputs)
        .not_made(&BAD)
        .outputs(&["/%u/jobs/%j/stor/%u/stor/obj1.0.*"])
        .contents(&[" 0  5 50\n"])
        .errors(&bad_in_phase_0())
        .run()
}

#[test]
fn jobMerrorsDispatch1() -> Result<()> {
    let inputs: Vec<&str> = BAD.into_iter().chain([ONE]).collect();
    let again: Vec<Value> = BAD
        .into_iter()
        .map(|name| {
            // Names travel as paths of URLs, and arrive without a slash at their end.
            let name = match name {
                "/" => "/",
                name => name.trim_end_matches('/'),
            };
            match name {
                "/%u/stor/mydir" => {
                    let message = "objects of type \"directory\" are not supported";
                    bad(1, name, name, "InvalidArgumentError", message)
                }
                "/" | "/%u" => bad(
                    1,
                    name,
                    name,
                    "ResourceNotFoundError",
                    "malformed object name",
                ),
                name => bad(1, name, name, "ResourceNotFoundError", "no such object"),
            }
        })
        .collect();
    let errors: Vec<Value> = bad_in_phase_0().into_iter().chain(again).collect();
    map(&format!("mcat {}", BAD.join(" ")))
        .then_map("wc")
        .inputs(&inputs)
        .not_made(&BAD)
        .errors(&errors)
        .run()
}

#[test]
fn jobMerrorAssetMissing() -> Result<()> {
    let message = "failed to dispatch task: first of 1 error: \
         error retrieving asset \"/%u/stor/notavalidasset\" (status code 404)";
    map("wc")
        .with("assets", json!(["/%u/stor/notavalidasset"]))
        .inputs(&[ONE])
        .errors(&[of_obj1("TaskInitError", message)])
        .run()
}

#[test]
fn jobMerrorBadReducer() -> Result<()> {
    map("mpipe -r1")
        .then_reduce("wc")
        .inputs(&[ONE])
        .one_reduced()
        .contents(&["      0       0       0\n"])
        .errors(&[json!({
            "phase": "1",
            "code": "InvalidArgumentError",
            "message": "reducer \"1\" specified, but only 1 reducers exist",
            "input": "/%u/jobs/%j/stor/%u/stor/obj1.0.*",
            "p0input": ONE,
        })])
        .leaves(&["/%u/jobs/%j/stor/%u/stor/obj1.0.*"])
        .run()
}

#[test]
fn jobMerrorVeryBadReducer() -> Result<()> {
    map("mpipe -r128")
        .then_reduce("wc")
        .inputs(&[ONE])
        .one_reduced()
        .contents(&["      0       0       0\n"])
        .errors(&[of_obj1("UserTaskError", &exited(1))])
        .run()
}

#[test]
fn jobMerrorMpipeMkdirp() -> Result<()> {
    map("mpipe /%u/stor/marlin_tests/not/there")
        .inputs(&[ONE])
        .errors(&[of_obj1("UserTaskError", &exited(1))])
        .run()
}

/// A request to the control API, as anybody in a zone may send it.
fn control(what: &str) -> String {
    format!(
        "exec 3<>/dev/tcp/localhost/80; \
         printf '%s\\r\\n' 'POST /my/jobs/task/{what} HTTP/1.1' 'host: localhost' \
         'content-type: application/json' 'content-length: 2' 'connection: close' '' >&3; \
         printf '{{}}' >&3; cat <&3"
    )
}

#[test]
fn jobMbackdoorCommit() -> Result<()> {
    map(&control("commit")).inputs(&[ONE]).run()
}

#[test]
fn jobRbackdoorCommit() -> Result<()> {
    reduce(&control("commit")).run()
}

#[test]
fn jobMerrorBackdoorFail() -> Result<()> {
    map(&control("fail"))
        .inputs(&[ONE])
        .errors(&[of_obj1("UserTaskError", "no message given")])
        .run()
}

#[test]
fn jobRerrorBackdoorFail() -> Result<()> {
    reduce(&control("fail"))
        .errors(&[of_reducer("no message given")])
        .run()
}

#[test]
fn jobMcanceledRequests() -> Result<()> {
    let exec = "head -c 1048576 /dev/zero | mput -q -H 'm-x: y' ~~/stor/megabyte || exit 5; \
         for i in {1..100}; do exec 3<>/dev/tcp/localhost/80; \
         printf 'GET /%s/stor/megabyte HTTP/1.0\\r\\n\\r\\n' $MANTA_USER >&3; \
         head -c 100 <&3 > /dev/null; exec 3>&-; done; echo alive";
    map(exec).prints("alive\n")
}

/// Nobody in a zone can mount anything. The status is that of the reference's `mount`.
#[test]
fn jobMerrorHsfs() -> Result<()> {
    let exec = "mkdir /tmp/there; said=$(mount -t tmpfs none /tmp/there 2>&1) && exit 90; \
         grep -qi 'permission denied\\|not permitted\\|must be superuser' <<< \"$said\" || exit 91; \
         grep -q ' /tmp/there ' /proc/mounts && exit 92; exit 33";
    let scenario: Scenario = map(exec);
    scenario
        .inputs(&[ONE])
        .errors(&[of_obj1("UserTaskError", "user command exited with code 33")])
        .run()
}

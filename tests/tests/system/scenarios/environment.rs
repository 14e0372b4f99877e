//! What a command finds around it.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use anyhow::Result;
use serde_json::json;

use super::{map, reduce};

const ONE: &str = "/%u/stor/obj1";
const ENVIRONMENT: &str = "env | egrep '^(MANTA_|HOME|DTRACE_)' | LC_ALL=C sort";

#[test]
fn jobMpwd() -> Result<()> {
    map("pwd").prints("/\n")
}

#[test]
fn jobRpwd() -> Result<()> {
    reduce("pwd").one_reduced().contents(&["/\n"]).run()
}

#[test]
fn jobMenv() -> Result<()> {
    map(ENVIRONMENT).prints(
        "DTRACE_DOF_INIT_DISABLE=1\n\
             HOME=/root\n\
             MANTA_INPUT_FILE=/manta/%u/stor/obj1\n\
             MANTA_INPUT_OBJECT=/%u/stor/obj1\n\
             MANTA_JOB_ID=%j\n\
             MANTA_NO_AUTH=true\n\
             MANTA_OUTPUT_BASE=/%u/jobs/%j/stor/%u/stor/obj1.0.\n\
             MANTA_URL=http://localhost:80/\n\
             MANTA_USER=%u\n",
    )
}

#[test]
fn jobRenv() -> Result<()> {
    let of = |reducer: u8| {
        format!(
            "DTRACE_DOF_INIT_DISABLE=1\n\
             HOME=/root\n\
             MANTA_JOB_ID=%j\n\
             MANTA_NO_AUTH=true\n\
             MANTA_OUTPUT_BASE=/%u/jobs/%j/stor/reduce.0.\n\
             MANTA_REDUCER={reducer}\n\
             MANTA_URL=http://localhost:80/\n\
             MANTA_USER=%u\n"
        )
    };
    reduce(ENVIRONMENT)
        .with("count", json!(3))
        .outputs(&["/%u/jobs/%j/stor/reduce.0.*"; 3])
        .contents(&[&of(0), &of(1), &of(2)])
        .run()
}

/// `/tmp` is ordinary disk.
#[test]
fn jobMtmpfs() -> Result<()> {
    map("df --output=target /tmp | tail -1; mount | grep -c ' /tmp type tmpfs' | grep -qx 0 && echo okay")
        .prints("/\nokay\n")
}

/// Nobody in a zone can reboot it.
#[test]
fn jobRerrorReboot() -> Result<()> {
    let exec = "test -x /sbin/reboot || command -v busybox > /dev/null || exit 99; \
         /sbin/reboot -f || busybox reboot -f || exit 1";
    reduce(exec)
        .errors(&[json!({
            "what": "phase 0: reduce",
            "code": "UserTaskError",
            "message": "user command exited with code 1",
        })])
        .run()
}

/// Whoever asks the kernel itself hears why not. What is asked for, to obey a key and not to obey it, takes the
/// right to reboot, and would harm nobody.
#[test]
fn jobMerrorRebootOutput() -> Result<()> {
    let ask = "syscall(169, 0xfee1dead, 672274793, $_) and print \"reboot: $!\\n\"";
    map(&format!("perl -e '{ask} for 0, 0x89abcdef'"))
        .inputs(&[ONE])
        .an_output_each()
        .contents(&["reboot: Operation not permitted\n".repeat(2).as_str()])
        .run()
}

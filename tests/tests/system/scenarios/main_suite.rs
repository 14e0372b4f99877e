//! What jobs do when all is well.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tests::{machine, wait_for};

use super::{Stage, map, reduce};

const THREE: [&str; 3] = ["/%u/stor/obj1", "/%u/stor/obj2", "/%u/stor/obj3"];
/// What `wc` says of them: its columns are as wide as the size of the file needs.
const COUNTED: &str = " 0  5 50\n";

#[test]
fn jobM() -> Result<()> {
    map("wc")
        .inputs(&[
            "/%u/stor/obj1",
            "/%u/stor/obj1",
            "/%u/stor/obj2",
            "/%u/stor/obj3",
        ])
        .an_output_each()
        .contents(&[COUNTED; 4])
        .run()
}

/// The reference's images say their version in `/etc/motd`. So does the host's here, and an image that is imported by
/// the test.
#[test]
fn jobMimage() -> Result<()> {
    let stage = Stage::open()?;
    crate::images::import(&stage.store, "17.2.0")?;
    let on = |version: &str, motd: &str| {
        map(&format!("grep {version} /etc/motd"))
            .with("image", json!(version))
            .inputs(&["/%u/stor/obj1"])
            .an_output_each()
            .contents(&[motd])
    };
    let host = "The programs of this machine, as image 16.1.0.\n";
    stage.play(on("16.1.0", host))?;
    stage.play(on("17.2.0", "17.2.0\n"))?;
    stage.store.finish()
}

#[test]
fn jobMcrossAccountLink() -> Result<()> {
    let stage = Stage::open()?;
    let mut other = stage.store.add_account("neighbour")?;
    other
        .put("/neighbour/public/obj", "of another account")?
        .expect(204)?;
    let link = tests::Request::new("PUT", &stage.store.path("stor/linked"))
        .header("content-type", "application/json; type=link")
        .header("location", "/neighbour/public/obj");
    stage.store.client()?.call(&link)?.expect(204)?;
    stage.play(
        map("wc -w")
            .inputs(&["/%u/stor/linked"])
            .not_made(&["/%u/stor/linked"])
            .an_output_each()
            .contents(&["3\n"]),
    )?;
    stage.store.finish()
}

#[test]
fn jobMX() -> Result<()> {
    let outputs: Vec<String> = (0..24)
        .map(|n| format!("/%u/jobs/%j/stor/%u/stor/obj{}.0.*", n / 8 + 1))
        .collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    map("cat > /var/tmp/kept; for i in {1..8}; do mpipe < /var/tmp/kept; done")
        .inputs(&THREE)
        .outputs(&outputs)
        .run()
}

#[test]
fn jobMqparams() -> Result<()> {
    let rows = |query: &str| {
        format!(
            "exec 3<>/dev/tcp/localhost/80; \
             printf '%s\\r\\n' \"GET /$MANTA_USER/stor{query} HTTP/1.0\" '' >&3; \
             grep -c '\"name\"' <&3"
        )
    };
    reduce(&format!("{}; {}", rows(""), rows("?marker=mydir&limit=1")))
        .one_reduced()
        .contents(&["2\n1\n"])
        .run()
}

#[test]
fn jobMmpipeAnon() -> Result<()> {
    map("echo foo; echo bar | mpipe")
        .inputs(&THREE)
        .an_output_each()
        .contents(&["bar\n"; 3])
        .run()
}

#[test]
fn jobMmpipeNamed() -> Result<()> {
    map("echo foo; echo bar | mpipe -p /%u/stor/extra/out1")
        .inputs(&["/%u/stor/obj1"])
        .outputs(&["/%u/stor/extra/out1"])
        .contents(&["bar\n"])
        .run()
}

#[test]
fn jobMmcat() -> Result<()> {
    map("echo foo; mcat /%u/stor/obj1")
        .inputs(&THREE)
        .outputs(&["/%u/stor/obj1"; 3])
        .run()
}

#[test]
fn jobM0bi() -> Result<()> {
    map("wc")
        .inputs(&["/%u/stor/0bytes"])
        .an_output_each()
        .contents(&["0 0 0\n"])
        .run()
}

#[test]
fn jobR0bi() -> Result<()> {
    reduce("wc")
        .inputs(&["/%u/stor/0bytes"])
        .one_reduced()
        .contents(&["      0       0       0\n"])
        .run()
}

#[test]
fn jobM0bo() -> Result<()> {
    map("true").prints("")
}

#[test]
fn jobR() -> Result<()> {
    reduce("wc")
        .inputs(&THREE)
        .one_reduced()
        .contents(&["      0      13     150\n"])
        .run()
}

#[test]
fn jobM0inputs() -> Result<()> {
    map("wc").run()
}

#[test]
fn jobR0inputs() -> Result<()> {
    reduce("wc")
        .one_reduced()
        .contents(&["      0       0       0\n"])
        .run()
}

#[test]
fn jobRcatbin() -> Result<()> {
    map("mpipe -f /bin/bash")
        .then_reduce("cmp - <(cat /bin/bash /bin/bash /bin/bash) && echo okay")
        .inputs(&THREE)
        .one_reduced()
        .contents(&["okay\n"])
        .run()
}

#[test]
fn jobMM() -> Result<()> {
    map("wc")
        .then_map("wc")
        .inputs(&THREE)
        .an_output_each()
        .contents(&["1 3 9\n"; 3])
        .run()
}

#[test]
fn jobMR() -> Result<()> {
    map("wc")
        .then_reduce("wc")
        .inputs(&THREE)
        .one_reduced()
        .contents(&["      3       9      27\n"])
        .run()
}

#[test]
fn jobMMRR() -> Result<()> {
    map("wc")
        .then_map("wc")
        .then_reduce("wc")
        .then_reduce("wc")
        .inputs(&THREE)
        .one_reduced()
        .run()
}

/// Numbers by `msplit` to three reducers, and their sums to one.
#[test]
fn jobMRRoutput() -> Result<()> {
    let sum = "awk '{ sum += $1 } END { print sum }'";
    map("seq 1 10 | msplit -n 3")
        .then_reduce(sum)
        .with("count", json!(3))
        .then_reduce(sum)
        .inputs(&["/%u/stor/obj1"])
        .one_reduced()
        .contents(&["55\n"])
        .run()
}

#[test]
fn jobMMRIntermedRm() -> Result<()> {
    map("echo hello")
        .then_map("mrm $MANTA_INPUT_OBJECT && cat")
        .then_reduce("cat")
        .inputs(&["/%u/stor/obj1"])
        .one_reduced()
        .contents(&["hello\n"])
        .run()
}

#[test]
fn jobMMRIntermedDir() -> Result<()> {
    map("echo hello")
        .then_map("mrm $MANTA_INPUT_OBJECT && mmkdir $MANTA_INPUT_OBJECT && cat")
        .then_reduce("cat")
        .inputs(&["/%u/stor/obj1"])
        .one_reduced()
        .contents(&["hello\n"])
        .run()
}

#[test]
fn jobMMRIntermedDirNonEmpty() -> Result<()> {
    map("echo hello")
        .then_map(
            "o=$MANTA_INPUT_OBJECT; mrm $o && mmkdir $o && mput -q -f /etc/passwd $o/urchin && cat",
        )
        .then_reduce("cat")
        .inputs(&["/%u/stor/obj1"])
        .one_reduced()
        .contents(&["hello\n"])
        .leaves(&["/%u/jobs/%j/stor/%u/stor/obj1.0.*"])
        .run()
}

#[test]
fn jobMasset() -> Result<()> {
    map("/assets/%u/stor/asset.sh 17")
        .with("assets", json!(["/%u/stor/asset.sh"]))
        .object("/%u/stor/asset.sh", "#!/bin/bash\necho sarabi $*\n")
        .prints("sarabi 17\n")
}

#[test]
fn jobMmget() -> Result<()> {
    map("cmp <(mget -q $MANTA_INPUT_OBJECT) $MANTA_INPUT_FILE && echo same").prints("same\n")
}

#[test]
fn jobMmls() -> Result<()> {
    map("mls $MANTA_INPUT_OBJECT").prints("obj1\n")
}

#[test]
fn jobMmjob() -> Result<()> {
    map("mjob inputs $MANTA_JOB_ID").prints("/%u/stor/obj1\n")
}

#[test]
fn jobMkill() -> Result<()> {
    let stage = Stage::open()?;
    let scenario = map("sleep 86400.25 &");
    stage.play(
        scenario
            .inputs(&["/%u/stor/obj1"])
            .an_output_each()
            .contents(&[""]),
    )?;
    wait_for(
        "the command behind it to go",
        Duration::from_secs(10),
        || Ok((!machine::runs(&["sleep", "86400.25"])).then_some(())),
    )?;
    stage.store.finish()
}

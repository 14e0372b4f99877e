//! What a zone has: memory, disk, and a place for core files; and what jobs say when it is used up.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::job::url;
use tests::{LargeDisk, Launch};

use super::errors::of_reducer;
use super::{Scenario, Stage, map, reduce};

const ONE: &str = "/%u/stor/obj1";

/// A job whose command, or `init`, dies of a program called `node`.
fn dying(scenario: Scenario, code: &str) -> Result<()> {
    // Where core files go is the machine's business; not all of them come to lie in zones.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    let in_zones =
        !pattern.trim().is_empty() && !pattern.starts_with(['|', '@']) && limit.maximum != Some(0);
    let core = match in_zones {
        true => json!("/%u/jobs/%j/stor/cores/0/core.node.*"),
        false => Value::Null,
    };
    let stage = Stage::open()?;
    let done = stage.play(scenario.inputs(&[ONE]).errors(&[json!({
        "what": "phase 0: input \"/%u/stor/obj1\"",
        "code": code,
        "message": "user command or child process dumped core",
        "input": ONE,
        "stderr": "/%u/jobs/%j/stor/%u/stor/obj1.0.err.*",
        "core": core,
    })]))?;
    if let Some(name) = done.errors[0]["core"].as_str() {
        let mut client = stage.store.client()?;
        let core = client.get(&url(name))?.expect(200)?.body;
        ensure!(core.starts_with(b"\x7fELF"), "{name} is no core file");
    }
    stage.store.finish()
}

const DIE: &str = "cp /bin/bash /var/tmp/node; /var/tmp/node -c 'kill -ABRT $$'";

#[test]
fn jobMcore() -> Result<()> {
    dying(map(DIE), "UserTaskError")
}

#[test]
fn jobMinitCore() -> Result<()> {
    dying(map("wc").with("init", json!(DIE)), "TaskInitError")
}

const MEMORY: &str = "read -r _ kib _ < /proc/meminfo; echo $((kib / 1024))";

#[test]
fn jobMmemoryDefault() -> Result<()> {
    map(MEMORY).prints("1024\n")
}

#[test]
fn jobMmemoryExtended() -> Result<()> {
    map(MEMORY).with("memory", json!(512)).prints("512\n")
}

/// On a disk that is large enough in any case, since the usual size is made smaller on one that is not.
fn free_space(scenario: Scenario, expected: &str) -> Result<()> {
    let disk = LargeDisk::mount(300)?;
    let launch = Launch::new().data_dir(&disk.path().join("data"));
    scenario
        .inputs(&[ONE])
        .an_output_each()
        .contents(&[expected])
        .run_on(launch)
}

const FREE: &str = "df -BM --output=avail / | tail -1 | tr -d ' ' | sed 's/..M$/xxM/'";

#[test]
fn jobMdiskDefault() -> Result<()> {
    free_space(map(FREE), "81xxM\n")
}

#[test]
fn jobMdiskExtended() -> Result<()> {
    free_space(map(FREE).with("disk", json!(16)), "163xxM\n")
}

/// Keeps the last line of what never has one.
const BOMB: (&str, &str) = ("/%u/stor/bomb", "#!/bin/bash\nexec tail /dev/zero\n");

/// The process that is killed is the one that asked for too much; the command goes on.
#[test]
fn jobMerrorOom() -> Result<()> {
    let message = "user command exited with code 1 (WARNING: ran out of memory during execution)";
    reduce("/assets/%u/stor/bomb; false")
        .with("assets", json!([BOMB.0]))
        .with("memory", json!(128))
        .object(BOMB.0, BOMB.1)
        .errors(&[of_reducer(message)])
        .run()
}

/// It asks itself. The pid 1 of a zone is no lackey, and cannot be killed that way.
#[test]
fn jobMerrorLackeyOom() -> Result<()> {
    reduce("sleep 100000 & exec /assets/%u/stor/bomb")
        .with("assets", json!([BOMB.0]))
        .with("memory", json!(128))
        .object(BOMB.0, BOMB.1)
        .errors(&[of_reducer("user task ran out of memory")])
        .run()
}

#[test]
fn jobMerrorDisk() -> Result<()> {
    let disk = LargeDisk::mount(300)?;
    // What is written lies in memory, and some kernels count it as the zone's.
    reduce("head -c 2200M /dev/zero > /var/tmp/full")
        .with("disk", json!(2))
        .with("memory", json!(4096))
        .errors(&[of_reducer("user task ran out of local disk space")])
        .run_on(Launch::new().data_dir(&disk.path().join("data")))
}

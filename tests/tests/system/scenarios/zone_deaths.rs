//! The death of a zone in the middle of a task, which a test brings about from outside, as the machine's root: nobody
//! in a zone can, and each of these commands tries first.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::{Launch, Store, machine, wait_for};

use super::{Scenario, map};

const ONE: &str = "/%u/stor/obj1";
/// What becomes of a command that could kill the zone's pid 1 itself.
const TRY: &str = "kill -KILL 1 2>/dev/null && exit 9; ";
/// As arguments of `sleep`, by which the processes of each test are known.
const CRASH: &str = "864001";
const DURING_INIT: &str = "864002";
const AFTER_INIT: &str = "864003";

fn run(scenario: Scenario) -> Result<()> {
    let told = [
        "zone failed under a task",
        "task lost with its zone, trying again",
    ];
    scenario.run_on(Launch::new().expecting(&told))
}

/// Waits until a process with `argument` runs in a zone other than that of `before`, and kills the zone.
fn kill_zone_of(store: &Store, argument: &str, before: Option<u32>) -> Result<u32> {
    let init = wait_for("the command in a zone", Duration::from_secs(30), || {
        let found = machine::zone_init(store.pid(), argument);
        Ok(found.filter(|init| Some(*init) != before))
    })?;
    let pid = i32::try_from(init).ok().and_then(Pid::from_raw);
    kill_process(pid.context("a process id")?, Signal::KILL)?;
    Ok(init)
}

fn kill_thrice(store: &Store, argument: &str) -> Result<()> {
    let mut before = None;
    for _ in 0..3 {
        before = Some(kill_zone_of(store, argument, before)?);
    }
    Ok(())
}

/// Three attempts are made, and no more.
fn given_up(scenario: Scenario) -> Scenario {
    let error = json!({
        "what": "phase 0: input \"/%u/stor/obj1\"",
        "code": "InternalError",
        "message": "internal error",
        "input": ONE,
        "stderr": null,
    });
    scenario.inputs(&[ONE]).errors(&[error]).retries(2)
}

#[test]
fn jobMerrorLackeyCrash() -> Result<()> {
    let scenario = given_up(map(&format!("{TRY}sleep {CRASH}")));
    run(scenario.meanwhile(|store, _, _| kill_thrice(store, CRASH)))
}

#[test]
fn jobMinitKill() -> Result<()> {
    let init = json!(format!("{TRY}sleep {DURING_INIT}"));
    let scenario = given_up(map("wc").with("init", init));
    run(scenario.meanwhile(|store, _, _| kill_thrice(store, DURING_INIT)))
}

/// The second attempt has another zone, with its own `init`, once.
#[test]
fn jobMinitKillAfter() -> Result<()> {
    let exec = format!(
        "{TRY}mget -q ~~/stor/again > /dev/null 2>&1 || sleep {AFTER_INIT}; wc -l < /var/tmp/began"
    );
    let scenario = map(&exec)
        .with("init", json!("echo began >> /var/tmp/began"))
        .inputs(&[ONE])
        .an_output_each()
        .contents(&["1\n"])
        .retries(1);
    run(scenario.meanwhile(|store, client, _| {
        // Only a command that found nothing sleeps.
        let sleeping = || Ok(machine::zone_init(store.pid(), AFTER_INIT));
        wait_for("the command to sleep", Duration::from_secs(30), sleeping)?;
        client.put(&store.path("stor/again"), "")?.expect(204)?;
        kill_zone_of(store, AFTER_INIT, None)?;
        Ok(())
    }))
}

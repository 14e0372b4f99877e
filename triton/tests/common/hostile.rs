//! Attacks row by row, with a look at the machine before and after; and what the host sees of a zone that a
//! command in it cannot.

use std::io::Read as _;
use std::os::fd::OwnedFd;

use libmanta::triton::{Command, Zone};

use super::*;

/// Parts of the machine a task would like to change.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    pub settings: Vec<(String, String)>,
    pub mounts: String,
    pub network: String,
}

impl Machine {
    pub fn look() -> Self {
        let settings = [
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/domainname",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/net/ipv4/ip_unprivileged_port_start",
            "/proc/sys/user/max_user_namespaces",
            "/etc/passwd",
            "/etc/shadow",
            "/etc/hosts",
        ];
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            settings: settings
                .iter()
                .map(|path| ((*path).to_owned(), read(path)))
                .collect(),
            mounts: mounts(),
            network: std::fs::read_link("/proc/self/ns/net")
                .unwrap()
                .display()
                .to_string(),
        }
    }
}

/// One row: a fresh zone, an attack, an unchanged machine, a ready slot.
#[allow(unused_macros, reason = "not every test file attacks")]
macro_rules! row {
    ($site:expr, $zone:ident, $attack:block) => {{
        let before = $crate::common::hostile::Machine::look();
        let mut $zone = $site.zone().await;
        $attack
        drop($zone);
        assert_eq!($crate::common::hostile::Machine::look(), before);
        $site.all_ready().await;
    }};
}
#[allow(unused_imports, reason = "not every test file attacks")]
pub(crate) use row;

/// Each call with its arguments, and the answer it must get.
pub async fn refused(zone: &mut dyn Zone, expected: &str, calls: &[&str]) {
    let line: Vec<_> = calls
        .iter()
        .map(|call| format!("attack call {call}"))
        .collect();
    let outcome = sh(zone, &line.join("\n")).await;
    let answers: Vec<_> = calls.iter().copied().zip(outcome.stdout.lines()).collect();
    let wanted: Vec<_> = calls.iter().map(|call| (*call, expected)).collect();
    assert_eq!(answers, wanted, "{outcome:?}");
}

pub async fn fails(zone: &mut dyn Zone, line: &str, reason: &str) {
    let outcome = sh(zone, line).await;
    assert_ne!(outcome.code(), Some(0), "{line}: {outcome:?}");
    assert!(outcome.stderr.contains(reason), "{line}: {outcome:?}");
}

/// Runs `line` until `observed` is over, then gives it up, which kills it.
pub async fn sh_until(zone: &mut dyn Zone, line: &str, observed: impl Future<Output = ()>) {
    let running = try_sh(zone, line, null());
    tokio::select! {
        ended = running => panic!("{line} ended by itself: {ended:?}"),
        () = observed => {}
    }
}

/// The most processes in any zone of `site`.
pub fn population(site: &Site) -> u64 {
    let all = cgroups(site.directory.path());
    let zones = all.iter().filter(|path| {
        !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("manta")
    });
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("pids.current"))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    zones.filter_map(read).max().unwrap_or(0)
}

/// Runs `line`, which says so on standard output when it has what it wants to hold; then `look`s, and gives it up.
pub async fn while_holding(
    zone: &mut dyn Zone,
    line: &str,
    stdin: OwnedFd,
    look: impl Future<Output = ()>,
) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let stderr = zone.output_file().await.unwrap();
    let command = Command {
        argv: shell(line),
        env: environment(),
        stdin,
        stdout: writer.into(),
        stderr: stderr.try_clone().unwrap().into(),
    };
    let looking = async {
        let said = tokio::task::spawn_blocking(move || reader.read_exact(&mut [0]));
        let said = within(60, "hold", said).await.unwrap();
        assert!(said.is_ok(), "{line}: {said:?}: {}", text(stderr));
        look.await;
    };
    tokio::select! {
        // With the last word on what went wrong.
        biased;
        () = looking => {}
        ended = zone.run(command) => panic!("{line} ended by itself: {ended:?}"),
    }
}

/// Processes of the zones of `site`: pid 1 of each, and those in the user namespace of a zone.
pub fn inits_and_tasks(site: &Site) -> (Vec<i32>, Vec<i32>) {
    let users = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    let all = pids_of(site.directory.path());
    let alive = all
        .into_iter()
        .filter(|pid| users(&pid.to_string()).is_some());
    alive.partition(|pid| users(&pid.to_string()) == users("self"))
}

/// Runs `words` as root of the only zone of `site`, but of nothing else of it: no filter, no other namespace.
pub fn in_users(site: &Site, words: &[&str]) -> std::process::Output {
    let (_, tasks) = inits_and_tasks(site);
    let [task] = tasks[..] else {
        panic!("one armed task expected, not {tasks:?}");
    };
    let mut command = std::process::Command::new("nsenter");
    command
        .arg(format!("--user=/proc/{task}/ns/user"))
        .args(words);
    command.output().unwrap()
}

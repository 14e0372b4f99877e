//! Processes killed from outside (row 34), cgroups killed (row 35), hosts side by side and one after another,
//! and what is left: nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::*;
use libmanta::triton::{ZoneError, Zones as _};

/// Children of `parent`, by pid.
fn children(parent: u32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((head, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let parent_field = rest
            .split_whitespace()
            .nth(1)
            .and_then(|field| field.parse::<u32>().ok());
        if parent_field == Some(parent) {
            found.push(head.split(' ').next().unwrap().parse().unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_killed_zone_init_ends_its_zone_and_the_slot_comes_back() {
    let site = Site::new(1).await;
    let mut zone = site.zone().await;
    let before = pids_of(site.directory.path());
    let init = *before.first().expect("an init");
    {
        let running = try_sh(&mut *zone, "sleep 1000", null());
        tokio::pin!(running);
        tokio::select! {
            _ = &mut running => panic!("ended by itself"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        kill(init);
        let ended = within(30, "notice", running).await;
        assert!(matches!(ended, Err(ZoneError::Gone(_))), "{ended:?}");
    }
    drop(zone);
    site.all_ready().await;
    let mut zone = site.zone().await;
    says(&mut *zone, "echo back", "back").await;
    drop(zone);
    site.end().await;
}

#[tokio::test]
async fn a_killed_zygote_ends_all_zones_and_is_replaced() {
    let site = Site::new(2).await;
    site.all_ready().await;
    let mut zone = site.zone().await;
    for zygote in zygotes(site.directory.path()) {
        kill(zygote);
    }
    until("zones outlive their zygote", || {
        pids_of(site.directory.path()).is_empty()
    })
    .await;
    let ended = try_sh(&mut *zone, "true", null()).await;
    assert!(matches!(ended, Err(ZoneError::Gone(_))), "{ended:?}");
    drop(zone);
    for _ in 0..3 {
        says(&mut *site.zone().await, "echo back", "back").await;
    }
    site.all_ready().await;
    site.end().await;
}

fn agent(directory: &Path, isolation: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triton-agent"));
    command
        .arg(directory.join("state"))
        .arg(isolation)
        .arg(line);
    command.env("TMPDIR", directory).stdout(Stdio::piped());
    command
}

fn wait_ready(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
}

/// Rounds of SIGKILL: afterwards no process, mount or loop device is there even before the next start, and
/// the next start removes the rest.
#[tokio::test]
async fn a_killed_agent_leaves_no_process_and_its_successor_no_trace() {
    need_root();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    own_mounts();
    let mounted_before = mounts();
    for _ in 0..3 {
        let mut child = agent(directory.path(), "zone", "hold").spawn().unwrap();
        wait_ready(&mut child);
        until("the command runs", || pids_of(directory.path()).len() >= 4).await;
        let below = children(child.id());
        assert_eq!(below.len(), 1, "one zygote");
        child.kill().unwrap();
        child.wait().unwrap();
        until("processes outlive the agent", || {
            pids_of(directory.path()).is_empty()
                && !Path::new(&format!("/proc/{}", below[0])).exists()
        })
        .await;
        until("loop devices outlive the agent", || {
            loops(directory.path()) == 0
        })
        .await;
        assert_eq!(mounts(), mounted_before);
    }
    let status = agent(directory.path(), "zone", "exit 5").status().unwrap();
    assert_eq!(status.code(), Some(5));
    assert_eq!(cgroups(directory.path()), Vec::<std::path::PathBuf>::new());
    assert_eq!(loops(directory.path()), 0);
    let left: Vec<_> = files(&directory.path().join("state")).into_iter().collect();
    assert_eq!(left, [directory.path().join("state/lock")]);
}

/// What a crash cannot leave by our design, but an older version or a bug might: processes in our cgroups.
#[tokio::test]
async fn processes_in_our_cgroups_are_killed_at_start() {
    need_root();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    let mut child = agent(directory.path(), "zone", "hold").spawn().unwrap();
    wait_ready(&mut child);
    let slot = cgroups(directory.path())
        .into_iter()
        .find(|path| path.ends_with("zone0"))
        .unwrap();
    // While the host lives: afterwards an empty directory could be swept by a neighbour.
    let mut stray = Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(slot.join("cgroup.procs"), stray.id().to_string()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let stray_pid = i32::try_from(stray.id()).unwrap();
    until("the zone outlives its host", || {
        pids_of(directory.path()) == [stray_pid]
    })
    .await;
    let config = config(directory.path(), 1);
    let host = within(60, "start over", triton::Host::start(config))
        .await
        .unwrap();
    let status = stray.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGKILL)
    );
    host.shutdown().await;
    assert_eq!(cgroups(directory.path()), Vec::<std::path::PathBuf>::new());
}

/// A host killed in a directory that nobody uses again: the next host anywhere removes its cgroups, and those
/// of no host that lives.
#[tokio::test]
async fn cgroups_of_dead_hosts_are_swept_and_those_of_living_ones_are_not() {
    need_root();
    let abandoned = tempfile::tempdir().unwrap();
    std::fs::create_dir(abandoned.path().join("state")).unwrap();
    let mut child = agent(abandoned.path(), "zone", "hold").spawn().unwrap();
    wait_ready(&mut child);
    let living = Site::new(1).await;
    assert!(
        !cgroups(abandoned.path()).is_empty(),
        "swept while its host lives"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    until("the zone outlives its host", || {
        pids_of(abandoned.path()).is_empty()
    })
    .await;
    let next = Site::new(1).await;
    assert_eq!(cgroups(abandoned.path()), Vec::<std::path::PathBuf>::new());
    says(&mut *living.zone().await, "echo fine", "fine").await;
    living.all_ready().await;
    // Dropped without shutdown, for instance by a test that fails: as clean.
    let Site { host, directory } = next;
    drop(host);
    assert_eq!(cgroups(directory.path()), Vec::<std::path::PathBuf>::new());
    until("loop devices outlive the host", || {
        loops(directory.path()) == 0
    })
    .await;
    living.end().await;
}

#[tokio::test]
async fn row_35_a_zone_killed_by_its_cgroup_is_replaced() {
    let site = Site::new(1).await;
    for _ in 0..2 {
        let mut zone = site.zone().await;
        let kill_file = cgroups(site.directory.path())
            .into_iter()
            .map(|path| path.join("cgroup.kill"))
            .find(|path| path.exists() && path.parent().unwrap().ends_with("zone0"));
        let Some(kill_file) = kill_file else {
            // Without a v2 tree there is nothing to be trapped by.
            assert!(!site.host.describe().contains("hybrid"));
            break;
        };
        std::fs::write(kill_file, "1").unwrap();
        let ended = try_sh(&mut *zone, "sleep 1000", null()).await;
        assert!(matches!(ended, Err(ZoneError::Gone(_))), "{ended:?}");
        drop(zone);
        says(&mut *site.zone().await, "echo back", "back").await;
    }
    site.all_ready().await;
    site.end().await;
}

/// Kernels (6.18) let nobody be born in a fresh cgroup whose parent process is in one that was once killed.
#[tokio::test]
async fn a_host_whose_own_cgroup_was_once_killed_moves_its_zones() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut unified = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let Some(unified) = unified.next().and_then(|line| line.split(' ').nth(4)) else {
        // Then there is nothing to be born in.
        let site = Site::new(1).await;
        assert!(site.host.describe().contains("cgroups: v1"));
        return site.end().await;
    };
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = Path::new(unified).join(own.unwrap());
    let killed = own.join(format!("killed-{}", std::process::id()));
    std::fs::create_dir(&killed).unwrap();
    std::fs::write(killed.join("cgroup.kill"), "1").unwrap();
    let enter = |cgroup: &Path| std::fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
    enter(&killed);
    let site = Site::new(2).await;
    for _ in 0..4 {
        says(&mut *site.zone().await, "echo moved", "moved").await;
    }
    site.all_ready().await;
    site.end().await;
    enter(&own);
    std::fs::remove_dir(&killed).unwrap();
}

#[tokio::test]
async fn hosts_side_by_side_do_not_meet_and_one_directory_has_one() {
    let (one, other) = tokio::join!(Site::new(1), Site::new(1));
    let again = triton::Host::start(config_again(&one)).await;
    assert!(matches!(again, Err(ZoneError::Io { .. })), "{again:?}");
    let (mut a, mut b) = (one.zone().await, other.zone().await);
    let range = "cut -d' ' -f1- /proc/self/uid_map | tr -s ' '";
    let (first, second) = (
        sh(&mut *a, range).await.stdout,
        sh(&mut *b, range).await.stdout,
    );
    assert_ne!(first, second, "ids of two hosts collide");
    drop(a);
    one.end().await;
    says(&mut *b, "echo still here", "still here").await;
    drop(b);
    other.end().await;
}

fn config_again(site: &Site) -> triton::Config {
    let mut config = triton::Config::new(site.directory.path().join("state"));
    config.zygote = zygote();
    config
}

#[tokio::test]
async fn shutdown_ends_zones_in_use_and_waiting_ends_with_it() {
    let site = Site::new(1).await;
    let mut zone = site.zone().await;
    let host = std::sync::Arc::clone(&site.host);
    let waiting = tokio::spawn(async move { host.acquire(SPEC).await.map(drop) });
    let running = tokio::spawn(async move { try_sh(&mut *zone, "sleep 1000", null()).await });
    until("the command runs", || {
        pids_of(site.directory.path()).len() >= 2
    })
    .await;
    let Site { host, directory } = site;
    within(60, "shut down", host.shutdown()).await;
    assert!(matches!(waiting.await.unwrap(), Err(ZoneError::ShutDown)));
    assert!(matches!(running.await.unwrap(), Err(ZoneError::Gone(_))));
    assert!(matches!(host.acquire(SPEC).await, Err(ZoneError::ShutDown)));
    assert_eq!(pids_of(directory.path()), [0; 0]);
    assert_eq!(loops(directory.path()), 0);
}

/// A zone that became ready after the end used to keep its disk mounted, and shutdown to wait for it in vain.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_while_zones_are_being_made_leaves_no_disk() {
    for ready in 1..8 {
        // Returns when the first zone works; the others are being made.
        let Site { host, directory } = Site::new(8).await;
        until("some zones are ready", || host.stats().ready >= ready).await;
        within(8, "shut down", host.shutdown()).await;
        assert_eq!(pids_of(directory.path()), [0; 0]);
        assert_eq!(loops(directory.path()), 0);
    }
}

#[tokio::test]
async fn zones_are_given_first_come_first_served_and_giving_up_costs_nothing() {
    let site = Site::new(1).await;
    let zone = site.zone().await;
    let (order, mut served) = tokio::sync::mpsc::unbounded_channel();
    let mut waiting = Vec::new();
    for number in 0..4 {
        let (host, order) = (std::sync::Arc::clone(&site.host), order.clone());
        waiting.push(tokio::spawn(async move {
            let zone = host.acquire(SPEC).await.unwrap();
            order.send(number).unwrap();
            drop(zone);
        }));
        // In the queue before the next one comes.
        tokio::task::yield_now().await;
    }
    // One gives up while it waits.
    waiting.remove(1).abort();
    drop(zone);
    for task in waiting {
        within(60, "be served", task).await.unwrap();
    }
    let mut seen = Vec::new();
    while let Ok(number) = served.try_recv() {
        seen.push(number);
    }
    assert_eq!(seen, [0, 2, 3]);
    site.all_ready().await;
    site.end().await;
}

/// The other two isolations, as a user who is not root.
mod not_root {
    use super::*;
    use std::os::unix::process::CommandExt as _;

    /// Nobody's uid. Any that is not 0 would do.
    const NOBODY: u32 = 65_534;

    fn as_nobody(isolation: &str, line: &str) -> (Option<i32>, String, String) {
        need_root();
        let directory = tempfile::tempdir().unwrap();
        // Programs are below a directory that nobody may not enter, perhaps.
        for program in [
            env!("CARGO_BIN_EXE_triton-agent"),
            env!("CARGO_BIN_EXE_triton-zygote"),
        ] {
            let name = Path::new(program).file_name().unwrap();
            std::fs::copy(program, directory.path().join(name)).unwrap();
        }
        std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let output = Command::new(directory.path().join("triton-agent"))
            .arg(directory.path().join("state"))
            .arg(isolation)
            .arg(line)
            .env("TMPDIR", directory.path())
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let left = files(&directory.path().join("state"));
        assert!(left.iter().all(|path| path.ends_with("lock")), "{left:?}");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    #[test]
    fn zones_are_refused_with_the_ways_out() {
        let (code, _, said) = as_nobody("zone", "true");
        assert_eq!(code, Some(100), "{said}");
        assert!(
            said.contains("only root") && said.contains("Ways out"),
            "{said}"
        );
    }

    #[test]
    fn user_namespaces_separate() {
        let line = "id -u; pwd; cat; cat /manta/user/stor/object; echo $MANTA_URL; ls /proc | grep -c '^[0-9]'; \
                    touch /tmp/x /root/y && echo writable; ls -d /work /home/* /etc/shadow 2>/dev/null; \
                    grep CapEff /proc/self/status; unshare -Ur true 2>/dev/null || echo confined; \
                    (exec 3<>/dev/tcp/1.1.1.1/80) 2>&1 | grep -om1 unreachable; \
                    (exec 3<>/dev/tcp/127.0.0.1/80) && echo manta; kill -9 1 2>/dev/null; echo end";
        let (code, said, errors) = as_nobody("user", line);
        assert_eq!(code, Some(0), "{said}{errors}");
        let lines: Vec<_> = said.lines().collect();
        let expected = [
            "ready",
            "0",
            "/",
            "object",
            "object",
            "http://localhost:80/",
        ];
        assert_eq!(lines[..6], expected, "{said}{errors}");
        assert!(lines[6].parse::<u32>().unwrap() <= 6, "{said}");
        let rest = [
            "writable",
            "CapEff:\t0000000000000000",
            "confined",
            "unreachable",
            "manta",
            "end",
        ];
        assert_eq!(lines[7..], rest, "{said}{errors}");
    }

    /// What a command does to its input and to what is above it does not reach the next command.
    #[test]
    fn the_next_command_gets_its_input() {
        let attacks = [
            "rm -rf $PREFIX/manta/*",
            "rm -rf $PREFIX/manta",
            "rm -rf $PREFIX/manta/user; ln -s /tmp $PREFIX/manta/user",
            "rm -rf $PREFIX/manta/user; touch $PREFIX/manta/user",
            "rm -f $PREFIX/manta/user/stor/object; mkfifo $PREFIX/manta/user/stor/object",
            "rm -f $PREFIX/manta/user/stor/object; mkdir -p $PREFIX/manta/user/stor/object/x",
            "mv $PREFIX/manta $PREFIX/gone; ln -s /tmp $PREFIX/manta",
            "mv $PREFIX/manta/user $PREFIX/manta/other; chmod 0 $PREFIX/manta",
        ];
        for isolation in ["user", "process"] {
            let lines: Vec<_> = attacks
                .iter()
                .map(|attack| {
                    format!("({attack}) 2>/dev/null; :\ncat; cat $PREFIX/manta/user/stor/object")
                })
                .collect();
            let (code, said, errors) = as_nobody(isolation, &lines.join("\n"));
            assert_eq!(code, Some(0), "{isolation}: {said}{errors}");
            let expected = format!("ready\n{}", "object\nobject\n".repeat(attacks.len()));
            assert_eq!(said, expected, "{isolation}: {errors}");
        }
    }

    /// Tasks have the uid of whoever runs the store; the input is protected by its mount.
    #[test]
    fn user_namespaces_show_inputs_read_only() {
        let changes = [
            "echo evil >> F",
            "echo evil 1<>/proc/self/fd/0",
            "chmod 666 F",
            "rm -f F",
            "mv F /tmp/moved",
            "mkdir /manta/mine",
            "mv /manta /gone",
            "rmdir /manta",
        ];
        let lines: Vec<_> = changes
            .iter()
            .map(|change| {
                let change = change.replace('F', "/manta/user/stor/object");
                format!("({change}) 2>/dev/null && echo '{change}'; cat")
            })
            .collect();
        let (code, said, errors) = as_nobody("user", &lines.join("\n"));
        assert_eq!(code, Some(0), "{said}{errors}");
        let expected = format!("ready\n{}", "object\n".repeat(changes.len()));
        assert_eq!(said, expected, "{errors}");
    }

    /// Zone init has the uid of the tasks here, so that only the filter keeps them from its limits.
    #[test]
    fn user_namespaces_keep_limits_of_zone_init() {
        let line = "before=$(cat /proc/1/limits); prlimit --pid 1 --nofile=0:0; \
                    prlimit --pid 1 --cpu=1:1; prlimit --pid 1 --nofile; ulimit -n 100; ulimit -n; \
                    test \"$before\" = \"$(cat /proc/1/limits)\" && echo same; cat";
        let (code, said, errors) = as_nobody("user", line);
        assert_eq!(code, Some(0), "{said}{errors}");
        let refused = said.matches("Operation not permitted").count();
        assert_eq!(refused, 3, "{said}{errors}");
        assert!(said.ends_with("100\nsame\nobject\n"), "{said}{errors}");
    }

    #[test]
    fn plain_processes_run_and_leave_nothing_behind() {
        let line = "pwd; cat; cat $PREFIX/manta/user/stor/object; id -u; \
                    (setsid sleep 987654321 &) ; sleep 987654321 & exit 4";
        let (code, said, errors) = as_nobody("process", line);
        assert_eq!(code, Some(4), "{said}{errors}");
        assert_eq!(said, "ready\n/\nobject\nobject\n65534\n", "{errors}");
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            assert!(!line.starts_with("sleep\u{0}987654321"), "{line} survived");
        }
    }
}

//! The life of zones: made, used, thrown away, and nothing left.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use libmanta::triton::{ZoneSpec, Zones as _};

#[tokio::test]
async fn a_command_runs_and_its_end_is_told() {
    let site = Site::new(1).await;
    eprintln!("{}", site.host.describe());
    let mut zone = site.zone().await;
    says(&mut *zone, "id -u; pwd; hostname", "0\n/\nzone0").await;
    assert_eq!(sh(&mut *zone, "exit 7").await.code(), Some(7));
    drop(zone);
    site.all_ready().await;
    site.end().await;
}

/// The reference's `tst.executor`; what it says of cores is among the attacks.
#[tokio::test]
async fn a_command_gets_its_environment_and_its_input() {
    let site = Site::new(1).await;
    let mut zone = site.zone().await;
    let names = environment();
    for (name, value) in &names {
        says(&mut *zone, &format!("printenv {name}"), value).await;
    }
    // By a stream that somebody still writes to.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let writing = std::thread::spawn(move || {
        let mut writer = std::fs::File::from(writer);
        for _ in 0..10_000 {
            std::io::Write::write_all(&mut writer, b"some line\n").unwrap();
        }
    });
    let outcome = try_sh(&mut *zone, "wc -l; exit 2", reader).await.unwrap();
    writing.join().unwrap();
    assert_eq!((outcome.code(), outcome.stdout.trim()), (Some(2), "10000"));
    // By a descriptor of a file, from its start.
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"in a file").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let outcome = try_sh(&mut *zone, "cat; test -f /dev/stdin", file.into())
        .await
        .unwrap();
    assert_eq!((outcome.code(), &*outcome.stdout), (Some(0), "in a file"));
    drop(zone);
    site.all_ready().await;
    site.end().await;
}

#[tokio::test]
async fn a_core_file_is_found_where_the_machine_puts_it() {
    let site = Site::new(1).await;
    let mut zone = site.zone().await;
    // The pattern is the machine's, and stays as it is.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    let tainted = std::fs::read_to_string("/proc/sys/fs/suid_dumpable").unwrap();
    let in_zones = !pattern.trim().is_empty()
        && !pattern.starts_with(['|', '@'])
        && limit.maximum != Some(0)
        && matches!(tainted.trim(), "0" | "1");
    let elsewhere = "cp /bin/bash /var/tmp/dying; mkdir -p /srv/a/b; cd /srv/a/b; \
                     /var/tmp/dying -c 'kill -ABRT $$'; true";
    let outcome = sh(&mut *zone, elsewhere).await;
    assert!(outcome.exit.core_dumped, "{outcome:?}");
    let found = zone.core_file().await.unwrap();
    assert_eq!(found.is_some(), in_zones, "{pattern}: {found:?}");
    if let Some(found) = found {
        assert_eq!(found.program, "dying");
        let mut magic = [0; 4];
        std::os::unix::fs::FileExt::read_exact_at(&found.file, &mut magic, 0).unwrap();
        assert_eq!(&magic, b"\x7fELF");
    }
    drop(zone);
    // Nothing of it is seen by the next one, nor anything like it.
    let mut zone = site.zone().await;
    let forged = "for name in core core.1 core.bash.1; do \
                  ln -s /etc/passwd /$name; echo forged > /tmp/$name; done";
    assert_eq!(sh(&mut *zone, forged).await.code(), Some(0));
    assert!(zone.core_file().await.unwrap().is_none());
    drop(zone);
    site.end().await;
}

#[tokio::test]
async fn a_zone_sees_the_memory_it_may_use_and_cannot_change_that() {
    let site = Site::new(1).await;
    let total = "read -r _ kib _ < /proc/meminfo; echo $((kib / 1024))";
    for mebibytes in [256, 512, 128, 256] {
        let memory_bytes = mebibytes * MIB;
        let spec = libmanta::triton::ZoneSpec {
            memory_bytes,
            ..SPEC
        };
        let mut zone = site.host.acquire(spec).await.unwrap();
        says(&mut *zone, total, &mebibytes.to_string()).await;
        let change = "echo MemTotal: 1 kB > /proc/meminfo || rm -f /proc/meminfo || \
                      mv /proc/meminfo /tmp || chmod 777 /proc/meminfo";
        let outcome = sh(&mut *zone, change).await;
        assert_ne!(outcome.code(), Some(0), "{outcome:?}");
        let lines = "ls -A /manta | wc -l; grep -c ' kB$' /proc/meminfo";
        says(&mut *zone, lines, "0\n10").await;
        drop(zone);
        site.all_ready().await;
    }
    site.end().await;
}

#[tokio::test]
async fn meters_tell_what_a_zone_uses_while_it_runs() {
    let site = Site::new(1).await;
    let mut zone = site.zone().await;
    let meter = zone.meter();
    let before = meter.read();
    let line = "head -c 8m /dev/zero > /tmp/x; until [ -e /tmp/stop ]; do :; done & \
                read -r -t 60 _ < <(sleep 1); touch /tmp/stop; wait";
    let seen = async {
        loop {
            let now = meter.read();
            let used = now.cpu_user + now.cpu_system - before.cpu_user - before.cpu_system;
            if used > Duration::from_millis(50) && now.memory_bytes > 0 {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (outcome, seen) = tokio::join!(sh(&mut *zone, line), within(60, "see it", seen));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    // Disks are known of commands that have ended.
    assert_eq!(seen.written_bytes, before.written_bytes);
    let after = meter.read();
    assert!(
        after.written_bytes - before.written_bytes >= 8 * MIB,
        "{after:?}"
    );
    assert!(
        after.memory_peak_bytes >= seen.memory_bytes.min(MIB),
        "{after:?}"
    );
    let cpu = after.cpu_user + after.cpu_system - before.cpu_user - before.cpu_system;
    // And of what comes after it, making the next task ready, which is little, but more on a busy machine.
    assert!(
        cpu <= outcome.exit.cpu * 3 / 2 + Duration::from_millis(50),
        "{after:?} {outcome:?}"
    );
    // The next one starts where this one ends.
    says(&mut *zone, "echo idle", "idle").await;
    assert!(meter.read().cpu_user >= after.cpu_user);
    drop(zone);
    site.end().await;
}

#[tokio::test]
async fn a_zone_does_not_inherit_the_precedence_of_its_host() {
    let slice = "grep -s ^se.slice /proc/self/sched || echo unknown";
    let ordinary = std::process::Command::new("sh")
        .args(["-c", slice])
        .output();
    let ordinary = String::from_utf8(ordinary.unwrap().stdout).unwrap();
    triton::precedence::take().unwrap();
    let site = Site::new(1).await;
    let mut zone = site.zone().await;
    says(&mut *zone, slice, ordinary.trim()).await;
    drop(zone);
    site.end().await;
}

/// What one zone has left in memory is no burden on the next.
#[tokio::test]
async fn a_zone_begins_with_memory_of_its_own() {
    let mut large = std::path::PathBuf::new();
    let site = Site::with(1, |config| {
        large = config.tools.clone().unwrap().join("large");
    })
    .await;
    // Read into memory by whoever reads it first, which is not us.
    let mut file = std::fs::File::create(&large).unwrap();
    for _ in 0..200 {
        std::io::Write::write_all(&mut file, &vec![7; MIB as usize]).unwrap();
    }
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    // There, the most in use at once is that of all zones of the slot.
    let is_of_zone = !site.host.describe().contains("cgroups: v2");
    for round in 0..4 {
        // Every other time with more than the next one may have.
        let spec = ZoneSpec {
            memory_bytes: SPEC.memory_bytes * (1 + round % 2),
            ..SPEC
        };
        let mut zone = within(60, "acquire a zone", site.host.acquire(spec))
            .await
            .unwrap();
        let outcome = sh(&mut *zone, "cat /opt/marlin/bin/large > /dev/null").await;
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        assert!(outcome.exit.peak_memory_bytes > 150 * MIB, "{outcome:?}");
        drop(zone);
        let mut next = site.zone().await;
        let outcome = sh(&mut *next, "true").await;
        let few = outcome.exit.peak_memory_bytes < 20 * MIB;
        assert!(few || !is_of_zone, "{outcome:?}");
        // Files in memory go with the mounts, and so does what the kernel knows of many files.
        let line = "head -c 100m /dev/zero > /dev/shm/x && cd /dev/shm && for i in {1..9999}; do : > $i; done";
        let outcome = sh(&mut *next, line).await;
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        drop(next);
        let next = site.zone().await;
        let left = next.meter().read().memory_bytes;
        assert!(left < 20 * MIB, "{left}");
    }
    site.all_ready().await;
    site.end().await;
}

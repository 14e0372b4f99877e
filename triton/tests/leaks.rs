//! The leak test, alone in its process: it counts what the process holds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::*;
use libmanta::triton::Zones as _;

/// Nothing may grow with the number of zones: not mounts, cgroups, loop devices, processes, descriptors or
/// files; and after shutdown nothing is left but the lock file.
#[tokio::test]
async fn a_thousand_resets_leak_nothing() {
    let resets: u64 =
        std::env::var("TRITON_RESETS").map_or(1000, |resets| resets.parse().expect("a number"));
    let mut mounted_before = String::new();
    // When the test has mounts of its own, and before there is a host.
    let site = Site::with(2, |_| mounted_before = mounts()).await;
    // The first zones fill caches: templates, buffers of the runtime.
    for _ in 0..4 {
        says(&mut *site.zone().await, "echo warm", "warm").await;
    }
    site.all_ready().await;
    settle(&site, 2).await;
    let before = Counts::take(site.directory.path());
    let (first, started) = (site.host.stats().resets, std::time::Instant::now());
    while site.host.stats().resets < first + resets {
        let mut zone = site.zone().await;
        let outcome = sh(&mut *zone, "echo dirt > /tmp/dirt; sleep 100 & true").await;
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    }
    site.all_ready().await;
    let elapsed = started.elapsed();
    assert!(site.host.zones_are_born());
    eprintln!(
        "{resets} resets in {elapsed:.1?}, {:.2?} each",
        elapsed / resets as u32
    );
    settle(&site, 2).await;
    before.assert_same(&Counts::take(site.directory.path()));

    let Site { host, directory } = site;
    within(60, "shut down", host.shutdown()).await;
    drop(host);
    let after = Counts::take(directory.path());
    assert_eq!((after.cgroups, after.loops, after.descendants), (0, 0, 0));
    assert_eq!(mounts(), mounted_before);
    let left: Vec<_> = after
        .files
        .iter()
        .map(|file| file.file_name().unwrap())
        .collect();
    assert_eq!(left, ["state", "lock", "tools", "attack"]);
}

/// Waits until background work (unmounting, refilling, giving memory back) has come to rest: as many loop devices
/// as slots and scratches kept ready, and for half a second the same counts.
async fn settle(site: &Site, slots: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut last = Counts::take(site.directory.path());
    let mut same = 0;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let now = Counts::take(site.directory.path());
        same = if now == last { same + 1 } else { 0 };
        if same >= 10 && now.loops == slots + 2 {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{} loop devices",
            now.loops
        );
        last = now;
    }
}

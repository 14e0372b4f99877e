//! Zones of imported images: what is in them, what is not, and how they come and go. Rows 6, 8 to 10, 22, 26 and 34
//! of zones.md section 10 as far as images could make a difference; what is unpacked is tested in the library.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use common::*;
use libmanta::Version;
use libmanta::triton::{Zone, ZoneError, ZoneSpec, Zones as _};
use testkit::small_system::small_system;
use triton::{ImageId, Import, Library, LibraryError, Limits, Source};

const PROGRAMS: &[&str] = &[
    "cat", "chmod", "cp", "cut", "df", "find", "id", "ls", "mkdir", "rm", "sleep", "sort", "stat",
    "touch",
];

fn id(version: &str) -> ImageId {
    ImageId::new("small", Version::parse(version).unwrap()).unwrap()
}

/// Imports an image that says its version in `/etc/motd`.
fn import(directory: &Path, version: &str) -> Library {
    let root = tempfile::tempdir().unwrap();
    small_system(root.path(), PROGRAMS, version).unwrap();
    std::fs::copy("/bin/cat", root.path().join("bin/privileged")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o6755);
    std::fs::set_permissions(root.path().join("bin/privileged"), mode).unwrap();
    std::fs::write(root.path().join("etc/secret"), "of the image").unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(root.path().join("etc/secret"), mode).unwrap();
    let library = Library::new(directory.join("images"));
    let import = Import {
        id: id(version),
        environment: vec![("FROM_IMAGE".to_owned(), version.to_owned())],
        limits: Limits::default(),
    };
    library.import(&import, Source::Path(root.path())).unwrap();
    library
}

async fn site(slots: usize) -> Site {
    Site::with(slots, |config| {
        config.images = Some(config.state_dir.parent().unwrap().join("images"));
        config.image_idle = Duration::from_millis(100);
    })
    .await
}

async fn try_zone(site: &Site, range: &str) -> Result<Box<dyn Zone>, ZoneError> {
    let spec = ZoneSpec {
        image: Some(range.to_owned()),
        ..SPEC
    };
    within(60, "acquire a zone of an image", site.host.acquire(spec)).await
}

async fn zone(site: &Site, range: &str) -> Box<dyn Zone> {
    try_zone(site, range).await.unwrap()
}

#[tokio::test]
async fn the_newest_that_is_allowed_is_taken() {
    let site = site(3).await;
    let library = import(site.directory.path(), "1.0.0");
    import(site.directory.path(), "1.0.10");
    import(site.directory.path(), "20.0.0");
    assert_eq!(
        site.host.images().await,
        ["1.0.0", "1.0.10", "16.1.0", "20.0.0"]
    );
    for (range, expected) in [
        ("1.0.0", "1.0.0"),
        ("1.x", "1.0.10"),
        (">0.0.0", "20.0.0"),
        ("<1.0.10 || 3", "1.0.0"),
    ] {
        let mut zone = zone(&site, range).await;
        says(&mut *zone, "cat /etc/motd", expected).await;
        let variable = ("FROM_IMAGE".to_owned(), expected.to_owned());
        assert_eq!(zone.environment(), [variable]);
    }
    for range in ["16.1.0", "2.x || 16", ">1.0.10 <20"] {
        let mut zone = zone(&site, range).await;
        says(
            &mut *zone,
            "cat /etc/motd",
            "The programs of this machine, as image 16.1.0.",
        )
        .await;
    }
    for range in ["0.0.1", "17", "13.1.0", "nonsense"] {
        let refused = try_zone(&site, range).await;
        assert!(
            matches!(refused, Err(ZoneError::NoImage)),
            "{range}: {refused:?}"
        );
    }
    // One that comes with the host's own version is what was meant by importing it.
    import(site.directory.path(), "16.1.0");
    says(&mut *zone(&site, "16.1.0").await, "cat /etc/motd", "16.1.0").await;
    let mut unasked = site.zone().await;
    says(
        &mut *unasked,
        "cat /etc/motd",
        "The programs of this machine, as image 16.1.0.",
    )
    .await;
    drop(unasked);
    drop(library);
    site.all_ready().await;
    site.end().await;
}

/// Rows 6, 8, 9 and 10: an image is all there is, and it lends no rights.
#[tokio::test]
async fn a_zone_shows_its_image_and_nothing_else() {
    let site = site(2).await;
    import(site.directory.path(), "1.0.0");
    let mut zone = zone(&site, "1.0.0").await;
    let top = sh(&mut *zone, "ls -A /").await.stdout;
    let allowed = "assets bin dev etc home lib lib64 manta opt proc root run tmp usr var";
    for name in top.lines() {
        assert!(
            allowed.split(' ').any(|known| known == name),
            "{name} is in the zone"
        );
    }
    // Programs that the host has and the image has not.
    for program in ["perl", "/usr/bin/perl", "mount"] {
        let outcome = sh(&mut *zone, &format!("{program} -v")).await;
        assert_eq!(outcome.code(), Some(127), "{outcome:?}");
    }
    says(
        &mut *zone,
        "ls /dev",
        "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero",
    )
    .await;
    let mounts = sh(&mut *zone, "cat /proc/self/mountinfo").await.stdout;
    let here = site.directory.path().to_string_lossy().into_owned();
    for path in [&*here, "rootfs", "images", "1.0.0"] {
        assert!(!mounts.contains(path), "{path} shows:\n{mounts}");
    }
    for line in mounts.lines() {
        assert!(line.split(' ').nth(5).unwrap().contains("nosuid"), "{line}");
    }
    says(
        &mut *zone,
        "cut -d: -f3 /proc/self/cgroup | sort -u; id -u",
        "/\n0",
    )
    .await;
    says(&mut *zone, "stat -c %a /bin/privileged", "755").await;
    // All of it is the zone's root's.
    says(
        &mut *zone,
        "stat -c %u:%g /etc/secret; cat /etc/secret",
        "0:0\nof the image",
    )
    .await;
    // The tools of every zone.
    let outcome = sh(&mut *zone, "attack").await;
    assert_ne!(outcome.code(), Some(127), "{outcome:?}");
    assert!(zone.listeners().unwrap().len() == 2);
    drop(zone);
    site.all_ready().await;
    site.end().await;
}

/// Rows 22 and 26: whatever a task does to its image, the next finds it as it was.
#[tokio::test]
async fn an_image_is_not_changed_by_those_who_use_it() {
    let site = site(2).await;
    import(site.directory.path(), "1.0.0");
    let motd = site
        .directory
        .path()
        .join("images/small/1.0.0/rootfs/etc/motd");
    let before = motd.metadata().unwrap();
    let mut first = zone(&site, "1.0.0").await;
    let mut second = zone(&site, "1.0.0").await;
    let line = "cat /etc/motd > /tmp/copy; echo changed > /etc/motd; chmod 666 /etc/secret; rm /etc/secret; \
                mkdir /new; touch /new/x; true";
    assert_eq!(sh(&mut *first, line).await.code(), Some(0));
    says(
        &mut *second,
        "cat /etc/motd; ls -d /new 2>/dev/null; ls /etc/secret",
        "1.0.0/etc/secret",
    )
    .await;
    drop((first, second));
    site.all_ready().await;
    let mut next = zone(&site, "1.0.0").await;
    says(
        &mut *next,
        "cat /etc/motd; ls -d /new 2>/dev/null; ls /tmp",
        "1.0.0",
    )
    .await;
    drop(next);
    let after = motd.metadata().unwrap();
    assert_eq!(
        (before.mtime(), before.ctime(), before.uid()),
        (after.mtime(), after.ctime(), 0)
    );
    assert_eq!(std::fs::read_to_string(&motd).unwrap(), "1.0.0");
    site.end().await;
}

/// More images than zones, again and again: everybody gets one, and what is idle is given back.
#[tokio::test]
async fn images_share_the_zones_and_are_given_back() {
    let site = site(2).await;
    let versions = ["1.0.0", "2.0.0", "3.0.0"];
    let mut library = None;
    for version in versions {
        library = Some(import(site.directory.path(), version));
    }
    let library = library.unwrap();
    site.all_ready().await;
    for _ in 0..5 {
        for version in versions {
            let mut one = zone(&site, version).await;
            let mut host = site.zone().await;
            says(&mut *one, "cat /etc/motd", version).await;
            says(
                &mut *host,
                "cat /etc/motd",
                "The programs of this machine, as image 16.1.0.",
            )
            .await;
        }
    }
    // All at once, with fewer zones than that.
    let all = async |version: &str| {
        says(
            &mut *zone(&site, version).await,
            "sleep 0.1; cat /etc/motd",
            version,
        )
        .await;
    };
    tokio::join!(all("1.0.0"), all("2.0.0"), all("3.0.0"));
    let used = zone(&site, "2.0.0").await;
    let refused = library.remove(&id("2.0.0"));
    assert!(
        matches!(refused, Err(LibraryError::InUse(_))),
        "{refused:?}"
    );
    drop(used);
    // Zygotes and zones of images end by themselves; then the images may go.
    for version in versions {
        until("an image is not given back", || {
            match library.remove(&id(version)) {
                Err(LibraryError::InUse(_)) => false,
                removed => {
                    removed.unwrap();
                    true
                }
            }
        })
        .await;
        let refused = try_zone(&site, version).await;
        assert!(matches!(refused, Err(ZoneError::NoImage)), "{refused:?}");
    }
    site.all_ready().await;
    assert_eq!(zygotes(site.directory.path()).len(), 1);
    assert_eq!(site.host.stats().ready, 2);
    site.end().await;
}

/// Row 34, and images that are damaged: no slot is lost.
#[tokio::test]
async fn a_zygote_that_dies_and_an_image_that_is_broken_cost_no_zone() {
    let site = site(2).await;
    import(site.directory.path(), "1.0.0");
    let mut used = zone(&site, "1.0.0").await;
    let here = site.directory.path();
    // The host's, and the image's.
    let zygotes = zygotes(here);
    assert_eq!(zygotes.len(), 2);
    zygotes.into_iter().for_each(kill);
    until("zones outlive their zygotes", || pids_of(here).is_empty()).await;
    let line = try_sh(&mut *used, "cat /etc/motd", null()).await;
    assert!(matches!(line, Err(ZoneError::Gone(_))), "{line:?}");
    drop(used);
    says(&mut *zone(&site, "1.0.0").await, "cat /etc/motd", "1.0.0").await;
    site.all_ready().await;

    // Without a root nothing can be made of it, and others go on.
    import(site.directory.path(), "2.0.0");
    let root = site.directory.path().join("images/small/2.0.0/rootfs");
    std::fs::rename(&root, root.with_extension("gone")).unwrap();
    let refused = try_zone(&site, "2.0.0").await;
    assert!(matches!(refused, Err(ZoneError::Io { .. })), "{refused:?}");
    // One that nothing is known of is passed over.
    std::fs::write(root.with_file_name("manifest.json"), "{").unwrap();
    let refused = try_zone(&site, "2.0.0").await;
    assert!(matches!(refused, Err(ZoneError::NoImage)), "{refused:?}");
    says(&mut *zone(&site, "<3.0.0").await, "cat /etc/motd", "1.0.0").await;
    says(&mut *site.zone().await, "id -u", "0").await;
    site.all_ready().await;
    assert_eq!(site.host.stats().disabled, 0);
    site.end().await;
}

#[tokio::test]
async fn another_image_is_taken_while_one_is_being_removed() {
    let site = site(1).await;
    import(site.directory.path(), "1.0.0");
    import(site.directory.path(), "2.0.0");
    // As who removes it does.
    let newest = std::fs::File::open(site.directory.path().join("images/small/2.0.0")).unwrap();
    newest.lock().unwrap();
    says(&mut *zone(&site, "<3.0.0").await, "cat /etc/motd", "1.0.0").await;
    let refused = try_zone(&site, "2.0.0").await;
    assert!(matches!(refused, Err(ZoneError::NoImage)), "{refused:?}");
    drop(newest);
    says(&mut *zone(&site, "<3.0.0").await, "cat /etc/motd", "2.0.0").await;
    site.all_ready().await;
    site.end().await;
}

/// The machine's own programs can be had whatever has become of the images.
#[tokio::test]
async fn images_that_cannot_be_listed_hide_nothing_else() {
    let site = site(1).await;
    let images = site.directory.path().join("images");
    std::os::unix::fs::symlink(&images, &images).unwrap();
    assert_eq!(site.host.images().await, ["16.1.0"]);
    says(&mut *site.zone().await, "id -u", "0").await;
    site.all_ready().await;
    site.end().await;
}

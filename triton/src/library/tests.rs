//! Images come in whole or not at all, and whatever is in them touches nothing else. Row 32 of zones.md
//! section 10, and row 10 as far as it is about images.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

mod layouts;
mod random;
mod refusals;

/// A member of an archive, as it is written down, however wrong.
#[derive(Clone, Debug)]
pub(super) struct M {
    name: Vec<u8>,
    kind: u8,
    mode: u32,
    link: Vec<u8>,
    content: Vec<u8>,
    claimed: Option<u64>,
}

impl M {
    fn of(kind: u8, name: &str) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: 0o644,
            link: Vec::new(),
            content: Vec::new(),
            claimed: None,
        }
    }

    pub(super) fn file(name: &str, content: &str) -> Self {
        let content = content.into();
        Self {
            content,
            ..Self::of(b'0', name)
        }
    }

    pub(super) fn directory(name: &str) -> Self {
        Self::of(b'5', name).mode(0o755)
    }

    pub(super) fn link(name: &str, to: &str) -> Self {
        let link = to.into();
        Self {
            link,
            ..Self::of(b'2', name)
        }
    }

    pub(super) fn hard(name: &str, to: &str) -> Self {
        let link = to.into();
        Self {
            link,
            ..Self::of(b'1', name)
        }
    }

    pub(super) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    fn write(&self, archive: &mut Vec<u8>) {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..self.name.len()].copy_from_slice(&self.name);
        old.linkname[..self.link.len()].copy_from_slice(&self.link);
        old.linkflag = [self.kind];
        header.set_mode(self.mode);
        header.set_uid(1234);
        header.set_gid(1234);
        header.set_mtime(1_000_000_000);
        header.set_size(self.claimed.unwrap_or(self.content.len() as u64));
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(&self.content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
}

pub(super) fn archive(members: &[M]) -> Vec<u8> {
    let mut archive = Vec::new();
    members.iter().for_each(|member| member.write(&mut archive));
    archive.resize(archive.len() + 1024, 0);
    archive
}

pub(super) fn bash() -> M {
    M::file("usr/bin/bash", "#!").mode(0o755)
}

/// What every image needs, and `more`.
pub(super) fn image(more: &[M]) -> Vec<M> {
    let mut members = vec![bash(), M::link("bin", "usr/bin")];
    members.extend_from_slice(more);
    members
}

/// Everything in a directory, and in those in it.
pub(super) fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(directory).unwrap() {
        let path = directory.join(name);
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(all_below(&path));
        }
        found.push(path);
    }
    found
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// A library in a directory of its own, with something beside it that must not be touched.
pub(super) struct Site {
    pub(super) top: tempfile::TempDir,
    pub(super) library: Library,
}

impl Site {
    pub(super) fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("victim")).unwrap();
        std::fs::write(top.path().join("victim/file"), "mine").unwrap();
        let library = Library::new(top.path().join("images"));
        Self { top, library }
    }

    pub(super) fn import(&self, archive: &[u8]) -> Result<Manifest, LibraryError> {
        self.import_within(archive, Limits::default())
    }

    pub(super) fn import_within(
        &self,
        mut archive: &[u8],
        limits: Limits,
    ) -> Result<Manifest, LibraryError> {
        let import = Import {
            limits,
            ..import("one", "1.0.0")
        };
        self.library.import(&import, Source::Stream(&mut archive))
    }

    pub(super) fn import_path(&self, path: &Path) -> Result<Manifest, LibraryError> {
        self.library
            .import(&import("one", "1.0.0"), Source::Path(path))
    }

    pub(super) fn known(&self) -> Vec<Manifest> {
        let listed = self.library.list().unwrap().into_iter();
        listed.map(|(_, manifest)| manifest.unwrap()).collect()
    }

    /// Below the root of what was imported.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.top.path().join("images/one/1.0.0/rootfs").join(path)
    }

    pub(super) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    /// Nothing was imported, and nothing is left of the attempt or has been done elsewhere.
    pub(super) fn assert_untouched(&self, after: &str) {
        let names = |path: &str| {
            let mut names = names(&self.top.path().join(path)).unwrap();
            names.sort();
            names
        };
        assert_eq!(names(""), ["images", "victim"], "{after}");
        let left = names("images");
        assert!(left.is_empty() || left == ["lock"], "{after}: {left:?}");
        assert_eq!(names("victim"), ["file"], "{after}");
        let victim = self.top.path().join("victim/file");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine", "{after}");
        assert_eq!(victim.metadata().unwrap().nlink(), 1, "{after}");
    }
}

pub(super) fn id(name: &str, version: &str) -> ImageId {
    ImageId::new(name, Version::parse(version).unwrap()).unwrap()
}

pub(super) fn import(name: &str, version: &str) -> Import {
    Import {
        id: id(name, version),
        environment: Vec::new(),
        limits: Limits::default(),
    }
}

#[test]
fn an_archive_becomes_an_image_however_it_is_packed() {
    let members = image(&[
        M::directory("./etc/"),
        M::file("./etc/motd", "hello\n"),
        M::file("usr/bin/su", "x").mode(0o6755),
        M::directory("shared").mode(0o2777),
        M::hard("usr/bin/sh", "usr/bin/bash"),
        M::link("etc/mtab", "/proc/self/mounts"),
        // The last one of a name counts, and is not written through the one before.
        M::link("etc/twice", "motd"),
        M::file("etc/twice", "second"),
        // Zones have their own.
        M::of(b'3', "dev/null"),
        M::directory("dev/pts"),
    ]);
    let plain = archive(&members);
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let half = plain.len() / 2;
    let zstd = [&plain[..half], &plain[half..]]
        .map(|part| ruzstd::encoding::compress_to_vec(part, level))
        .concat();
    let two_gzips = [gzip(&plain[..half]), gzip(&plain[half..])].concat();
    for packed in [plain.clone(), gzip(&plain), two_gzips, zstd] {
        let site = Site::new();
        let manifest = site.import(&packed).unwrap();
        assert_eq!((&*manifest.name, &*manifest.version), ("one", "1.0.0"));
        assert_eq!(manifest.digest.len(), "sha256:".len() + 64);
        assert_eq!(manifest.source, "-");
        assert_eq!(site.known(), [manifest]);
        assert_eq!(site.text("etc/motd"), "hello\n");
        assert_eq!(site.text("etc/twice"), "second");
        assert!(site.text("etc/hosts").contains("localhost"));
        let mode = |path: &str| site.at(path).symlink_metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode("usr/bin/su"), mode("shared")), (0o755, 0o777));
        assert_eq!((mode("tmp"), mode("opt/marlin/bin")), (0o1777, 0o755));
        let bash = site.at("usr/bin/bash").metadata().unwrap();
        assert_eq!(bash.ino(), site.at("usr/bin/sh").metadata().unwrap().ino());
        assert_eq!(
            (bash.mtime(), bash.uid()),
            (1_000_000_000, rustix::process::geteuid().as_raw())
        );
        assert_eq!(names(&site.at("dev")).unwrap(), Vec::<String>::new());
        let mut left = names(&site.library.directory).unwrap();
        left.sort();
        assert_eq!(left, ["lock", "one"]);
    }
}

/// Links inside an image are followed as in a zone: from its root.
#[test]
fn members_below_a_link_go_where_a_zone_finds_them() {
    let site = Site::new();
    let members = [
        M::directory("programs/here"),
        // Nothing of the machine that runs the test.
        M::link("bin", "/programs/here"),
        M::file("bin/bash", "#!").mode(0o755),
    ];
    site.import(&archive(&members)).unwrap();
    assert_eq!(site.text("programs/here/bash"), "#!");
    assert_eq!(
        std::fs::read_link(site.at("bin")).unwrap(),
        Path::new("/programs/here")
    );
}

#[test]
fn a_directory_becomes_an_image() {
    let site = Site::new();
    let from = tempfile::tempdir().unwrap();
    let path = |name: &str| from.path().join(name);
    for directory in ["bin", "etc", "dev/pts", "empty"] {
        std::fs::create_dir_all(path(directory)).unwrap();
    }
    std::fs::write(path("bin/bash"), "#!").unwrap();
    std::fs::set_permissions(path("bin/bash"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::write(path("etc/motd"), "hello\n").unwrap();
    symlink("motd", path("etc/link")).unwrap();
    let manifest = site.import_path(from.path()).unwrap();
    assert_eq!(manifest.source, from.path().display().to_string());
    assert_eq!(site.text("etc/link"), "hello\n");
    assert!(site.at("empty").is_dir() && names(&site.at("dev")).unwrap().is_empty());
    assert_eq!(
        site.at("bin/bash").metadata().unwrap().mode() & 0o7777,
        0o755
    );

    // The digest is that of the content.
    site.library.remove(&id("one", "1.0.0")).unwrap();
    assert_eq!(
        site.import_path(from.path()).unwrap().digest,
        manifest.digest
    );
    site.library.remove(&id("one", "1.0.0")).unwrap();
    std::fs::write(path("etc/motd"), "other\n").unwrap();
    assert_ne!(
        site.import_path(from.path()).unwrap().digest,
        manifest.digest
    );
}

#[test]
fn an_environment_is_added_to_that_of_the_image() {
    let site = Site::new();
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut wanted = import("one", "1.0.0");
    wanted.environment = vec![variable("A", "1"), variable("A", "2")];
    let archive = archive(&image(&[]));
    let manifest = site
        .library
        .import(&wanted, Source::Stream(&mut &*archive))
        .unwrap();
    assert_eq!(manifest.environment, [variable("A", "2")]);
    wanted.environment = vec![variable("1", "x")];
    let again = site.library.import(&wanted, Source::Stream(&mut &*archive));
    assert!(matches!(again, Err(LibraryError::Environment(_))));
}

#[test]
fn a_version_is_that_of_one_image() {
    let site = Site::new();
    let archive = archive(&image(&[]));
    let of = |name: &str, version: &str| {
        site.library
            .import(&import(name, version), Source::Stream(&mut &*archive))
    };
    of("one", "1.0.0").unwrap();
    of("one", "1.0.10").unwrap();
    of("two", "1.0.9").unwrap();
    assert!(matches!(of("one", "1.0.0"), Err(LibraryError::Exists(_))));
    assert!(matches!(
        of("two", "1.0.0"),
        Err(LibraryError::VersionTaken(_))
    ));
    let ids = site.library.ids().unwrap();
    assert_eq!(
        ids,
        [id("one", "1.0.0"), id("two", "1.0.9"), id("one", "1.0.10")]
    );
    let choose = |range: &str| {
        site.library
            .choose(&VersionRange::parse(range).unwrap(), &[])
            .unwrap()
    };
    assert_eq!(choose("1.x"), Some(id("one", "1.0.10")));
    assert_eq!(choose("<1.0.10"), Some(id("two", "1.0.9")));
    assert_eq!(choose("2.x"), None);

    // One that nothing is known of hides no other.
    let newest = site.library.path(&id("one", "1.0.10"));
    std::fs::write(newest.join(MANIFEST), "{").unwrap();
    assert_eq!(choose("1.x"), Some(id("two", "1.0.9")));
    let range = VersionRange::parse("1.x").unwrap();
    let but = site.library.choose(&range, &[id("two", "1.0.9")]);
    assert_eq!(but.unwrap(), Some(id("one", "1.0.0")));
    let listed = site.library.list().unwrap();
    let whole: Vec<bool> = listed
        .iter()
        .map(|(_, manifest)| manifest.is_ok())
        .collect();
    assert_eq!(whole, [true, true, false]);
    let damaged = listed[2].1.as_ref().unwrap_err().to_string();
    assert!(damaged.contains("is damaged"), "{damaged}");
    site.library.remove(&id("one", "1.0.10")).unwrap();
}

/// From the first moment, and whatever becomes of the import then.
#[test]
fn an_image_with_a_name_can_be_used() {
    let site = Site::new();
    let one = id("one", "1.0.0");
    let mut staging = site.library.stage().unwrap();
    let manifest = Manifest::new(&one, "sha256:00".to_owned(), "-".to_owned());
    manifest.write(&staging.directory).unwrap();
    std::fs::create_dir(staging.directory.join(ROOT)).unwrap();
    site.library.publish(&mut staging, &one).unwrap();
    assert!(site.library.hold(&one).unwrap().is_some());
    drop(staging);
    assert_eq!(site.known(), [manifest]);
}

#[test]
fn an_image_in_use_stays() {
    let site = Site::new();
    site.import(&archive(&image(&[M::file("etc/motd", "x")])))
        .unwrap();
    let one = id("one", "1.0.0");
    let held = site.library.hold(&one).unwrap().unwrap();
    let error = site.library.remove(&one).unwrap_err();
    assert!(matches!(error, LibraryError::InUse(_)), "{error}");
    assert_eq!(held.root, site.at(""));
    assert_eq!(site.text("etc/motd"), "x");
    drop(held);
    site.library.remove(&one).unwrap();
    site.assert_untouched("removal");
    assert!(site.library.hold(&one).unwrap().is_none());
    assert!(matches!(
        site.library.remove(&one),
        Err(LibraryError::Missing(_))
    ));
}

#[test]
fn what_a_crash_left_is_removed_by_the_next_import_but_not_what_is_being_filled() {
    let site = Site::new();
    let directory = &site.library.directory;
    let (dead, live) = (directory.join(".tmp-1-0"), directory.join(".tmp-1-1"));
    for path in [&dead, &live] {
        std::fs::create_dir_all(path.join("rootfs/etc")).unwrap();
    }
    let filler = File::open(&live).unwrap();
    flock(&filler, FlockOperation::LockExclusive).unwrap();
    site.import(&archive(&image(&[]))).unwrap();
    assert!(!dead.exists() && live.exists());
}

/// Two containers may share a library, and in each there is a process 1.
#[test]
fn importers_with_the_same_number_do_not_meet() {
    let site = Site::new();
    let directory = &site.library.directory;
    let own = |number| directory.join(format!(".tmp-{}-{number}", std::process::id()));
    let others: Vec<PathBuf> = (0..200).map(own).collect();
    let locks: Vec<File> = others
        .iter()
        .map(|path| {
            std::fs::create_dir_all(path.join("rootfs")).unwrap();
            let lock = File::open(path).unwrap();
            flock(&lock, FlockOperation::LockExclusive).unwrap();
            lock
        })
        .collect();
    site.import(&archive(&image(&[]))).unwrap();
    site.library.remove(&id("one", "1.0.0")).unwrap();
    assert!(others.iter().all(|path| path.join("rootfs").exists()));
    drop(locks);
    site.import(&archive(&image(&[]))).unwrap();
    assert!(!others.iter().any(|path| path.exists()));
}

#[test]
fn names_of_images_are_no_paths() {
    let version = Version::parse("1.0.0").unwrap();
    for name in ["", ".", "..", ".x", "a/b", "a b", "-a", &"x".repeat(65)] {
        let error = ImageId::new(name, version).unwrap_err();
        assert!(matches!(error, LibraryError::Name(_)), "{name}");
    }
    for name in ["a", "debian-12", "R_4.3", &"x".repeat(64)] {
        assert!(ImageId::new(name, version).is_ok(), "{name}");
    }
}

//! Archives and directories that are not taken. Names outside are those of things that are not there, or of the test's
//! own: were one taken, as root, no harm must come of it.

use super::*;
use std::os::unix::ffi::OsStrExt as _;

/// `reason` is part of the message.
fn refused(archive: &[u8], reason: &str) {
    let site = Site::new();
    let error = message(&site.import(archive).unwrap_err());
    assert!(error.contains(reason), "{error:?} instead of {reason:?}");
    site.assert_untouched(reason);
}

fn message(error: &LibraryError) -> String {
    let source = std::error::Error::source(error);
    format!(
        "{error}: {}",
        source.map(ToString::to_string).unwrap_or_default()
    )
}

fn refused_member(member: M, reason: &str) {
    refused(&archive(&image(&[member])), reason);
}

#[test]
fn names_outside() {
    refused_member(
        M::file("/nowhere/file", "x"),
        "/nowhere/file: its name begins at the root",
    );
    refused_member(
        M::file("../victim/file", "x"),
        "../victim/file: its name leads upwards",
    );
    refused_member(
        M::file("a/../../../victim/file", "x"),
        "its name leads upwards",
    );
    refused_member(M::directory(".."), "its name leads upwards");
    refused_member(M::file("dev/../../x", "x"), "its name leads upwards");
    // By way of the headers that carry long names.
    let long = M {
        content: b"/nowhere/file\0".to_vec(),
        ..M::of(b'L', "././@LongLink")
    };
    refused(
        &archive(&image(&[long, M::file("a", "x")])),
        "/nowhere/file: its name begins at the root",
    );
    let pax = M {
        content: b"18 path=../victim\n".to_vec(),
        ..M::of(b'x', "PaxHeaders/a")
    };
    refused(
        &archive(&image(&[pax, M::file("a", "x")])),
        "../victim: its name leads upwards",
    );
}

#[test]
fn links_outside() {
    let victim = "/victim/file";
    refused_member(
        M::hard("x", victim),
        "it links to /victim/file, outside of the image",
    );
    refused_member(M::hard("x", "../victim/file"), "outside of the image");
    refused_member(M::hard("x", "victim/file"), "which was not there before it");
    refused_member(M::hard("x", "usr"), "which was not there before it");
    refused_member(
        M::link("x", "../victim"),
        "it links to ../victim, outside of the image",
    );
    refused_member(M::link("a/b/x", "../../../victim"), "outside of the image");
    refused_member(M::link("x", ""), "its name is not one that a file can have");
}

/// A link that begins at the root is fine by itself, and what lies below it is looked for inside.
#[test]
fn members_below_links_outside() {
    let site = Site::new();
    let victim = site.top.path().join("victim");
    for below in [
        M::file("x/file", "theirs"),
        M::directory("x/new"),
        M::link("x/new", "y"),
        M::hard("x/new", "usr/bin/bash"),
    ] {
        let mut link = M::link("x", "");
        link.link = victim.as_os_str().as_bytes().to_vec();
        let error = site
            .import(&archive(&image(&[link.clone(), below])))
            .unwrap_err();
        let expected = "what it is in is not a directory of the image";
        assert!(message(&error).contains(expected), "{error}");
        site.assert_untouched(expected);
        // Nor can what is there be linked to.
        let stolen = M::hard("stolen", "x/file");
        let error = site.import(&archive(&image(&[link, stolen]))).unwrap_err();
        assert!(message(&error).contains("not there before it"), "{error}");
        site.assert_untouched("a hard link through a link");
    }
}

#[test]
fn devices_and_the_like() {
    refused_member(M::of(b'3', "tmp/kmem"), "tmp/kmem: it is a device");
    refused_member(M::of(b'4', "sda"), "sda: it is a device");
    refused_member(
        M::of(b'6', "fifo"),
        "fifo: it is neither a file, a directory nor a link",
    );
    refused_member(M::of(b'S', "holes"), "holes: it is a sparse file");
    let holes = M {
        content: b"25 GNU.sparse.realsize=1\n".to_vec(),
        ..M::of(b'x', "PaxHeaders/a")
    };
    refused(
        &archive(&image(&[holes, M::file("a", "x")])),
        "a: it is a sparse file",
    );
}

/// What a zone mounts on cannot be a way to somewhere else.
#[test]
fn links_where_zones_mount() {
    for path in [
        "dev",
        "proc",
        "manta",
        "assets",
        "opt",
        "opt/marlin",
        "opt/marlin/bin",
    ] {
        let reason = format!("/{path} must be a directory of the image");
        refused_member(M::link(path, "usr"), &reason);
        refused_member(M::file(path, ""), &reason);
    }
}

#[test]
fn images_without_a_shell() {
    let reason = "it has no /bin/bash";
    refused(&archive(&[M::file("etc/motd", "x")]), reason);
    refused(&archive(&[]), reason);
    refused(&archive(&[M::file("bin/bash", "not to be run")]), reason);
    refused(&archive(&[M::link("bin/bash", "/bin/sh")]), reason);
    refused(&archive(&[M::directory("bin/bash")]), reason);
}

#[test]
fn what_is_not_whole() {
    let whole = archive(&image(&[M::file("a", &"x".repeat(5000))]));
    let cut = |bytes: usize| &whole[..whole.len() - bytes];
    refused(cut(1024 + 1000), "ends too early");
    // Between two members, where nothing but the missing mark tells.
    refused(cut(1024), "the archive is cut off");
    refused(cut(1024 + 5120 + 512), "the archive is cut off");
    // Zeros of a member are no mark.
    let members = image(&[M::file("zeros", &"\0".repeat(1024)), M::file("b", "x")]);
    let whole = archive(&members);
    let both = 1024 + 1024;
    refused(&whole[..whole.len() - both], "the archive is cut off");
    refused(b"this is no archive at all", "read the archive");
    refused(&vec![b'x'; 4096], "read the archive");
    let packed = gzip(&whole);
    refused(&packed[..packed.len() - 9], "read the archive");
    let mut damaged = packed.clone();
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    refused(&damaged, "read the archive");
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let packed = ruzstd::encoding::compress_to_vec(&*whole, level);
    refused(&packed[..packed.len() / 2], "read the archive");
    for (magic, name) in [("\u{fd}7zXZ\0", "xz"), ("BZh9", "bzip2")] {
        let bytes: Vec<u8> = magic.chars().map(|c| c as u8).collect();
        refused(&bytes, &format!("it is compressed with {name}"));
    }
}

#[test]
fn sizes_that_contradict_each_other() {
    let said = |content: &str| M {
        content: content.into(),
        ..M::of(b'x', "PaxHeaders/a")
    };
    for content in [
        "10 size=7\n",
        "10 size=x\n",
        "29 size=18446744073709551615\n",
    ] {
        let members = image(&[said(content), M::file("a", "four")]);
        refused(
            &archive(&members),
            "a: it says two different things about its size",
        );
    }
    let members = image(&[said("10 size=4\n"), M::file("a", "four")]);
    Site::new().import(&archive(&members)).unwrap();
}

#[test]
fn bombs() {
    let site = Site::new();
    let limits = Limits {
        bytes: 1 << 20,
        entries: 1000,
    };
    let refused = |archive: &[u8], reason: &str| {
        let error = message(&site.import_within(archive, limits).unwrap_err());
        assert!(error.contains(reason), "{error:?} instead of {reason:?}");
        site.assert_untouched(reason);
    };
    // 64 MiB of zeros in 64 KiB: as a file, as what is skipped, as what follows the archive, as a name.
    let zeros = "\0".repeat(64 << 20);
    let large = "larger than 1048576 bytes";
    refused(&gzip(&archive(&image(&[M::file("zeros", &zeros)]))), large);
    refused(
        &gzip(&archive(&image(&[M::file("dev/zeros", &zeros)]))),
        large,
    );
    let trailing = [archive(&image(&[])), zeros.clone().into_bytes()].concat();
    refused(&gzip(&trailing), large);
    let name = M {
        content: zeros.into_bytes(),
        ..M::of(b'L', "././@LongLink")
    };
    refused(
        &gzip(&archive(&image(&[name]))),
        "what describes it is too long",
    );
    // A size is easily claimed.
    let mut claim = M::file("large", "x");
    claim.claimed = Some(1 << 40);
    refused(&archive(&image(&[claim])), large);
    let many: Vec<M> = (0..1001)
        .map(|number| M::directory(&format!("d{number}")))
        .collect();
    refused(
        &gzip(&archive(&image(&many))),
        "more than 1000 files and directories",
    );
    let links: Vec<M> = (0..1001)
        .map(|number| M::hard(&format!("l{number}"), "usr/bin/bash"))
        .collect();
    refused(
        &gzip(&archive(&image(&links))),
        "more than 1000 files and directories",
    );
    // Directories in directories: deeper than a path can be.
    let deep = M {
        content: "d/".repeat(40_000).into_bytes(),
        ..M::of(b'L', "././@LongLink")
    };
    refused(
        &archive(&image(&[deep, M::file("a", "x")])),
        "not one that a file can have",
    );
}

/// Names and terminals.
#[test]
fn messages_hold_no_escape_sequences() {
    let site = Site::new();
    let error = site
        .import(&archive(&[M::of(b'3', "\u{1b}[2Jx\n")]))
        .unwrap_err();
    assert_eq!(error.to_string(), "\\u{1b}[2Jx\\n: it is a device");
}

#[test]
fn directories_with_more_than_files() {
    let from = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(from.path().join("bin")).unwrap();
    std::fs::write(from.path().join("bin/bash"), "#!").unwrap();
    let refused = |name: &str, reason: &str| {
        let site = Site::new();
        let error = message(&site.import_path(from.path()).unwrap_err());
        assert!(error.contains(reason), "{error}");
        site.assert_untouched(reason);
        std::fs::remove_file(from.path().join(name)).unwrap();
    };
    let fifo = from.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    refused("fifo", "fifo: it is neither a file, a directory nor a link");
    let listener = std::os::unix::net::UnixListener::bind(from.path().join("socket")).unwrap();
    drop(listener);
    refused("socket", "socket: it is neither a file");
    symlink("../../victim", from.path().join("bin/link")).unwrap();
    refused(
        "bin/link",
        "bin/link: it links to ../../victim, outside of the image",
    );
    if rustix::process::geteuid().is_root() {
        let node = from.path().join("node");
        let device = rustix::fs::makedev(1, 3);
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, device).unwrap();
        refused("node", "node: it is a device");
    }
    let deep = |levels| from.path().join("d/".repeat(levels));
    std::fs::create_dir_all(deep(257)).unwrap();
    let site = Site::new();
    let error = message(&site.import_path(from.path()).unwrap_err());
    assert!(error.starts_with("d/d/d/"), "{error}");
    assert!(
        error.contains("d: it lies deeper than 256 directories"),
        "{error}"
    );
    site.assert_untouched("a deep directory");
    std::fs::remove_dir(deep(257)).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(from.path().join("bin/bash"), mode).unwrap();
    Site::new().import_path(from.path()).unwrap();

    let site = Site::new();
    let error = site.import_path(Path::new("/dev/null")).unwrap_err();
    assert!(matches!(error, LibraryError::Source), "{error}");
    let error = site.import_path(&from.path().join("missing")).unwrap_err();
    assert!(
        message(&error).contains("find what to import: No such file"),
        "{error}"
    );
    site.assert_untouched("sources that are none");
}

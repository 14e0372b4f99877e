//! OCI image layouts: layers over each other, and what layouts must not do.

use super::*;
use crate::library::digest::hexadecimal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A layout that is being made.
pub(super) struct Layout {
    pub(super) directory: tempfile::TempDir,
    layers: Vec<Value>,
}

impl Layout {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        let mark = directory.path().join("oci-layout");
        std::fs::write(mark, r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        let layers = Vec::new();
        Self { directory, layers }
    }

    fn blob(&self, bytes: &[u8]) -> Value {
        let digest = hexadecimal(&Sha256::digest(bytes));
        std::fs::write(self.path(&digest), bytes).unwrap();
        json!({"mediaType": "x", "digest": digest, "size": bytes.len()})
    }

    fn path(&self, digest: &str) -> PathBuf {
        let hash = digest.strip_prefix("sha256:").unwrap();
        self.directory.path().join("blobs/sha256").join(hash)
    }

    pub(super) fn layer(self, members: &[M]) -> Self {
        self.packed_layer(&gzip(&archive(members)))
    }

    fn packed_layer(mut self, packed: &[u8]) -> Self {
        let layer = self.blob(packed);
        self.layers.push(layer);
        self
    }

    /// A manifest, as `index.json` names it.
    fn manifest(&self) -> Value {
        let config = json!({"config": {"Env": ["PATH=/go/bin:/bin", "EMPTY="]}});
        let config = self.blob(config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": self.layers});
        self.blob(manifest.to_string().as_bytes())
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.directory.path().join("index.json"), index.to_string()).unwrap();
    }

    pub(super) fn finish(self) -> Self {
        self.index(&[self.manifest()]);
        self
    }

    fn refused(&self, reason: &str) {
        let site = Site::new();
        let error = site
            .import_path(self.directory.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error:?} instead of {reason:?}");
        site.assert_untouched(reason);
    }

    /// The layout in an archive, as tools hand it over.
    fn packed(&self) -> Vec<u8> {
        let mut members = Vec::new();
        for path in ["oci-layout", "index.json"] {
            let text = std::fs::read_to_string(self.directory.path().join(path)).unwrap();
            members.push(M::file(path, &text));
        }
        for hash in names(&self.directory.path().join("blobs/sha256")).unwrap() {
            let path = format!("blobs/sha256/{hash}");
            let content = std::fs::read(self.directory.path().join(&path)).unwrap();
            members.push(M {
                content,
                ..M::file(&path, "")
            });
        }
        archive(&members)
    }
}

fn layered() -> Layout {
    Layout::new()
        .layer(&image(&[
            M::file("etc/motd", "first\n"),
            M::file("gone", "x"),
            M::file("tree/a/b", "x"),
            M::file("opaque/old", "x"),
            M::file("becomes/directory", "x"),
            M::file("stays", "first"),
            M::file("elsewhere/stays", "first"),
            M::link("data", "elsewhere"),
        ]))
        .layer(&[
            M::file("etc/motd", "second\n"),
            M::file(".wh.gone", ""),
            M::file(".wh.tree", ""),
            // What the layer itself has is not meant, wherever the mark is.
            M::file("opaque/new", "y"),
            M::file("opaque/.wh..wh..opq", ""),
            // A directory in place of a link, not what the link leads to.
            M::directory("data"),
            M::file("data/.wh..wh..opq", ""),
            M::file("data/new", "y"),
            M::file("becomes", "a file"),
            M::file("again", "y"),
            M::file(".wh.again", ""),
            M::file(".wh.never-was", ""),
        ])
}

#[test]
fn layers_lie_over_each_other() {
    let layout = layered().finish();
    let from_directory = Site::new();
    let manifest = from_directory.import_path(layout.directory.path()).unwrap();
    let from_archive = Site::new();
    let other = from_archive.import(&gzip(&layout.packed())).unwrap();
    assert_eq!(manifest.digest, other.digest);
    for site in [from_directory, from_archive] {
        assert_eq!(site.text("etc/motd"), "second\n");
        assert_eq!(site.text("becomes"), "a file");
        assert_eq!(
            (site.text("again"), site.text("stays")),
            ("y".to_owned(), "first".to_owned())
        );
        assert!(!site.at("gone").exists() && !site.at("tree").exists());
        assert_eq!(names(&site.at("opaque")).unwrap(), ["new"]);
        assert_eq!(names(&site.at("data")).unwrap(), ["new"]);
        assert_eq!(site.text("elsewhere/stays"), "first");
        let all = all_below(&site.at(""));
        let is_mark = |path: &PathBuf| path.display().to_string().contains(".wh.");
        assert!(!all.iter().any(is_mark), "{all:?}");
        let path = ("PATH".to_owned(), "/go/bin:/bin".to_owned());
        let known = site.known();
        assert_eq!(
            known[0].environment,
            [path, ("EMPTY".to_owned(), String::new())]
        );
        assert_eq!(
            names(&site.library.directory.join("one/1.0.0"))
                .unwrap()
                .len(),
            2
        );
    }
}

#[test]
fn whiteouts_do_not_reach_outside() {
    let site = Site::new();
    let victim = site.top.path().join("victim").display().to_string();
    let of = |members: &[M]| Layout::new().layer(&image(&[])).layer(members).finish();
    for name in [
        ".wh.",
        ".wh..",
        ".wh...",
        "a/.wh...",
        ".wh..wh.",
        ".wh..wh.plnk",
    ] {
        of(&[M::file(name, "")]).refused("it marks nothing as removed");
    }
    of(&[M::file("../.wh.nothing", "")]).refused("its name leads upwards");
    // Through a link of a lower layer, which a zone would follow inside: there is nothing.
    for mark in ["x/.wh.file", "x/.wh..wh..opq"] {
        let layout = Layout::new()
            .layer(&image(&[M::link("x", &victim)]))
            .layer(&[M::file(mark, "")])
            .finish();
        site.import_path(layout.directory.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(format!("{victim}/file")).unwrap(),
            "mine"
        );
        site.library.remove(&id("one", "1.0.0")).unwrap();
        site.assert_untouched(mark);
    }
    // The link itself goes, not what it leads to.
    let layout = Layout::new()
        .layer(&image(&[M::link("x", &victim), M::link("y", "usr")]))
        .layer(&[M::file(".wh.x", ""), M::file(".wh.y", "")])
        .finish();
    site.import_path(layout.directory.path()).unwrap();
    assert!(!site.at("x").is_symlink() && site.at("usr/bin/bash").exists());
    assert_eq!(
        std::fs::read_to_string(format!("{victim}/file")).unwrap(),
        "mine"
    );
}

#[test]
fn layers_are_held_to_what_archives_are() {
    let of = |member: M| Layout::new().layer(&image(&[])).layer(&[member]).finish();
    of(M::file("/nowhere/file", "x")).refused("its name begins at the root");
    of(M::hard("x", "/nowhere/file")).refused("outside of the image");
    of(M::of(b'4', "sda")).refused("sda: it is a device");
    Layout::new()
        .layer(&[M::file("etc/motd", "x")])
        .finish()
        .refused("no /bin/bash");
    // All layers together have one limit.
    let layout = Layout::new()
        .layer(&image(&[M::file("a", &"x".repeat(600_000))]))
        .layer(&[M::file("b", &"x".repeat(600_000))])
        .finish();
    let site = Site::new();
    let mut wanted = import("one", "1.0.0");
    wanted.limits.bytes = 1 << 20;
    let error = site
        .library
        .import(&wanted, Source::Path(layout.directory.path()));
    assert!(
        matches!(error, Err(LibraryError::TooLarge { .. })),
        "{error:?}"
    );
    site.assert_untouched("a large image");
}

#[test]
fn blobs_are_what_their_names_say() {
    // Another layer, as good in itself and as long: what it has, and what it takes away.
    for (true_one, forged) in [
        (M::file("etc/motd", "true!!"), M::file("etc/motd", "forged")),
        (M::file(".wh.a", ""), M::file(".wh.b", "")),
    ] {
        let layout = layered()
            .packed_layer(&archive(&[true_one]))
            .packed_layer(&archive(&[M::directory("last")]))
            .finish();
        let layer = layout.path(layout.layers[2]["digest"].as_str().unwrap());
        let other = archive(&[forged]);
        assert_eq!(layer.metadata().unwrap().len(), other.len() as u64);
        std::fs::write(&layer, &other).unwrap();
        layout.refused("does not have the digest");
    }

    let layout = layered().finish();
    let layer = layout.path(layout.layers[1]["digest"].as_str().unwrap());
    let bytes = std::fs::read(&layer).unwrap();
    std::fs::write(&layer, &bytes[1..]).unwrap();
    layout.refused("bytes and not");
    std::fs::remove_file(&layer).unwrap();
    layout.refused("is missing");
    symlink(layout.directory.path().join("oci-layout"), &layer).unwrap();
    layout.refused("is missing");

    let layout = layered();
    let mut manifest = layout.manifest();
    for digest in [
        "sha256:../../../../etc/passwd",
        "../../etc/passwd",
        "sha512:00",
        &format!("sha256:{}", "A".repeat(64)),
    ] {
        manifest["digest"] = digest.into();
        layout.index(std::slice::from_ref(&manifest));
        layout.refused("is no SHA-256 digest");
    }
    let mut forged = layout.manifest();
    let path = layout.path(forged["digest"].as_str().unwrap());
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\"layers\":[", "\"layers\":[ ");
    std::fs::write(&path, &text).unwrap();
    forged["size"] = text.len().into();
    layout.index(&[forged]);
    layout.refused("does not have the digest");
    let mut large = layout.manifest();
    large["size"] = (1_u64 << 40).into();
    layout.index(&[large]);
    layout.refused("too large for a document");
}

#[test]
fn the_image_for_this_machine_is_taken() {
    let layout = layered();
    let for_machine = |os: &str, architecture: &str| {
        let mut manifest = layout.manifest();
        manifest["platform"] = json!({"os": os, "architecture": architecture});
        manifest
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let (ours, theirs) = (
        for_machine("linux", architecture),
        for_machine("plan9", "mips"),
    );
    layout.index(std::slice::from_ref(&theirs));
    layout.refused("no image for this machine");
    layout.index(&[]);
    layout.refused("no image for this machine");
    let mut second = layout.blob(b"{}");
    second["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    layout.index(&[ours.clone(), second]);
    layout.refused("several images (");
    // An index below the index, as tools write it that know several machines.
    let below = json!({"manifests": [theirs, ours]}).to_string();
    let mut below = layout.blob(below.as_bytes());
    below["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
    layout.index(std::slice::from_ref(&below));
    Site::new().import_path(layout.directory.path()).unwrap();
    // Without an end.
    let mut deep = below;
    for _ in 0..3 {
        deep = layout.blob(json!({"manifests": [deep]}).to_string().as_bytes());
        deep["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
    }
    layout.index(&[deep]);
    layout.refused("indexes in indexes");
    std::fs::write(layout.directory.path().join("index.json"), "{").unwrap();
    layout.refused("index.json: EOF");
}

//! The `host` image: the machine's own programs, and nothing else of the machine. Source: zones.md 5.1.
//!
//! Through an id-mapped mount the zone's root *owns* the files of the host's root, so file modes protect
//! nothing: `/etc` is generated from an allow-list, and every file below `/usr` that is not readable by
//! all is covered by a whiteout. The walk that finds those is security-critical.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use libmanta::Version;
use rustix::fs::{CWD, FileType, Mode};

use crate::wire::{Flavour, Image, Tree};

/// What is copied from the host's `/etc`: how to find libraries, programs, names and time zones; public
/// certificates. Nothing that names users, hosts or secrets.
const ETC: &[&str] = &[
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "ca-certificates.conf",
    "localtime",
    "timezone",
    "nsswitch.conf",
    "mime.types",
    "services",
    "protocols",
    "os-release",
    "debian_version",
];

const GENERATED: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\n\
         daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         bin:x:2:2:bin:/bin:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    (
        "etc/group",
        "root:x:0:\ndaemon:x:1:\nbin:x:2:\ntty:x:5:\nnogroup:x:65534:\n",
    ),
    (
        "etc/hosts",
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    ),
    // There is no network to resolve names on.
    ("etc/resolv.conf", ""),
];

const DIRECTORIES: &[(&str, u32)] = &[
    ("etc", 0o755),
    ("dev", 0o755),
    ("proc", 0o555),
    ("manta", 0o755),
    ("assets", 0o755),
    ("root", 0o700),
    ("home", 0o755),
    ("run", 0o755),
    ("mnt", 0o755),
    ("srv", 0o755),
    ("opt", 0o755),
    ("opt/local", 0o755),
    ("opt/marlin", 0o755),
    ("opt/marlin/bin", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
    ("var/lib", 0o755),
    ("var/cache", 0o755),
    ("var/log", 0o755),
];

/// Directories of programs and libraries; links where `/usr` is merged.
const TOP: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What the image is made from.
#[derive(Debug)]
pub(crate) struct HostImage<'a> {
    pub(crate) flavour: Flavour,
    pub(crate) tools: Option<&'a Path>,
    pub(crate) usr_local: bool,
    /// What it answers to when a job asks for an image.
    pub(crate) version: Version,
}

impl HostImage<'_> {
    /// Builds it in `directory`, which does not exist yet. Walks `/usr`: seconds on a cold cache.
    pub(crate) fn build(&self, directory: &Path) -> io::Result<Image> {
        std::fs::create_dir(directory)?;
        let mount_point = directory.join("root");
        std::fs::create_dir(&mount_point)?;
        let base = directory.join("base");
        let mut sources = vec![(PathBuf::from("/usr"), "usr".to_owned())];
        make_directory(&base, 0o755)?;
        make_directory(&base.join("usr"), 0o755)?;
        for name in TOP {
            let source = Path::new("/").join(name);
            let Ok(metadata) = source.symlink_metadata() else {
                continue;
            };
            if metadata.is_symlink() {
                symlink(std::fs::read_link(&source)?, base.join(name))?;
            } else if metadata.is_dir() {
                make_directory(&base.join(name), 0o755)?;
                sources.push((source, (*name).to_owned()));
            }
        }
        for (name, mode) in DIRECTORIES {
            make_directory(&base.join(name), *mode)?;
        }
        self.write_etc(&base)?;
        let packages = Path::new("/var/lib/dpkg");
        if packages.is_dir() {
            make_directory(&base.join("var/lib/dpkg"), 0o755)?;
            sources.push((packages.to_owned(), "var/lib/dpkg".to_owned()));
        }

        let mut trees = Vec::new();
        for (index, (source, target)) in sources.into_iter().enumerate() {
            let mask = Mask {
                source: &source,
                directory: directory.join(format!("mask{index}")),
            };
            let hidden: &[&str] = if target == "usr" && !self.usr_local {
                &["local"]
            } else {
                &[]
            };
            let mask = mask.build(hidden)?;
            trees.push(Tree {
                source,
                mask,
                target,
                writable: self.flavour == Flavour::Full,
            });
        }
        if let Some(tools) = self.tools {
            trees.push(Tree::tools(tools));
        }
        Ok(Image {
            flavour: self.flavour,
            mount_point,
            base,
            trees,
        })
    }

    fn write_etc(&self, base: &Path) -> io::Result<()> {
        for name in ETC {
            let (from, to) = (Path::new("/etc").join(name), base.join("etc").join(name));
            if from.symlink_metadata().is_ok() {
                if let Some(parent) = to.parent() {
                    make_directories(parent, &base.join("etc"))?;
                }
                copy(&from, &to)?;
            }
        }
        for (path, content) in GENERATED {
            let path = base.join(path);
            std::fs::write(&path, content)?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        }
        let motd = base.join("etc/motd");
        std::fs::write(
            &motd,
            format!("The programs of this machine, as image {}.\n", self.version),
        )?;
        std::fs::set_permissions(&motd, Permissions::from_mode(0o644))?;
        symlink("/proc/self/mounts", base.join("etc/mtab"))
    }
}

/// A directory of exactly `mode`, whatever the umask.
fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

fn make_directories(path: &Path, top: &Path) -> io::Result<()> {
    if path == top || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent, top)?;
    }
    make_directory(path, 0o755)
}

/// Copies what is readable by all, links as links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_symlink() {
        // There are hundreds. Another name for one costs far less than another one, where both places are on
        // one file system and the kernel lets us.
        return match std::fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(_) => symlink(std::fs::read_link(from)?, to),
        };
    }
    if metadata.mode() & 0o004 == 0 {
        return Ok(());
    }
    if metadata.is_dir() {
        make_directory(to, 0o755)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if metadata.is_file() {
        std::fs::write(to, std::fs::read(from)?)?;
        std::fs::set_permissions(to, Permissions::from_mode(metadata.mode() & 0o755))?;
    }
    Ok(())
}

/// An overlay layer of whiteouts over one tree.
struct Mask<'a> {
    source: &'a Path,
    directory: PathBuf,
}

impl Mask<'_> {
    /// Hides the directories `names` and everything not readable by all. `None` when that is nothing.
    fn build(&self, names: &[&str]) -> io::Result<Option<PathBuf>> {
        let mut hidden: Vec<PathBuf> = Vec::new();
        for name in names {
            if self.source.join(name).symlink_metadata().is_ok() {
                hidden.push(name.into());
            }
        }
        self.walk(Path::new(""), &mut hidden)?;
        if hidden.is_empty() {
            return Ok(None);
        }
        make_directory(&self.directory, 0o755)?;
        for path in &hidden {
            let mut parent = PathBuf::new();
            for part in path.parent().into_iter().flat_map(Path::components) {
                parent.push(part);
                self.repeat_directory(&parent)?;
            }
            // Overlay's mark of a removed file.
            let mode = Mode::from_raw_mode(0o000);
            rustix::fs::mknodat(
                CWD,
                self.directory.join(path),
                FileType::CharacterDevice,
                mode,
                0,
            )?;
        }
        Ok(Some(self.directory.clone()))
    }

    fn walk(&self, below: &Path, hidden: &mut Vec<PathBuf>) -> io::Result<()> {
        let directory = if below.as_os_str().is_empty() {
            self.source.to_owned()
        } else {
            self.source.join(below)
        };
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                continue;
            }
            let path = below.join(entry.file_name());
            if hidden.contains(&path) {
                continue;
            }
            let metadata = match entry.metadata() {
                // Removed while we walk.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            // A directory must be searchable too, or what is in it is not meant for all.
            let needed = if kind.is_dir() { 0o005 } else { 0o004 };
            if metadata.mode() & needed != needed {
                hidden.push(path);
            } else if kind.is_dir() {
                self.walk(&path, hidden)?;
            }
        }
        Ok(())
    }

    /// A directory in the mask gives the merged one its owner and mode: repeat the original's.
    fn repeat_directory(&self, path: &Path) -> io::Result<()> {
        let copy = self.directory.join(path);
        if copy.is_dir() {
            return Ok(());
        }
        let metadata = self.source.join(path).metadata()?;
        make_directory(&copy, metadata.mode() & 0o7777)?;
        match chown(&copy, Some(metadata.uid()), Some(metadata.gid())) {
            // Not root: the mask is for /usr/local alone, and owners do not show.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_not_read_is_hidden() {
        let top = std::env::temp_dir().join(format!("triton-mask-{}", std::process::id()));
        let source = top.join("source");
        std::fs::create_dir_all(source.join("open/shut")).unwrap();
        std::fs::create_dir_all(source.join("local")).unwrap();
        for (path, mode) in [
            ("open/public", 0o644),
            ("open/secret", 0o640),
            ("open/shut/x", 0o644),
        ] {
            std::fs::write(source.join(path), "").unwrap();
            std::fs::set_permissions(source.join(path), Permissions::from_mode(mode)).unwrap();
        }
        let shut = source.join("open/shut");
        std::fs::set_permissions(&shut, Permissions::from_mode(0o750)).unwrap();
        let mut hidden = vec!["local".into()];
        let mask = Mask {
            source: &source,
            directory: top.join("mask"),
        };
        mask.walk(Path::new(""), &mut hidden).unwrap();
        hidden.sort();
        let expected: Vec<PathBuf> = ["local", "open/secret", "open/shut"]
            .into_iter()
            .map(PathBuf::from)
            .collect();
        std::fs::remove_dir_all(&top).unwrap();
        assert_eq!(hidden, expected);
    }
}

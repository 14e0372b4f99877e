//! The files below a local directory.
//!
//! Symbolic links are followed, as the ecosystem's tools do, unless the user says otherwise. A link to one
//! of the directories that lead to it is a circle and is reported instead of being walked for ever.

use std::fs::{self, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What to do about symbolic links.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Links {
    Follow,
    Ignore,
}

/// One thing that was found. Names are relative to the start, with `/` between them.
#[derive(Debug)]
pub(super) enum Local {
    File(LocalFile),
    Directory {
        relative: String,
    },
    /// Something that should have been given and cannot be, in words.
    Problem(String),
}

#[derive(Clone, Debug)]
pub(super) struct LocalFile {
    pub(super) relative: String,
    pub(super) path: PathBuf,
    /// Bytes, when it was found.
    pub(super) size: u64,
}

/// Gives everything below `root` until `each` breaks: of each directory first its files and then its
/// directories, both in the order of their names, and after a directory what is in it. Blocks. Errors: the root cannot be read; what is wrong further down is given as a problem.
pub(super) fn walk(
    root: &Path,
    links: Links,
    mut each: impl FnMut(Local) -> ControlFlow<()>,
) -> io::Result<()> {
    let entries = fs::read_dir(root)?;
    let mut walk = Walk {
        links,
        each: &mut each,
        above: vec![identity(&fs::metadata(root)?)],
    };
    // A break is no failure.
    let _ = walk.directory(entries, root, "");
    Ok(())
}

struct Walk<'a> {
    links: Links,
    each: &'a mut dyn FnMut(Local) -> ControlFlow<()>,
    /// The directories between the root and where we are.
    above: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn directory(&mut self, entries: fs::ReadDir, path: &Path, relative: &str) -> ControlFlow<()> {
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(error) => self.problem(path, &error)?,
            }
        }
        names.sort();
        let mut below = Vec::new();
        for name in names {
            let path = path.join(&name);
            let Some(name) = name.to_str() else {
                self.problem(&path, &"the name is not UTF-8")?;
                continue;
            };
            let relative = match relative {
                "" => name.to_owned(),
                above => format!("{above}/{name}"),
            };
            match self.look_at(&path) {
                Ok(Some(metadata)) if metadata.is_file() => {
                    let size = metadata.len();
                    (self.each)(Local::File(LocalFile {
                        relative,
                        path,
                        size,
                    }))?;
                }
                Ok(Some(metadata)) if metadata.is_dir() => {
                    below.push((path, relative, identity(&metadata)));
                }
                // Links that are not wanted, and what has no content to store: sockets, pipes, devices.
                Ok(_) => {}
                Err(error) => self.problem(&path, &error)?,
            }
        }
        for (path, relative, identity) in below {
            self.below(&path, relative, identity)?;
        }
        ControlFlow::Continue(())
    }

    fn below(&mut self, path: &Path, relative: String, identity: (u64, u64)) -> ControlFlow<()> {
        if self.above.contains(&identity) {
            return self.problem(path, &"the link leads in a circle");
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.problem(path, &error),
        };
        (self.each)(Local::Directory {
            relative: relative.clone(),
        })?;
        self.above.push(identity);
        let outcome = self.directory(entries, path, &relative);
        self.above.pop();
        outcome
    }

    /// `None` for a link that is to be ignored.
    fn look_at(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let metadata = fs::symlink_metadata(path)?;
        match (metadata.is_symlink(), self.links) {
            (false, _) => Ok(Some(metadata)),
            (true, Links::Ignore) => Ok(None),
            (true, Links::Follow) => fs::metadata(path).map(Some),
        }
    }

    fn problem(&mut self, path: &Path, what: &dyn std::fmt::Display) -> ControlFlow<()> {
        (self.each)(Local::Problem(format!("{}: {what}", path.display())))
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(root: &Path, links: Links) -> Vec<String> {
        let mut found = Vec::new();
        walk(root, links, |local| {
            found.push(match local {
                Local::File(file) => format!("{} {}", file.relative, file.size),
                Local::Directory { relative } => format!("{relative}/"),
                Local::Problem(text) => text.rsplit('/').next().unwrap_or_default().to_owned(),
            });
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn links_are_followed_but_not_in_circles() {
        let dir = std::env::temp_dir().join(format!("manta-local-tree-{}", std::process::id()));
        fs::create_dir_all(dir.join("b/empty")).unwrap();
        fs::write(dir.join("b/x"), "12345").unwrap();
        fs::write(dir.join("a"), "").unwrap();
        symlink("../a", dir.join("b/link")).unwrap();
        symlink("../..", dir.join("b/empty/up")).unwrap();
        symlink("b/x", dir.join("c")).unwrap();
        symlink("nowhere", dir.join("d")).unwrap();
        let outcome = std::panic::catch_unwind(|| {
            assert_eq!(
                found(&dir, Links::Follow),
                [
                    "a 0",
                    "c 5",
                    "d: No such file or directory (os error 2)",
                    "b/",
                    "b/link 0",
                    "b/x 5",
                    "b/empty/",
                    "up: the link leads in a circle",
                ]
            );
            assert_eq!(
                found(&dir, Links::Ignore),
                ["a 0", "b/", "b/x 5", "b/empty/"]
            );
            assert!(
                walk(&dir.join("none"), Links::Follow, |_| ControlFlow::Continue(
                    ()
                ))
                .is_err()
            );
        });
        fs::remove_dir_all(&dir).unwrap();
        outcome.unwrap();
    }
}

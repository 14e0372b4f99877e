//! From system calls to operations on files and names, and to what a sync made durable when.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};

use crate::trace::{Call, unquote};

pub type InodeId = usize;

/// Never an inode: stands for the root's own parent.
pub(super) const ROOT: InodeId = 0;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    Socket,
    /// A file linked in from elsewhere, whose content is not ours to lose.
    Outside(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct Inode {
    pub kind: Kind,
    /// The last name it was given, which it may have lost since.
    pub name: Vec<u8>,
    /// Entries as the running process sees them; only of directories.
    entries: BTreeMap<Vec<u8>, InodeId>,
    /// Size as the running process sees it.
    size: u64,
}

/// A change that is atomic, or (bytes) torn only at sectors.
#[derive(Clone, Debug)]
pub enum Step {
    Bytes {
        inode: InodeId,
        offset: u64,
        bytes: Vec<u8>,
    },
    Resize {
        inode: InodeId,
        size: u64,
    },
    Attribute {
        inode: InodeId,
        name: Vec<u8>,
        value: Option<Vec<u8>>,
    },
    /// Names that come, or go (`None`), all or none of them. The last one is in the directory that must
    /// be synced.
    Names(Vec<(InodeId, Vec<u8>, Option<InodeId>)>),
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub step: Step,
    pub entered: usize,
    pub left: usize,
    /// Line on which the first sync that covers it returned.
    pub durable: Option<usize>,
}

/// Everything a process did below one directory, and what it sent to its clients.
#[derive(Clone, Debug)]
pub struct Record {
    pub inodes: Vec<Inode>,
    pub operations: Vec<Operation>,
    /// Line on which sending began, and what was sent to something that is not a file.
    pub sent: Vec<(usize, Vec<u8>)>,
    /// Lines on which something changed: where cutting makes a difference.
    pub moments: Vec<usize>,
}

impl Record {
    /// Where an inode is at the end, relative to the root; the first of its names.
    #[must_use]
    pub fn path_of(&self, wanted: InodeId) -> Option<String> {
        fn search(record: &Record, at: InodeId, path: &str, wanted: InodeId) -> Option<String> {
            record.inodes[at].entries.iter().find_map(|(name, inode)| {
                let path = format!("{path}/{}", String::from_utf8_lossy(name));
                if *inode == wanted {
                    Some(path)
                } else {
                    search(record, *inode, &path, wanted)
                }
            })
        }
        search(self, ROOT, "", wanted)
    }

    /// Line on which the first answer that contains `text` began to be sent.
    #[must_use]
    pub fn answered(&self, text: &str) -> Option<usize> {
        let needle = text.as_bytes();
        let found = self.sent.iter().find(|(_, sent)| contains(sent, needle))?;
        Some(found.0)
    }
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// An open file, shared by all descriptors that were duplicated from one another.
#[derive(Clone, Debug)]
struct Open {
    inode: InodeId,
    position: u64,
    append: bool,
    /// Every write is a sync as well.
    synchronous: bool,
}

struct Recorder<'a> {
    root: &'a Path,
    record: Record,
    descriptors: BTreeMap<i64, usize>,
    open: Vec<Open>,
}

/// Below this directory of the root lie the disks of zones. They are changed by other processes, and nothing
/// in them outlives the store, so what happens there is not followed.
pub(super) const ZONES: &str = "zones";

/// Records what happened below `root`, which was empty at the beginning of the trace.
pub fn record(calls: &[Call], root: &Path) -> Result<Record> {
    ensure!(root.is_absolute(), "the root must be absolute");
    let directory = Inode {
        kind: Kind::Directory,
        name: Vec::new(),
        entries: BTreeMap::new(),
        size: 0,
    };
    let record = Record {
        inodes: vec![directory],
        operations: Vec::new(),
        sent: Vec::new(),
        moments: Vec::new(),
    };
    let mut recorder = Recorder {
        root,
        record,
        descriptors: BTreeMap::new(),
        open: Vec::new(),
    };
    // Effects are seen in the order in which calls returned; what did not return may still have happened.
    let mut order: Vec<&Call> = calls.iter().collect();
    // A descriptor is free for the next `open` before its `close` has returned to its caller.
    order.sort_by_key(|call| match call.name.as_str() {
        "close" => (call.entered, call.entered),
        _ => (call.left, call.entered),
    });
    for call in order {
        recorder
            .apply(call)
            .with_context(|| format!("follow {} on line {}", call.name, call.entered + 1))?;
    }
    let mut record = recorder.record;
    record.operations.sort_by_key(|operation| operation.entered);
    record.sent.sort_by_key(|(line, _)| *line);
    record.moments.sort_unstable();
    record.moments.dedup();
    Ok(record)
}

impl Recorder<'_> {
    fn apply(&mut self, call: &Call) -> Result<()> {
        // A call that the end of the process cut short counts as one that happened: it may have.
        if call.result.is_some_and(|result| result < 0) {
            return Ok(());
        }
        match call.name.as_str() {
            "open" | "creat" => self.open(call, None, 0),
            "openat" | "openat2" => self.open(call, Some(0), 1),
            "close" => {
                self.descriptors.remove(&call.number(0)?);
                Ok(())
            }
            "dup" | "dup2" | "dup3" => self.duplicate(call),
            "fcntl" if call.argument(1)?.starts_with("F_DUPFD") => self.duplicate(call),
            "fcntl" | "clone" | "clone3" | "sync_file_range" => Ok(()),
            "lseek" => {
                if let (Some(open), Some(position)) = (self.description(call)?, call.success()) {
                    self.open[open].position = position as u64;
                }
                Ok(())
            }
            "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => self.write(call),
            "sendto" => self.send(call, call.bytes(1)?),
            "sendmsg" => self.send(call, call.gathered(1)?),
            "ftruncate" => self.resize(call, call.number(1)? as u64),
            "fallocate" => self.allocate(call),
            "fsync" | "fdatasync" => self.sync(call),
            "syncfs" | "sync" => {
                self.cover(call, |_| true);
                Ok(())
            }
            "bind" => self.make_socket(call),
            "mkdir" => self.make_directory(call, None, 0),
            "mkdirat" => self.make_directory(call, Some(0), 1),
            "symlink" => self.make_symlink(call, None, 1),
            "symlinkat" => self.make_symlink(call, Some(1), 2),
            "unlink" | "rmdir" => self.remove(call, None, 0),
            "unlinkat" => self.remove(call, Some(0), 1),
            "rename" => self.rename(call, (None, 0), (None, 1)),
            "renameat" | "renameat2" => self.rename(call, (Some(0), 1), (Some(2), 3)),
            "link" => self.link(call, (None, 0), (None, 1)),
            "linkat" => self.link(call, (Some(0), 1), (Some(2), 3)),
            "fsetxattr" => self.attribute(call, true),
            "fremovexattr" => self.attribute(call, false),
            "mmap" => self.refuse_shared_writes(call),
            "copy_file_range" => self.refuse_target(call, 2),
            "sendfile" => self.refuse_target(call, 0),
            "splice" => self.refuse_target(call, 2),
            "truncate" | "setxattr" | "lsetxattr" | "removexattr" => {
                let path = call.bytes(0)?;
                ensure!(
                    self.below_root(&path).is_none(),
                    "not modelled below the data directory"
                );
                Ok(())
            }
            "sendmmsg" => Ok(()),
            other => bail!("{other} is not modelled"),
        }
    }

    fn description(&self, call: &Call) -> Result<Option<usize>> {
        Ok(self.descriptors.get(&call.number(0)?).copied())
    }

    fn push(&mut self, call: &Call, step: Step, durable: Option<usize>) {
        self.record.moments.push(call.entered);
        self.record.operations.push(Operation {
            step,
            entered: call.entered,
            left: call.left,
            durable,
        });
    }

    /// The part of a path below the root, or `None`.
    fn below_root(&self, path: &[u8]) -> Option<Vec<Vec<u8>>> {
        let path = Path::new(std::str::from_utf8(path).ok()?);
        let below = path.strip_prefix(self.root).ok()?;
        let names = below.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.as_encoded_bytes().to_vec()),
            _ => None,
        });
        Some(names.collect())
    }

    /// The directory and the name a path ends in, `None` when that is not ours. The name is `None` when the
    /// path is the root or the directory itself.
    fn place(
        &self,
        call: &Call,
        at: Option<usize>,
        path: usize,
    ) -> Result<Option<(InodeId, Option<Vec<u8>>)>> {
        self.locate(call, at, &call.bytes(path)?)
    }

    fn locate(
        &self,
        call: &Call,
        at: Option<usize>,
        path: &[u8],
    ) -> Result<Option<(InodeId, Option<Vec<u8>>)>> {
        let (mut directory, mut names) = match self.below_root(path) {
            Some(names) => (ROOT, names),
            None if path.starts_with(b"/") => return Ok(None),
            None => {
                let Some(at) = at else { return Ok(None) };
                if call.argument(at)? == "AT_FDCWD" {
                    return Ok(None);
                }
                let Some(open) = self.descriptors.get(&call.number(at)?) else {
                    return Ok(None);
                };
                let names = path
                    .split(|byte| *byte == b'/')
                    .filter(|name| !name.is_empty() && *name != b".");
                (self.open[*open].inode, names.map(<[u8]>::to_vec).collect())
            }
        };
        let last = names.pop();
        let zones = self.record.inodes[ROOT]
            .entries
            .get(ZONES.as_bytes())
            .copied();
        for name in names {
            let next = self.record.inodes[directory].entries.get(&name);
            // Below something we never saw: the call would have failed, or it is not a file of ours.
            let Some(next) = next else { return Ok(None) };
            directory = *next;
        }
        if Some(directory) == zones {
            return Ok(None);
        }
        Ok(Some((directory, last)))
    }

    fn create(
        &mut self,
        call: &Call,
        directory: InodeId,
        name: Option<Vec<u8>>,
        kind: Kind,
    ) -> InodeId {
        let inode = self.record.inodes.len();
        self.record.inodes.push(Inode {
            kind,
            name: Vec::new(),
            entries: BTreeMap::new(),
            size: 0,
        });
        if let Some(name) = name {
            self.name(call, vec![(directory, name, Some(inode))]);
        }
        inode
    }

    fn name(&mut self, call: &Call, changes: Vec<(InodeId, Vec<u8>, Option<InodeId>)>) {
        for (directory, name, inode) in &changes {
            let entries = &mut self.record.inodes[*directory].entries;
            match inode {
                Some(inode) => {
                    entries.insert(name.clone(), *inode);
                    self.record.inodes[*inode].name.clone_from(name);
                }
                None => {
                    entries.remove(name);
                }
            }
        }
        self.push(call, Step::Names(changes), None);
    }

    fn open(&mut self, call: &Call, at: Option<usize>, path: usize) -> Result<()> {
        let Some(descriptor) = call.success() else {
            return Ok(());
        };
        self.descriptors.remove(&descriptor);
        let Some((directory, name)) = self.place(call, at, path)? else {
            return Ok(());
        };
        let flags = if call.name == "creat" {
            "O_CREAT|O_TRUNC"
        } else {
            call.argument(path + 1)?
        };
        let existing = match &name {
            None => Some(directory),
            Some(name) => self.record.inodes[directory].entries.get(name).copied(),
        };
        let inode = if flags.contains("O_TMPFILE") {
            self.create(call, directory, None, Kind::File)
        } else {
            match existing {
                Some(inode) => inode,
                None if flags.contains("O_CREAT") => self.create(call, directory, name, Kind::File),
                None => bail!(
                    "{} was opened and never made",
                    String::from_utf8_lossy(&call.bytes(path)?)
                ),
            }
        };
        if flags.contains("O_TRUNC") && self.record.inodes[inode].size > 0 {
            self.record.inodes[inode].size = 0;
            self.push(call, Step::Resize { inode, size: 0 }, None);
        }
        self.descriptors.insert(descriptor, self.open.len());
        self.open.push(Open {
            inode,
            position: 0,
            append: flags.contains("O_APPEND"),
            synchronous: flags.contains("O_SYNC") || flags.contains("O_DSYNC"),
        });
        Ok(())
    }

    fn duplicate(&mut self, call: &Call) -> Result<()> {
        let Some(copy) = call.success() else {
            return Ok(());
        };
        match self.description(call)? {
            Some(open) => self.descriptors.insert(copy, open),
            None => self.descriptors.remove(&copy),
        };
        Ok(())
    }

    fn write(&mut self, call: &Call) -> Result<()> {
        let gathering = call.name.contains("writev");
        let Some(open) = self.description(call)? else {
            let bytes = if gathering {
                call.gathered(1)?
            } else {
                call.bytes(1)?
            };
            return self.send(call, bytes);
        };
        let mut bytes = if gathering {
            call.gathered(1)?
        } else {
            call.bytes(1)?
        };
        if let Some(written) = call.success() {
            bytes.truncate(written as usize);
        }
        let Open {
            inode,
            position,
            append,
            synchronous,
        } = self.open[open];
        let offset = match call.name.as_str() {
            "pwrite64" | "pwritev" | "pwritev2" => call.number(3)? as u64,
            _ if append => self.record.inodes[inode].size,
            _ => position,
        };
        let end = offset + bytes.len() as u64;
        if !call.name.starts_with('p') {
            self.open[open].position = end;
        }
        let size = &mut self.record.inodes[inode].size;
        *size = end.max(*size);
        let durable = (synchronous && call.result.is_some()).then_some(call.left);
        self.push(
            call,
            Step::Bytes {
                inode,
                offset,
                bytes,
            },
            durable,
        );
        Ok(())
    }

    fn send(&mut self, call: &Call, bytes: Vec<u8>) -> Result<()> {
        self.record.sent.push((call.entered, bytes));
        self.record.moments.push(call.entered);
        Ok(())
    }

    fn resize(&mut self, call: &Call, size: u64) -> Result<()> {
        let Some(open) = self.description(call)? else {
            return Ok(());
        };
        let inode = self.open[open].inode;
        self.record.inodes[inode].size = size;
        self.push(call, Step::Resize { inode, size }, None);
        Ok(())
    }

    fn allocate(&mut self, call: &Call) -> Result<()> {
        let Some(open) = self.description(call)? else {
            return Ok(());
        };
        let inode = self.open[open].inode;
        let end = (call.number(2)? + call.number(3)?) as u64;
        match call.argument(1)? {
            "0" if end > self.record.inodes[inode].size => self.resize(call, end),
            "0" | "FALLOC_FL_KEEP_SIZE" => Ok(()),
            mode => bail!("fallocate with {mode} is not modelled"),
        }
    }

    /// Marks the operations that a sync covers: those of `of_interest` that had returned when it began.
    fn cover(&mut self, sync: &Call, of_interest: impl Fn(&Step) -> bool) {
        if sync.result.is_none() {
            return;
        }
        self.record.moments.push(sync.left);
        for operation in &mut self.record.operations {
            if operation.durable.is_none()
                && operation.left < sync.entered
                && of_interest(&operation.step)
            {
                operation.durable = Some(sync.left);
            }
        }
    }

    fn sync(&mut self, call: &Call) -> Result<()> {
        let Some(open) = self.description(call)? else {
            return Ok(());
        };
        let synced = self.open[open].inode;
        let everything = call.name == "fsync";
        self.cover(call, |step| match step {
            Step::Bytes { inode, .. } | Step::Resize { inode, .. } => *inode == synced,
            Step::Attribute { inode, .. } => *inode == synced && everything,
            Step::Names(changes) => changes
                .last()
                .is_some_and(|(directory, ..)| *directory == synced),
        });
        Ok(())
    }

    fn make_socket(&mut self, call: &Call) -> Result<()> {
        let Some((_, path)) = call.argument(1)?.split_once("sun_path=") else {
            return Ok(());
        };
        let path = path.trim_end_matches('}');
        // Names that are no paths, of the abstract namespace, begin with an @ before the quote.
        if path.starts_with('"')
            && let Some((directory, Some(name))) = self.locate(call, None, &unquote(path)?)?
        {
            self.create(call, directory, Some(name), Kind::Socket);
        }
        Ok(())
    }

    fn make_directory(&mut self, call: &Call, at: Option<usize>, path: usize) -> Result<()> {
        if let Some((directory, Some(name))) = self.place(call, at, path)? {
            self.create(call, directory, Some(name), Kind::Directory);
        }
        Ok(())
    }

    fn make_symlink(&mut self, call: &Call, at: Option<usize>, path: usize) -> Result<()> {
        if let Some((directory, Some(name))) = self.place(call, at, path)? {
            let target = call.bytes(0)?;
            self.create(call, directory, Some(name), Kind::Symlink(target));
        }
        Ok(())
    }

    fn remove(&mut self, call: &Call, at: Option<usize>, path: usize) -> Result<()> {
        if let Some((directory, Some(name))) = self.place(call, at, path)? {
            self.name(call, vec![(directory, name, None)]);
        }
        Ok(())
    }

    fn rename(
        &mut self,
        call: &Call,
        from: (Option<usize>, usize),
        to: (Option<usize>, usize),
    ) -> Result<()> {
        let from = self.place(call, from.0, from.1)?;
        let to = self.place(call, to.0, to.1)?;
        match (from, to) {
            (Some((from, Some(old))), Some((to, Some(new)))) => {
                let inode = self.record.inodes[from].entries.get(&old).copied();
                let inode = inode
                    .with_context(|| format!("{} was never made", String::from_utf8_lossy(&old)))?;
                self.name(call, vec![(from, old, None), (to, new, Some(inode))]);
                Ok(())
            }
            (None, None) => Ok(()),
            _ => bail!("a rename into or out of the data directory is not modelled"),
        }
    }

    fn link(
        &mut self,
        call: &Call,
        from: (Option<usize>, usize),
        to: (Option<usize>, usize),
    ) -> Result<()> {
        let Some((to, Some(new))) = self.place(call, to.0, to.1)? else {
            return Ok(());
        };
        let source = call.bytes(from.1)?;
        let by_descriptor = std::str::from_utf8(&source).ok().and_then(|path| {
            let path = path.strip_prefix("/proc/")?;
            path.rsplit_once("/fd/")?.1.parse::<i64>().ok()
        });
        let inode = if let Some(descriptor) = by_descriptor {
            self.descriptors
                .get(&descriptor)
                .map(|open| self.open[*open].inode)
        } else if source.is_empty() {
            let descriptor = call.number(from.0.context("an empty path needs a descriptor")?)?;
            self.descriptors
                .get(&descriptor)
                .map(|open| self.open[*open].inode)
        } else {
            match self.place(call, from.0, from.1)? {
                Some((directory, Some(name))) => {
                    self.record.inodes[directory].entries.get(&name).copied()
                }
                // Not below the root: only an absolute path says where it is when we look for it.
                _ if source.starts_with(b"/") => {
                    let kind = Kind::Outside(source);
                    self.create(call, to, Some(new), kind);
                    return Ok(());
                }
                _ => None,
            }
        };
        let inode = inode.context("what was linked was never made")?;
        self.name(call, vec![(to, new, Some(inode))]);
        Ok(())
    }

    fn attribute(&mut self, call: &Call, set: bool) -> Result<()> {
        let Some(open) = self.description(call)? else {
            return Ok(());
        };
        let inode = self.open[open].inode;
        let value = if set { Some(call.bytes(2)?) } else { None };
        self.push(
            call,
            Step::Attribute {
                inode,
                name: call.bytes(1)?,
                value,
            },
            None,
        );
        Ok(())
    }

    /// Writing through a mapping leaves no call behind. Only the index of SQLite's log is written so, which
    /// is made anew after a crash.
    fn refuse_shared_writes(&mut self, call: &Call) -> Result<()> {
        let writes =
            call.argument(2)?.contains("PROT_WRITE") && call.argument(3)?.contains("MAP_SHARED");
        if !writes || call.argument(3)?.contains("MAP_ANONYMOUS") {
            return Ok(());
        }
        let Some(open) = self.descriptors.get(&call.number(4)?) else {
            return Ok(());
        };
        let path = self
            .record
            .path_of(self.open[*open].inode)
            .unwrap_or_default();
        ensure!(
            path.ends_with("-shm"),
            "{path} is written through a mapping, which is not modelled"
        );
        Ok(())
    }

    fn refuse_target(&mut self, call: &Call, descriptor: usize) -> Result<()> {
        let ours = self.descriptors.contains_key(&call.number(descriptor)?);
        ensure!(!ours, "{} into a file of ours is not modelled", call.name);
        Ok(())
    }
}

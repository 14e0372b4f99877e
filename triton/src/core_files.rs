//! The core file that a command has left in its zone.
//!
//! Where it lies is for `kernel.core_pattern` to say, which belongs to the machine and is never changed here. A
//! path there means a path in the zone of whoever died, as long as `fs.suid_dumpable` is not 2: with that the
//! kernel writes the cores of processes that changed their user as the machine's root, below the machine's root,
//! and so no task may leave any. Anything but a path goes to a program of the host, and then there is nothing to
//! find. What is found may be a tenant's forgery: it is his own, and read with care.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use libmanta::triton::CoreFile;
use rustix::fs::{Dir, FileType, Mode, OFlags};

use crate::inside::INSIDE;

/// Of data in a file, and of its size with holes, which whoever stores it would have to write. More than most
/// zones have memory.
pub(crate) const BYTES_MAX: u64 = 4 << 30;
/// Names that are looked at where the pattern does not say in which directory. The next ones are not: somebody
/// waits for the error.
const ENTRIES_MAX: usize = 10_000;
/// Of a directory that is looked into.
const PATH_BYTES_MAX: usize = 1024;
/// Notes come first in a core file, and the one about its process second among them.
const NOTES_BYTES_MAX: u64 = 16 << 10;

/// Where the machine puts core files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Relative to the zone's root. `None` when it depends on the process that dies.
    directory: Option<PathBuf>,
    /// What names have in common: the text before, between and after what differs.
    name: Vec<String>,
}

impl Pattern {
    /// As it is now. `None`: core files do not come to lie in zones.
    pub(crate) fn of_machine() -> Option<Self> {
        let read = |name| std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok();
        let uses_pid = read("kernel/core_uses_pid").is_some_and(|value| value.trim() != "0");
        let (pattern, tainted) = (read("kernel/core_pattern")?, read("fs/suid_dumpable")?);
        Self::in_zones(&pattern, uses_pid, &tainted)
    }

    /// By what the files of the three settings say; `tainted` is that of `fs.suid_dumpable`. Source: proc_sys_fs(5).
    fn in_zones(pattern: &str, uses_pid: bool, tainted: &str) -> Option<Self> {
        match tainted.trim() {
            "0" | "1" => Self::parse(pattern.trim_end_matches('\n'), uses_pid),
            // Below the machine's root, or nobody knows.
            _ => None,
        }
    }

    /// Source: core(5). The first characters `|` and `@` name a program and a socket.
    fn parse(text: &str, uses_pid: bool) -> Option<Self> {
        if text.is_empty() || text.starts_with(['|', '@']) {
            return None;
        }
        let (directory, name) = match text.rsplit_once('/') {
            Some((directory, name)) => (Some(directory), name),
            None => (None, text),
        };
        let directory = directory
            .filter(|directory| text.starts_with('/') && !directory.contains('%'))
            .map(|directory| PathBuf::from(directory.trim_matches('/')));
        let mut pieces = vec![String::new()];
        let mut has_pid = false;
        let mut characters = name.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '%' => match characters.next() {
                    Some('%') => Some('%'),
                    Some(what) => {
                        has_pid |= what == 'p';
                        None
                    }
                    // Alone at the end it means nothing.
                    None => break,
                },
                other => Some(other),
            };
            match (literal, pieces.last_mut()) {
                (Some(literal), Some(piece)) => piece.push(literal),
                _ => pieces.push(String::new()),
            }
        }
        if uses_pid && !has_pid {
            if let Some(piece) = pieces.last_mut() {
                piece.push('.');
            }
            pieces.push(String::new());
        }
        Some(Self {
            directory,
            name: pieces,
        })
    }

    /// Where they are written, relative to a zone's root, if that is the same for all.
    pub(crate) fn into_directory(self) -> Option<PathBuf> {
        self.directory
    }

    fn fits(&self, name: &str) -> bool {
        let [first, rest @ ..] = self.name.as_slice() else {
            return false;
        };
        let Some(mut left) = name.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some((last, between)) = rest.split_last() else {
            return left.is_empty();
        };
        for piece in between {
            let Some(at) = left.find(piece.as_str()) else {
                return false;
            };
            left = left.get(at + piece.len()..).unwrap_or_default();
        }
        left.ends_with(last.as_str())
    }

    /// Looks for a core file below `root` that belongs to one of `owners`, in the directories nearest to the root
    /// first. Blocks; nobody may be changing anything there.
    pub(crate) fn find(&self, root: &OwnedFd, owners: &Range<u32>) -> Option<CoreFile> {
        let mut left = ENTRIES_MAX;
        let first = self.directory.clone().unwrap_or_default();
        let mut open = VecDeque::from([first]);
        while let Some(path) = open.pop_front() {
            // What cannot be read holds nothing that we could store.
            let Ok(directory) = open_inside(root, &path) else {
                continue;
            };
            for entry in Dir::read_from(&directory).into_iter().flatten().flatten() {
                left = left.checked_sub(1)?;
                let Ok(name) = entry.file_name().to_str() else {
                    continue;
                };
                match entry.file_type() {
                    FileType::Directory if !matches!(name, "." | "..") => {
                        let below = path.join(name);
                        if self.directory.is_none() && below.as_os_str().len() <= PATH_BYTES_MAX {
                            open.push_back(below);
                        }
                    }
                    FileType::RegularFile if self.fits(name) => {
                        if let Ok(Some(found)) = open_core(&directory, name, owners) {
                            return Some(found);
                        }
                    }
                    _ => {}
                }
            }
        }
        None
    }
}

fn open_inside(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(
        root,
        path,
        flags,
        Mode::empty(),
        INSIDE,
    )?)
}

fn open_core(
    directory: impl AsFd,
    name: &str,
    owners: &Range<u32>,
) -> io::Result<Option<CoreFile>> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat2(
        directory,
        name,
        flags,
        Mode::empty(),
        INSIDE,
    )?);
    let metadata = file.metadata()?;
    let is_theirs = metadata.is_file() && metadata.nlink() == 1 && owners.contains(&metadata.uid());
    if !is_theirs || metadata.len() > BYTES_MAX {
        return Ok(None);
    }
    let read = |at: u64, length: u64| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length.min(metadata.len().saturating_sub(at)) as usize];
        file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    };
    let Some(notes) = notes(&read(0, HEADERS_BYTES)?) else {
        return Ok(None);
    };
    let notes = read(notes.start, (notes.end - notes.start).min(NOTES_BYTES_MAX))?;
    let program = program(&notes).unwrap_or_default();
    Ok(Some(CoreFile { file, program }))
}

/// Of an ELF file: its own header, and that of its first segment.
const HEADERS_BYTES: u64 = 64 + 56;
const TYPE_CORE: u16 = 4;
const SEGMENT_NOTES: u32 = 4;
const NOTE_PROCESS: u32 = 3;
/// Offset and length of the program's name in that note.
const NAME: Range<usize> = 40..56;

/// Where the notes of a core file are. `None`: this is none, or not one of a 64-bit program of this machine.
fn notes(headers: &[u8]) -> Option<Range<u64>> {
    let half = |at: usize| {
        Some(u16::from_ne_bytes(
            headers.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let double = |at: usize| {
        Some(u64::from_ne_bytes(
            headers.get(at..at + 8)?.try_into().ok()?,
        ))
    };
    let is_core = headers.starts_with(b"\x7fELF\x02") && half(16)? == TYPE_CORE;
    // Linux writes the segments' headers right behind the file's, that of the notes first.
    if !is_core || double(32)? != 64 || word(headers, 64)? != SEGMENT_NOTES {
        return None;
    }
    let (start, length) = (double(72)?, double(96)?);
    Some(start..start.checked_add(length)?)
}

/// The name of the program, by the note about its process.
fn program(mut notes: &[u8]) -> Option<String> {
    loop {
        let name = (word(notes, 0)? as usize).checked_next_multiple_of(4)?;
        let length = word(notes, 4)? as usize;
        let kind = word(notes, 8)?;
        let content = notes.get(12..)?.get(name..)?;
        if kind == NOTE_PROCESS {
            let name = content.get(..length)?.get(NAME)?;
            let end = name.iter().position(|byte| *byte == 0);
            let name = name.get(..end.unwrap_or(name.len()))?;
            return Some(String::from_utf8_lossy(name).into_owned());
        }
        notes = content.get(length.checked_next_multiple_of(4)?..)?;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn fits(pattern: &str, uses_pid: bool, name: &str) -> bool {
        Pattern::parse(pattern, uses_pid).unwrap().fits(name)
    }

    #[test]
    fn programs_and_sockets_get_cores_that_zones_do_not() {
        for pattern in [
            "|/usr/lib/systemd/systemd-coredump %P",
            "@/run/coredump",
            "",
        ] {
            assert_eq!(Pattern::parse(pattern, true), None, "{pattern}");
        }
    }

    #[test]
    fn no_zone_leaves_cores_where_some_would_lie_outside() {
        for pattern in ["core\n", "/var/crash/core.%p\n"] {
            let of = |tainted| Pattern::in_zones(pattern, false, tainted);
            assert_eq!(of("0\n"), Pattern::parse(pattern.trim_end(), false));
            assert_eq!(of("1\n"), of("0\n"));
            for tainted in ["2\n", "2", "", "3\n", "x"] {
                assert_eq!(of(tainted), None, "{tainted:?}");
            }
        }
        assert_eq!(Pattern::in_zones("|/bin/program\n", false, "0\n"), None);
    }

    #[test]
    fn names_follow_the_pattern() {
        assert!(fits("core", false, "core"));
        assert!(!fits("core", false, "core.7") && !fits("core", false, "score"));
        assert!(fits("core", true, "core.7") && !fits("core", true, "core"));
        assert!(fits("core.%e.%p", true, "core.node.12"));
        assert!(!fits("core.%e.%p", true, "core.node"));
        assert!(fits("/var/crash/%e-%%-%t.core%", false, "sh-%-17.core"));
        assert!(!fits("/var/crash/%e-%%-%t.core%", false, "sh-17.core"));
    }

    #[test]
    fn directories_are_known_when_they_are_the_same_for_all() {
        let directory = |pattern| Pattern::parse(pattern, false).unwrap().directory;
        assert_eq!(directory("/var/crash/core"), Some("var/crash".into()));
        assert_eq!(directory("/core"), Some("".into()));
        for pattern in ["core", "crash/core", "/var/%u/core"] {
            assert_eq!(directory(pattern), None, "{pattern}");
        }
    }

    /// A core file of `program`, as far as it is looked at.
    fn core(program: &str) -> Vec<u8> {
        let mut file = vec![0; 120];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        file[16..18].copy_from_slice(&TYPE_CORE.to_ne_bytes());
        file[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        file[64..68].copy_from_slice(&SEGMENT_NOTES.to_ne_bytes());
        file[72..80].copy_from_slice(&120_u64.to_ne_bytes());
        file[96..104].copy_from_slice(&1000_u64.to_ne_bytes());
        let mut note = |kind: u32, content: &[u8]| {
            for number in [5, content.len() as u32, kind] {
                file.extend(number.to_ne_bytes());
            }
            file.extend(b"CORE\0\0\0\0");
            file.extend(content);
            file.resize(file.len().next_multiple_of(4), 0);
        };
        note(1, &[7; 33]);
        let mut process = vec![0; 136];
        process[NAME.start..NAME.start + program.len()].copy_from_slice(program.as_bytes());
        note(NOTE_PROCESS, &process);
        file
    }

    #[test]
    fn the_program_is_read_from_any_bytes_without_harm() {
        let whole = core("sixteen-letters!");
        let read = |bytes: &[u8]| {
            let notes = notes(bytes)?;
            program(bytes.get(notes.start as usize..)?)
        };
        assert_eq!(read(&whole).as_deref(), Some("sixteen-letters!"));
        for length in 0..whole.len() - 100 {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
        let mut huge = whole.clone();
        huge[120..124].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(read(&huge), None);
        huge[72..80].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert_eq!(read(&huge), None);
    }

    #[test]
    fn only_a_file_of_the_zone_itself_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let root = OwnedFd::from(File::open(directory.path()).unwrap());
        let own = std::fs::metadata(directory.path()).unwrap().uid();
        let owners = own..own + 1;
        let pattern = Pattern::parse("core", false).unwrap();
        let find = || pattern.find(&root, &owners).map(|found| found.program);

        std::fs::write(path("core"), "no core at all").unwrap();
        assert_eq!(find(), None);
        std::fs::remove_file(path("core")).unwrap();
        std::fs::write(path("elsewhere"), core("cat")).unwrap();
        std::os::unix::fs::symlink(path("elsewhere"), path("core")).unwrap();
        assert_eq!(find(), None, "a link");
        std::fs::remove_file(path("core")).unwrap();
        std::fs::hard_link(path("elsewhere"), path("core")).unwrap();
        assert_eq!(find(), None, "another name of something else");
        std::fs::remove_file(path("core")).unwrap();
        std::fs::create_dir_all(path("core/deep")).unwrap();
        std::fs::write(path("core/deep/core"), core("cat")).unwrap();
        assert_eq!(find().as_deref(), Some("cat"));
        let others = own + 1..own + 2;
        assert!(pattern.find(&root, &others).is_none(), "of somebody else");
        let file = File::options()
            .write(true)
            .open(path("core/deep/core"))
            .unwrap();
        file.set_len(BYTES_MAX + 1).unwrap();
        assert_eq!(find(), None, "too large");
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
            .unwrap();
        std::fs::write(path("core/deep/core"), core("cat")).unwrap();
        let fixed = Pattern::parse("/core/deep/core", false).unwrap();
        assert!(fixed.find(&root, &owners).is_some());
        let fixed = Pattern::parse("/core/core", false).unwrap();
        assert!(fixed.find(&root, &owners).is_none(), "not further down");
    }
}

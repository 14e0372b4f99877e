//! Members of a tar archive, one after the other, whoever packed it.
//!
//! The headers that describe a member (long names, attributes) are read here and not by the `tar` crate,
//! which would hold them in memory whatever their size.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;

use tar::{Archive, EntryType, PaxExtensions};

use super::error::{During as _, Fault, LibraryError, TooLarge};
use super::tree::{Attributes, Budget, MemberPath, Tree, shown};

/// Of everything that describes one member.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
const BLOCK_BYTES: u64 = 512;

pub(super) struct Member<'a> {
    pub(super) path: MemberPath,
    pub(super) kind: Kind,
    pub(super) attributes: Attributes,
    pub(super) size: u64,
    pub(super) content: &'a mut dyn Read,
}

pub(super) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(MemberPath),
}

/// Shows every member to `visit`, and reads to the end, where checksums are. Errors of a member name it. `false`
/// when the end of the archive is not marked, as that of a part of one.
pub(super) fn each_member(
    unpacked: impl Read,
    budget: Budget,
    visit: &mut dyn FnMut(Member<'_>) -> Result<(), LibraryError>,
) -> Result<bool, LibraryError> {
    let bounded = Bounded {
        inner: unpacked,
        read: 0,
        most: budget.bytes_max.saturating_sub(budget.bytes),
        bytes_max: budget.bytes_max,
    };
    let mut archive = Archive::new(bounded);
    let mut description = Description::default();
    let mut end = 0;
    for entry in archive.entries().during("read the archive")?.raw(true) {
        let mut entry = entry.during("read the archive")?;
        end = entry.raw_file_position().saturating_add(entry.size());
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => description.name = Some(description.read(&mut entry)?),
            EntryType::GNULongLink => description.link = Some(description.read(&mut entry)?),
            EntryType::XHeader => description.read_pax(&mut entry)?,
            // About the whole archive; nothing in it matters here.
            EntryType::XGlobalHeader => {}
            _ => {
                let description = std::mem::take(&mut description);
                let name = description.name.clone();
                let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
                one(&name, description, &mut entry, visit)?;
            }
        }
    }
    let mut rest = archive.into_inner();
    // Behind the last member there is nothing, or a block of zeros: a mark, and not what that member ends with.
    let is_marked = rest.read
        >= end
            .next_multiple_of(BLOCK_BYTES)
            .saturating_add(BLOCK_BYTES);
    io::copy(&mut rest, &mut io::sink()).during("read the archive")?;
    Ok(is_marked)
}

/// Puts every member into `tree`.
pub(super) fn unpack(unpacked: impl Read, tree: &mut Tree) -> Result<(), LibraryError> {
    let budget = tree.budget;
    match each_member(unpacked, budget, &mut |member| put(member, tree))? {
        true => Ok(()),
        false => Err(LibraryError::Cut),
    }
}

pub(super) fn put(member: Member<'_>, tree: &mut Tree) -> Result<(), LibraryError> {
    let path = &member.path;
    if path.is_left_out() {
        return Ok(());
    }
    match member.kind {
        Kind::Directory => tree.directory(path, member.attributes.mode),
        Kind::File => tree.file(path, member.attributes, member.size, member.content),
        Kind::Symlink(target) => tree.symlink(path, &target),
        Kind::HardLink(target) => tree.hard_link(path, &target),
    }
}

fn one<R: Read>(
    name: &[u8],
    description: Description,
    entry: &mut tar::Entry<'_, R>,
    visit: &mut dyn FnMut(Member<'_>) -> Result<(), LibraryError>,
) -> Result<(), LibraryError> {
    let refuse = |fault| LibraryError::Member {
        member: shown(OsStr::from_bytes(name)),
        fault,
    };
    let path = MemberPath::parse(name).map_err(refuse)?;
    if description.sparse {
        return Err(refuse(Fault::Sparse));
    }
    // What follows it would be read from the wrong place.
    let size = entry.size();
    if description.size.is_some_and(|said| said != size) {
        return Err(refuse(Fault::Size));
    }
    let link = || {
        let link = description.link.clone();
        link.unwrap_or_else(|| entry.link_name_bytes().unwrap_or_default().into_owned())
    };
    let kind = match entry.header().entry_type() {
        // As archives older than the type of directories have them.
        EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
        EntryType::Directory => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Symlink => Kind::Symlink(link()),
        EntryType::Link => Kind::HardLink(MemberPath::parse(&link()).map_err(|_| {
            let target = shown(OsStr::from_bytes(&link()));
            refuse(Fault::Outside(target))
        })?),
        EntryType::GNUSparse => return Err(refuse(Fault::Sparse)),
        // Where zones have their own, it is not taken in any case.
        EntryType::Char | EntryType::Block if path.is_left_out() => return Ok(()),
        EntryType::Char | EntryType::Block => return Err(refuse(Fault::Device)),
        _ if path.is_left_out() => return Ok(()),
        _ => return Err(refuse(Fault::Special)),
    };
    let header = entry.header();
    let attributes = Attributes {
        mode: header.mode().during("read the archive")?,
        modified: header
            .mtime()
            .ok()
            .and_then(|seconds| i64::try_from(seconds).ok())
            .unwrap_or_default(),
    };
    visit(Member {
        path,
        kind,
        attributes,
        size,
        content: entry,
    })
}

/// What headers say of the member that follows them.
#[derive(Default)]
struct Description {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
    bytes: u64,
}

impl Description {
    fn read<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, LibraryError> {
        self.bytes = self.bytes.saturating_add(entry.size());
        let refuse = |fault| LibraryError::Member {
            member: shown(OsStr::from_bytes(&entry.path_bytes())),
            fault,
        };
        if self.bytes > DESCRIPTION_BYTES_MAX {
            return Err(refuse(Fault::Description));
        }
        let size = entry.size();
        let mut text = Vec::new();
        let read = entry.read_to_end(&mut text).during("read the archive")?;
        if read as u64 != size {
            return Err(LibraryError::Member {
                member: shown(OsStr::from_bytes(&entry.path_bytes())),
                fault: Fault::Truncated,
            });
        }
        if text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    fn read_pax<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), LibraryError> {
        let text = self.read(entry)?;
        for record in PaxExtensions::new(&text) {
            let record = record.during("read the archive")?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    // What is no number contradicts every size.
                    self.size = Some(size.unwrap_or(u64::MAX));
                }
                key => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }
}

/// What is unpacked from an archive, members and all between them, has a limit: a small archive may hold
/// endless zeros.
struct Bounded<R> {
    inner: R,
    read: u64,
    /// That may be read in all.
    most: u64,
    bytes_max: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read = self.read.saturating_add(count as u64);
        if self.read > self.most {
            let bytes = self.bytes_max;
            return Err(io::Error::other(TooLarge { bytes }));
        }
        Ok(count)
    }
}

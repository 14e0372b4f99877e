//! Reading a tar file, on a thread of its own since the reader blocks.
//!
//! A file is only scanned: uploads read their part of it themselves, several at once. What comes through a
//! pipe passes once, so small members are held in memory and large ones streamed while the reading waits.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use bytes::Bytes;
use tar::{Archive, Entry, EntryType};
use tokio::sync::mpsc;

/// Members of a pipe up to this size are uploaded beside others; a few of them fit into any memory.
const HELD_BYTES_MAX: u64 = 1 << 20;
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks of a large member on their way to the upload.
const QUEUE_CHUNKS: usize = 4;

#[derive(Debug)]
pub(super) struct Member {
    /// Relative, without `.` or empty names; empty for the root of the archive.
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Directory,
    Object(Content),
    /// Something that the store has nothing for.
    Other(&'static str),
}

#[derive(Debug)]
pub(super) enum Content {
    /// Part of the archive's file.
    InFile {
        offset: u64,
        size: u64,
    },
    Bytes(Bytes),
    Stream {
        size: u64,
        chunks: mpsc::Receiver<io::Result<Bytes>>,
    },
}

/// Sends every member of the archive. Ends early, without an error, when nobody wants them any more.
pub(super) fn read(file: Option<&Path>, members: &mpsc::Sender<Member>) -> io::Result<()> {
    match file {
        Some(path) => {
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            let file = File::open(path).map_err(named)?;
            let mut archive = Archive::new(BufReader::new(file));
            read_file(&mut archive, members).map_err(named)
        }
        None => read_pipe(&mut Archive::new(io::stdin().lock()), members),
    }
}

fn read_file<R: Read + Seek>(
    archive: &mut Archive<R>,
    members: &mpsc::Sender<Member>,
) -> io::Result<()> {
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let size = entry.size();
        let content = match entry.header().entry_type() {
            // Its bytes are in pieces with holes between them.
            EntryType::GNUSparse => None,
            _ => Some(Content::InFile {
                offset: entry.raw_file_position(),
                size,
            }),
        };
        if !send(&mut entry, content, members)? {
            break;
        }
    }
    Ok(())
}

fn read_pipe<R: Read>(archive: &mut Archive<R>, members: &mpsc::Sender<Member>) -> io::Result<()> {
    for entry in archive.entries()? {
        if !send(&mut entry?, None, members)? {
            break;
        }
    }
    Ok(())
}

/// Hands over one member, with its content if that is not given. `false` when nobody listens.
fn send<R: Read>(
    entry: &mut Entry<'_, R>,
    content: Option<Content>,
    members: &mpsc::Sender<Member>,
) -> io::Result<bool> {
    let name = name_of(&entry.path_bytes())?;
    let what = |kind| {
        Ok(members
            .blocking_send(Member {
                name: name.clone(),
                kind,
            })
            .is_ok())
    };
    match entry.header().entry_type() {
        EntryType::Directory => return what(Kind::Directory),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {}
        EntryType::Symlink => return what(Kind::Other("a symbolic link")),
        EntryType::Link => return what(Kind::Other("a hard link to another member")),
        _ => return what(Kind::Other("neither a file nor a directory")),
    }
    refuse_unknown_sparse(entry, &name)?;
    if name.is_empty() {
        return Err(io::Error::other("a member has no name"));
    }
    if let Some(content) = content {
        return what(Kind::Object(content));
    }
    let size = entry.size();
    if size <= HELD_BYTES_MAX {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return what(Kind::Object(Content::Bytes(bytes.into())));
    }
    let (sender, chunks) = mpsc::channel(QUEUE_CHUNKS);
    if !what(Kind::Object(Content::Stream { size, chunks }))? {
        return Ok(false);
    }
    pump(entry, &sender)
}

/// Feeds a large member to its upload, which must hear of a failure or it would store a part.
fn pump(source: &mut impl Read, chunks: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(count) => {
                let chunk = Bytes::copy_from_slice(&buffer[..count]);
                if chunks.blocking_send(Ok(chunk)).is_err() {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                // Where it does not arrive the upload has failed already.
                let _ = chunks.blocking_send(Err(copy));
                return Err(error);
            }
        }
    }
}

/// Sparse files as newer archives write them come apart into a map and the data; storing that under the
/// file's name would be wrong.
fn refuse_unknown_sparse<R: Read>(entry: &mut Entry<'_, R>, name: &str) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(());
    };
    for extension in extensions {
        if extension?
            .key()
            .is_ok_and(|key| key.starts_with("GNU.sparse."))
        {
            let text = format!("{name}: a sparse file in a form that is not supported");
            return Err(io::Error::other(text));
        }
    }
    Ok(())
}

/// The name below the target directory. One that leads out of it is an error, whoever made the archive.
fn name_of(bytes: &[u8]) -> io::Result<String> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let shown = String::from_utf8_lossy(bytes);
        io::Error::other(format!("{shown}: the name is not UTF-8"))
    })?;
    let mut names = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                return Err(io::Error::other(format!(
                    "{text}: leads out of the directory"
                )));
            }
            name => names.push(name),
        }
    }
    Ok(names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_target() {
        for (written, name) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("./", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(name_of(written.as_bytes()).unwrap(), name);
        }
        for written in ["..", "a/../../b", "a/.."] {
            assert!(name_of(written.as_bytes()).is_err(), "{written}");
        }
        assert!(name_of(b"\xff").is_err());
    }
}

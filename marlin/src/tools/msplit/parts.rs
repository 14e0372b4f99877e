//! The parts of a split: files that are written a little at a time.
//!
//! A file is opened whenever there is enough to write, and closed again, so that any number of parts needs no
//! more descriptors than one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::tools::upload::Staging;

/// Source: marlin.md section 9.3.
const BUFFER_BYTES: usize = 128 * 1024;

pub(super) struct Parts(Vec<BufWriter<Appender>>);

impl Parts {
    pub(super) fn create(count: u32) -> io::Result<Self> {
        let part = |index| {
            let (file, _) = Staging::create("msplit", &format!(".{index}"))?;
            Ok(BufWriter::with_capacity(BUFFER_BYTES, Appender { file }))
        };
        (0..count).map(part).collect::<io::Result<_>>().map(Self)
    }

    /// Adds a line, and its end, to a part.
    pub(super) fn write(&mut self, part: u32, line: &[u8]) -> io::Result<()> {
        let index = usize::try_from(part).map_err(io::Error::other)?;
        let part = self.0.get_mut(index).ok_or(io::ErrorKind::NotFound)?;
        part.write_all(line)?;
        part.write_all(b"\n")
    }

    /// The files, in order, with everything in them.
    pub(super) fn finish(self, gzip: bool) -> io::Result<Vec<Staging>> {
        let finish = |part: BufWriter<Appender>| {
            let Appender { file } = part.into_inner()?;
            if gzip {
                compress(file.path())?;
            }
            Ok(file)
        };
        self.0.into_iter().map(finish).collect()
    }
}

/// A file that is open only while it is written to.
#[derive(Debug)]
struct Appender {
    file: Staging,
}

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = OpenOptions::new().append(true).open(self.file.path())?;
        file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replaces a file by itself, compressed.
fn compress(path: &Path) -> io::Result<()> {
    let mut plain = File::open(path)?;
    // The file is open, so its name can be had for what comes of it.
    std::fs::remove_file(path)?;
    let mut compressed = GzEncoder::new(File::create_new(path)?, Compression::default());
    io::copy(&mut plain, &mut compressed)?;
    compressed.finish()?;
    Ok(())
}

/// Scenarios of the reference, under the names they have there.
#[cfg(test)]
#[allow(non_snake_case, reason = "the scenarios have these names")]
mod tests {
    use super::*;

    /// What a file holds after these writes through a buffer of two bytes.
    fn written(name: &str, writes: &[&str]) -> String {
        let (file, _) = Staging::create(name, "").unwrap();
        let mut part = BufWriter::with_capacity(2, Appender { file });
        for bytes in writes {
            part.write_all(bytes.as_bytes()).unwrap();
        }
        let Appender { file } = part.into_inner().unwrap();
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn testBasic() {
        assert_eq!(written("buffer.basic", &["hello"]), "hello");
    }

    #[test]
    fn testWriteUpToBoundary() {
        assert_eq!(written("buffer.boundary", &["he", "ll", "o"]), "hello");
    }

    #[test]
    fn testOverflowOnce() {
        assert_eq!(written("buffer.once", &["a", "aaa"]), "aaaa");
    }

    #[test]
    fn testOverflowMultipleTimes() {
        let fifteen = "a".repeat(15);
        let all = written("buffer.many", &[&fifteen, "b", &fifteen]);
        assert_eq!(all, format!("{fifteen}b{fifteen}"));
    }
}

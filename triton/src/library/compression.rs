//! How an archive is packed, told from its first bytes.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::error::{During as _, LibraryError};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const UNKNOWN: &[(&[u8], &str)] = &[
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (b"BZh", "bzip2"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
];

/// The unpacked bytes of `packed`. Memory is bounded: a zstd window of more than 128 MiB is refused.
pub(super) fn unpack<'a>(packed: impl Read + 'a) -> Result<Box<dyn Read + 'a>, LibraryError> {
    let mut packed = packed;
    let mut beginning = Vec::new();
    // A pipe may give them one by one.
    let read = packed.by_ref().take(6).read_to_end(&mut beginning);
    read.during("read the archive")?;
    for (magic, name) in UNKNOWN {
        if beginning.starts_with(magic) {
            return Err(LibraryError::Compression(name));
        }
    }
    let (gzip, zstd) = (beginning.starts_with(GZIP), beginning.starts_with(ZSTD));
    let whole = BufReader::with_capacity(64 * 1024, io::Cursor::new(beginning).chain(packed));
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(whole))
    } else if zstd {
        Box::new(Frames(Some(
            StreamingDecoder::new(whole)
                .map_err(damaged)
                .during("unpack the archive")?,
        )))
    } else {
        Box::new(whole)
    })
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// One zstd frame after the other. `None` after a failure.
struct Frames<R: BufRead>(Option<StreamingDecoder<R, FrameDecoder>>);

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.0 else {
                return Ok(0);
            };
            let read = frame.read(buffer)?;
            if read > 0 || buffer.is_empty() || frame.get_mut().fill_buf()?.is_empty() {
                return Ok(read);
            }
            let rest = self.0.take().map(StreamingDecoder::into_inner);
            self.0 = rest
                .map(StreamingDecoder::new)
                .transpose()
                .map_err(damaged)?;
        }
    }
}

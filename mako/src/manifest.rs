//! The list of the segments of a copy that was put together of others.
//!
//! It is the file `manifest` in the directory `<object id>.seg`. Segment *n* is the file `n` beside it: a link
//! to what was, or still is, a copy of its own, with the checksums of that copy.
//!
//! ```text
//! offset  size  field (integers little-endian)
//!      0     1  version, 1
//!      1     3  zero
//!      4     4  CRC-32C of everything from offset 8 to the end
//!      8    16  object id, as in its text form
//!     24  24*n  segments in order: object id (16), size in bytes (8)
//! ```

use std::ops::Range;

use libmanta::ObjectId;
use libmanta::mako::Segment;
use thiserror::Error;
use uuid::Uuid;

/// Longest manifest that is read: a million segments, a hundred times what the API makes.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 24_000_000;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const SEGMENT_BYTES: usize = 24;

/// The segments of one copy, none of them empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    object_id: ObjectId,
    segments: Vec<Segment>,
    /// Where each segment ends in the copy.
    ends: Vec<u64>,
}

/// Why some bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ManifestError {
    #[error("manifest is cut short")]
    Short,
    #[error("manifest has version {0}")]
    Version(u8),
    #[error("manifest does not match its checksum")]
    Checksum,
    #[error("manifest has an impossible shape")]
    Shape,
}

impl Manifest {
    /// Empty segments are left out. `None` when all together have more bytes than can be counted.
    pub(crate) fn new(
        object_id: ObjectId,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Option<Self> {
        let segments: Vec<_> = segments
            .into_iter()
            .filter(|segment| segment.size_bytes > 0)
            .collect();
        let mut size_bytes = 0_u64;
        let mut ends = Vec::with_capacity(segments.len());
        for segment in &segments {
            size_bytes = size_bytes.checked_add(segment.size_bytes)?;
            ends.push(size_bytes);
        }
        Some(Self {
            object_id,
            segments,
            ends,
        })
    }

    pub(crate) fn object_id(&self) -> ObjectId {
        self.object_id
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Size of the whole copy.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The segment that holds the byte at `offset`, and where it lies in the copy; `None` behind the end.
    pub(crate) fn find(&self, offset: u64) -> Option<(usize, Range<u64>)> {
        let index = self.ends.partition_point(|end| *end <= offset);
        let segment = self.segments.get(index)?;
        let end = self.ends[index];
        Some((index, end - segment.size_bytes..end))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + SEGMENT_BYTES * self.segments.len());
        bytes.extend([VERSION, 0, 0, 0]);
        bytes.extend([0; 4]);
        bytes.extend(self.object_id.as_uuid().as_bytes());
        for segment in &self.segments {
            bytes.extend(segment.object_id.as_uuid().as_bytes());
            bytes.extend(segment.size_bytes.to_le_bytes());
        }
        let own = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (header, segments) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(ManifestError::Short)?;
        if header[0] != VERSION {
            return Err(ManifestError::Version(header[0]));
        }
        if header[4..8] != crc32c::crc32c(&bytes[8..]).to_le_bytes() {
            return Err(ManifestError::Checksum);
        }
        let (segments, rest) = segments.as_chunks::<SEGMENT_BYTES>();
        if header[1..4] != [0; 3] || !rest.is_empty() {
            return Err(ManifestError::Shape);
        }
        let read = |segment: &[u8; SEGMENT_BYTES]| {
            let mut size = [0; 8];
            size.copy_from_slice(&segment[16..]);
            Segment {
                object_id: id(&segment[..16]),
                size_bytes: u64::from_le_bytes(size),
            }
        };
        let manifest = Self::new(id(&header[8..]), segments.iter().map(read));
        manifest
            .filter(|manifest| manifest.segments.len() == segments.len())
            .ok_or(ManifestError::Shape)
    }
}

/// From exactly 16 bytes.
fn id(bytes: &[u8]) -> ObjectId {
    let mut id = [0; 16];
    id.copy_from_slice(bytes);
    ObjectId::from_uuid(Uuid::from_bytes(id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "00112233-4455-6677-8899-aabbccddeeff";

    fn manifest(sizes: &[u64]) -> Manifest {
        let segments = sizes.iter().zip(1..).map(|(&size_bytes, number)| Segment {
            object_id: ObjectId::from_uuid(Uuid::from_u128(number)),
            size_bytes,
        });
        Manifest::new(ID.parse().unwrap(), segments).unwrap()
    }

    /// Version 1, for ever.
    #[test]
    fn golden_bytes_of_version_1() {
        let golden = concat!(
            "01000000",
            "c673f97a",
            "00112233445566778899aabbccddeeff",
            "00000000000000000000000000000001",
            "0000500000000000",
            "00000000000000000000000000000002",
            "0900000000000000",
        );
        let manifest = manifest(&[5 << 20, 9]);
        let hex: String = manifest
            .encode()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, golden);
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn every_byte_lies_in_one_segment() {
        let manifest = manifest(&[3, 0, 1, 5]);
        assert_eq!(manifest.segments().len(), 3);
        assert_eq!(manifest.size_bytes(), 9);
        let places: Vec<_> = (0..10).map(|offset| manifest.find(offset)).collect();
        let place = |index, range| Some((index, range));
        assert_eq!(places[0], place(0, 0..3));
        assert_eq!(places[2], place(0, 0..3));
        assert_eq!(places[3], place(1, 3..4));
        assert_eq!(places[4], place(2, 4..9));
        assert_eq!(places[8], place(2, 4..9));
        assert_eq!(places[9], None);
    }

    #[test]
    fn more_than_can_be_counted_is_refused() {
        let segment = Segment {
            object_id: ID.parse().unwrap(),
            size_bytes: u64::MAX,
        };
        assert_eq!(Manifest::new(segment.object_id, [segment, segment]), None);
    }

    proptest! {
        #[test]
        fn manifests_round_trip(sizes in prop::collection::vec(1_u64..1 << 50, 0..50)) {
            let manifest = manifest(&sizes);
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }

        #[test]
        fn a_manifest_with_any_bit_flipped_is_refused(
            sizes in prop::collection::vec(1_u64..1 << 50, 0..5),
            bit: usize,
        ) {
            let mut encoded = manifest(&sizes).encode();
            let bit = bit % (encoded.len() * 8);
            encoded[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Manifest::decode(&encoded).is_err());
        }

        #[test]
        fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Manifest::decode(&bytes).is_err());
        }
    }
}

//! The checksum table of a copy: one CRC-32C for every 128 KiB.
//!
//! It lies *beside* the bytes, because the file itself must be exactly the object: zones see that file. It
//! is the extended attribute `user.manta.crc32c` of the file when it is small enough and the file system
//! has such attributes, otherwise the whole content of a file `<object id>.crc` in the same directory.
//!
//! ```text
//! offset  size  field (integers little-endian)
//!      0     1  version, 1
//!      1     1  binary logarithm of the block size, 17
//!      2     2  zero
//!      4     4  CRC-32C of everything from offset 8 to the end
//!      8     8  size of the copy in bytes
//!     16    16  object id, as in its text form
//!     32   4*n  CRC-32C of each block; n = size / block size, rounded up; the last block may be short
//! ```
//!
//! The object id is there so that a file which lost its name, or got another's, still says what it is.

use libmanta::ObjectId;
use thiserror::Error;
use uuid::Uuid;

/// Bytes below one checksum. A range read of one byte reads this much; a table entry costs 4 bytes of it.
pub(crate) const BLOCK_BYTES: usize = 1 << BLOCK_BYTES_LOG2;
const BLOCK_BYTES_LOG2: u8 = 17;
/// Name of the attribute.
pub(crate) const ATTRIBUTE: &str = "user.manta.crc32c";
/// Blocks whose table still fits an attribute. ext4 gives all attributes of a file one block, 4 KiB less
/// some 60 bytes; what is left over is for others, such as access lists. 112 MiB of object.
const ATTRIBUTE_BLOCKS_MAX: usize = 900;
/// Longest table that can be an attribute.
pub(crate) const ATTRIBUTE_BYTES_MAX: usize = HEADER_BYTES + 4 * ATTRIBUTE_BLOCKS_MAX;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 32;

/// The checksums of one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    object_id: ObjectId,
    size_bytes: u64,
    crcs: Vec<u32>,
}

/// Why some bytes are not a table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TableError {
    #[error("checksum table is cut short")]
    Short,
    #[error("checksum table has version {0}")]
    Version(u8),
    #[error("checksum table does not match its own checksum")]
    Checksum,
    #[error("checksum table has an impossible shape")]
    Shape,
}

impl Table {
    pub(crate) fn object_id(&self) -> ObjectId {
        self.object_id
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether the table may be tried as an attribute.
    pub(crate) fn fits_attribute(&self) -> bool {
        self.crcs.len() <= ATTRIBUTE_BLOCKS_MAX
    }

    /// Whether `block` is what was written as block `index`.
    pub(crate) fn matches(&self, index: usize, block: &[u8]) -> bool {
        self.crcs.get(index) == Some(&crc32c::crc32c(block))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 4 * self.crcs.len());
        bytes.extend([VERSION, BLOCK_BYTES_LOG2, 0, 0]);
        bytes.extend([0; 4]);
        bytes.extend(self.size_bytes.to_le_bytes());
        bytes.extend(self.object_id.as_uuid().as_bytes());
        for crc in &self.crcs {
            bytes.extend(crc.to_le_bytes());
        }
        let own = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        let (header, crcs) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(TableError::Short)?;
        if header[0] != VERSION {
            return Err(TableError::Version(header[0]));
        }
        if field::<4>(header, 4) != crc32c::crc32c(&bytes[8..]).to_le_bytes() {
            return Err(TableError::Checksum);
        }
        let size_bytes = u64::from_le_bytes(field(header, 8));
        let blocks = size_bytes.div_ceil(BLOCK_BYTES as u64);
        if header[1..4] != [BLOCK_BYTES_LOG2, 0, 0] || crcs.len() as u64 != blocks.saturating_mul(4)
        {
            return Err(TableError::Shape);
        }
        let (crcs, _) = crcs.as_chunks::<4>();
        Ok(Self {
            object_id: ObjectId::from_uuid(Uuid::from_bytes(field(header, 16))),
            size_bytes,
            crcs: crcs.iter().map(|crc| u32::from_le_bytes(*crc)).collect(),
        })
    }
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

/// A table in the making, fed with the bytes of the copy in order.
#[derive(Debug, Default)]
pub(crate) struct Summing {
    crcs: Vec<u32>,
    /// Checksum and length of the last block, as long as it is not full.
    open: (u32, usize),
    size_bytes: u64,
}

impl Summing {
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (crc, filled) = self.open;
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - filled));
            self.open = (crc32c::crc32c_append(crc, now), filled + now.len());
            if self.open.1 == BLOCK_BYTES {
                self.crcs.push(self.open.0);
                self.open = (0, 0);
            }
            bytes = later;
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn finish(mut self, object_id: ObjectId) -> Table {
        if self.open.1 > 0 {
            self.crcs.push(self.open.0);
        }
        Table {
            object_id,
            size_bytes: self.size_bytes,
            crcs: self.crcs,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "00112233-4455-6677-8899-aabbccddeeff";

    fn table(bytes: &[u8]) -> Table {
        let mut summing = Summing::default();
        summing.add(bytes);
        summing.finish(ID.parse().unwrap())
    }

    /// Version 1, for ever.
    #[test]
    fn golden_bytes_of_version_1() {
        let mut bytes = vec![0; BLOCK_BYTES];
        bytes.extend(b"123456789");
        let golden = concat!(
            "01110000",
            "f7c42d95",
            "0900020000000000",
            "00112233445566778899aabbccddeeff",
            // The CRC-32C of "123456789" is e3069283, the check value of the algorithm's catalogue.
            "4f81875d",
            "839206e3"
        );
        let encoded = table(&bytes).encode();
        let hex: String = encoded.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, golden);
        assert_eq!(Table::decode(&encoded), Ok(table(&bytes)));
    }

    #[test]
    fn the_largest_attribute_has_the_stated_size() {
        let largest = table(&vec![0; ATTRIBUTE_BLOCKS_MAX * BLOCK_BYTES]);
        assert!(largest.fits_attribute());
        assert_eq!(largest.encode().len(), ATTRIBUTE_BYTES_MAX);
        assert!(!table(&vec![0; ATTRIBUTE_BLOCKS_MAX * BLOCK_BYTES + 1]).fits_attribute());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn tables_round_trip_however_the_bytes_came(
            size in 0_usize..3 * BLOCK_BYTES + 2,
            pieces in prop::collection::vec(1_usize..200_000, 1..8),
        ) {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            let mut summing = Summing::default();
            let mut rest = &bytes[..];
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(*piece));
                summing.add(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let pieced = summing.finish(ID.parse().unwrap());
            prop_assert_eq!(&pieced, &table(&bytes));
            prop_assert_eq!(Table::decode(&pieced.encode()), Ok(pieced.clone()));
            for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
                prop_assert!(pieced.matches(index, block));
            }
            prop_assert!(!pieced.matches(size.div_ceil(BLOCK_BYTES), b""));
        }

        #[test]
        fn a_table_with_any_bit_flipped_is_refused(size in 0_usize..2 * BLOCK_BYTES, bit: usize) {
            let mut encoded = table(&vec![7; size]).encode();
            let bit = bit % (encoded.len() * 8);
            encoded[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Table::decode(&encoded).is_err());
        }

        #[test]
        fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Table::decode(&bytes).is_err());
        }
    }
}

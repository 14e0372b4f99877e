//! Where things lie in the directory of a storage node.
//!
//! ```text
//! ROOT/                                       mode 0700: what is below is for this process alone
//!   format                                    which node this is, and the version of this layout
//!   lock                                      locked by the process that serves the directory
//!   tmp/<00..ff>/<number>                     being written; removed when the node is opened
//!   <creator>/<xx>/<object id>                a copy: exactly the object's bytes, mode 0444
//!   <creator>/<xx>/<object id>.crc            its checksums when they are no attribute of the file
//!   <creator>/<xx>/<object id>.seg/           a copy that was put together of others (`manifest.rs`)
//!     manifest                                which ones, in order
//!     <0..>  <0..>.crc                        links to their files, and to their checksum files
//! ```
//!
//! `xx` is the first byte of the object id. Object ids are random, so 256 directories hold equal shares: a
//! million copies are 4,000 names in each, which one directory lookup and one listing handle easily, while
//! a node with a handful of objects does not own thousands of empty directories. The creator comes first
//! because a copy is always named together with it, and so an operator can see and move one account.

use std::path::{Path, PathBuf};

use libmanta::{AccountId, ObjectId};

/// Directories for temporaries; `store/temporaries.rs` says why there are so many.
pub(crate) const TEMPORARY_HOMES: u64 = 256;

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// What a file in a fan-out directory is to its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Bytes,
    Sidecar,
    /// A directory.
    Segments,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn temporaries(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// `number` is below [`TEMPORARY_HOMES`].
    pub(crate) fn temporary_home(&self, number: u64) -> PathBuf {
        self.root.join(format!("tmp/{number:02x}"))
    }

    pub(crate) fn creator(&self, creator: AccountId) -> PathBuf {
        self.root.join(creator.to_string())
    }

    /// The directory of the copies of `creator` whose object id begins with the byte `first`.
    pub(crate) fn fan_out(&self, creator: AccountId, first: u8) -> PathBuf {
        self.root.join(format!("{creator}/{first:02x}"))
    }

    pub(crate) fn copy(&self, creator: AccountId, object_id: ObjectId) -> PathBuf {
        let first = first_byte(object_id);
        self.root.join(format!("{creator}/{first:02x}/{object_id}"))
    }

    pub(crate) fn sidecar(&self, creator: AccountId, object_id: ObjectId) -> PathBuf {
        let first = first_byte(object_id);
        self.root
            .join(format!("{creator}/{first:02x}/{object_id}.crc"))
    }

    pub(crate) fn segments(&self, creator: AccountId, object_id: ObjectId) -> PathBuf {
        let first = first_byte(object_id);
        self.root
            .join(format!("{creator}/{first:02x}/{object_id}.seg"))
    }
}

pub(crate) fn first_byte(object_id: ObjectId) -> u8 {
    object_id.as_uuid().as_bytes()[0]
}

/// What the name of a file in a fan-out directory stands for; `None` if we did not make it.
pub(crate) fn parse_name(name: &str) -> Option<(ObjectId, Part)> {
    let (id, part) = match (name.strip_suffix(".crc"), name.strip_suffix(".seg")) {
        (Some(id), _) => (id, Part::Sidecar),
        (_, Some(id)) => (id, Part::Segments),
        (None, None) => (name, Part::Bytes),
    };
    let object_id: ObjectId = id.parse().ok()?;
    (object_id.to_string() == id).then_some((object_id, part))
}

/// The account a directory of the root belongs to; `None` if it is no account's.
pub(crate) fn parse_creator(name: &str) -> Option<AccountId> {
    let creator: AccountId = name.parse().ok()?;
    (creator.to_string() == name).then_some(creator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_lies_below_its_creator_and_the_first_byte_of_its_id() {
        let creator: AccountId = "bc8cd146-fecb-11e1-bd8a-bb6f54b49808".parse().unwrap();
        let object_id: ObjectId = "07112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let layout = Layout::new(PathBuf::from("/s"));
        let copy = layout.copy(creator, object_id);
        assert_eq!(
            copy.to_str().unwrap(),
            "/s/bc8cd146-fecb-11e1-bd8a-bb6f54b49808/07/07112233-4455-6677-8899-aabbccddeeff"
        );
        assert_eq!(copy.parent().unwrap(), layout.fan_out(creator, 7));
        assert_eq!(
            layout.fan_out(creator, 7).parent().unwrap(),
            layout.creator(creator)
        );
        let name = copy.file_name().unwrap().to_str().unwrap();
        assert_eq!(parse_name(name), Some((object_id, Part::Bytes)));
        assert_eq!(
            parse_name(&format!("{name}.crc")),
            Some((object_id, Part::Sidecar))
        );
        assert_eq!(
            parse_name(&format!("{name}.seg")),
            Some((object_id, Part::Segments))
        );
    }

    #[test]
    fn other_spellings_of_an_id_are_not_ours() {
        for name in [
            "",
            ".crc",
            "lost+found",
            "07112233445566778899aabbccddeeff",
            "07112233-4455-6677-8899-AABBCCDDEEFF",
            "{07112233-4455-6677-8899-aabbccddeeff}",
            "07112233-4455-6677-8899-aabbccddeeff.crc.crc",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}

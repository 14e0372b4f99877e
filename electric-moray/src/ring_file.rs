//! The ring on disk: JSON in the portable form of section 2.3 of metadata-auth-naming.md, so that the layout
//! survives restarts and can be read by a person.
//!
//! ```json
//! {"version": "2.1.0", "vnodes": 4,
//!  "algorithm": {"NAME": "sha-256", "MAX": "ff…", "VNODE_HASH_INTERVAL": "3f…"},
//!  "pnodeToVnodeMap": {"1.moray.local": {"0": 1, "2": 1}, "2.moray.local": {"1": 1, "3": 1}}}
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ring::{Ring, RingError};

const VERSION: &str = "2.1.0";
const ALGORITHM: &str = "sha-256";

/// Why a ring could not be read or written.
#[derive(Debug, Error)]
pub enum RingFileError {
    #[error("access ring file {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("decode ring file {path}")]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "ring file {path} has version {version} and algorithm {algorithm}, not {VERSION} and {ALGORITHM}"
    )]
    Unknown {
        path: PathBuf,
        version: String,
        algorithm: String,
    },
    #[error("ring file {path} is not a ring")]
    Ring {
        path: PathBuf,
        #[source]
        source: RingError,
    },
    #[error("the ring in {path} was made for shards {stored:?}, not {wanted:?}")]
    OtherShards {
        path: PathBuf,
        stored: Vec<String>,
        wanted: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: String,
    vnodes: u32,
    algorithm: Algorithm,
    #[serde(rename = "pnodeToVnodeMap")]
    vnodes_of: BTreeMap<String, BTreeMap<u32, u32>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields)]
struct Algorithm {
    name: String,
    max: String,
    vnode_hash_interval: String,
}

impl Ring {
    /// The ring in `path`; when there is no such file, a new one for `shards`, which is durable in `path`
    /// before this returns. Refuses a stored ring for other shards. Blocks on the disk.
    pub fn load_or_create(
        path: &Path,
        vnodes: u32,
        shards: &[String],
    ) -> Result<Self, RingFileError> {
        let io = |source| RingFileError::Io {
            path: path.to_owned(),
            source,
        };
        let ring = |source| RingFileError::Ring {
            path: path.to_owned(),
            source,
        };
        let wanted = Self::new(vnodes, shards).map_err(ring)?;
        match fs::read(path) {
            Ok(bytes) => {
                let stored = decode(path, &bytes)?;
                if stored.shards == wanted.shards {
                    Ok(stored)
                } else {
                    Err(RingFileError::OtherShards {
                        path: path.to_owned(),
                        stored: stored.shards,
                        wanted: wanted.shards,
                    })
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                publish(path, &encode(&wanted)).map_err(io)?;
                Ok(wanted)
            }
            Err(error) => Err(io(error)),
        }
    }
}

fn encode(ring: &Ring) -> Vec<u8> {
    let mut vnodes_of: BTreeMap<String, BTreeMap<u32, u32>> = BTreeMap::new();
    for (vnode, shard) in (0..).zip(&ring.shard_of) {
        let name = ring.shards[*shard as usize].clone();
        vnodes_of.entry(name).or_default().insert(vnode, 1);
    }
    let stored = Stored {
        version: VERSION.to_owned(),
        vnodes: ring.vnodes(),
        algorithm: Algorithm {
            name: ALGORITHM.to_owned(),
            max: "f".repeat(64),
            vnode_hash_interval: ring.interval_hex(),
        },
        vnodes_of,
    };
    let mut bytes =
        serde_json::to_vec(&stored).expect("a ring has string keys: checked by its type");
    bytes.push(b'\n');
    bytes
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Ring, RingFileError> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|source| RingFileError::Json {
        path: path.to_owned(),
        source,
    })?;
    if stored.version != VERSION || stored.algorithm.name != ALGORITHM {
        return Err(RingFileError::Unknown {
            path: path.to_owned(),
            version: stored.version,
            algorithm: stored.algorithm.name,
        });
    }
    let vnodes_of = stored
        .vnodes_of
        .into_iter()
        .map(|(shard, vnodes)| (shard, vnodes.into_keys().collect()))
        .collect();
    Ring::from_map(stored.vnodes, &vnodes_of).map_err(|source| RingFileError::Ring {
        path: path.to_owned(),
        source,
    })
}

/// Writes a new file so that after a crash it is there whole or not at all.
fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards() -> Vec<String> {
        vec!["1.moray.local".to_owned(), "2.moray.local".to_owned()]
    }

    #[test]
    fn a_ring_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.json");
        let made = Ring::load_or_create(&path, 100, &shards()).unwrap();
        // The stored layout wins over the wanted number of vnodes.
        let read = Ring::load_or_create(&path, 7, &shards()).unwrap();
        assert_eq!(made, read);
        assert_eq!(read.vnodes(), 100);
    }

    #[test]
    fn a_ring_for_other_shards_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.json");
        Ring::load_or_create(&path, 100, &shards()).unwrap();
        let more = [shards(), vec!["3.moray.local".to_owned()]].concat();
        assert!(matches!(
            Ring::load_or_create(&path, 100, &more),
            Err(RingFileError::OtherShards { .. })
        ));
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.json");
        fs::write(&path, b"{}").unwrap();
        assert!(matches!(
            Ring::load_or_create(&path, 100, &shards()),
            Err(RingFileError::Json { .. })
        ));
    }

    #[test]
    fn the_stored_form_is_the_portable_one() {
        let ring = Ring::new(3, &shards()).unwrap();
        let text = String::from_utf8(encode(&ring)).unwrap();
        assert_eq!(
            text,
            format!(
                "{{\"version\":\"2.1.0\",\"vnodes\":3,\"algorithm\":{{\"NAME\":\"sha-256\",\"MAX\":\"{}\",\
                 \"VNODE_HASH_INTERVAL\":\"{}\"}},\"pnodeToVnodeMap\":{{\
                 \"1.moray.local\":{{\"0\":1,\"2\":1}},\"2.moray.local\":{{\"1\":1}}}}}}\n",
                "f".repeat(64),
                "5".repeat(64),
            )
        );
    }
}

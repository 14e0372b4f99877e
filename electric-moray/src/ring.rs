//! Which shard holds what: a fixed number of vnodes, each on one shard. The map is data: it is made
//! once, kept in a file, and does not follow from the list of shards afterwards.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::vnode::Vnodes;

/// The map from keys to shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    vnodes: Vnodes,
    /// Sorted.
    pub(crate) shards: Vec<String>,
    /// For each vnode an index into `shards`.
    pub(crate) shard_of: Vec<u32>,
}

/// Why there is no such ring.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RingError {
    #[error("a ring needs a vnode and a shard at least, and no more shards than vnodes")]
    TooSmall,
    #[error("shard {0} is there twice")]
    Twice(String),
    #[error("vnode {0} lies on no shard")]
    Unplaced(u32),
    #[error("vnode {0} lies on two shards, or is beyond the ring")]
    Misplaced(u32),
    #[error("the ring knows shard {0}, but there is none")]
    MissingShard(String),
    #[error("shard {0} is not on the ring")]
    UnknownShard(String),
}

impl Ring {
    /// Vnodes of a new ring unless something else is wanted: enough to spread evenly over dozens of shards,
    /// few enough to list.
    pub const VNODES_DEFAULT: u32 = 1_000;

    /// A new ring: vnode *i* lies on shard *i* modulo their number, shards sorted by name.
    pub fn new(vnodes: u32, shards: &[String]) -> Result<Self, RingError> {
        let mut shards = shards.to_vec();
        shards.sort_unstable();
        if let Some(pair) = shards.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RingError::Twice(pair[0].clone()));
        }
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        if count == 0 || count > vnodes {
            return Err(RingError::TooSmall);
        }
        Ok(Self {
            vnodes: Vnodes::new(vnodes).ok_or(RingError::TooSmall)?,
            shards,
            shard_of: (0..vnodes).map(|vnode| vnode % count).collect(),
        })
    }

    /// A ring as it was stored: the vnodes of each shard.
    pub(crate) fn from_map(
        vnodes: u32,
        vnodes_of: &BTreeMap<String, Vec<u32>>,
    ) -> Result<Self, RingError> {
        if vnodes_of.is_empty() {
            return Err(RingError::TooSmall);
        }
        let mut shard_of = vec![u32::MAX; vnodes as usize];
        for (index, placed) in (0_u32..).zip(vnodes_of.values()) {
            for &vnode in placed {
                match shard_of.get_mut(vnode as usize) {
                    Some(place) if *place == u32::MAX => *place = index,
                    _ => return Err(RingError::Misplaced(vnode)),
                }
            }
        }
        if let Some(vnode) = (0_u32..)
            .zip(&shard_of)
            .find_map(|(vnode, place)| (*place == u32::MAX).then_some(vnode))
        {
            return Err(RingError::Unplaced(vnode));
        }
        Ok(Self {
            vnodes: Vnodes::new(vnodes).ok_or(RingError::TooSmall)?,
            shards: vnodes_of.keys().cloned().collect(),
            shard_of,
        })
    }

    /// The shards, sorted by name.
    #[must_use]
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// How many vnodes there are.
    #[must_use]
    pub fn vnodes(&self) -> u32 {
        self.vnodes.count()
    }

    /// The vnode of a routing key.
    #[must_use]
    pub fn vnode_of(&self, key: &str) -> u32 {
        self.vnodes.of(key)
    }

    /// Index into [`shards`](Self::shards) of the shard that holds a routing key.
    #[must_use]
    pub fn shard_of(&self, key: &str) -> usize {
        self.shard_of[self.vnodes.of(key) as usize] as usize
    }

    pub(crate) fn interval_hex(&self) -> String {
        self.vnodes.interval_hex()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_new_ring_deals_its_vnodes_in_turn() {
        let ring = Ring::new(5, &names(&["b", "a"])).unwrap();
        assert_eq!(ring.shards(), ["a", "b"]);
        assert_eq!(ring.shard_of, [0, 1, 0, 1, 0]);
    }

    #[test]
    fn keys_spread_evenly() {
        let ring = Ring::new(Ring::VNODES_DEFAULT, &names(&["1", "2", "3", "4"])).unwrap();
        let mut counts = [0_u32; 4];
        for n in 0..40_000 {
            counts[ring.shard_of(&format!("/directory/{n}"))] += 1;
        }
        assert!(
            counts.iter().all(|c| (9_000..11_000).contains(c)),
            "{counts:?}"
        );
    }

    #[test]
    fn impossible_rings_are_refused() {
        assert_eq!(Ring::new(0, &names(&["a"])), Err(RingError::TooSmall));
        assert_eq!(Ring::new(1, &[]), Err(RingError::TooSmall));
        assert_eq!(
            Ring::new(9, &names(&["a", "a"])),
            Err(RingError::Twice("a".into()))
        );
        let map = |vnodes: &[u32]| BTreeMap::from([("a".to_owned(), vnodes.to_vec())]);
        assert_eq!(
            Ring::from_map(3, &map(&[0, 2])),
            Err(RingError::Unplaced(1))
        );
        assert_eq!(
            Ring::from_map(2, &map(&[0, 1, 1])),
            Err(RingError::Misplaced(1))
        );
        assert_eq!(Ring::from_map(1, &map(&[1])), Err(RingError::Misplaced(1)));
    }
}

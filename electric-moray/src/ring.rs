//! Which shard holds what: a fixed number of slots (vnodes), each on one shard. The map is data: it is made
//! once, kept in a file, and does not follow from the list of shards afterwards.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::vnode::Slots;

/// The map from keys to shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    slots: Slots,
    /// Sorted.
    pub(crate) shards: Vec<String>,
    /// For each slot an index into `shards`.
    pub(crate) shard_of: Vec<u32>,
}

/// Why there is no such ring.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RingError {
    #[error("a ring needs a slot and a shard at least, and no more shards than slots")]
    TooSmall,
    #[error("shard {0} is there twice")]
    Twice(String),
    #[error("slot {0} lies on no shard")]
    Unplaced(u32),
    #[error("slot {0} lies on two shards, or is beyond the ring")]
    Misplaced(u32),
    #[error("the ring knows shard {0}, but there is none")]
    MissingShard(String),
    #[error("shard {0} is not on the ring")]
    UnknownShard(String),
}

impl Ring {
    /// Slots of a new ring unless something else is wanted: enough to spread evenly over dozens of shards,
    /// few enough to list.
    pub const SLOTS_DEFAULT: u32 = 1_000;

    /// A new ring: slot *i* lies on shard *i* modulo their number, shards sorted by name.
    pub fn new(slots: u32, shards: &[String]) -> Result<Self, RingError> {
        let mut shards = shards.to_vec();
        shards.sort_unstable();
        if let Some(pair) = shards.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RingError::Twice(pair[0].clone()));
        }
        let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
        if count == 0 || count > slots {
            return Err(RingError::TooSmall);
        }
        Ok(Self {
            slots: Slots::new(slots).ok_or(RingError::TooSmall)?,
            shards,
            shard_of: (0..slots).map(|slot| slot % count).collect(),
        })
    }

    /// A ring as it was stored: the slots of each shard.
    pub(crate) fn from_map(
        slots: u32,
        slots_of: &BTreeMap<String, Vec<u32>>,
    ) -> Result<Self, RingError> {
        if slots_of.is_empty() {
            return Err(RingError::TooSmall);
        }
        let mut shard_of = vec![u32::MAX; slots as usize];
        for (index, placed) in (0_u32..).zip(slots_of.values()) {
            for &slot in placed {
                match shard_of.get_mut(slot as usize) {
                    Some(place) if *place == u32::MAX => *place = index,
                    _ => return Err(RingError::Misplaced(slot)),
                }
            }
        }
        if let Some(slot) = (0_u32..)
            .zip(&shard_of)
            .find_map(|(slot, place)| (*place == u32::MAX).then_some(slot))
        {
            return Err(RingError::Unplaced(slot));
        }
        Ok(Self {
            slots: Slots::new(slots).ok_or(RingError::TooSmall)?,
            shards: slots_of.keys().cloned().collect(),
            shard_of,
        })
    }

    /// The shards, sorted by name.
    #[must_use]
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.count()
    }

    /// The slot of a routing key.
    #[must_use]
    pub fn slot_of(&self, key: &str) -> u32 {
        self.slots.of(key)
    }

    /// Index into [`shards`](Self::shards) of the shard that holds a routing key.
    #[must_use]
    pub fn shard_of(&self, key: &str) -> usize {
        self.shard_of[self.slots.of(key) as usize] as usize
    }

    pub(crate) fn interval_hex(&self) -> String {
        self.slots.interval_hex()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_new_ring_deals_its_slots_in_turn() {
        let ring = Ring::new(5, &names(&["b", "a"])).unwrap();
        assert_eq!(ring.shards(), ["a", "b"]);
        assert_eq!(ring.shard_of, [0, 1, 0, 1, 0]);
    }

    #[test]
    fn keys_spread_evenly() {
        let ring = Ring::new(Ring::SLOTS_DEFAULT, &names(&["1", "2", "3", "4"])).unwrap();
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
        let map = |slots: &[u32]| BTreeMap::from([("a".to_owned(), slots.to_vec())]);
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

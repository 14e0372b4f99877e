//! The picker: spread, room, and even shares.

use std::collections::HashMap;
use std::ops::Range;

use async_trait::async_trait;
use libmanta::mako::{
    Capacity, CopyReader, CopyWriter, LocalCopies, Segment, SharkError, SizeHint, StoredCopy,
};
use libmanta::{AccountId, ObjectId};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

/// A node of which only the description is used.
#[derive(Debug)]
struct Node {
    id: StorageId,
    datacenter: String,
    capacity: Capacity,
}

impl Node {
    fn refuse<T>(&self) -> Result<T, SharkError> {
        let reason = String::from("only described");
        Err(SharkError::Unavailable {
            storage_id: self.id.clone(),
            reason,
        })
    }
}

#[async_trait]
impl Shark for Node {
    fn storage_id(&self) -> &StorageId {
        &self.id
    }
    fn datacenter(&self) -> &str {
        &self.datacenter
    }
    fn capacity(&self) -> Capacity {
        self.capacity
    }
    async fn create(
        &self,
        _: AccountId,
        _: ObjectId,
        _: SizeHint,
    ) -> Result<Box<dyn CopyWriter>, SharkError> {
        self.refuse()
    }
    async fn assemble(&self, _: AccountId, _: ObjectId, _: Vec<Segment>) -> Result<(), SharkError> {
        self.refuse()
    }
    async fn open(
        &self,
        _: AccountId,
        _: ObjectId,
        _: Range<u64>,
    ) -> Result<Box<dyn CopyReader>, SharkError> {
        self.refuse()
    }
    async fn delete(&self, _: AccountId, _: ObjectId) -> Result<bool, SharkError> {
        self.refuse()
    }
    async fn copies(&self, _: Option<ObjectId>, _: usize) -> Result<Vec<StoredCopy>, SharkError> {
        self.refuse()
    }
    fn local(&self) -> Option<Arc<dyn LocalCopies>> {
        None
    }
}

fn node(id: &str, datacenter: &str, available_bytes: u64) -> Arc<dyn Shark> {
    let capacity = Capacity {
        total_bytes: 1 << 40,
        available_bytes,
        writable: available_bytes > 0,
    };
    Arc::new(Node {
        id: StorageId::new(id),
        datacenter: datacenter.to_owned(),
        capacity,
    })
}

fn wanted(copies: usize, room_bytes: u64) -> Wanted<'static> {
    Wanted {
        copies,
        room_bytes,
        except: &[],
    }
}

fn names(chosen: &[Arc<dyn Shark>]) -> Vec<String> {
    let mut names: Vec<_> = chosen.iter().map(|s| s.storage_id().to_string()).collect();
    names.sort();
    names
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

#[test]
fn copies_go_to_different_datacenters() {
    let sharks = [
        node("1", "a", 100),
        node("2", "a", 1_000_000),
        node("3", "b", 100),
        node("4", "c", 100),
    ];
    let mut rng = rng();
    for copies in 1..=4 {
        for _ in 0..500 {
            let chosen = pick(&sharks, wanted(copies, 1), &mut rng).unwrap();
            assert_eq!(chosen.len(), copies);
            assert_eq!(count_datacenters(chosen.iter()), copies.min(3));
            let mut once = names(&chosen);
            once.dedup();
            assert_eq!(once.len(), copies);
        }
    }
}

#[test]
fn nodes_are_chosen_in_proportion_to_their_room() {
    let sharks = [
        node("1", "a", 1000),
        node("2", "a", 3000),
        node("3", "b", 4000),
    ];
    let mut counts: HashMap<String, u32> = HashMap::new();
    let mut rng = rng();
    for _ in 0..10_000 {
        for name in names(&pick(&sharks, wanted(1, 1), &mut rng).unwrap()) {
            *counts.entry(name).or_default() += 1;
        }
    }
    for (name, expected) in [("1", 1250.0), ("2", 3750.0), ("3", 5000.0)] {
        let got = f64::from(counts[name]);
        assert!(
            (got - expected).abs() < 300.0,
            "{name}: {got}, expected about {expected}"
        );
    }
}

#[test]
fn room_and_numbers_are_told_apart() {
    let sharks = [node("1", "a", 100), node("2", "b", 50), node("3", "c", 0)];
    let error = |w| pick(&sharks, w, &mut rng()).map(|c| names(&c)).unwrap_err();
    assert_eq!(error(wanted(2, 60)), PickError::NotEnoughSpace);
    assert_eq!(error(wanted(3, 1)), PickError::NotEnoughNodes);
    assert_eq!(
        names(&pick(&sharks, wanted(2, 50), &mut rng()).unwrap()),
        ["1", "2"]
    );
    let except = [StorageId::new("1")];
    assert_eq!(
        error(Wanted {
            copies: 2,
            room_bytes: 1,
            except: &except
        }),
        PickError::NotEnoughNodes
    );
}

#[test]
fn two_copies_never_share_the_only_datacenter_that_is_left() {
    let sharks = [node("1", "a", 100), node("2", "a", 100), node("3", "b", 0)];
    assert_eq!(
        pick(&sharks, wanted(2, 1), &mut rng())
            .map(|c| names(&c))
            .unwrap_err(),
        PickError::NotEnoughNodes
    );
    // Where the whole store is one datacenter there is no better place.
    assert!(pick(&sharks[..2], wanted(2, 1), &mut rng()).is_ok());
}

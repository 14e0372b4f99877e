//! A search for an order that explains a concurrent history (after Wing and Gong, with the states already
//! tried remembered), for sequential models of one directory and, in [`names`], of a few names.

#![allow(dead_code, reason = "each test binary has one of the models")]

pub(crate) mod names;

use std::collections::HashSet;
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

/// Does one thing after the other.
pub(crate) trait Model: Copy + Eq + Hash {
    type Operation: Copy + Debug;
    type Outcome: Copy + Debug;

    /// Whether the operation may come to this outcome now; it has taken place then.
    fn step(&mut self, operation: Self::Operation, outcome: Self::Outcome) -> bool;
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Operation {
    Put {
        child: u8,
        id: u128,
    },
    /// Only if there is none.
    PutNew {
        child: u8,
        id: u128,
    },
    RemoveChild {
        child: u8,
    },
    MakeDirectory,
    RemoveDirectory,
    /// An object at the directory's name.
    PutHere {
        id: u128,
    },
    RemoveHere,
    List,
    Lookup {
        child: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Outcome {
    Created,
    Replaced(u128),
    WasDirectory,
    Removed(u128),
    RemovedDirectory,
    Page([Option<u128>; 2]),
    Found(Option<u128>),
    NotFound,
    ParentNotFound,
    ParentNotDirectory,
    IsDirectory,
    NotDirectory,
    NotEmpty,
    Precondition,
}

/// One call as its caller saw it; `begun` and `ended` are ticks of one clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<O = Operation, R = Outcome> {
    pub(crate) operation: O,
    pub(crate) outcome: R,
    pub(crate) begun: u64,
    pub(crate) ended: u64,
}

/// What is at the name of the directory, one thing at a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum World {
    #[default]
    Absent,
    Object(u128),
    Directory([Option<u128>; 2]),
}

impl Model for World {
    type Operation = Operation;
    type Outcome = Outcome;

    fn step(&mut self, operation: Operation, outcome: Outcome) -> bool {
        self.apply(operation) == outcome
    }
}

impl World {
    fn apply(&mut self, operation: Operation) -> Outcome {
        let replaced = |before: Option<u128>| before.map_or(Outcome::Created, Outcome::Replaced);
        match (operation, *self) {
            (Operation::Put { .. } | Operation::PutNew { .. }, Self::Absent) => {
                Outcome::ParentNotFound
            }
            (Operation::Put { .. } | Operation::PutNew { .. }, Self::Object(_)) => {
                Outcome::ParentNotDirectory
            }
            (Operation::PutNew { child, .. }, Self::Directory(children))
                if children[usize::from(child)].is_some() =>
            {
                Outcome::Precondition
            }
            (
                Operation::Put { child, id } | Operation::PutNew { child, id },
                Self::Directory(mut children),
            ) => {
                let before = children[usize::from(child)].replace(id);
                *self = Self::Directory(children);
                replaced(before)
            }
            (Operation::RemoveChild { child }, Self::Directory(mut children)) => {
                let before = children[usize::from(child)].take();
                *self = Self::Directory(children);
                before.map_or(Outcome::NotFound, Outcome::Removed)
            }
            (Operation::RemoveChild { .. }, _) => Outcome::NotFound,
            (Operation::MakeDirectory, Self::Directory(_)) => Outcome::WasDirectory,
            (Operation::MakeDirectory, before) => {
                *self = Self::Directory([None; 2]);
                match before {
                    Self::Object(id) => Outcome::Replaced(id),
                    _ => Outcome::Created,
                }
            }
            (Operation::RemoveDirectory, Self::Directory([None, None])) => {
                *self = Self::Absent;
                Outcome::RemovedDirectory
            }
            (Operation::RemoveDirectory, Self::Directory(_)) => Outcome::NotEmpty,
            (Operation::RemoveDirectory | Operation::List, Self::Object(_)) => {
                Outcome::NotDirectory
            }
            (
                Operation::RemoveDirectory | Operation::List | Operation::RemoveHere,
                Self::Absent,
            ) => Outcome::NotFound,
            (Operation::PutHere { .. } | Operation::RemoveHere, Self::Directory(_)) => {
                Outcome::IsDirectory
            }
            (Operation::PutHere { id }, before) => {
                *self = Self::Object(id);
                match before {
                    Self::Object(before) => Outcome::Replaced(before),
                    _ => Outcome::Created,
                }
            }
            (Operation::RemoveHere, Self::Object(id)) => {
                *self = Self::Absent;
                Outcome::Removed(id)
            }
            (Operation::List, Self::Directory(children)) => Outcome::Page(children),
            (Operation::Lookup { child }, Self::Directory(children)) => {
                Outcome::Found(children[usize::from(child)])
            }
            (Operation::Lookup { .. }, _) => Outcome::Found(None),
        }
    }
}

/// Whether some order of the calls that respects their times gives every caller what it saw. The error
/// describes the history.
pub(crate) fn check<M: Model>(
    world: &M,
    calls: &[Call<M::Operation, M::Outcome>],
) -> Result<(), String> {
    assert!(calls.len() <= 64, "one bit for each call");
    let mut calls = calls.to_vec();
    calls.sort_unstable_by_key(|call| call.begun);
    let all = u64::MAX >> (64 - calls.len());
    let mut tried = HashSet::new();
    let mut open = vec![(0_u64, *world)];
    while let Some((taken, world)) = open.pop() {
        if taken == all {
            return Ok(());
        }
        if !tried.insert((taken, world)) {
            continue;
        }
        let left = |n: &usize| taken & (1 << n) == 0;
        // Nothing may be taken that begins after another left one has ended.
        let first_end = (0..calls.len())
            .filter(left)
            .map(|n| calls[n].ended)
            .min()
            .unwrap_or(u64::MAX);
        for n in (0..calls.len()).filter(left) {
            if calls[n].begun > first_end {
                break;
            }
            let mut next = world;
            if next.step(calls[n].operation, calls[n].outcome) {
                open.push((taken | 1 << n, next));
            }
        }
    }
    let mut text = String::new();
    for call in &calls {
        let _ = writeln!(
            text,
            "{:>3}..{:<3} {:?} -> {:?}",
            call.begun, call.ended, call.operation, call.outcome
        );
    }
    Err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: Operation, outcome: Outcome, begun: u64, ended: u64) -> Call {
        Call {
            operation,
            outcome,
            begun,
            ended,
        }
    }

    #[test]
    fn the_checker_takes_what_overlaps_in_any_order_and_nothing_else() {
        let removed = Outcome::RemovedDirectory;
        let put = Operation::Put { child: 0, id: 1 };
        let directory = World::Directory([None; 2]);
        let overlapping = [
            call(Operation::RemoveDirectory, removed, 0, 3),
            call(put, Outcome::Created, 1, 2),
            call(
                Operation::RemoveChild { child: 0 },
                Outcome::Removed(1),
                1,
                4,
            ),
        ];
        assert!(check(&directory, &overlapping).is_ok());
        let lost = [
            call(put, Outcome::Created, 0, 1),
            call(Operation::RemoveDirectory, removed, 2, 3),
        ];
        assert!(check(&directory, &lost).is_err());
        let twice = [
            call(Operation::RemoveDirectory, removed, 0, 2),
            call(Operation::RemoveDirectory, removed, 1, 3),
        ];
        assert!(check(&directory, &twice).is_err());
    }
}

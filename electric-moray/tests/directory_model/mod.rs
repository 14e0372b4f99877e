//! A sequential model of one directory with two children, and of what else may be at its name.

use testkit::history::{self, Sequential};

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

pub(crate) type Call = history::Call<Operation, Outcome>;

/// What is at the name of the directory, one thing at a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum World {
    #[default]
    Absent,
    Object(u128),
    Directory([Option<u128>; 2]),
}

impl Sequential for World {
    type Operation = Operation;
    type Outcome = Outcome;

    fn apply(&self, operation: &Operation) -> Vec<(Self, Outcome)> {
        let mut after = *self;
        let outcome = after.execute(*operation);
        vec![(after, outcome)]
    }
}

impl World {
    fn execute(&mut self, operation: Operation) -> Outcome {
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

/// The model refuses what it should.
#[test]
fn histories_of_a_directory_that_cannot_be_are_refused() {
    let call = |operation, outcome, begun, ended| Call {
        operation,
        outcome: Some(outcome),
        begun,
        ended,
    };
    let (remove, removed) = (Operation::RemoveDirectory, Outcome::RemovedDirectory);
    let put = Operation::Put { child: 0, id: 1 };
    let take = Operation::RemoveChild { child: 0 };
    let directory = World::Directory([None; 2]);
    let overlapping = [
        call(remove, removed, 0, 3),
        call(put, Outcome::Created, 1, 2),
        call(take, Outcome::Removed(1), 1, 4),
    ];
    assert!(history::check(&directory, &overlapping).is_ok());
    let lost = [
        call(put, Outcome::Created, 0, 1),
        call(remove, removed, 2, 3),
    ];
    assert!(history::check(&directory, &lost).is_err());
    let twice = [call(remove, removed, 0, 2), call(remove, removed, 1, 3)];
    assert!(history::check(&directory, &twice).is_err());
}

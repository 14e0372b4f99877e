//! The tree as a client may expect it to behave, for histories of puts, deletes, links and renames: four names,
//! two in each of two directories.

use crate::history::{self, Sequential};

pub const NAMES: usize = 4;
pub const DIRECTORIES: usize = 2;

/// An object and what is said about it under one name.
pub type Content = (u128, u8);

/// Directories and names by number; `id` is a new object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    Put { name: u8, id: u128, condition: If },
    Delete { name: u8, condition: If },
    Update { name: u8, meta: u8, condition: If },
    Link(Transfer),
    Rename(Transfer),
    Get { name: u8 },
    List { directory: u8 },
    MakeDirectory { directory: u8 },
    RemoveDirectory { directory: u8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transfer {
    pub source: u8,
    pub target: u8,
    pub source_if: If,
    pub target_if: If,
}

/// What is demanded of a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum If {
    Any,
    /// `if-none-match: *`.
    None,
    /// `if-match`.
    Is(u128),
}

/// What a caller learns. Some are told more than others of what was done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    Done,
    /// Done, with what the name held before.
    Replaced(Option<Content>),
    /// Done, with what was linked or renamed, and what the target held before.
    Transferred(Content, Option<Content>),
    Found(Option<Content>),
    Page([Option<Content>; NAMES / DIRECTORIES]),
    NotFound,
    ParentNotFound,
    SourceNotFound,
    NotEmpty,
    Precondition,
}

pub type Call = history::Call<Operation, Outcome>;

/// What is where.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    pub names: [Option<Content>; NAMES],
    pub directories: [bool; DIRECTORIES],
}

impl Default for World {
    /// Both directories, empty.
    fn default() -> Self {
        Self {
            names: [None; NAMES],
            directories: [true; DIRECTORIES],
        }
    }
}

/// The directory of a name.
#[must_use]
pub fn directory_of(name: u8) -> u8 {
    name / 2
}

impl If {
    fn holds(self, content: Option<Content>) -> bool {
        match self {
            Self::Any => true,
            Self::None => content.is_none(),
            Self::Is(wanted) => content.is_some_and(|(id, _)| id == wanted),
        }
    }
}

impl World {
    fn with(&self, name: u8, content: Option<Content>) -> Self {
        let mut world = self.clone();
        world.names[usize::from(name)] = content;
        world
    }

    /// What callers learn of an operation that has led here, by how much they are told.
    fn told(self, most: Outcome) -> Vec<(Self, Outcome)> {
        vec![(self.clone(), Outcome::Done), (self, most)]
    }

    fn has_directory_of(&self, name: u8) -> bool {
        self.directories[usize::from(directory_of(name))]
    }

    fn page(&self, directory: u8) -> [Option<Content>; 2] {
        let first = usize::from(directory) * 2;
        [self.names[first], self.names[first + 1]]
    }

    fn transfer(&self, transfer: Transfer, takes: bool) -> Vec<(Self, Outcome)> {
        let Transfer {
            source,
            target,
            source_if,
            target_if,
        } = transfer;
        let (from, to) = (
            self.names[usize::from(source)],
            self.names[usize::from(target)],
        );
        let mut refusals = Vec::new();
        if from.is_none() {
            refusals.push(Outcome::SourceNotFound);
        } else if !source_if.holds(from) {
            refusals.push(Outcome::Precondition);
        }
        if !self.has_directory_of(target) {
            refusals.push(Outcome::ParentNotFound);
        } else if !target_if.holds(to) {
            refusals.push(Outcome::Precondition);
        }
        let Some(moved) = from.filter(|_| refusals.is_empty()) else {
            return refusals
                .into_iter()
                .map(|outcome| (self.clone(), outcome))
                .collect();
        };
        let mut world = self.with(target, from);
        if takes && source != target {
            world.names[usize::from(source)] = None;
        }
        world.told(Outcome::Transferred(moved, to))
    }
}

impl Sequential for World {
    type Operation = Operation;
    type Outcome = Outcome;

    fn apply(&self, operation: &Operation) -> Vec<(Self, Outcome)> {
        let stays = |outcome| vec![(self.clone(), outcome)];
        let at = |name: u8| self.names[usize::from(name)];
        match *operation {
            Operation::Put {
                name,
                id,
                condition,
            } => {
                if !self.has_directory_of(name) {
                    stays(Outcome::ParentNotFound)
                } else if condition.holds(at(name)) {
                    self.with(name, Some((id, 0)))
                        .told(Outcome::Replaced(at(name)))
                } else {
                    stays(Outcome::Precondition)
                }
            }
            Operation::Delete { name, condition } => match at(name) {
                None => stays(Outcome::NotFound),
                content if condition.holds(content) => {
                    self.with(name, None).told(Outcome::Replaced(content))
                }
                Some(_) => stays(Outcome::Precondition),
            },
            Operation::Update {
                name,
                meta,
                condition,
            } => match at(name) {
                // Who looks for the directory first says so.
                None if !self.has_directory_of(name) => {
                    [Outcome::NotFound, Outcome::ParentNotFound]
                        .map(|outcome| (self.clone(), outcome))
                        .into()
                }
                None => stays(Outcome::NotFound),
                content if !condition.holds(content) => stays(Outcome::Precondition),
                Some((id, _)) => self
                    .with(name, Some((id, meta)))
                    .told(Outcome::Replaced(at(name))),
            },
            Operation::Link(transfer) => self.transfer(transfer, false),
            Operation::Rename(transfer) => self.transfer(transfer, true),
            Operation::Get { name } => stays(Outcome::Found(at(name))),
            Operation::List { directory } => {
                if self.directories[usize::from(directory)] {
                    stays(Outcome::Page(self.page(directory)))
                } else {
                    stays(Outcome::NotFound)
                }
            }
            Operation::MakeDirectory { directory } => {
                let mut world = self.clone();
                world.directories[usize::from(directory)] = true;
                vec![(world, Outcome::Done)]
            }
            Operation::RemoveDirectory { directory } => {
                if !self.directories[usize::from(directory)] {
                    stays(Outcome::NotFound)
                } else if self.page(directory) == [None; 2] {
                    let mut world = self.clone();
                    world.directories[usize::from(directory)] = false;
                    vec![(world, Outcome::Done)]
                } else {
                    stays(Outcome::NotEmpty)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: If = If::Any;

    fn put(name: u8, id: u128) -> Operation {
        Operation::Put {
            name,
            id,
            condition: ANY,
        }
    }

    fn transfer(source: u8, target: u8) -> Transfer {
        Transfer {
            source,
            target,
            source_if: ANY,
            target_if: ANY,
        }
    }

    /// One after the other.
    fn explains(history: &[(Operation, Outcome)]) -> bool {
        let calls: Vec<Call> = (0..)
            .zip(history)
            .map(|(time, (operation, outcome))| Call {
                operation: *operation,
                outcome: Some(*outcome),
                begun: 2 * time,
                ended: 2 * time + 1,
            })
            .collect();
        history::check(&World::default(), &calls).is_ok()
    }

    #[test]
    fn histories_with_one_wrong_answer_are_refused() {
        let moved = Operation::Rename(transfer(0, 2));
        let linked = Operation::Link(transfer(2, 1));
        let get = |name| Operation::Get { name };
        let delete = Operation::Delete {
            name: 2,
            condition: ANY,
        };
        let a = (1, 0);
        let right = [
            (put(0, 1), Outcome::Replaced(None)),
            (put(2, 2), Outcome::Done),
            (moved, Outcome::Transferred(a, Some((2, 0)))),
            (get(0), Outcome::Found(None)),
            (linked, Outcome::Transferred(a, None)),
            (
                Operation::Update {
                    name: 1,
                    meta: 7,
                    condition: If::Is(1),
                },
                Outcome::Replaced(Some(a)),
            ),
            (delete, Outcome::Replaced(Some(a))),
            (Operation::RemoveDirectory { directory: 1 }, Outcome::Done),
            (linked, Outcome::SourceNotFound),
            (moved, Outcome::ParentNotFound),
            (
                Operation::List { directory: 0 },
                Outcome::Page([None, Some((1, 7))]),
            ),
        ];
        assert!(explains(&right));
        let wrong = [
            (0, Outcome::Replaced(Some(a))),
            (2, Outcome::Transferred(a, None)),
            (2, Outcome::Transferred((2, 0), Some((2, 0)))),
            (3, Outcome::Found(Some(a))),
            (4, Outcome::Transferred(a, Some(a))),
            (4, Outcome::SourceNotFound),
            (5, Outcome::Replaced(Some((1, 7)))),
            (5, Outcome::Precondition),
            (6, Outcome::NotFound),
            (6, Outcome::Replaced(None)),
            (7, Outcome::NotEmpty),
            (8, Outcome::Done),
            (9, Outcome::NotEmpty),
            (10, Outcome::Page([None, Some(a)])),
            (10, Outcome::Page([Some((1, 7)), None])),
            (10, Outcome::NotFound),
        ];
        for (place, outcome) in wrong {
            let mut history = right;
            history[place].1 = outcome;
            assert!(!explains(&history), "{place}: {outcome:?}");
        }
    }
}

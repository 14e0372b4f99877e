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

/// What a caller learns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    Done,
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
        if !refusals.is_empty() {
            return refusals
                .into_iter()
                .map(|outcome| (self.clone(), outcome))
                .collect();
        }
        let mut world = self.with(target, from);
        if takes && source != target {
            world.names[usize::from(source)] = None;
        }
        vec![(world, Outcome::Done)]
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
                    vec![(self.with(name, Some((id, 0))), Outcome::Done)]
                } else {
                    stays(Outcome::Precondition)
                }
            }
            Operation::Delete { name, condition } => match at(name) {
                None => stays(Outcome::NotFound),
                content if condition.holds(content) => {
                    vec![(self.with(name, None), Outcome::Done)]
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
                Some((id, _)) => vec![(self.with(name, Some((id, meta))), Outcome::Done)],
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

//! A sequential model of three names in two directories: links and renames beside everything else.

use super::Model;

/// Names 0 and 1 lie in directory 0, name 2 in directory 1.
pub(crate) const NAMES: usize = 3;
pub(crate) const DIRECTORY_OF: [usize; NAMES] = [0, 0, 1];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Operation {
    Put {
        name: usize,
        id: u128,
    },
    /// Only if there is none.
    PutNew {
        name: usize,
        id: u128,
    },
    Update {
        name: usize,
    },
    Remove {
        name: usize,
    },
    Link {
        from: usize,
        to: usize,
        new: bool,
    },
    Rename {
        from: usize,
        to: usize,
        new: bool,
    },
    MakeDirectory {
        directory: usize,
    },
    RemoveDirectory {
        directory: usize,
    },
    List {
        directory: usize,
    },
    Lookup {
        name: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Outcome {
    /// With what the name was bound to before.
    Written(Option<u128>),
    /// The object that has another name now, and what had it before.
    Transferred(u128, Option<u128>),
    Removed(Option<u128>),
    Page([Option<u128>; NAMES]),
    Found(Option<u128>),
    NotFound,
    SourceNotFound,
    ParentNotFound,
    NotEmpty,
    Precondition,
}

/// What each name is bound to, and which directories are there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Names {
    pub(crate) bound: [Option<u128>; NAMES],
    pub(crate) is_there: [bool; 2],
}

impl Names {
    fn has_parent(&self, name: usize) -> bool {
        self.is_there[DIRECTORY_OF[name]]
    }

    fn children(&self, directory: usize) -> [Option<u128>; NAMES] {
        let mut children = self.bound;
        for (name, bound) in children.iter_mut().enumerate() {
            if DIRECTORY_OF[name] != directory {
                *bound = None;
            }
        }
        children
    }

    fn transfer(&mut self, from: usize, to: usize, keeps: bool, outcome: Outcome) -> bool {
        let (Some(id), before) = (self.bound[from], self.bound[to]) else {
            return false;
        };
        if !self.has_parent(to) || outcome != Outcome::Transferred(id, before) {
            return false;
        }
        if from != to {
            self.bound[to] = Some(id);
            if !keeps {
                self.bound[from] = None;
            }
        }
        true
    }
}

impl Model for Names {
    type Operation = Operation;
    type Outcome = Outcome;

    /// An operation on two names that fails says one of the reasons why.
    fn step(&mut self, operation: Operation, outcome: Outcome) -> bool {
        match (operation, outcome) {
            (
                Operation::PutNew { name, .. }
                | Operation::Link {
                    to: name,
                    new: true,
                    ..
                }
                | Operation::Rename {
                    to: name,
                    new: true,
                    ..
                },
                Outcome::Precondition,
            ) => self.bound[name].is_some(),
            (
                Operation::PutNew { name, .. }
                | Operation::Link {
                    to: name,
                    new: true,
                    ..
                }
                | Operation::Rename {
                    to: name,
                    new: true,
                    ..
                },
                Outcome::Written(_) | Outcome::Transferred(..),
            ) if self.bound[name].is_some() => false,
            (
                Operation::Put { name, .. }
                | Operation::PutNew { name, .. }
                | Operation::Link { to: name, .. }
                | Operation::Rename { to: name, .. },
                Outcome::ParentNotFound,
            ) => !self.has_parent(name),
            (
                Operation::Put { name, id } | Operation::PutNew { name, id },
                Outcome::Written(before),
            ) => {
                let may = self.has_parent(name) && self.bound[name] == before;
                self.bound[name] = Some(id);
                may
            }
            (Operation::Update { name }, Outcome::Written(before)) => {
                before.is_some() && self.bound[name] == before
            }
            (Operation::Remove { name }, Outcome::Removed(before)) => {
                let may = before.is_some() && self.bound[name] == before;
                self.bound[name] = None;
                may
            }
            (Operation::Remove { name } | Operation::Update { name }, Outcome::NotFound) => {
                self.bound[name].is_none()
            }
            (
                Operation::Link { from, .. } | Operation::Rename { from, .. },
                Outcome::SourceNotFound,
            ) => self.bound[from].is_none(),
            (Operation::Link { from, to, .. }, outcome) => self.transfer(from, to, true, outcome),
            (Operation::Rename { from, to, .. }, outcome) => {
                self.transfer(from, to, false, outcome)
            }
            (Operation::MakeDirectory { directory }, Outcome::Written(None)) => {
                self.is_there[directory] = true;
                true
            }
            (Operation::RemoveDirectory { directory }, Outcome::Removed(None)) => {
                let may = self.is_there[directory] && self.children(directory) == [None; NAMES];
                self.is_there[directory] = false;
                may
            }
            (
                Operation::RemoveDirectory { directory } | Operation::List { directory },
                Outcome::NotFound,
            ) => !self.is_there[directory],
            (Operation::RemoveDirectory { directory }, Outcome::NotEmpty) => {
                self.children(directory) != [None; NAMES]
            }
            (Operation::List { directory }, Outcome::Page(page)) => {
                self.is_there[directory] && self.children(directory) == page
            }
            (Operation::Lookup { name }, Outcome::Found(found)) => self.bound[name] == found,
            _ => false,
        }
    }
}

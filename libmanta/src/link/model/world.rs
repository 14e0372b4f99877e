//! The sequential specification, and the linearizability monitor (S5): every sequential history that explains
//! the answers given so far. It is exact: an answer that no history explains empties the set.

use super::Role;

pub(super) const PROCESSES_MAX: usize = 6;
pub(super) const NAMES_MAX: usize = 3;

/// An object and what is said about it under one name.
pub(super) type Content = (u8, u8);

/// What a client learns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    Pending,
    /// Written, linked, renamed, removed: the object that had the name before.
    Done(Option<u8>),
    Found(Option<Content>),
    Page([Option<Content>; NAMES_MAX]),
    NotFound,
    SourceMissing,
    Refused,
    NotEmpty,
}

/// What a write demands of the object under a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum If {
    Any,
    None,
    Is(u8),
}

impl If {
    pub(super) fn holds(self, object: Option<u8>) -> bool {
        match self {
            Self::Any => true,
            Self::None => object.is_none(),
            Self::Is(wanted) => object == Some(wanted),
        }
    }
}

/// A few names, one thing at a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct World {
    pub(super) values: [Option<Content>; NAMES_MAX],
    /// Whether the directory of name 1 is there; the others always are.
    pub(super) directory: bool,
}

impl World {
    /// All that may happen. An operation that could be refused for several reasons may name any of them.
    pub(super) fn apply(self, role: Role) -> Vec<(Self, Outcome)> {
        let object = |name: u8| self.values[usize::from(name)].map(|(object, _)| object);
        let with = |name: u8, content: Option<Content>| {
            let mut world = self;
            world.values[usize::from(name)] = content;
            world
        };
        let stays = |outcome| vec![(self, outcome)];
        match role {
            Role::Put(name, new, condition) => {
                if name == 1 && !self.directory {
                    stays(Outcome::NotFound)
                } else if condition.holds(object(name)) {
                    vec![(with(name, Some((new, 0))), Outcome::Done(object(name)))]
                } else {
                    stays(Outcome::Refused)
                }
            }
            Role::Delete(name, condition) => match object(name) {
                None => stays(Outcome::NotFound),
                Some(_) if !condition.holds(object(name)) => stays(Outcome::Refused),
                before => vec![(with(name, None), Outcome::Done(before))],
            },
            Role::Update(name, meta) => match object(name) {
                None => stays(Outcome::NotFound),
                Some(object) => vec![(
                    with(name, Some((object, meta))),
                    Outcome::Done(Some(object)),
                )],
            },
            Role::Get(name) => stays(Outcome::Found(self.values[usize::from(name)])),
            Role::List => stays(Outcome::Page(self.values)),
            Role::Link(transfer) | Role::Rename(transfer) => {
                let mut all = Vec::new();
                let (source, target) = (object(transfer.source), object(transfer.target));
                if source.is_none() {
                    all.push((self, Outcome::SourceMissing));
                } else if !transfer.source_if.holds(source) {
                    all.push((self, Outcome::Refused));
                }
                if transfer.target == 1 && !self.directory {
                    all.push((self, Outcome::NotFound));
                } else if !transfer.target_if.holds(target) {
                    all.push((self, Outcome::Refused));
                }
                if all.is_empty() {
                    let content = self.values[usize::from(transfer.source)];
                    let mut world = with(transfer.target, content);
                    if let Role::Rename(_) = role {
                        world.values[usize::from(transfer.source)] = None;
                    }
                    all.push((world, Outcome::Done(target)));
                }
                all
            }
            Role::RemoveDirectory => match (self.directory, self.values[1]) {
                (false, _) => stays(Outcome::NotFound),
                (true, Some(_)) => stays(Outcome::NotEmpty),
                (true, None) => vec![(
                    Self {
                        directory: false,
                        ..self
                    },
                    Outcome::Done(None),
                )],
            },
            Role::MakeDirectory => vec![(
                Self {
                    directory: true,
                    ..self
                },
                Outcome::Done(None),
            )],
            Role::Repair(_) | Role::Audit(_) => stays(Outcome::Done(None)),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct History {
    /// Sorted, without duplicates.
    explanations: Vec<Explanation>,
}

/// The world after some order of operations, and what the unanswered ones among them will have to answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Explanation {
    world: World,
    taken: [Outcome; PROCESSES_MAX],
}

impl History {
    pub(super) fn new(world: World) -> Self {
        Self {
            explanations: vec![Explanation {
                world,
                taken: [Outcome::Pending; PROCESSES_MAX],
            }],
        }
    }

    pub(super) fn is_linearizable(&self) -> bool {
        !self.explanations.is_empty()
    }

    /// Process `index` answers. Keeps the explanations in which it took effect by now with this outcome,
    /// letting any of the running ones take effect before it.
    pub(super) fn answer(&mut self, running: &[(usize, Role)], index: usize, outcome: Outcome) {
        let mut kept = Vec::new();
        let mut open = std::mem::take(&mut self.explanations);
        while let Some(mut explanation) = open.pop() {
            if explanation.taken[index] != Outcome::Pending {
                if explanation.taken[index] == outcome {
                    explanation.taken[index] = Outcome::Pending;
                    kept.push(explanation);
                }
                continue;
            }
            for &(other, role) in running {
                if explanation.taken[other] != Outcome::Pending {
                    continue;
                }
                for (world, taken) in explanation.world.apply(role) {
                    // Its own effect must be the one it tells.
                    if other == index && taken != outcome {
                        continue;
                    }
                    let mut next = explanation;
                    next.world = world;
                    next.taken[other] = taken;
                    open.push(next);
                }
            }
        }
        kept.sort_unstable();
        kept.dedup();
        self.explanations = kept;
    }
}

//! The linearizability monitor (I5): every sequential history that explains the answers given so far. It is
//! exact: an answer that no history explains empties the set.

use super::{Answer, Presence, Role, Slot};
use crate::namespace::Mark;

pub(super) const PROCESSES_MAX: usize = 8;

/// What a client learns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    Pending,
    Answer(Answer),
    IsDirectory,
    Page(u8),
}

/// A sequential directory: the specification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct World {
    pub(super) slot: Slot,
    pub(super) children: u8,
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

impl World {
    /// The whole specification of the tree around one directory.
    pub(super) fn apply(&mut self, role: Role, presence: Presence) -> Outcome {
        let done = Outcome::Answer(Answer::Done);
        let absent = match self.slot {
            Slot::Directory(_) => None,
            Slot::Absent => Some(Outcome::Answer(Answer::NotFound)),
            Slot::Object => Some(Outcome::Answer(Answer::NotDirectory)),
        };
        let missing = absent.filter(|_| presence == Presence::Recorded);
        match role {
            Role::Insert(_) | Role::Refused | Role::List if missing.is_some() => {
                missing.unwrap_or(done)
            }
            Role::Insert(n) => {
                self.children |= 1 << n;
                done
            }
            Role::Refused => done,
            Role::List => Outcome::Page(self.children),
            Role::Remove => match absent {
                Some(why) => why,
                None if self.children != 0 => Outcome::Answer(Answer::NotEmpty),
                None => {
                    self.slot = Slot::Absent;
                    done
                }
            },
            Role::MakeDirectory => {
                self.slot = Slot::Directory(Mark::Normal);
                done
            }
            Role::PutObject if absent.is_none() => Outcome::IsDirectory,
            Role::PutObject => {
                self.slot = Slot::Object;
                done
            }
            Role::RemoveObject => match self.slot {
                Slot::Object => {
                    self.slot = Slot::Absent;
                    done
                }
                Slot::Absent => Outcome::Answer(Answer::NotFound),
                Slot::Directory(_) => Outcome::IsDirectory,
            },
            Role::RemoveChild(n) => {
                let was_there = self.children & (1 << n) != 0;
                self.children &= !(1 << n);
                if was_there {
                    done
                } else {
                    Outcome::Answer(Answer::NotFound)
                }
            }
        }
    }
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
    pub(super) fn answer(
        &mut self,
        running: &[(usize, Role)],
        index: usize,
        outcome: Outcome,
        presence: Presence,
    ) {
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
                if explanation.taken[other] == Outcome::Pending {
                    let mut next = explanation;
                    next.taken[other] = next.world.apply(role, presence);
                    open.push(next);
                }
            }
        }
        kept.sort_unstable();
        kept.dedup();
        self.explanations = kept;
    }
}

//! What a name is bound to, as the protocol sees it. Each method is one step on an entry, in the shard of the
//! entry: it takes the binding as stored and gives the binding to store, and what to reply.

use crate::ObjectId;
use crate::namespace::Token;

/// What is under a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Binding {
    Missing,
    /// Only [`namespace`](crate::namespace) concerns itself with it.
    Directory,
    Bound(Bound),
    /// A LINK or RENAME to this name has come as far as (c). The name is bound to `object` once `token` is
    /// live in the object's record, and to `before` until then.
    Entering {
        object: ObjectId,
        token: Token,
        before: Option<Bound>,
    },
}

/// A name that is bound to an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Bound {
    /// The object was never promoted, as far as this name knows: its copies lie here.
    Sole {
        object: ObjectId,
        /// New for each placement of a sole object; see [`Bound::first_label`].
        label: Token,
        /// Counts the changes of the copies.
        version: u64,
    },
    /// The copies lie in the object's record. The name is bound to the object if `label` is live there, and
    /// to nothing otherwise.
    Linked {
        object: ObjectId,
        label: Token,
        /// The last LINK or RENAME that started from here since the name was written.
        pin: Option<Token>,
        /// A RENAME was among them: `label` may not be live any more. It is, in all other entries.
        moving: bool,
    },
}

/// What is to become of the name an object is taken from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    Link,
    Rename,
}

/// What becomes of a binding that was replaced; done by the transaction that replaces it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Disposal {
    /// The copies that lay in the entry go to the delete log.
    Bytes { object: ObjectId, version: u64 },
    /// [`Errand::Drop`](super::Errand::Drop) is logged.
    Drop { object: ObjectId, label: Token },
}

/// On which binding a name may be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Over {
    /// On any that is nobody else's affair.
    Free,
    /// On exactly this one, which was pinned; it has been cut off since, and `live` says whether the name was
    /// still bound.
    Exactly { binding: Binding, live: bool },
}

/// Whether a name may be written now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Overwritten {
    /// In this very transaction, if its conditions hold. `bound` is what the name is bound to: conditions see
    /// this, and a write disposes of it. A row may be there although nothing is bound.
    Yes { bound: Option<Bound> },
    /// Only after others are out of the way: [`Overwrite`](super::Overwrite).
    Busy,
}

/// What pinning a source came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pin {
    /// If its conditions hold.
    Pinned,
    /// The copies have changed since: the record needs to know the new ones.
    OtherVersion(u64),
    /// Somebody enters the name; that has to be resolved.
    Entering { object: ObjectId, token: Token },
    /// The name has another binding and will never have this one again.
    Gone,
}

impl Bound {
    /// A new object where it was put. An object is put once, so that its id serves as the label and need not
    /// be stored twice.
    #[must_use]
    pub fn new(object: ObjectId) -> Self {
        Self::Sole {
            object,
            label: Self::first_label(object),
            version: 0,
        }
    }

    #[must_use]
    pub fn first_label(object: ObjectId) -> Token {
        Token::from_bits(object.as_uuid().as_u128())
    }

    #[must_use]
    pub const fn object(self) -> ObjectId {
        match self {
            Self::Sole { object, .. } | Self::Linked { object, .. } => object,
        }
    }

    #[must_use]
    pub const fn label(self) -> Token {
        match self {
            Self::Sole { label, .. } | Self::Linked { label, .. } => label,
        }
    }

    fn is(self, object: ObjectId, label: Token) -> bool {
        self.object() == object && self.label() == label
    }

    /// Whether a reader needs the record to know if the name is bound.
    #[must_use]
    pub const fn is_moving(self) -> bool {
        matches!(self, Self::Linked { moving: true, .. })
    }

    #[must_use]
    pub const fn is_pinned(self) -> bool {
        matches!(self, Self::Linked { pin: Some(_), .. })
    }

    /// What to do with it in the transaction that replaces it.
    #[must_use]
    pub const fn disposal(self) -> Disposal {
        match self {
            Self::Sole {
                object, version, ..
            } => Disposal::Bytes { object, version },
            Self::Linked { object, label, .. } => Disposal::Drop { object, label },
        }
    }

    /// After a cut-off: no operation that started from here can commit any more.
    #[must_use]
    const fn unpinned(self) -> Self {
        match self {
            Self::Linked { object, label, .. } => Self::Linked {
                object,
                label,
                pin: None,
                moving: false,
            },
            sole @ Self::Sole { .. } => sole,
        }
    }
}

impl Binding {
    #[must_use]
    pub fn from_bound(bound: Option<Bound>) -> Self {
        bound.map_or(Self::Missing, Self::Bound)
    }

    /// Whether the name carries `label` of `object`. Once it does not, it never will again.
    #[must_use]
    pub fn carries(self, object: ObjectId, label: Token) -> bool {
        match self {
            Self::Missing | Self::Directory => false,
            Self::Bound(bound) => bound.is(object, label),
            Self::Entering {
                object: entering,
                token,
                before,
            } => {
                (entering == object && token == label)
                    || before.is_some_and(|b| b.is(object, label))
            }
        }
    }

    /// Whether the record must be asked what the name is bound to.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        match self {
            Self::Missing | Self::Directory => false,
            Self::Bound(bound) => bound.is_moving(),
            Self::Entering { .. } => true,
        }
    }

    /// Before a PUT, a DELETE, a metadata update, or a directory made of it.
    #[must_use]
    pub fn overwrite(self, over: Over) -> Overwritten {
        match (over, self) {
            (Over::Exactly { binding, live }, Self::Bound(bound)) if binding == self => {
                Overwritten::Yes {
                    bound: live.then_some(bound),
                }
            }
            (Over::Exactly { .. }, _) => Overwritten::Busy,
            (Over::Free, Self::Missing | Self::Directory) => Overwritten::Yes { bound: None },
            (Over::Free, Self::Bound(bound)) if !bound.is_pinned() => {
                Overwritten::Yes { bound: Some(bound) }
            }
            (Over::Free, Self::Bound(_) | Self::Entering { .. }) => Overwritten::Busy,
        }
    }

    /// What a metadata update leaves of the binding that [`overwrite`](Self::overwrite) admitted.
    #[must_use]
    pub const fn updated(bound: Bound) -> Self {
        Self::Bound(bound.unpinned())
    }

    /// Step (b), at the source. `version` is that of the record.
    #[must_use]
    pub fn pin(
        self,
        object: ObjectId,
        label: Token,
        version: u64,
        token: Token,
        kind: Kind,
    ) -> (Self, Pin) {
        let renames = kind == Kind::Rename;
        let pinned = |was_moving| {
            Self::Bound(Bound::Linked {
                object,
                label,
                pin: Some(token),
                moving: was_moving || renames,
            })
        };
        match self {
            Self::Bound(bound) if bound.is(object, label) => match bound {
                Bound::Sole { version: v, .. } if v == version => (pinned(false), Pin::Pinned),
                Bound::Sole { version: v, .. } => (self, Pin::OtherVersion(v)),
                Bound::Linked { moving, .. } => (pinned(moving), Pin::Pinned),
            },
            Self::Entering {
                object: entering,
                token: by,
                ..
            } if self.carries(object, label) => {
                let met = Pin::Entering {
                    object: entering,
                    token: by,
                };
                (self, met)
            }
            _ => (self, Pin::Gone),
        }
    }

    /// Step (c), at the target: `token` enters beside what is there. `over` as for a write, and its conditions
    /// are decided here as well. A dead binding under an unbound name is forgotten.
    #[must_use]
    pub fn enter(self, over: Over, object: ObjectId, token: Token) -> Option<Self> {
        match (self, self.overwrite(over)) {
            (Self::Directory, _) | (_, Overwritten::Busy) => None,
            (_, Overwritten::Yes { bound }) => Some(Self::Entering {
                object,
                token,
                before: bound.map(Bound::unpinned),
            }),
        }
    }

    /// Undoes (c), by its owner or by whoever aborted it. Whether it did; the name is then as it was before.
    #[must_use]
    pub fn leave(self, object: ObjectId, token: Token) -> (Self, bool) {
        match self {
            Self::Entering {
                object: entering,
                token: by,
                before,
            } if entering == object && by == token => (Self::from_bound(before), true),
            _ => (self, false),
        }
    }

    /// After the commit: what was there before goes. Whether it did, and what to dispose of.
    #[must_use]
    pub fn settle(self, object: ObjectId, token: Token) -> (Self, bool, Option<Disposal>) {
        match self {
            Self::Entering {
                object: entering,
                token: by,
                before,
            } if entering == object && by == token => {
                let settled = Bound::Linked {
                    object,
                    label: token,
                    pin: None,
                    moving: false,
                };
                (Self::Bound(settled), true, before.map(Bound::disposal))
            }
            _ => (self, false, None),
        }
    }

    /// After the commit of a RENAME: the old name goes. Whether it did. Nothing is disposed of.
    #[must_use]
    pub fn erase(self, object: ObjectId, label: Token) -> (Self, bool) {
        match self {
            Self::Bound(bound @ Bound::Linked { .. }) if bound.is(object, label) => {
                (Self::Missing, true)
            }
            Self::Entering {
                object: entering,
                token,
                before: Some(before @ Bound::Linked { .. }),
            } if before.is(object, label) => {
                let rest = Self::Entering {
                    object: entering,
                    token,
                    before: None,
                };
                (rest, true)
            }
            _ => (self, false),
        }
    }

    /// Repair has replaced copies of a sole object. `from` is the version it read. Whether it may store them;
    /// a promoted object's copies are replaced in its record.
    #[must_use]
    pub fn repair(self, object: ObjectId, label: Token, from: u64) -> (Self, bool) {
        match self {
            Self::Bound(Bound::Sole { version, .. })
                if self.carries(object, label) && version == from =>
            {
                let repaired = Bound::Sole {
                    object,
                    label,
                    version: version + 1,
                };
                (Self::Bound(repaired), true)
            }
            _ => (self, false),
        }
    }
}

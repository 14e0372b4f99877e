//! A directory's row, in the shard of its children. Each method is one step of the protocol: it takes the row
//! as stored and gives the row to store, and what to reply.

use std::fmt;

use uuid::Uuid;

/// A value never sent before in its role: it names one attempt to remove a directory or to probe for one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u128);

impl Token {
    /// 122 random bits: never drawn twice.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    #[must_use]
    pub const fn to_bits(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// What a directory's children lie under. `Probing` and `Closing` have no children, ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Row {
    Missing,
    /// Somebody is looking whether the directory exists.
    Probing(Token),
    /// The directory exists; `count` is exact and may be zero.
    Open {
        count: u64,
    },
    /// Somebody is removing the directory, or stopped while doing so.
    Closing(Token),
}

/// A row that says nothing about the directory yet; whoever meets it settles it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unsettled {
    Probing(Token),
    Closing(Token),
}

/// What makes a directory exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Presence {
    /// Its entry.
    Recorded,
    /// Nothing: it is a root, and an entry only adds headers to it.
    Always,
}

/// Whether a child may be written now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// In this very transaction.
    Admitted,
    /// Only after the row is settled.
    Unsettled(Unsettled),
    /// Not the row that was expected: start again.
    Changed,
}

/// What closing a row came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Close {
    Closed,
    NotEmpty,
    /// Another removal is there already, perhaps a dead one. It is never overwritten.
    Closing(Token),
}

impl Row {
    /// The first step of every insert. `nonce` is fresh.
    #[must_use]
    pub fn begin_insert(self, nonce: Token, presence: Presence) -> (Self, Admission) {
        match (self, presence) {
            (Self::Open { .. }, _) => (self, Admission::Admitted),
            (Self::Missing | Self::Probing(_), Presence::Always) => {
                (Self::Open { count: 0 }, Admission::Admitted)
            }
            (Self::Missing, Presence::Recorded) => (
                Self::Probing(nonce),
                Admission::Unsettled(Unsettled::Probing(nonce)),
            ),
            // A probe is shared and not replaced, so that inserters never chase one another.
            (Self::Probing(theirs), Presence::Recorded) => {
                (self, Admission::Unsettled(Unsettled::Probing(theirs)))
            }
            (Self::Closing(theirs), _) => (self, Admission::Unsettled(Unsettled::Closing(theirs))),
        }
    }

    /// The last step of an insert that had to look: the directory is there.
    #[must_use]
    pub fn settle_insert(self, seen: Unsettled) -> (Self, Admission) {
        if self == seen.row() {
            (Self::Open { count: 0 }, Admission::Admitted)
        } else {
            (self, Admission::Changed)
        }
    }

    /// One more child; `self` is what an admitted insert returned.
    #[must_use]
    pub fn with_child_added(self) -> Self {
        match self {
            Self::Open { count } => Self::Open { count: count + 1 },
            other => other,
        }
    }

    /// One child less. The row stays open at zero.
    #[must_use]
    pub fn with_child_removed(self) -> Self {
        match self {
            Self::Open { count } => Self::Open {
                count: count.saturating_sub(1),
            },
            other => other,
        }
    }

    /// Step (b) of a removal.
    #[must_use]
    pub fn close(self, token: Token) -> (Self, Close) {
        match self {
            Self::Missing | Self::Probing(_) | Self::Open { count: 0 } => {
                (Self::Closing(token), Close::Closed)
            }
            Self::Open { .. } => (self, Close::NotEmpty),
            Self::Closing(other) => (self, Close::Closing(other)),
        }
    }

    /// Undoes somebody's `closing` when the directory is still there. Whether it did.
    #[must_use]
    pub fn reopen(self, token: Token) -> (Self, bool) {
        if self == Self::Closing(token) {
            (Self::Open { count: 0 }, true)
        } else {
            (self, false)
        }
    }

    /// Removes a row that was found to belong to nothing. Whether it did.
    #[must_use]
    pub fn drop_if(self, seen: Unsettled) -> (Self, bool) {
        if self == seen.row() {
            (Self::Missing, true)
        } else {
            (self, false)
        }
    }
}

impl Unsettled {
    fn row(self) -> Row {
        match self {
            Self::Probing(token) => Row::Probing(token),
            Self::Closing(token) => Row::Closing(token),
        }
    }
}

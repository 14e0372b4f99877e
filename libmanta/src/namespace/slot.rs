//! What is under a name, as far as the protocol cares. Each method is one step on a directory's entry, in the
//! shard of its siblings.

use super::row::{Presence, Token};

/// A name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Slot {
    Absent,
    Object,
    /// Readers see it whatever its mark.
    Directory(Mark),
}

/// Whether somebody is removing a directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Mark {
    Normal,
    Deleting(Token),
}

impl Slot {
    /// Step (a) of a removal: claims the entry, whoever claimed it before. `token` is fresh; a mark that is
    /// met is never adopted. False when there is no directory.
    #[must_use]
    pub fn mark(self, token: Token) -> (Self, bool) {
        match self {
            Self::Directory(_) => (Self::Directory(Mark::Deleting(token)), true),
            other => (other, false),
        }
    }

    /// Calls off the removal `token`, by its owner (not empty) or by an inserter. Whether it did.
    #[must_use]
    pub fn unmark(self, token: Token) -> (Self, bool) {
        if self == Self::Directory(Mark::Deleting(token)) {
            (Self::Directory(Mark::Normal), true)
        } else {
            (self, false)
        }
    }

    /// Step (c), the moment of removal. Whether it did.
    #[must_use]
    pub fn remove_marked(self, token: Token) -> (Self, bool) {
        if self == Self::Directory(Mark::Deleting(token)) {
            (Self::Absent, true)
        } else {
            (self, false)
        }
    }

    /// Makes a directory of whatever is there. The mark of an existing one stays as it is: clearing it is
    /// allowed, and done where what a removal was judged by changes, but bringing one back that was replaced
    /// would not be.
    #[must_use]
    pub fn make_directory(self) -> Self {
        match self {
            Self::Directory(mark) => Self::Directory(mark),
            Self::Absent | Self::Object => Self::Directory(Mark::Normal),
        }
    }

    /// Puts an object here, or `None` because a directory is.
    #[must_use]
    pub fn put_object(self) -> Option<Self> {
        match self {
            Self::Absent | Self::Object => Some(Self::Object),
            Self::Directory(_) => None,
        }
    }

    /// How this name looks to somebody who asks whether the directory exists.
    #[must_use]
    pub(super) fn as_seen(self, presence: Presence) -> Self {
        match (self, presence) {
            (Self::Absent | Self::Object, Presence::Always) => Self::Directory(Mark::Normal),
            (slot, _) => slot,
        }
    }
}

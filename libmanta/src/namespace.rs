//! The protocol that keeps a directory whole although its two records lie in two shards. Pure: no I/O, no
//! clock, no lock.
//!
//! # Theory of operation
//!
//! A directory D has an *entry* among its siblings (shard of its parent's path) and a *row* beside its
//! children (shard of its own path). The row says `open` only while the entry is there, so a PUT into an
//! `open` directory is one transaction in one shard and never looks at the parent's shard. Two things take
//! several steps: the first child (missing → `probing` → look at the entry → `open`) and `rmdir`
//! (mark the entry `deleting` → row `closing` → delete the entry → remove the row).
//!
//! * [`Row`] and [`Slot`] are the two records; their methods are the steps, one atomic transaction each. The
//!   shard loads, applies one method, stores.
//! * [`Coordinator`] decides which step comes next from the reply to the last one. The router runs it.
//!
//! A process may stop for ever between two steps. Nobody waits for it: whoever meets a row in `probing` or
//! `closing` reads the entry and settles the matter, and every settling step is conditional on the exact
//! [`Token`] that was seen, so that a late step of the stopped process changes nothing.
//!
//! What would surprise: three steps ([`Step::Insert`], [`Step::Mark`], [`Step::Close`]) must never be sent
//! twice with the same token, not even when the reply was lost ([`Step::may_repeat`]); a second delivery
//! would bring back a mark that somebody has already cleared, and orphan a child. `namespace/model` checks
//! all of this exhaustively, and shows that eight plausible simplifications fail.

mod coordinator;
mod row;
mod slot;

#[cfg(test)]
mod model;

pub use coordinator::{Answer, Coordinator, IllegalReply, Next, Operation, Reply, Step};
pub use row::{Admission, Close, Presence, Row, Token, Unsettled};
pub use slot::{Mark, Slot};

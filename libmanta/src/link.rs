//! The protocol by which one object has several names, and moves from name to name, although every name and
//! the object's own record lie in shards of their own. Pure: no I/O, no clock, no lock.
//!
//! # Theory of operation
//!
//! An object has one name nearly always. Then its copies lie in that name's entry ([`Bound::Sole`]) and
//! nothing else knows the object. The first link, and the first rename to another shard, *promotes* it: a
//! [`Record`] in the shard of the object's id then holds its copies and one [`Reference`] for each name, and
//! the names only refer to it ([`Bound::Linked`]).
//!
//! A LINK or RENAME from s to d draws a fresh token *t* and takes four transactions, wherever they lie:
//! (a) [`Record::prepare`] adds the pending reference *t*; (b) [`Binding::pin`] marks s, so that whoever
//! overwrites it knows of the record; (c) [`Binding::enter`] puts the object into d under *t*, beside what was
//! there; (d) [`Record::commit`] makes *t* live. Until (d) d has its old value, from (d) on its new one, and
//! for RENAME s is empty from the same instant. What is left to do lies in the log ([`Errand`]), and anyone
//! may do it.
//!
//! * [`Binding`] and [`Record`] are the two records; their methods are the steps, one atomic transaction
//!   each. The shard loads, applies one method, stores.
//! * [`Transfer`], [`Overwrite`], [`Lookup`], [`Snapshot`], [`Emptying`], [`Running`] and [`Audit`] decide
//!   which step comes next from the reply to the last one. The router runs them.
//!
//! A process may stop for ever between two steps. Nobody waits for it: whoever meets an entry that is being
//! entered aborts that operation, unless it has committed, and goes on. It is never completed by others.
//!
//! What would surprise: three steps must never be sent twice with the same token, not even when the reply was
//! lost ([`Step::may_repeat`]). Copies have no place here: wherever a version goes, its copies go. And a
//! metadata update of a name is an overwrite as far as the protocol is concerned, or a rename that is under
//! way would lose it. `link/model` checks all of this exhaustively, and shows that plausible simplifications
//! fail.

mod audit;
mod binding;
mod emptying;
mod errand;
mod here;
mod lookup;
mod overwrite;
mod record;
mod resolve;
mod snapshot;
mod step;
mod transfer;

#[cfg(test)]
mod model;

pub use audit::{Audit, Finding};
pub use binding::{Binding, Bound, Disposal, Kind, Over, Overwritten, Pin};
pub use emptying::{Child, Emptied, Emptying};
pub use errand::{Errand, Running};
pub use here::{Here, Moved, rename_alone, transfer_here};
pub use lookup::{Lookup, Seen};
pub use overwrite::Overwrite;
pub use record::{Committed, Dropped, Prepared, Record, Reference, Standing};
pub use snapshot::{Snapshot, Value};
pub use step::{IllegalReply, Next, Reply, Side, Step};
pub use transfer::{Transfer, Transferred};

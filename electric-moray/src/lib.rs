//! Consistent-hash router over metadata shards. It decides which shard holds what, and takes the steps of
//! the directory protocol that span two of them; it keeps no state of its own.
//!
//! Read in this order: [`Ring`], [`Router`], then `directory` (one operation of the protocol at work).

mod delete_log;
mod directory;
mod namespace;
mod records;
mod ring;
mod ring_file;
mod router;
mod vnode;

pub use ring::{Ring, RingError};
pub use ring_file::RingFileError;
pub use router::Router;

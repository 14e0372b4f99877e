//! Consistent-hash router over metadata shards. It decides which shard holds what, and takes the steps of
//! the directory and link protocols that span several of them; it keeps no state of its own.
//!
//! Read in this order: [`Ring`], [`Router`], then `directory` and `transfer` (one operation of each protocol at
//! work), and [`Upkeeper`], which clears up behind them.

mod attempts;
mod delete_log;
mod directory;
mod emptying;
mod namespace;
mod overwrite;
mod page;
mod records;
mod resolve;
mod ring;
mod ring_file;
mod router;
mod stats;
mod steps;
mod transfer;
mod upkeep;
mod upkeeper;
mod vnode;

pub use ring::{Ring, RingError};
pub use ring_file::RingFileError;
pub use router::Router;
pub use stats::Stats;
pub use upkeeper::{Upkeeper, UpkeeperConfig};

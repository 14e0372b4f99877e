//! One SQLite file as the store of a shard: write-ahead log, `synchronous=FULL`, one writer thread, readers
//! beside it.

mod commit_faults;
pub(crate) mod delete_log;
mod entry_row;
pub(crate) mod namespace;
pub(crate) mod pages;
pub(crate) mod readers;
pub(crate) mod records;
pub(crate) mod schema;
mod strings;
pub(crate) mod writer;

pub use commit_faults::CommitFaults;

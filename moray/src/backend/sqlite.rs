//! One SQLite file as the store of a shard: write-ahead log, `synchronous=EXTRA`, one writer thread, readers
//! beside it.

mod commit_faults;
pub(crate) mod delete_log;
mod directory_row;
mod entry_row;
pub(crate) mod errands;
pub(crate) mod links;
mod name;
pub(crate) mod namespace;
pub(crate) mod object_record;
pub(crate) mod pages;
mod place;
pub(crate) mod readers;
pub(crate) mod records;
pub(crate) mod schema;
mod strings;
pub(crate) mod writer;

pub use commit_faults::CommitFaults;

//! A storage node: durable copies of objects in one directory.
//!
//! A copy that [`libmanta::mako::CopyWriter::commit`] acknowledged survives a crash of the process and of
//! the machine, is exactly the bytes that were written, and never changes until it is deleted. A copy that
//! was not acknowledged is not there after a crash, or is one that no metadata names and that the sweep
//! removes. What a reader gets was compared with its checksums first.
//!
//! Not here: which nodes hold an object (metadata), how many copies it needs (the front door), and repair
//! of a damaged copy from another one.
//!
//! Reading order: [`Store`] opens the directory; `store/durable_write.rs` is the reason the crate exists;
//! `checksums.rs` is what lies beside the bytes; [`Collector`] removes what nobody needs.

mod checksums;
mod collector;
mod config;
mod error;
mod manifest;
mod metrics;
mod store;

pub use collector::{Activity, Collector, CollectorConfig, CollectorStatus};
pub use config::Config;
pub use error::OpenError;
pub use metrics::{Counter, Stats};
pub use store::Store;

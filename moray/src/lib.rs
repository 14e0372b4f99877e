//! One shard of the metadata tier: directories, their entries, the delete log and the small records of the
//! services, each change one transaction that is durable before it is answered. Which shard holds what, and
//! the steps that span two of them, are the business of `electric-moray`.
//!
//! Read in this order: [`Config`], the facade in `shard`, then `backend/sqlite`: `schema`, `namespace` (the
//! protocol's steps), `writer` (group commit), `readers`.

mod backend;
mod config;
mod error;
mod shard;
mod stats;

pub use backend::sqlite::CommitFaults;
pub use config::{Config, Parts};
pub use error::OpenError;
pub use shard::Shard;
pub use stats::Stats;

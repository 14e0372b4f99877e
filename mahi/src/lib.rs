//! Accounts and keys: who may sign.
//!
//! The truth lies in records behind `libmanta::moray::Buckets`; every account is also kept in memory, so
//! that looking one up costs no I/O. The service is the only writer of its records, and a change is
//! visible once it is durable. Deciding what a caller may do is not done here: that rule is
//! `libmanta::mahi::authorize`, and the front door applies it.

mod config;
mod error;
mod record;
mod service;
mod token;

pub mod admin;

pub use config::Config;
pub use error::{AccountError, OpenError};
pub use service::{NewAccount, Service};

//! Accounts, subusers, their keys and roles: who may sign, and who holds what.
//!
//! The truth lies in records behind `libmanta::moray::Buckets`; every account is also kept in memory, with
//! its policies parsed, so that looking one up costs no I/O. The service is the only writer of its records, and a change is
//! visible once it is durable. Deciding what a caller may do is not done here: that rule is
//! `libmanta::mahi::authorize`, and the front door applies it.

mod config;
mod error;
mod groups;
mod keys;
mod known;
mod policies;
mod record;
mod reference_token;
mod roles;
mod service;
mod token;
mod users;

pub mod admin;

pub use config::{AuthToken, Config};
pub use error::{AccountError, OpenError};
pub use groups::Groups;
pub use policies::RULES_MAX;
pub use roles::{HELD_MAX, Member};
pub use service::{NewAccount, Service};

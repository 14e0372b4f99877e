//! What the system tests stand on: a running store, a client that can also misbehave, and the tools to
//! watch and to crash it.
//!
//! Surprise: nothing of the product is linked in here. Requests are written byte by byte and signed with
//! keys that `ring` reads, so that no mistake of the product can hide in the test that looks for it.

mod binary;
pub mod crash;
pub mod home;
pub mod job;
mod large_disk;
pub mod logs;
pub mod machine;
pub mod metering;
pub mod people;
pub mod proxy;
pub mod seed;
pub mod signed_url;
pub mod signer;
pub mod store;
pub mod trace;
pub mod wait;
pub mod wire;

pub use binary::{clients, manta};
pub use home::Home;
pub use job::Job;
pub use large_disk::LargeDisk;
pub use proxy::Proxy;
pub use signer::Signer;
pub use store::{Launch, Store};
pub use wait::wait_for;
pub use wire::{Client, Request, Response};

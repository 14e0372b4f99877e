//! Compute on data: supervises jobs and runs their tasks in zones, next to the bytes.
//!
//! A job's [`supervisor`] decides what is to be done and makes every step durable in an append log kept in
//! moray; the [`agent`] does it in zones and pushes results back. Nothing polls. Marlin does not isolate
//! (that is the `triton` port), does not authenticate (the job comes with a token), and stores objects only
//! through the public API, as its user would.
//!
//! Reading order: [`service`] for the port, [`job`] and [`task`] for the tables, [`ledger`] for what is
//! true, [`supervisor`] for what happens next, [`agent`] for how it is done, [`tools`] for what a command
//! in a zone calls.

mod agent;
mod config;
mod context;
mod error;
mod explain;
mod front_door;
mod housekeeping;
mod job;
mod journal;
mod ledger;
mod lists;
mod medusa;
mod names;
mod perturbation;
mod record;
mod replay;
mod run;
mod service;
mod snapshot;
mod stats;
mod supervisor;
mod task;
mod task_id;
pub mod tools;

pub use config::{Config, Deps};
pub use error::StartError;
pub use service::{Service, start};
pub use stats::{Counter, Stats};

//! webapi: the public HTTP API.
//!
//! Speaks HTTP and decides who may do what; knows neither how entries are stored (that is behind
//! `libmanta::moray`) nor how bytes are kept (`libmanta::mako`). Answers for the wire format to the byte,
//! for the order in which checks are made, and for one promise: a change that was answered with success
//! is durable, one that was not leaves nothing half visible.
//!
//! A request goes through `server` (sockets), `handler` (the pipeline), `router`, `auth`, then one of
//! `storage`, `account_root` and `jobs`. Every way out that is not success is a variant of
//! `errors::Error`.

mod config;
mod descriptors;
mod listener;
mod server;
mod shares;
mod throttle;
mod tls;
mod transport;
mod turnstile;
mod uploads;

mod client_stream;
mod exchange;
mod forwarded;
mod handler;
mod health;
mod insecure;
mod operation;
mod path;
mod query;
mod router;
mod routes;

mod access;
mod auth;
mod errors;
mod pace;
mod plain_routes;
mod presigned;
mod reply;
mod request_body;
mod response_body;
mod roles;

mod account_root;
mod directories;
mod links;
mod listing;
mod objects;
mod storage;
mod tokens;
mod tree;

mod conditions;
mod content_disposition;
mod content_type;
mod cors;
mod ranges;
mod stored_headers;

mod copies;
mod picker;
mod replicas;

mod multipart;

mod job_definition;
mod job_inputs;
mod jobs;
mod medusa;

mod audit;
mod json;
mod latin1;
mod metrics;

#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod openapi;

pub use config::{Config, Multipart, Surface};
pub use forwarded::{InvalidNetwork, Network};
pub use listener::Listener;
pub use server::{Deps, Handle};
pub use throttle::{Rates, Throttle};
pub use tls::{TlsError, TlsFiles};

//! The front door over real parts (two shards, three storage nodes, accounts), driven over sockets. Only
//! jobs are faked. One program, because linking is what takes long.

mod client;
mod store;


mod authentication;
//bad_input
mod conditions;
//connections
mod directories;
//faults
//jobs
mod listings;
mod objects;
//observability
mod ranges;

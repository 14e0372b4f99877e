//! The front door over real parts (two shards, three storage nodes, accounts), driven over sockets. Only
//! jobs are faked. One program, because linking is what takes long.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod client;
mod people;
mod store;
mod stumbling;
mod trees;
mod upload;

mod abuse;
mod authentication;
mod bad_input;
mod conditions;
mod connections;
mod cors;
mod directories;
mod doors;
mod faults;
mod job_rights;
mod jobs;
mod links;
mod listings;
mod medusa;
mod multipart;
mod multipart_appendix;
mod multipart_commits;
mod multipart_crashes;
mod multipart_deletes;
mod multipart_races;
mod objects;
mod observability;
mod overtaken;
mod presigned;
mod ranges;
mod refusals;
mod rights;
mod role_tags;
mod surface;
mod throttles;
mod tokens;

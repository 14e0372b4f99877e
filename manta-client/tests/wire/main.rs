//! What goes over the wire, against servers that play a script.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod script;

mod exchange;
mod requests;
mod ways;

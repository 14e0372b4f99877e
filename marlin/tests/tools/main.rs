//! The in-zone tools as commands: every scenario of their reference suites (marlin.md, Appendix A.6) under the
//! name it has there, and what is easily got wrong besides. `marlin/tests/TOOLS.md` is the table of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(non_snake_case, reason = "the scenarios have these names")]

mod maggr;
mod mcat;
mod mpipe;
mod msplit;
mod mtee;
mod support;
mod table;

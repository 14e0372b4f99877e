//! Objects: one file for each thing that can be done to them.

pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod metadata;
pub(crate) mod put;

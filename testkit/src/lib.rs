//! Fakes, port suites, a manual clock and seeded entropy for tests

pub mod fuzz;

pub mod jobs;

pub mod mako;

pub mod history;
pub mod links;
pub mod moray;
pub mod names;

pub mod zones;

pub mod small_system;

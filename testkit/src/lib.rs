//! Fakes, port suites, a manual clock and seeded entropy for tests

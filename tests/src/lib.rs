//! Black-box system tests: real processes, real clients, real faults

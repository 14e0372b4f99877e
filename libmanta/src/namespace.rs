//! Placeholder, replaced by the protocol.

//! Compute: supervisor, agent, in-zone tools

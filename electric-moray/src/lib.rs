//! Consistent-hash router over shards, and the directory protocol that spans two of them

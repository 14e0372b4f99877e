//! Key-value and namespace store over SQL: one shard

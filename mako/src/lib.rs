//! Storage node: durable copies of objects on disk

//! Where the records lie. SQL is spoken below this line only.

pub(crate) mod sqlite;

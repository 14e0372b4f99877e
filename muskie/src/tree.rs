//! Whole trees in one request: a listing of everything below a directory, and its removal.
//!
//! Neither existed in Manta, whose clients walk the tree request by request. Both are streams: what is held
//! in memory is a page of entries and one name for each level, however large the tree is.

pub(crate) mod filter;
pub(crate) mod list;
pub(crate) mod remove;

use crate::query::Query;

/// Whether a request is about the whole tree below its directory.
pub(crate) fn is_asked_for(query: &Query) -> bool {
    query.get("recursive") == Some("true")
}

/// The least name above `name`: names hold no NUL.
fn after(name: &str) -> String {
    format!("{name}\0")
}

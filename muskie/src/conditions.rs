//! Preconditions as headers. What they mean is decided next to the data: `libmanta::Condition`.

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use libmanta::{Condition, EtagList, PreconditionFailed, Timestamp};

use crate::errors::Error;
use crate::latin1;

/// A date that does not parse is no condition.
pub(crate) fn parse(headers: &HeaderMap) -> Condition {
    let date = |name| latin1::get(headers, name).and_then(|text| Timestamp::parse_http(&text));
    Condition {
        if_match: latin1::get(headers, IF_MATCH).map(EtagList),
        if_none_match: latin1::get(headers, IF_NONE_MATCH).map(EtagList),
        if_modified_since: date(IF_MODIFIED_SINCE),
        if_unmodified_since: date(IF_UNMODIFIED_SINCE),
        judged: None,
    }
}

/// What a failed condition means to a read.
pub(crate) enum OnRead {
    NotModified,
    Refused(Error),
}

pub(crate) fn on_read(failed: PreconditionFailed) -> OnRead {
    match failed {
        PreconditionFailed::NoneMatch { .. } | PreconditionFailed::NotModified { .. } => {
            OnRead::NotModified
        }
        PreconditionFailed::Match { .. }
        | PreconditionFailed::Modified { .. }
        | PreconditionFailed::Judged => OnRead::Refused(Error::Precondition(failed)),
    }
}

//! URLs that carry their signature in the query. Source: rest-api.md section 9.5.

use httpsig::{Presigned, PresignedError};
use libmanta::Timestamp;

use crate::auth::Signature;
use crate::errors::{Error, Result};
use crate::exchange::Head;

/// What a signed URL says, in good form and in time.
#[derive(Debug)]
pub(crate) struct SignedUrl {
    pub(crate) signature: Signature,
    pub(crate) role: Option<String>,
    pub(crate) role_tag: Option<String>,
}

/// `None` for a request whose query has nothing of a signature.
pub(crate) fn read(head: &Head, now: Timestamp) -> Result<Option<SignedUrl>> {
    let query = head.uri.query().unwrap_or_default();
    let presigned = Presigned::parse(head.method.as_str(), query, now.as_secs());
    let Some(presigned) = presigned.map_err(refuse)? else {
        return Ok(None);
    };
    let host = head.header("host").unwrap_or_default();
    let covered = presigned.text(&host, head.uri.path());
    let Presigned {
        key_id,
        algorithm,
        signature,
        role,
        role_tag,
        ..
    } = presigned;
    Ok(Some(SignedUrl {
        signature: Signature {
            key_id,
            algorithm,
            bytes: signature,
            covered,
            in_query: true,
        },
        role,
        role_tag,
    }))
}

fn refuse(error: PresignedError) -> Error {
    Error::InvalidQueryStringAuthentication {
        reason: error.to_string(),
    }
}

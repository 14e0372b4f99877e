//! What may be asked for where everybody on the way can listen. Source: rest-api.md section 0.4.

use http::Method;

use crate::auth::Credentials;
use crate::errors::{Error, Result};
use crate::exchange::Head;

/// Only what shows no secret that works twice, and what everybody may read anyway.
pub(crate) fn check(head: &Head, credentials: &Credentials) -> Result<()> {
    if credentials.is_presigned() || reads_public(head) {
        return Ok(());
    }
    Err(Error::SecureTransportRequired)
}

fn reads_public(head: &Head) -> bool {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method);
    reads && head.path.segments().nth(1) == Some("public")
}

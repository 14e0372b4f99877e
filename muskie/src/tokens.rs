//! `POST /:login/tokens`: a token with which its bearer acts as the caller does now, in the same roles, until
//! it expires. Source: rest-api.md section 9.6.
//!
//! A token makes no other token: it would never expire, and whoever got hold of one, or of that of a job, would
//! stay in for good. For the same reason the token of a job that is made with one expires with it.

use http::StatusCode;

use crate::access::Wanted;
use crate::errors::Result;
use crate::reply::Reply;
use crate::request_body::RequestBody;
use crate::storage::Request;

pub(crate) async fn create(request: &Request<'_>, body: &mut RequestBody) -> Result<Reply> {
    let owner = &request.owner;
    if request
        .caller
        .as_ref()
        .is_some_and(|caller| caller.until.is_some())
    {
        return Err(request.forbidden());
    }
    if !request.has_all_rights(owner) {
        let path = format!("/{}", owner.login);
        let wanted = Wanted {
            action: "createtoken",
            owner,
            path: &path,
            public: false,
            tags: &[],
            overwrite: false,
        };
        request.check(wanted).await?;
    }
    let Some(caller) = request.principal() else {
        return Err(request.forbidden());
    };
    body.discard().await?;
    let token = request.server.identity.mint_token(caller, None);
    let document = serde_json::json!({ "token": token }).to_string();
    Ok(Reply::document(
        StatusCode::CREATED,
        "application/json",
        document,
    ))
}

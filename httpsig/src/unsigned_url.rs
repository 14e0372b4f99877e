//! Making a signed URL: the text to sign, and the URL once there is a signature.
//!
//! Two steps, because the signature may come from somewhere else, such as ssh-agent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::algorithm::Algorithm;
use crate::presigned::{canonical_query, encode_query, presigned_text};

/// What a URL is to allow.
#[derive(Clone, Debug)]
pub struct UrlRequest<'a> {
    /// As the `Host` header will have it: with the port unless it is the scheme's own.
    pub host: &'a str,
    /// Escaped, as it will be sent.
    pub path: &'a str,
    /// At least one, in upper case and any order.
    pub methods: &'a [&'a str],
    /// `/account[/subuser]/keys/<fingerprint>`.
    pub key_id: &'a str,
    /// What the signature will be made with.
    pub algorithm: Algorithm,
    /// Seconds since the epoch.
    pub expires: u64,
    /// Further parameters, decoded: `role`, `role-tag`, `limit` and so on.
    pub query: &'a [(&'a str, &'a str)],
}

/// A URL that lacks its signature.
#[derive(Clone, Debug)]
pub struct UnsignedUrl {
    path: String,
    query: String,
    text: String,
}

impl UnsignedUrl {
    #[must_use]
    pub fn new(request: &UrlRequest<'_>) -> UnsignedUrl {
        let algorithm = request.algorithm.name().to_uppercase();
        let expires = request.expires.to_string();
        let mut methods = request.methods.to_vec();
        methods.sort_unstable();
        let list = methods.join(",");
        let mut query = vec![
            ("algorithm", algorithm.as_str()),
            ("expires", &expires),
            ("keyId", request.key_id),
        ];
        query.extend(request.query);
        if methods.len() > 1 {
            query.push(("method", &list));
        }
        UnsignedUrl {
            path: request.path.to_owned(),
            query: canonical_query(&query),
            text: presigned_text(&methods, request.host, request.path, &query),
        }
    }

    /// What to sign.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Path and query with the signature in it.
    #[must_use]
    pub fn signed(&self, signature: &[u8]) -> String {
        let signature = encode_query(STANDARD.encode(signature).as_bytes());
        format!("{}?{}&signature={signature}", self.path, self.query)
    }
}

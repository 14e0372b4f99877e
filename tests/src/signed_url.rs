//! URLs that carry their signature, put together by hand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Signer;
use crate::wire::escape;

/// A URL in the making. The host is the one that [`crate::wire::Request`] sends.
#[derive(Clone, Debug)]
pub struct SignedUrl {
    method: String,
    path: String,
    query: Vec<(String, String)>,
}

impl SignedUrl {
    /// Good for ten minutes.
    #[must_use]
    pub fn new(method: &str, path: &str, signer: &Signer) -> Self {
        let expires = SystemTime::now() + Duration::from_secs(600);
        let expires = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        let url = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
        };
        url.with("algorithm", "RSA-SHA256")
            .with("expires", &expires.as_secs().to_string())
            .with("keyId", signer.key_id())
    }

    /// A parameter, in place of one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.query.retain(|(other, _)| other != name);
        self
    }

    /// Path and query.
    #[must_use]
    pub fn signed(&self, signer: &Signer) -> String {
        let mut query = self.query.clone();
        query.sort();
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        let query = query.join("&");
        let text = format!("{}\nstore\n{}\n{query}", self.method, self.path);
        let authorization = signer.authorization(&text);
        let signature = authorization.rsplit('"').nth(1).unwrap_or_default();
        format!("{}?{query}&signature={}", self.path, escape(signature))
    }
}

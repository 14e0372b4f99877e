//! Signs requests as real clients do: the date, which changes once a second, and nothing else.
//!
//! Surprise: all requests of a second carry the same header. That is what clients of the ecosystem may do,
//! and it keeps the cost of RSA out of the measurement on both sides.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httpsig::{PrivateKey, UnsignedUrl, UrlRequest};

pub(crate) struct Signer {
    key: PrivateKey,
    key_id: String,
    /// The second since 1970 that the lines were made for, and the lines.
    last: Mutex<(u64, Arc<str>)>,
}

impl Signer {
    /// `key_id` is the fingerprint that the store knows the key by.
    pub(crate) fn open(account: &str, key_id: &str, key_file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(key_file)
            .with_context(|| format!("read {}", key_file.display()))?;
        let key = PrivateKey::parse(&text)
            .map_err(|error| anyhow!("understand {}: {error}", key_file.display()))?;
        let key_id = format!("/{account}/keys/{key_id}");
        Ok(Self {
            key,
            key_id,
            last: Mutex::new((0, Arc::from(""))),
        })
    }

    /// The lines `date` and `authorization` of a request sent now, each with its line end.
    pub(crate) fn lines(&self) -> Result<Arc<str>> {
        let now = SystemTime::now();
        let second = now
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970")?
            .as_secs();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != second {
            *last = (second, self.sign(now)?.into());
        }
        Ok(Arc::clone(&last.1))
    }

    /// The path `path` with what lets it be requested for an hour from `host`.
    pub(crate) fn url(&self, method: &str, host: &str, path: &str) -> Result<String> {
        let hour = Duration::from_secs(3600);
        let expires = SystemTime::now() + hour;
        let url = UnsignedUrl::new(&UrlRequest {
            host,
            path,
            methods: &[method],
            key_id: &self.key_id,
            algorithm: self.key.public().default_algorithm(),
            expires: expires
                .duration_since(UNIX_EPOCH)
                .context("the clock is before 1970")?
                .as_secs(),
            query: &[],
        });
        let signature = self
            .key
            .sign(self.key.public().default_algorithm(), url.text().as_bytes())
            .map_err(|error| anyhow!("sign a URL: {error}"))?;
        Ok(url.signed(&signature))
    }

    fn sign(&self, now: SystemTime) -> Result<String> {
        let date = httpdate::fmt_http_date(now);
        let algorithm = self.key.public().default_algorithm();
        let signature = self
            .key
            .sign(algorithm, format!("date: {date}").as_bytes())
            .map_err(|error| anyhow!("sign a request: {error}"))?;
        Ok(format!(
            "date: {date}\r\nauthorization: Signature keyId=\"{}\",algorithm=\"{algorithm}\",headers=\"date\",\
             signature=\"{}\"\r\n",
            self.key_id,
            STANDARD.encode(signature)
        ))
    }
}

/// Shows no secret.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

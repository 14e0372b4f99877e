//! Signing requests with the RSA key that `manta up` made, in the way every client of the ecosystem does.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

/// An account and a key of it.
#[derive(Clone)]
pub struct Signer {
    key_id: String,
    key: Arc<RsaKeyPair>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// `key_file` is an RSA key, PKCS#8 in PEM.
    pub fn open(account: &str, fingerprint: &str, key_file: &Path) -> Result<Self> {
        let pem =
            fs::read_to_string(key_file).with_context(|| format!("read {}", key_file.display()))?;
        let base64: String = pem
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let der = BASE64.decode(base64).context("decode the key")?;
        let key = RsaKeyPair::from_pkcs8(&der).map_err(|error| anyhow!("read the key: {error}"))?;
        Ok(Self {
            key_id: format!("/{account}/keys/{fingerprint}"),
            key: Arc::new(key),
        })
    }

    /// `Date` and `Authorization` for a request sent now.
    #[must_use]
    pub fn headers(&self) -> [(String, String); 2] {
        self.headers_at(SystemTime::now())
    }

    /// The same for a clock that is off by some seconds.
    #[must_use]
    pub fn headers_aged(&self, age: Duration) -> [(String, String); 2] {
        self.headers_at(SystemTime::now() - age)
    }

    fn headers_at(&self, time: SystemTime) -> [(String, String); 2] {
        let date = httpdate::fmt_http_date(time);
        let authorization = self.authorization(&format!("date: {date}"));
        [
            ("date".to_owned(), date),
            ("authorization".to_owned(), authorization),
        ]
    }

    /// The header for a string to sign, which need not make sense.
    #[must_use]
    pub fn authorization(&self, to_sign: &str) -> String {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                to_sign.as_bytes(),
                &mut signature,
            )
            .expect("the signature is as long as the modulus: just allocated so");
        format!(
            "Signature keyId=\"{}\",algorithm=\"rsa-sha256\",signature=\"{}\"",
            self.key_id,
            BASE64.encode(signature)
        )
    }

    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

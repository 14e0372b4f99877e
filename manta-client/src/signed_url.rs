//! URLs that carry their own authorisation, made without asking the server.

use httpsig::{Algorithm, UnsignedUrl, UrlRequest};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::path::{encode_path, resolve_path};
use crate::signer::{Signer, SignerError};

/// What a signed URL allows, and how.
#[derive(Clone, Debug)]
pub struct SignedUrl<'a> {
    /// `http[s]://host[:port]`, as whoever uses the URL will reach the server: the host is signed too.
    pub server: &'a str,
    /// As a user writes it; `~~` is `account`.
    pub path: &'a str,
    pub account: &'a str,
    /// The path is escaped already.
    pub raw_path: bool,
    /// At least one, in upper case. `GET` does not include `HEAD`.
    pub methods: &'a [&'a str],
    /// Seconds since the epoch.
    pub expires: u64,
    /// Other than what the key does best.
    pub algorithm: Option<Algorithm>,
    /// Further parameters, unescaped: `role` and `role-tag`, lists with commas, or any of the request.
    pub query: &'a [(&'a str, &'a str)],
}

impl Signer {
    /// Signs a URL. Errors: `Path`, `Url`, or `Sign`, among them that the key or its agent cannot do the
    /// algorithm.
    pub async fn sign_url(&self, request: &SignedUrl<'_>) -> Result<String, Error> {
        let server = request.server.trim_end_matches('/');
        let host = Endpoint::parse(server)?.authority();
        let path = resolve_path(request.path, request.account)?;
        let path = if request.raw_path {
            path
        } else {
            encode_path(&path)
        };
        let algorithm = request.algorithm.unwrap_or_else(|| self.algorithm());
        let unsigned = UnsignedUrl::new(&UrlRequest {
            host: &host,
            path: &path,
            methods: request.methods,
            key_id: self.key_id(),
            algorithm,
            expires: request.expires,
            query: request.query,
        });
        let (used, signature) = self.sign(unsigned.text(), Some(algorithm)).await?;
        if used != algorithm {
            // The text names the algorithm, so a signature by another one is worth nothing.
            let wanted = algorithm;
            return Err(SignerError::OtherAlgorithm { wanted, used }.into());
        }
        Ok(format!("{server}{}", unsigned.signed(&signature)))
    }
}

#[cfg(test)]
mod tests {
    use httpsig::{Presigned, PrivateKey};

    use super::*;

    fn request<'a>(path: &'a str, query: &'a [(&'a str, &'a str)]) -> SignedUrl<'a> {
        SignedUrl {
            server: "http://manta.example:8080/",
            path,
            account: "alice",
            raw_path: false,
            methods: &["PUT", "OPTIONS"],
            expires: 2_000_000_000,
            algorithm: None,
            query,
        }
    }

    #[tokio::test]
    async fn a_url_verifies_as_a_server_reads_it() {
        let made = httpsig::generate("").unwrap();
        let key = PrivateKey::parse(&made.private_pem).unwrap();
        let public = key.public().clone();
        let signer = Signer::from_key("alice", Some("bob"), key);

        let query = [("role", "a,b c"), ("role-tag", "x")];
        let url = signer
            .sign_url(&request("~~/stor/ü (1)", &query))
            .await
            .unwrap();
        let rest = url.strip_prefix("http://manta.example:8080").unwrap();
        let (path, query) = rest.split_once('?').unwrap();
        assert_eq!(path, "/alice/stor/%C3%BC%20%281%29");
        let read = Presigned::parse("PUT", query, 0).unwrap().unwrap();
        assert_eq!(read.role.as_deref(), Some("a,b c"));
        assert_eq!(
            read.key_id,
            format!("/alice/bob/keys/{}", made.md5_fingerprint)
        );
        let text = read.text("manta.example:8080", path);
        assert_eq!(
            public.verify(read.algorithm, text.as_bytes(), &read.signature),
            Ok(())
        );

        let other = Algorithm::parse("rsa-sha512").unwrap();
        let url = signer
            .sign_url(&SignedUrl {
                algorithm: Some(other),
                ..request("~~/stor/x", &[])
            })
            .await
            .unwrap();
        assert!(url.contains("?algorithm=RSA-SHA512&"), "{url}");
        let wrong = Algorithm::parse("ecdsa-sha256").unwrap();
        let error = signer
            .sign_url(&SignedUrl {
                algorithm: Some(wrong),
                ..request("~~/stor/x", &[])
            })
            .await;
        assert!(matches!(error, Err(Error::Sign(_))));
        assert!(signer.sign_url(&request("stor/x", &[])).await.is_err());
    }
}

//! TLS: whom to believe.
//!
//! The certificate authorities are the browsers' and the machine's own together: the first so that a
//! static binary works in an empty container, the second for authorities that only a company knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::error::Error;

/// Where systems keep the authorities they believe; the first that exists is read.
const SYSTEM_FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/local/etc/openssl/certs/ca-certificates.crt",
];

/// How an `https` server proves who it is.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Believe any certificate: whoever is in between can read and change everything.
    pub insecure: bool,
    /// Authorities in PEM, believed besides the built-in ones. Without it, the file of the system.
    pub ca_file: Option<PathBuf>,
}

impl TlsOptions {
    /// Reads the authorities. A file that was named must be readable and hold certificates; one of the
    /// system's that is not is passed over.
    pub(crate) fn connector(&self) -> Result<TlsConnector, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls(error.to_string()))?;
        let mut config = if self.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
                .with_no_client_auth()
        } else {
            builder
                .with_root_certificates(self.roots()?)
                .with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        match &self.ca_file {
            Some(file) => {
                let failed = |why: String| Error::Tls(format!("{}: {why}", file.display()));
                let found = read_certificates(file).map_err(|error| failed(error.to_string()))?;
                if found.is_empty() {
                    return Err(failed("holds no certificate".to_owned()));
                }
                roots.add_parsable_certificates(found);
            }
            None => {
                let found = SYSTEM_FILES
                    .iter()
                    .find_map(|file| read_certificates(Path::new(file)).ok());
                roots.add_parsable_certificates(found.unwrap_or_default());
            }
        }
        Ok(roots)
    }
}

fn read_certificates(file: &Path) -> std::io::Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| std::io::Error::other(error.to_string()))
}

/// Believes every certificate, but still that the other side has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_must_hold_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let connector = || {
            let options = TlsOptions {
                ca_file: Some(file.clone()),
                ..TlsOptions::default()
            };
            options.connector().map(drop).map_err(|error| error.line())
        };
        assert!(connector().unwrap_err().contains("No such file"));
        std::fs::write(&file, "nothing").unwrap();
        assert!(connector().unwrap_err().contains("holds no certificate"));
        assert!(TlsOptions::default().connector().is_ok());
    }
}

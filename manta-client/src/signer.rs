//! Who a request is from, and how that is proved.
//!
//! Only the date is signed, as all clients of the ecosystem do by default. So one signature serves every
//! request of the same second, on the client and in the server's cache of verified signatures: a busy
//! client costs each side one RSA operation per second.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httpsig::{Algorithm, PrivateKey, PublicKey, SignError};

use crate::agent::{Agent, AgentError};

/// How requests are authenticated. Cheap to clone.
#[derive(Clone)]
pub enum Auth {
    /// Not at all: public data, and inside jobs.
    None,
    /// `Authorization: Token …`.
    Token(Arc<str>),
    /// `Authorization: Signature …`.
    Signature(Arc<Signer>),
}

/// A key and the identity it speaks for.
pub struct Signer {
    key_id: String,
    source: Source,
    last: Mutex<Option<Signed>>,
}

/// The header for one date.
struct Signed {
    date: String,
    header: String,
}

#[derive(Clone)]
enum Source {
    Key(Arc<PrivateKey>),
    Agent(Agent, PublicKey),
}

/// The request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("cannot sign the request")]
    Key(#[from] SignError),
    #[error("cannot sign the request with ssh-agent")]
    Agent(#[from] AgentError),
    /// An agent signs with the algorithm that it likes.
    #[error("the algorithm {wanted} could not be used with this key (try {used})")]
    OtherAlgorithm { wanted: Algorithm, used: Algorithm },
}

impl Signer {
    /// Signs with a private key, for `account` or its `subuser`.
    #[must_use]
    pub fn from_key(account: &str, subuser: Option<&str>, key: PrivateKey) -> Signer {
        let key_id = key_id(account, subuser, key.public());
        Signer {
            key_id,
            source: Source::Key(Arc::new(key)),
            last: Mutex::new(None),
        }
    }

    /// Lets ssh-agent sign with one of its keys.
    #[must_use]
    pub fn from_agent(
        account: &str,
        subuser: Option<&str>,
        agent: Agent,
        key: PublicKey,
    ) -> Signer {
        let key_id = key_id(account, subuser, &key);
        Signer {
            key_id,
            source: Source::Agent(agent, key),
            last: Mutex::new(None),
        }
    }

    /// `/account[/subuser]/keys/<md5>`.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The value of `Authorization` for a request with this `Date`.
    pub(crate) async fn authorization(&self, date: &str) -> Result<String, SignerError> {
        if let Some(header) = self.last_for(date) {
            return Ok(header);
        }
        let text = format!("date: {date}");
        let (algorithm, signature) = self.sign(&text, None).await?;
        let header = format!(
            "Signature keyId=\"{}\",algorithm=\"{algorithm}\",headers=\"date\",signature=\"{}\"",
            self.key_id,
            STANDARD.encode(signature)
        );
        let signed = Signed {
            date: date.to_owned(),
            header: header.clone(),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed);
        Ok(header)
    }

    /// What the key does when nobody says otherwise.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match &self.source {
            Source::Key(key) => key.public().default_algorithm(),
            Source::Agent(_, key) => key.default_algorithm(),
        }
    }

    /// A signature over `text`, and what it was made with: an agent does not let itself be told.
    pub(crate) async fn sign(
        &self,
        text: &str,
        algorithm: Option<Algorithm>,
    ) -> Result<(Algorithm, Vec<u8>), SignerError> {
        match self.source.clone() {
            Source::Agent(agent, key) => Ok(agent.sign(&key, text.as_bytes()).await?),
            Source::Key(key) => {
                let algorithm = algorithm.unwrap_or_else(|| key.public().default_algorithm());
                sign_off_the_runtime(key, algorithm, text.to_owned()).await
            }
        }
    }

    fn last_for(&self, date: &str) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()
            .filter(|signed| signed.date == date)
            .map(|signed| signed.header.clone())
    }
}

/// A signature with a large RSA key takes milliseconds, too long for a thread that others wait on.
async fn sign_off_the_runtime(
    key: Arc<PrivateKey>,
    algorithm: Algorithm,
    text: String,
) -> Result<(Algorithm, Vec<u8>), SignerError> {
    let signing = tokio::task::spawn_blocking(move || {
        key.sign(algorithm, text.as_bytes())
            .map(|signature| (algorithm, signature))
    });
    // The task can only fail by a panic or with the runtime; there is no signature in either case.
    Ok(signing.await.unwrap_or(Err(SignError::Failed))?)
}

fn key_id(account: &str, subuser: Option<&str>, key: &PublicKey) -> String {
    let fingerprint = key.md5_fingerprint();
    match subuser {
        Some(user) => format!("/{account}/{user}/keys/{fingerprint}"),
        None => format!("/{account}/keys/{fingerprint}"),
    }
}

/// Shows no secret.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::None => f.write_str("None"),
            Auth::Token(_) => f.write_str("Token(…)"),
            Auth::Signature(signer) => write!(f, "Signature({})", signer.key_id),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sat, 21 Nov 2026 04:10:01 GMT";

    #[tokio::test]
    async fn headers_verify_and_are_kept_for_their_second() {
        let made = httpsig::generate("").unwrap();
        let key = PrivateKey::parse(&made.private_pem).unwrap();
        let public = key.public().clone();
        let signer = Signer::from_key("alice", Some("bob"), key);

        let header = signer.authorization(DATE).await.unwrap();
        let parsed = httpsig::Authorization::parse(&header).unwrap();
        assert_eq!(
            parsed.key_id,
            format!("/alice/bob/keys/{}", made.md5_fingerprint)
        );
        let text = httpsig::signing_string(&parsed, "GET", "/", |name| {
            (name == "date").then(|| DATE.to_owned())
        });
        let text = text.unwrap();
        assert_eq!(
            public.verify(parsed.algorithm, text.as_bytes(), &parsed.signature),
            Ok(())
        );

        assert_eq!(signer.last_for(DATE), Some(header));
        assert_eq!(signer.last_for("another"), None);
    }
}

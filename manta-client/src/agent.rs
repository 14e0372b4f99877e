//! A small client of ssh-agent: list the keys, sign with one.
//!
//! Protocol: frames of `u32 length, u8 type, body` over a Unix socket (draft-miller-ssh-agent). Every call
//! opens its own connection, for an agent may ask its user for permission and take its time over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use httpsig::{Algorithm, PublicKey, Scheme, decode_ssh_signature};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Asks for SHA-256 with an RSA key; without a flag an agent would use SHA-1.
const RSA_SHA2_256: u32 = 2;
/// More than any agent has reason to send: a thousand large keys fit.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// The agent behind a socket.
#[derive(Clone, Debug)]
pub struct Agent {
    socket: Arc<Path>,
}

/// Why the agent could not help.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot talk to ssh-agent at {}", socket.display())]
    Io {
        socket: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The agent does not have the key, or its user said no.
    #[error("ssh-agent refused to sign")]
    Refused,
    #[error("ssh-agent sent an answer that makes no sense")]
    Malformed,
}

impl Agent {
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Agent {
        Agent {
            socket: socket.into().into(),
        }
    }

    /// Where the agent listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The keys it holds. Kinds of keys that cannot sign requests are left out.
    pub async fn keys(&self) -> Result<Vec<PublicKey>, AgentError> {
        let answer = self.call(&[REQUEST_IDENTITIES]).await?;
        let mut fields = match answer.split_first() {
            Some((&IDENTITIES_ANSWER, rest)) => rest,
            _ => return Err(AgentError::Malformed),
        };
        let count = take_u32(&mut fields)?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let wire = take_string(&mut fields)?;
            let comment = take_string(&mut fields)?;
            if let Ok(key) = PublicKey::from_wire(wire) {
                keys.push(key.with_comment(&String::from_utf8_lossy(comment)));
            }
        }
        Ok(keys)
    }

    /// Signs `message`; the algorithm is the key's own choice and comes back with the signature.
    pub async fn sign(
        &self,
        key: &PublicKey,
        message: &[u8],
    ) -> Result<(Algorithm, Vec<u8>), AgentError> {
        let flags = if key.scheme() == Scheme::Rsa {
            RSA_SHA2_256
        } else {
            0
        };
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, key.wire());
        put_string(&mut request, message);
        request.extend(flags.to_be_bytes());
        let answer = self.call(&request).await?;
        let mut fields = match answer.split_first() {
            Some((&SIGN_RESPONSE, rest)) => rest,
            // 5 is failure; whatever else an agent may say here is not a signature either.
            _ => return Err(AgentError::Refused),
        };
        let blob = take_string(&mut fields)?;
        decode_ssh_signature(blob).map_err(|_| AgentError::Malformed)
    }

    async fn call(&self, request: &[u8]) -> Result<Vec<u8>, AgentError> {
        self.exchange(request)
            .await
            .map_err(|source| AgentError::Io {
                socket: self.socket.to_path_buf(),
                source,
            })
    }

    async fn exchange(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let mut frame = Vec::new();
        put_string(&mut frame, request);
        stream.write_all(&frame).await?;
        let length = stream.read_u32().await?;
        if length == 0 || length > FRAME_BYTES_MAX {
            return Err(std::io::Error::other(
                "the agent's answer has an impossible length",
            ));
        }
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys and dates are short");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take_u32(fields: &mut &[u8]) -> Result<u32, AgentError> {
    let (number, rest) = fields
        .split_first_chunk::<4>()
        .ok_or(AgentError::Malformed)?;
    *fields = rest;
    Ok(u32::from_be_bytes(*number))
}

fn take_string<'a>(fields: &mut &'a [u8]) -> Result<&'a [u8], AgentError> {
    let length = take_u32(fields)? as usize;
    let (string, rest) = fields
        .split_at_checked(length)
        .ok_or(AgentError::Malformed)?;
    *fields = rest;
    Ok(string)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// An agent that answers one request with the given frame body.
    async fn answering(answer: Vec<u8>) -> (tempfile::TempDir, Agent) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u32().await.unwrap();
            let mut request = vec![0; length as usize];
            stream.read_exact(&mut request).await.unwrap();
            let mut frame = Vec::new();
            put_string(&mut frame, &answer);
            stream.write_all(&frame).await.unwrap();
        });
        (dir, Agent::new(socket))
    }

    #[tokio::test]
    async fn unknown_kinds_of_keys_are_left_out() {
        let line =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
        let key = PublicKey::parse_openssh(line).unwrap();
        let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 2];
        put_string(&mut answer, b"\0\0\0\x07ssh-dssxxxx");
        put_string(&mut answer, b"old");
        put_string(&mut answer, key.wire());
        put_string(&mut answer, b"new");
        let (_dir, agent) = answering(answer).await;
        let keys = agent.keys().await.unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].wire(), key.wire());
        assert_eq!(keys[0].comment(), "new");
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        for answer in [
            vec![5],
            vec![IDENTITIES_ANSWER],
            vec![IDENTITIES_ANSWER, 0, 0, 0, 9, 1],
        ] {
            let (_dir, agent) = answering(answer).await;
            assert!(matches!(agent.keys().await, Err(AgentError::Malformed)));
        }
        let gone = Agent::new("/nonexistent/agent");
        assert!(matches!(gone.keys().await, Err(AgentError::Io { .. })));
    }
}

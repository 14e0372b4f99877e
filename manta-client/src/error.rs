//! What can go wrong, shaped by what callers do about it.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::path::InvalidPath;
use crate::signer::SignerError;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with an error.
    #[error(transparent)]
    Reply(Box<ErrorReply>),
    /// No connection could be made; nothing was sent. Worth retrying, and was retried already.
    #[error("cannot connect to {authority}")]
    Connect {
        authority: String,
        #[source]
        source: std::io::Error,
    },
    /// The connection broke. Whether the server acted on the request is unknown.
    #[error("the connection to the server broke")]
    Broken(#[source] hyper::Error),
    /// The request could not be signed.
    #[error(transparent)]
    Sign(#[from] SignerError),
    /// A path that no request can be made for.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// The URL in the configuration cannot be used.
    #[error("{url}: {reason}")]
    Url { url: String, reason: &'static str },
    /// No `https` connection could be set up with these options.
    #[error("cannot prepare for TLS: {0}")]
    Tls(String),
    /// The bytes that arrived are not the bytes that were stored.
    #[error("content-md5 is {expected}, but the data received has {actual}")]
    Checksum { expected: String, actual: String },
    /// Fewer or more bytes arrived than were announced.
    #[error("{expected} bytes were announced, {actual} arrived")]
    Length { expected: u64, actual: u64 },
    /// The answer is not what the protocol promises.
    #[error("the server's answer is malformed: {0}")]
    Malformed(String),
    /// The caller's headers or path do not make a request.
    #[error("cannot make a request of this: {0}")]
    Request(#[from] http::Error),
    /// The server does not have what was asked for.
    #[error("{0} is not supported for this Manta deployment")]
    NotSupported(&'static str),
    /// A source of bytes to upload failed.
    #[error("cannot read what is to be sent")]
    Source(#[source] std::io::Error),
}

/// An error answer of the server.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", if message.is_empty() { &code } else { &message })]
pub struct ErrorReply {
    pub method: Method,
    /// As sent: encoded, with the query.
    pub target: String,
    pub status: StatusCode,
    /// `code` of the body. Answers to HEAD have no body; their code is made of the status, as the
    /// ecosystem's clients do: `NotFound`, `Forbidden`.
    pub code: String,
    /// Empty when the answer had no body.
    pub message: String,
    /// What the server asks for in `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// The status of the server's answer, if it answered.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Error::Reply(reply) => Some(reply.status),
            _ => None,
        }
    }

    /// Whether the server answered with this `code`.
    #[must_use]
    pub fn is_code(&self, code: &str) -> bool {
        matches!(self, Error::Reply(reply) if reply.code == code)
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// The name under which command line tools report the error: the server's code with `Error` behind
    /// it, or one of the names that the ecosystem's client has for failures of its own.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Error::Reply(reply) if reply.code.ends_with("Error") => reply.code.clone(),
            Error::Reply(reply) => format!("{}Error", reply.code),
            Error::Connect { .. } => "ConnectionError".to_owned(),
            Error::Broken(_) => "SocketError".to_owned(),
            Error::Sign(_) => "SigningError".to_owned(),
            Error::Path(_) => "InvalidPathError".to_owned(),
            Error::Checksum { .. } => "ChecksumError".to_owned(),
            Error::Length { .. } => "DownloadError".to_owned(),
            Error::NotSupported(_) => "FeatureNotSupportedError".to_owned(),
            Error::Url { .. }
            | Error::Tls(_)
            | Error::Malformed(_)
            | Error::Request(_)
            | Error::Source(_) => "Error".to_owned(),
        }
    }

    /// The line that tools print: name and message, with the causes behind it.
    #[must_use]
    pub fn line(&self) -> String {
        let name = self.name();
        if let Error::Reply(reply) = self {
            return match reply.message.as_str() {
                "" => name,
                message => format!("{name}: {message}"),
            };
        }
        let mut line = format!("{name}: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

/// The code for an answer that has no body.
pub(crate) fn code_of_status(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or("Unknown");
    reason.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: &str, message: &str) -> Error {
        Error::Reply(Box::new(ErrorReply {
            method: Method::GET,
            target: "/a/stor".into(),
            status: StatusCode::NOT_FOUND,
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }))
    }

    #[test]
    fn lines_have_the_ecosystems_form() {
        let error = reply("ResourceNotFound", "/a/stor was not found");
        assert_eq!(error.line(), "ResourceNotFoundError: /a/stor was not found");
        assert_eq!(
            reply("ThrottledError", "slow down").line(),
            "ThrottledError: slow down"
        );
        assert_eq!(
            reply(&code_of_status(StatusCode::NOT_FOUND), "").line(),
            "NotFoundError"
        );
    }

    #[test]
    fn causes_stand_behind_the_message() {
        let error = Error::Connect {
            authority: "localhost:1".into(),
            source: std::io::Error::other("refused"),
        };
        assert_eq!(
            error.line(),
            "ConnectionError: cannot connect to localhost:1: refused"
        );
    }
}

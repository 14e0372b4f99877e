//! How a command ends when it does not succeed, and what is printed then.

use std::io;

/// The end of a command that failed. Everything is exit code 1, but for [`Status`](Self::Status), and a reader
/// that left is not a failure.
#[derive(Debug)]
pub(super) enum Failure {
    /// `<command>: <Name>Error: <message>`.
    Client(manta_client::Error),
    /// `<command>: <message>`.
    Message(String),
    /// A message that has never had the command's name in front.
    Bare(String),
    /// The command was called wrongly: the message, and how to call it.
    Usage(String),
    /// The errors are on stderr already.
    Reported,
    /// A command elsewhere ended with this exit code; what there is to say was said there.
    Status(u8),
    /// Whoever read our output has enough (`mfind … | head`): exit code 0, silently.
    ReaderLeft,
}

impl From<manta_client::Error> for Failure {
    fn from(error: manta_client::Error) -> Failure {
        Failure::Client(error)
    }
}

impl From<manta_client::InvalidPath> for Failure {
    fn from(error: manta_client::InvalidPath) -> Failure {
        Failure::Client(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderLeft,
            _ => Failure::Message(format!("Error: {error}")),
        }
    }
}

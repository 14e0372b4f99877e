//! Client of Manta's public API. It knows what any user of the API knows and nothing else, so that whatever
//! is tested with it is what users get.
//!
//! [`Client`] is cheap to clone; clones share one pool of connections. Requests are signed with a key file
//! or by ssh-agent ([`Signer`]), carry a token, or go out unsigned ([`Auth`]).
//!
//! Retries happen in one place, `transport`, and only while nothing can have happened on the server: the
//! connection could not be made, or an idle one turned out to be closed. Every other failure is the
//! caller's to judge.
//!
//! Dropping any future or body of this crate is safe: it closes the connection it was using.

mod error;
mod path;

mod agent;
mod key_search;
mod signed_url;
mod signer;

mod connector;
mod endpoint;
mod proxy;
mod tls;

mod body;
mod pool;
mod transport;

mod client;
mod directories;
mod download;
mod jobs;
mod lines;
mod links;
mod listing;
mod recursive;
mod session;
mod tree;
mod uploads;
mod walk;

pub use agent::{Agent, AgentError};
pub use body::{Body, Payload};
pub use client::{Client, Config, Info, PutOptions, Stored};
pub use directories::MissingDirectories;
pub use download::Download;
pub use error::{Error, ErrorReply};
pub use jobs::LiveList;
pub use key_search::{KeySearch, NoKey};
pub use lines::Lines;
pub use listing::{Entry, EntryKind, ListOptions, Listing, SortBy};
pub use path::{InvalidPath, encode_path, encode_segment, resolve_path};
pub use proxy::Proxy;
pub use recursive::{Removal, RemovalReport, Removed, TreeEntry, TreeFilter, TreeListing};
pub use session::{Said, Session};
pub use signed_url::SignedUrl;
pub use signer::{Auth, Signer, SignerError};
pub use tls::TlsOptions;
pub use uploads::{PART_BYTES_MIN, PARTS_MAX, Part, Upload, UploadOptions, UploadState};
pub use walk::{Found, Unread, Walk, WalkOptions};

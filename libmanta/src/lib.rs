//! The vocabulary of Manta and the ports between its services. No I/O happens here.
//!
//! A *noun* lives here when two services speak it ([`ObjectKey`], [`ObjectId`], [`StorageId`], [`Entry`]);
//! a *port* lives here when one service calls it and another stands behind it ([`moray::Moray`],
//! [`mako::Shark`], [`mahi::Identity`], [`marlin::Jobs`], [`triton::Zones`]). Everything else stays home.

mod account;
mod clock;
mod condition;
mod entry;
mod ids;
mod object_key;
mod version;

pub mod content_type;
pub mod link;
pub mod mahi;
pub mod mako;
pub mod marlin;
pub mod moray;
pub mod namespace;
pub mod triton;

pub use account::{Account, Login, User};
pub use clock::{Clock, SystemClock, Timestamp};
pub use condition::{Condition, EtagList, Judged, PreconditionFailed};
pub use entry::{Entry, EntryKind, Object};
pub use ids::{AccountId, JobId, ObjectId, StorageId, TaskId, UserId};
pub use object_key::{AREAS, InvalidKey, NAME_BYTES_MAX, ObjectKey, PATH_BYTES_MAX, Root};
pub use version::{Version, VersionRange};

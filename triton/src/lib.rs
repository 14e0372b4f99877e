//! Zones on Linux: places where a user's command runs next to the data and touches nothing else.
//!
//! [`Host`] implements `libmanta`'s zone port with a small runtime of our own. It knows nothing of jobs,
//! objects or accounts. Design and measurements: zones.md.
//!
//! Four processes, one direction of trust:
//!
//! ```text
//! host (async, many threads)                           this library in the store's process
//!  └─ zygote (one thread, static, almost no memory)    [`zygote`], the same executable re-executed
//!      └─ zone init = pid 1 (real root, no user code)  `init`
//!          └─ task (user namespace, seccomp)           `task`, then the user's bash
//! ```
//!
//! Each dies with the one above it. A *slot* keeps what is slow to make (network and user namespace,
//! cgroups); a *zone* is made in it, used by one task group and thrown away.

pub mod precedence;
pub mod zygote;

mod background;
mod cgroup;
mod config;
mod core_files;
mod cores;
mod descendants;
mod during;
mod host;
mod image;
mod init;
mod inside;
mod lease;
mod library;
mod live;
mod meminfo;
mod meter;
mod network;
mod nursery;
mod origin;
mod pool;
mod remove_tree;
mod reset_times;
mod root;
mod scratch;
mod seccomp;
mod slot;
mod sys;
mod task;
mod uids;
mod wire;

pub use config::{Config, ScratchKind, ZygoteProgram};
pub use host::Host;
pub use library::{
    Fault, ImageId, Import, Library, LibraryError, Limits, Listed, Manifest, Source,
};
pub use reset_times::ResetTimes;

/// First argument of an executable that is to be a zygote: see [`zygote::main`].
pub const ZYGOTE_ARGUMENT: &str = "--triton-zygote";

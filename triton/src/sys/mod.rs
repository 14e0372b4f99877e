//! Every `unsafe` block of this crate, each with the reason why it is sound. What `rustix` wraps safely is
//! called where it is used; here are the calls it has no wrapper for.
//!
//! The surprising part is [`SingleThreaded`]: forking is only sound in a process that has no other thread,
//! so every fork asks for the proof.

pub(crate) mod loop_device;
pub(crate) mod mount;
pub(crate) mod process;

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Turns the C convention (-1 and `errno`) into a result.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// `fd`, to be awaited on this runtime.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays the same open descriptor until it is dropped, and the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

//! Stdin as something to read from without blocking.

use std::io;
use std::os::fd::AsFd as _;

use tokio::fs::File;

/// Stdin, unbuffered. A terminal, a pipe and a file all do.
pub(super) fn stdin() -> io::Result<File> {
    let owned = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(File::from_std(owned.into()))
}

//! Limits and meters: one directory per slot in the hierarchies this machine has.
//!
//! Three layouts (zones.md section 8.1): every controller in the one v2 tree; controllers in v1 trees with
//! an empty v2 tree beside them ("hybrid"), which then serves for killing; v1 alone. On v1 our directories
//! are at the top of the mounted trees, because v1 has no delegation; on v2 below our own cgroup when we
//! are alone in it, at the top otherwise.

mod layout;
mod slot;

pub(crate) use layout::{Cgroups, name};
pub(crate) use slot::{SlotCgroup, Way};

use std::io;
use std::path::Path;

/// Writes a limit and reads it back: a limit that is not in force is worse than none.
fn set(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    std::fs::write(&path, value).map_err(|error| named(&path, error))?;
    let found = get(directory, file)?;
    if found == value {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{}: wrote {value}, reads {found}",
        path.display()
    )))
}

fn get(directory: &Path, file: &str) -> io::Result<String> {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| named(&path, error))?;
    Ok(text.trim().to_owned())
}

fn get_number(directory: &Path, file: &str) -> io::Result<u64> {
    let text = get(directory, file)?;
    text.parse()
        .map_err(|_| io::Error::other(format!("{file} reads {text}")))
}

/// The number after `key` in a file of "key number" lines.
fn get_keyed(directory: &Path, file: &str, key: &str) -> io::Result<u64> {
    get(directory, file)?
        .lines()
        .find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("{file} has no {key}")))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn make_directory(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(|error| named(path, error)),
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|error| named(path, error)),
    }
}

//! A small system to make an image of: programs of this machine and the libraries they need, so that no network
//! is needed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Puts `programs`, which are looked for in `/bin` and `/usr/bin`, below `root`, with `bash` and an `/etc/motd` that says
/// `motd`. Errors: one of them is not there, or `ldd` is not.
pub fn small_system(root: &Path, programs: &[&str], motd: &str) -> io::Result<()> {
    let mut files = BTreeSet::new();
    for program in programs.iter().chain([&"bash"]) {
        let places = ["/bin", "/usr/bin"].map(|directory| Path::new(directory).join(program));
        let found = places.iter().find(|place| place.exists());
        let found = found.ok_or_else(|| io::Error::other(format!("{program} is not here")))?;
        files.extend(libraries(found)?);
        copy(found, &root.join("bin").join(program))?;
    }
    for file in files {
        // Absolute: joined, it would replace the root.
        let below = file.strip_prefix("/").map_err(io::Error::other)?;
        copy(&file, &root.join(below))?;
    }
    fs::create_dir_all(root.join("etc"))?;
    fs::write(root.join("etc/motd"), motd)
}

fn libraries(program: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = Command::new("ldd").arg(program).output()?;
    let words = String::from_utf8_lossy(&listed.stdout).into_owned();
    let paths = words
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(above) = to.parent() {
        fs::create_dir_all(above)?;
    }
    fs::copy(from, to).map(drop)
}

//! What the numbers were measured on, as one line, and which programs there are to measure against.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Cores, memory, kernel, the file system that `directory` lies on, and how busy the machine is: above one
/// or so, others were measured too.
pub(crate) fn describe(directory: &Path) -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let memory_kib: f64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .context("find the size of memory")?;
    let kernel = rustix::system::uname();
    let load = fs::read_to_string("/proc/loadavg").context("read the load average")?;
    let load = load.split(' ').next().unwrap_or_default();
    let directory = directory
        .canonicalize()
        .context("find the scratch directory")?;
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    Ok(format!(
        "{cores} × {}, {:.1} GiB of memory, Linux {}, data on {}, load average {load} before \
         the start",
        model.map_or("unknown processor", |(_, model)| model.trim()),
        memory_kib / 1024.0 / 1024.0,
        kernel.release().to_string_lossy(),
        file_system(&mounts, &directory).unwrap_or("an unknown file system")
    ))
}

/// Whether a program of this name is found where commands are looked for.
pub(crate) fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// The type of the file system that holds an absolute path.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    // Of two mounts at the same point the later one is seen; `max_by_key` takes the last.
    let holding = points.filter(|(point, _)| path.starts_with(point));
    holding
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

/// The commit that is checked out, with a mark when files of it have been changed.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // Files that nobody has added are not part of the build, and the results change with every run.
    let changed = git(&[
        "status",
        "--porcelain",
        "--",
        ".",
        ":(exclude)bench/RESULTS.md",
    ]);
    match changed.as_deref() {
        Some("") => commit,
        _ => format!("{commit} with uncommitted changes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_their_names() {
        assert!(has_program("sh") && !has_program("no-such-program"));
    }

    #[test]
    fn the_innermost_mount_holds_a_path() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nx /tm xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/y")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/home")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/home")), None);
    }
}

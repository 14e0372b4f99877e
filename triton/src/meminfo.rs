//! The memory of a zone as what runs in it sees it: a file of ours over `/proc/meminfo`, which the kernel would
//! fill with the machine's.
//!
//! It tells what the zone may use, not what it uses at the moment: programs read it to size themselves.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use crate::sys::mount::{self, NODEV, NOEXEC, NOSUID, RDONLY};
use crate::wire::{During as _, Failure};

/// The file, as zone init may write to it.
#[derive(Debug)]
pub(crate) struct Meminfo(File);

impl Meminfo {
    /// Shows the file read-only at `target`. It lies in `directory`, but nothing leads to it there.
    pub(crate) fn attach(directory: &str, target: &str, bytes: u64) -> Result<Self, Failure> {
        let path = format!("{directory}/.meminfo");
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o444);
        let mut file = Self(options.open(&path).during("make meminfo")?);
        file.tell(bytes)?;
        let shown = mount::clone_path(&path, false).during("copy the mount of meminfo")?;
        mount::set_attributes(&shown, RDONLY | NOSUID | NODEV | NOEXEC, None)
            .during("protect meminfo")?;
        mount::attach(shown, target).during("attach meminfo")?;
        std::fs::remove_file(path).during("remove the name of meminfo")?;
        Ok(file)
    }

    /// Always as long as before: nobody ever sees half of it.
    pub(crate) fn tell(&mut self, bytes: u64) -> Result<(), Failure> {
        let Self(file) = self;
        file.write_all_at(text(bytes).as_bytes(), 0)
            .during("write meminfo")
    }
}

/// In the kernel's form, as far as it makes sense.
fn text(bytes: u64) -> String {
    let total = bytes / 1024;
    let line = |name: &str, kib: u64| format!("{:<15}{kib:>9} kB\n", format!("{name}:"));
    [
        ("MemTotal", total),
        ("MemFree", total),
        ("MemAvailable", total),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Shmem", 0),
        ("SReclaimable", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
    ]
    .map(|(name, kib)| line(name, kib))
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_like_the_kernels_and_has_one_length() {
        let small = text(128 << 20);
        assert!(
            small.starts_with("MemTotal:         131072 kB\nMemFree:"),
            "{small}"
        );
        let kernels = std::fs::read_to_string("/proc/meminfo").unwrap();
        let form = |text: &str| {
            let line = text.lines().next().unwrap();
            (line.len(), line.ends_with(" kB"))
        };
        assert_eq!(form(&small), form(&kernels));
        assert_eq!(small.len(), text(512 << 30).len());
    }
}

//! Fresh ext4 file systems in sparse, unnamed files behind loop devices.
//!
//! `mkfs` runs once per size; every further image is a copy of the few extents it wrote.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, SeekFrom as Seek};

use crate::sys::loop_device;
use crate::sys::mount::{self, NOATIME, NODEV, NOSUID};

/// How long the kernel may take to detach a device after the last close.
const RELEASE_DEADLINE: Duration = Duration::from_secs(10);
/// Attempts at getting a free device while others take them too.
const DEVICE_ATTEMPTS: usize = 64;

#[derive(Debug)]
pub(crate) struct LoopImages {
    /// Where the unnamed files are.
    directory: PathBuf,
    /// Shown by `losetup` as the backing file.
    label: String,
    control: File,
    /// Devices there were before us. Later ones were added for us, or for a neighbour.
    before: BTreeSet<u32>,
    used: Mutex<BTreeSet<u32>>,
    templates: Mutex<HashMap<u64, Arc<OwnedFd>>>,
}

impl LoopImages {
    /// Errors: without `/dev/loop-control`.
    pub(crate) fn new(directory: PathBuf, label: String) -> io::Result<Self> {
        let control = File::options()
            .read(true)
            .write(true)
            .open("/dev/loop-control")?;
        let mut before = BTreeSet::new();
        for entry in std::fs::read_dir("/sys/block")? {
            let name = entry?.file_name();
            before.extend(
                name.to_str()
                    .and_then(|name| name.strip_prefix("loop")?.parse::<u32>().ok()),
            );
        }
        let (used, templates) = (Mutex::default(), Mutex::default());
        Ok(Self {
            directory,
            label,
            control,
            before,
            used,
            templates,
        })
    }

    /// A mounted, empty file system of `bytes`.
    pub(crate) fn make(&self, bytes: u64) -> io::Result<OwnedFd> {
        let template = self.template(bytes)?;
        let image = super::unnamed_file(&self.directory)?;
        copy_extents(&template, &image, bytes)?;
        let (device, number) = self.attach(&image)?;
        let options = [
            ("source", Some(format!("/dev/loop{number}"))),
            // Nothing here survives its zone, let alone a power cut: do not wait for the disk, and do not
            // write inode tables that will never be read.
            ("nobarrier", None),
            ("noinit_itable", None),
        ];
        let options: Vec<_> = options
            .iter()
            .map(|(key, value)| (*key, value.as_deref()))
            .collect();
        let mounted = mount::new_filesystem("ext4", &options, NOSUID | NODEV | NOATIME);
        if mounted.is_err() {
            let _ = loop_device::clear(&device);
        }
        let mounted = mounted?;
        warm_up(&mounted)?;
        Ok(mounted)
    }

    /// The unmounted original of file systems of `bytes`.
    fn template(&self, bytes: u64) -> io::Result<Arc<OwnedFd>> {
        // Held while mkfs runs, so that it runs once; only blocking threads come here.
        let mut templates = self
            .templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = templates.get(&bytes) {
            return Ok(Arc::clone(template));
        }
        let file = super::unnamed_file(&self.directory)?;
        rustix::fs::ftruncate(&file, bytes)?;
        make_ext4(&file)?;
        let template = Arc::new(file);
        // Sizes come from jobs: keep few.
        if templates.len() >= 16 {
            templates.clear();
        }
        templates.insert(bytes, Arc::clone(&template));
        Ok(template)
    }

    fn attach(&self, image: &OwnedFd) -> io::Result<(File, u32)> {
        let mut last = io::Error::from_raw_os_error(libc::EBUSY);
        for _ in 0..DEVICE_ATTEMPTS {
            let number = loop_device::get_free(&self.control)?;
            let path = format!("/dev/loop{number}");
            let attached = File::options()
                .read(true)
                .write(true)
                .open(path)
                .and_then(|device| {
                    loop_device::configure(&device, image.as_fd(), &self.label).map(|()| device)
                });
            match attached {
                Ok(device) => {
                    self.used
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(number);
                    return Ok((device, number));
                }
                // A neighbour was faster, or the node is not there yet.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EBUSY | libc::ENXIO | libc::ENOENT)
                    ) =>
                {
                    last = error;
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    pub(crate) fn release(&self) -> io::Result<()> {
        let deadline = Instant::now() + RELEASE_DEADLINE;
        self.templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        for number in used {
            while self.is_ours(number) {
                if Instant::now() > deadline {
                    return Err(io::Error::other(format!("loop{number} stays attached")));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            if !self.before.contains(&number) {
                // Busy: a neighbour has it now, and will remove it or not.
                let _ = loop_device::remove(&self.control, number);
            }
        }
        Ok(())
    }

    /// Whether device `number` still has a file of this host.
    fn is_ours(&self, number: u32) -> bool {
        let path = format!("/sys/block/loop{number}/loop/backing_file");
        let directory = self.directory.to_string_lossy();
        std::fs::read_to_string(path).is_ok_and(|backing| backing.starts_with(&*directory))
    }
}

/// Has the kernel read what it needs to make directories, which the zone that gets the file system would wait for.
/// Below one directory, since those at the top are spread over the whole disk.
fn warm_up(mounted: &OwnedFd) -> io::Result<()> {
    super::make_upper(mounted, Path::new(""))?;
    let probe = format!("{}/warm", super::UPPER);
    rustix::fs::mkdirat(mounted, probe.as_str(), Mode::from_raw_mode(0o755))?;
    Ok(rustix::fs::unlinkat(
        mounted,
        probe.as_str(),
        AtFlags::REMOVEDIR,
    )?)
}

fn make_ext4(file: &OwnedFd) -> io::Result<()> {
    let program = [
        "/usr/sbin/mkfs.ext4",
        "/sbin/mkfs.ext4",
        "/usr/bin/mkfs.ext4",
    ]
    .into_iter()
    .find(|path| std::path::Path::new(path).exists())
    .ok_or_else(|| io::Error::other("mkfs.ext4 is not installed (package e2fsprogs)"))?;
    let output = Command::new(program)
        .args([
            "-q",
            "-F",
            "-m",
            "0",
            "-b",
            "4096",
            "-O",
            "^has_journal,^resize_inode",
        ])
        .args(["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
        // The file has no name, but the child has it as standard input.
        .arg("/proc/self/fd/0")
        .stdin(Stdio::from(file.try_clone()?))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!(
        "mkfs.ext4: {}: {said}",
        output.status
    )))
}

/// Copies what `from` holds; its holes, almost all of it, stay holes.
fn copy_extents(from: &OwnedFd, to: &OwnedFd, bytes: u64) -> io::Result<()> {
    rustix::fs::ftruncate(to, bytes)?;
    // Openings of one's own: offsets are shared by copies of a descriptor, templates by threads.
    let reopen = |fd: &OwnedFd| {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
        File::options().read(true).write(true).open(path)
    };
    let (mut from, mut to) = (reopen(from)?, reopen(to)?);
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(&from, Seek::Data(at)) {
            // No data behind `at`.
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            start => start?,
        };
        let end = rustix::fs::seek(&from, Seek::Hole(start))?;
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        let mut rest = vec![0; (end - start).min(1 << 20) as usize];
        let mut left = end - start;
        while left > 0 {
            let part = rest.len().min(left as usize);
            from.read_exact(&mut rest[..part])?;
            to.write_all(&rest[..part])?;
            left -= part as u64;
        }
        at = end;
    }
}

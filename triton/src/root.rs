//! The file tree of a zone, built by zone init in its own mount namespace out of what the zygote has in its
//! own: generated base, host trees and their masks, `/dev`. Source: zones.md section 5.
//!
//! Unlike the prototype there, a zone does pivot: the overlay becomes the root and the image is detached,
//! so that nothing of it has a path any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};

use crate::meminfo::Meminfo;
use crate::scratch::{self, UPPER};
use crate::sys::mount::{self, NODEV, NOEXEC, NOSUID, OldRoot, RDONLY};
use crate::wire::{During as _, Failure, Flavour, Image, Tree};

/// Mount points in the image. Short, because they show in the zone's `mountinfo`.
pub(crate) const BASE: &str = "/base";
pub(crate) const EMPTY: &str = "/empty";
pub(crate) const DEV: &str = "/dev";
pub(crate) const PROC: &str = "/p";
pub(crate) const SCRATCH: &str = "/s";
const LAYERS: &str = "/l";
const ROOT: &str = "/r";

/// Room for the one input shown, when it has to be copied, and for mount points.
const INPUTS_BYTES: u64 = 16 << 20;

/// Terminals of one zone. The machine has a few thousand in all.
const TERMINALS_MAX: &str = "64";

/// What a task must not read in `/proc` although its owner is real root.
const HIDDEN_FILES: &[&str] = &[
    "cmdline",
    "config.gz",
    "kallsyms",
    "keys",
    "timer_list",
    "kcore",
    "sysrq-trigger",
    "kmsg",
    "kpagecount",
    "kpageflags",
    "kpagecgroup",
    "modules",
    "sched_debug",
    "mounts_debug",
    "vmallocinfo",
    "slabinfo",
    "pagetypeinfo",
    "iomem",
    "ioports",
    "partitions",
    "diskstats",
    "swaps",
    // What the machine and other zones do, as counters: a channel between tenants.
    "locks",
    "key-users",
    "interrupts",
    "softirqs",
    "zoneinfo",
    "buddyinfo",
    "vmstat",
];
const HIDDEN_DIRECTORIES: &[&str] = &[
    "scsi", "acpi", "driver", "bus", "irq", "fs", "tty", "pressure",
];

/// Directories the image must have for [`build`], given its number of trees.
pub(crate) fn mount_points(trees: usize) -> Vec<String> {
    let mut points: Vec<String> = [BASE, EMPTY, DEV, PROC, LAYERS, SCRATCH, ROOT]
        .iter()
        .map(|&point| point.to_owned())
        .collect();
    points.push(format!("{LAYERS}/b"));
    for index in 0..trees {
        points.extend([
            tree(index),
            mask(index),
            layer('t', index),
            layer('m', index),
        ]);
    }
    points
}

/// Where the image has tree `index`, and its mask.
pub(crate) fn tree(index: usize) -> String {
    format!("/t{index}")
}

pub(crate) fn mask(index: usize) -> String {
    format!("/m{index}")
}

fn layer(kind: char, index: usize) -> String {
    format!("{LAYERS}/{kind}{index}")
}

/// What differs from zone to zone.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) image: &'a Image,
    /// Full flavour: a detached mount, the writable layer.
    pub(crate) scratch: Option<BorrowedFd<'a>>,
    /// Full flavour: maps owners.
    pub(crate) user_namespace: Option<BorrowedFd<'a>>,
    pub(crate) uid_base: u32,
    pub(crate) shm_bytes: u64,
    pub(crate) memory_bytes: u64,
    /// A directory of the machine's choice, for everybody to write to.
    pub(crate) core_directory: Option<&'a Path>,
}

/// What zone init has of a tree that it has built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The directory in which inputs are shown at `/manta`, as zone init may write to it.
    pub(crate) inputs: OwnedFd,
    /// `/proc/meminfo`.
    pub(crate) meminfo: Meminfo,
    pub(crate) old_root: OldRoot,
}

/// Builds the tree and makes it the root of this mount namespace.
pub(crate) fn build(parts: &Parts<'_>) -> Result<Built, Failure> {
    if let Some(scratch) = parts.scratch {
        mount::attach(scratch, SCRATCH).during("attach the scratch")?;
    }
    scratch::make_upper(CWD, Path::new(SCRATCH)).during("make a directory on the scratch")?;
    let lower = show_layer(parts, BASE, &format!("{LAYERS}/b"))?;
    let root = overlay(parts, &lower, Some(0)).during("mount the overlay of /")?;
    mount::attach(&root, ROOT).during("attach the overlay of /")?;
    for (index, spec) in parts.image.trees.iter().enumerate() {
        let at = format!("{ROOT}/{}", spec.target);
        attach_tree(parts, index, spec, &at).map_err(|failure| Failure {
            during: format!("/{}: {}", spec.target, failure.during),
            ..failure
        })?;
    }
    if let Some(directory) = parts.core_directory {
        let directory = Path::new(ROOT).join(directory);
        // Where it cannot be made there will be no core files, and nothing worse.
        if !directory.exists() && std::fs::create_dir_all(&directory).is_ok() {
            let open_to_all = Mode::from_raw_mode(0o1777);
            rustix::fs::chmod(&directory, open_to_all).during("open a directory to all")?;
        }
    }
    let inputs = attach_special(parts)?;
    // In the full flavour not on the zone's disk: the table of mounts would tell of its device.
    let directory = match parts.image.flavour {
        Flavour::Full => format!("{ROOT}/manta"),
        Flavour::Plain | Flavour::Bare => SCRATCH.to_owned(),
    };
    let target = format!("{ROOT}/proc/meminfo");
    let meminfo = Meminfo::attach(&directory, &target, parts.memory_bytes)?;
    rustix::process::chdir(ROOT).during("go to the new root")?;
    let old_root = mount::pivot_here().during("change the root")?;
    Ok(Built {
        inputs,
        meminfo,
        old_root,
    })
}

fn attach_tree(parts: &Parts<'_>, index: usize, spec: &Tree, at: &str) -> Result<(), Failure> {
    let shown = show_layer(parts, &tree(index), &layer('t', index))?;
    let over = match (&spec.mask, spec.writable) {
        (Some(_), _) => show_layer(parts, &mask(index), &layer('m', index))?,
        // An overlay without an upper layer needs two lower ones.
        (None, false) => EMPTY.to_owned(),
        (None, true) => String::new(),
    };
    let lower = if over.is_empty() {
        shown
    } else {
        format!("{over}:{shown}")
    };
    let upper = spec.writable.then_some(index + 1);
    let mounted = overlay(parts, &lower, upper).during("mount the overlay")?;
    mount::attach(mounted, at).during("attach the overlay")
}

/// Makes a layer whose owners are the zone's, and says where it is.
fn show_layer(parts: &Parts<'_>, source: &str, at: &str) -> Result<String, Failure> {
    let Some(namespace) = parts.user_namespace else {
        return Ok(source.to_owned());
    };
    let copy = mount::clone_path(source, false).during("copy a layer's mount")?;
    mount::set_attributes(&copy, RDONLY | NOSUID | NODEV, Some(namespace))
        .during("map the owners of a layer")?;
    mount::attach(copy, at).during("attach a layer")?;
    Ok(at.to_owned())
}

/// An overlay; with `upper`, writable into directories of that number on the scratch.
fn overlay(parts: &Parts<'_>, lower: &str, upper: Option<usize>) -> std::io::Result<OwnedFd> {
    let (upper_path, work_path);
    let mut options = vec![("lowerdir", Some(lower))];
    if let Some(number) = upper {
        upper_path = format!("{SCRATCH}/{UPPER}/u{number}");
        work_path = format!("{SCRATCH}/{UPPER}/w{number}");
        for path in [&upper_path, &work_path] {
            rustix::fs::mkdirat(CWD, path.as_str(), Mode::from_raw_mode(0o755))?;
        }
        if parts.image.flavour == Flavour::Full {
            let (user, group) = (Uid::from_raw(parts.uid_base), Gid::from_raw(parts.uid_base));
            rustix::fs::chown(upper_path.as_str(), Some(user), Some(group))?;
        }
        options.extend([
            ("upperdir", Some(upper_path.as_str())),
            ("workdir", Some(work_path.as_str())),
            // The scratch is thrown away, never recovered: nothing in it need ever reach a disk.
            ("volatile", None),
        ]);
    }
    if parts.image.flavour == Flavour::Plain {
        options.push(("userxattr", None));
    }
    mount::new_filesystem("overlay", &options, NOSUID | NODEV)
}

/// `/proc`, `/dev`, `/dev/shm`, `/dev/pts` and `/manta`. Returns the writable side of the last.
fn attach_special(parts: &Parts<'_>) -> Result<OwnedFd, Failure> {
    let device = mount::clone_path(DEV, true).during("copy /dev")?;
    mount::attach(device, format!("{ROOT}/dev")).during("attach /dev")?;
    let shm_size = parts.shm_bytes.to_string();
    let shm_options = [
        ("size", Some(shm_size.as_str())),
        ("nr_inodes", Some("65536")),
        ("mode", Some("1777")),
    ];
    let shm =
        mount::new_filesystem("tmpfs", &shm_options, NOSUID | NODEV).during("make /dev/shm")?;
    mount::attach(shm, format!("{ROOT}/dev/shm")).during("attach /dev/shm")?;

    // An instance of its own: a zone's terminals are not even named elsewhere. Whoever opens one owns it.
    let terminal_options = [
        ("ptmxmode", Some("0666")),
        ("mode", Some("0620")),
        ("max", Some(TERMINALS_MAX)),
    ];
    let terminals = mount::new_filesystem("devpts", &terminal_options, NOSUID | NOEXEC)
        .during("make /dev/pts")?;
    mount::attach(terminals, format!("{ROOT}/dev/pts")).during("attach /dev/pts")?;

    let inputs = match parts.image.flavour {
        Flavour::Full => attach_inputs(),
        Flavour::Plain | Flavour::Bare => attach_copied_inputs(),
    }?;
    let processes = match parts.image.flavour {
        Flavour::Full => mount::new_filesystem(
            "proc",
            &[("hidepid", Some("invisible"))],
            NOSUID | NODEV | NOEXEC,
        ),
        Flavour::Plain | Flavour::Bare => mount::clone_path(PROC, false),
    }
    .during("make /proc")?;
    mount::attach(processes, format!("{ROOT}/proc")).during("attach /proc")?;
    let hide = |names: &[&str], with: &str| -> Result<(), Failure> {
        for name in names {
            let path = format!("{ROOT}/proc/{name}");
            if rustix::fs::access(path.as_str(), rustix::fs::Access::EXISTS).is_ok() {
                let cover = mount::clone_path(with, false).during("copy a cover")?;
                mount::attach(cover.as_fd(), path).during("hide a file of /proc")?;
            }
        }
        Ok(())
    };
    hide(HIDDEN_FILES, &format!("{DEV}/null"))?;
    hide(HIDDEN_DIRECTORIES, EMPTY)?;
    Ok(inputs)
}

/// Where inputs are shown. Owned by real root, whom the zone does not know: it can neither write nor remove
/// here.
fn attach_inputs() -> Result<OwnedFd, Failure> {
    let inputs_size = INPUTS_BYTES.to_string();
    let inputs_options = [("size", Some(inputs_size.as_str())), ("mode", Some("0755"))];
    let inputs = mount::new_filesystem("tmpfs", &inputs_options, NOSUID | NODEV | NOEXEC)
        .during("make /manta")?;
    let at = format!("{ROOT}/manta");
    mount::attach(inputs, &at).during("attach /manta")?;
    // The attached mount itself: inputs are mounted in it.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(at, flags, Mode::empty()).during("open /manta")
}

/// Plain flavour: task and zone init are the same user, so no owner protects anything, and inputs are copies,
/// too large for memory. A directory of the zone's disk, mounted read-only for the task, who has no right to
/// change that, and writable in a mount that only a descriptor of zone init leads to.
fn attach_copied_inputs() -> Result<OwnedFd, Failure> {
    let directory = format!("{SCRATCH}/inputs");
    rustix::fs::mkdirat(CWD, directory.as_str(), Mode::from_raw_mode(0o755))
        .during("make the inputs' directory")?;
    let writable = mount::clone_path(&directory, false).during("copy the inputs' mount")?;
    let shown = mount::clone_path(&directory, false).during("copy the inputs' mount")?;
    mount::set_attributes(&shown, RDONLY | NOSUID | NODEV | NOEXEC, None)
        .during("protect the inputs")?;
    mount::attach(shown, format!("{ROOT}/manta")).during("attach /manta")?;
    Ok(writable)
}

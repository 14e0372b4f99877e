//! The zygote: one thread, almost no memory, nothing of the host in its file tree. Zones are its children.
//!
//! It is this same executable started with a hidden argument; [`main`] must be the first thing `main` does,
//! before any thread exists. It dies with the thread that started it, and its zones die with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::MountPropagationFlags;
use rustix::process::Signal;
use seccompiler::BpfProgram;

use crate::init::{self, Birth};
use crate::root;
use crate::sys::mount::{self, NODEV, NOEXEC, NOSUID, RDONLY};
use crate::sys::process::{self, Forked, SingleThreaded};
use crate::wire::{self, During as _, Failure, Flavour, FromZygote, Image, Provision, ToZygote};

/// The character devices of a zone. Source: zones.md section 9.
const DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const LINKS: &[(&str, &str)] = &[
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// The hidden entry point: serves requests on standard input until it closes. Never returns.
pub fn main() -> ! {
    let code = match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("zygote: {error}");
            70
        }
    };
    process::exit_now(code)
}

fn serve() -> io::Result<()> {
    let single = SingleThreaded::check()?;
    let socket = process::inherited(0)?;
    // First: from here on this process cannot outlive its parent unseen.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    process::ignore_children();
    // Refused only where taking it was refused too.
    let _ = crate::precedence::give_up();
    let Some((ToZygote::Setup { parent, image }, _)) = wire::receive(&socket)? else {
        return Err(io::Error::other("no set-up message"));
    };
    // The parent may have died before the signal was asked for.
    if std::os::unix::process::parent_id() != parent {
        return Ok(());
    }
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    for standard in 0..3 {
        process::dup_onto(null.as_fd(), standard)?;
    }
    drop(null);

    let zygote = Zygote {
        single,
        image,
        seccomp: crate::seccomp::program()?,
    };
    while let Some((request, descriptors)) = wire::receive(&socket)? {
        let answer = match request {
            ToZygote::Setup { .. } => Err(Failure {
                during: "set up twice".to_owned(),
                errno: libc::EBADMSG,
            }),
            ToZygote::MakeUsers { bases } => zygote
                .make_users(&bases)
                .map(|namespaces| (FromZygote::Users, namespaces)),
            ToZygote::Seal => zygote.seal().map(|()| (FromZygote::Sealed, Vec::new())),
            ToZygote::Provision(request) => match zygote.provision(request, descriptors) {
                Ok(Provisioned::Zone { pid, pidfd }) => Ok((FromZygote::Born { pid }, vec![pidfd])),
                Ok(Provisioned::InZone(birth)) => {
                    // Must not stay open in a zone: the zygote would look alive without its process.
                    drop(socket);
                    zygote.become_init(birth)
                }
                Err(failure) => Err(failure),
            },
        };
        match answer {
            Ok((message, passed)) => {
                let borrowed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
                wire::send(&socket, &message, &borrowed)?;
            }
            Err(failure) => wire::send(&socket, &FromZygote::Failed(failure), &[])?,
        }
    }
    Ok(())
}

/// Who returns from making a zone: the zygote, or what will be the zone's init.
enum Provisioned {
    Zone { pid: i32, pidfd: OwnedFd },
    InZone(Birth),
}

struct Zygote {
    single: SingleThreaded,
    image: Image,
    seccomp: BpfProgram,
}

impl Zygote {
    /// Children in new user namespaces that live just long enough for the namespaces to be opened.
    fn make_users(&self, bases: &[u32]) -> Result<Vec<OwnedFd>, Failure> {
        bases.iter().map(|base| self.make_user(*base)).collect()
    }

    fn make_user(&self, base: u32) -> Result<OwnedFd, Failure> {
        let (ours, theirs) = wire::pair().during("make a socket pair")?;
        let forked = process::clone3(&self.single, libc::CLONE_NEWUSER)
            .during("make a user namespace (CLONE_NEWUSER)")?;
        let Forked::Parent { pid, .. } = forked else {
            drop(ours);
            let mapped = wire::receive::<()>(&theirs);
            // A second lock on the door that seccomp keeps: no namespaces below this one.
            let closed =
                mapped.and_then(|_| std::fs::write("/proc/sys/user/max_user_namespaces", "0"));
            let _ = wire::send(
                &theirs,
                &closed.during("forbid nested user namespaces"),
                &[],
            );
            // Stays until the parent has opened the namespace.
            let _ = wire::receive::<()>(&theirs);
            process::exit_now(0)
        };
        drop(theirs);
        let map = format!("0 {base} 65536");
        std::fs::write(format!("/proc/{pid}/uid_map"), &map).during("map users")?;
        std::fs::write(format!("/proc/{pid}/gid_map"), &map).during("map groups")?;
        wire::send(&ours, &(), &[]).during("tell the child")?;
        match wire::receive::<Result<(), Failure>>(&ours).during("hear from the child")? {
            Some((result, _)) => result?,
            None => {
                return Err(Failure {
                    during: "make a user namespace".to_owned(),
                    errno: libc::EPIPE,
                });
            }
        }
        let namespace =
            std::fs::File::open(format!("/proc/{pid}/ns/user")).during("open a user namespace")?;
        Ok(namespace.into())
    }

    /// Full flavour: builds the image in a mount namespace of our own and makes it the root, so that the
    /// host's table of mounts is neither copied for each zone nor visible to one.
    fn seal(&self) -> Result<(), Failure> {
        if self.image.flavour != Flavour::Full {
            return Ok(());
        }
        process::unshare(libc::CLONE_NEWNS).during("make a mount namespace (CLONE_NEWNS)")?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).during("stop propagation of mounts")?;
        assemble(&self.image, None)
    }

    fn provision(
        &self,
        request: Provision,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Provisioned, Failure> {
        let incomplete = || Failure {
            during: "read a request".to_owned(),
            errno: libc::EBADMSG,
        };
        let mut descriptors = descriptors.into_iter();
        let control = descriptors.next().ok_or_else(incomplete)?;
        let common =
            libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let flags;
        let mut scratch = None;
        let mut user_namespace = None;
        match self.image.flavour {
            Flavour::Full => {
                flags = common;
                scratch = Some(descriptors.next().ok_or_else(incomplete)?);
                user_namespace = Some(descriptors.next().ok_or_else(incomplete)?);
                let network = descriptors.next().ok_or_else(incomplete)?;
                // Inherited by the child; ours until the next zone, and harmless.
                process::setns(network.as_fd(), libc::CLONE_NEWNET)
                    .during("enter the network namespace")?;
            }
            Flavour::Plain => {
                flags = common | libc::CLONE_NEWUSER | libc::CLONE_NEWNET;
            }
            Flavour::Bare => flags = 0,
        }
        let cgroup = match request.born_in_cgroup {
            true => Some(descriptors.next().ok_or_else(incomplete)?),
            false => None,
        };
        let join = descriptors.collect();
        let (gate, waiting) = wire::pair().during("make a socket pair")?;
        let born = process::clone3_into(&self.single, flags, cgroup.as_ref().map(AsFd::as_fd));
        match born.during("make a zone (clone3)")? {
            Forked::Parent { pid, pidfd } => {
                drop(waiting);
                if self.image.flavour == Flavour::Plain
                    && let Err(failure) = map_single_id(pid)
                {
                    // Reaped by the kernel, as all our children.
                    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
                    return Err(failure);
                }
                // Closing the gate opens it.
                drop(gate);
                Ok(Provisioned::Zone { pid, pidfd })
            }
            Forked::Child => {
                drop((gate, cgroup));
                // Always the end of the stream: nothing is ever sent.
                let _ = wire::receive::<()>(&waiting);
                Ok(Provisioned::InZone(Birth {
                    control,
                    scratch,
                    user_namespace,
                    join,
                    request,
                }))
            }
        }
    }

    fn become_init(&self, birth: Birth) -> ! {
        process::default_signals();
        let prepared = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .during("ask for a signal when the zygote dies")
            .and_then(|()| match (self.image.flavour, &birth.request.scratch) {
                (Flavour::Full, _) => Ok(()),
                (Flavour::Plain, scratch) => assemble(&self.image, scratch.as_deref()),
                // Orphans of a command become our children, and so can be found.
                (Flavour::Bare, _) => {
                    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
                        .during("become the parent of orphans")
                }
            });
        if let Err(failure) = prepared {
            // Whoever would read it may be gone; we go either way.
            let _ = wire::send(&birth.control, &wire::FromInit::Failed(failure), &[]);
            process::exit_now(1)
        }
        init::main(&self.single, &self.image, &self.seccomp, birth)
    }
}

/// Maps the zone's root, and nobody else, to the user we run as.
fn map_single_id(pid: i32) -> Result<(), Failure> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    std::fs::write(format!("/proc/{pid}/setgroups"), "deny").during("forbid setgroups")?;
    std::fs::write(format!("/proc/{pid}/uid_map"), format!("0 {user} 1")).during("map the user")?;
    std::fs::write(format!("/proc/{pid}/gid_map"), format!("0 {group} 1")).during("map the group")
}

/// Builds the image in this mount namespace and makes it the root. In the plain flavour (where every zone
/// does it for itself) with the zone's `scratch`.
fn assemble(image: &Image, scratch: Option<&Path>) -> Result<(), Failure> {
    let plain = image.flavour == Flavour::Plain;
    let target = |path: &str| image.mount_point.join(path.trim_start_matches('/'));
    let options = [("size", Some("1m")), ("mode", Some("0755"))];
    let root = mount::new_filesystem("tmpfs", &options, NOSUID | NODEV | NOEXEC)
        .during("make the image's root (tmpfs)")?;
    mount::attach(&root, &image.mount_point).during("attach the image's root")?;
    for point in root::mount_points(image.trees.len()) {
        std::fs::create_dir(target(&point)).during("make a mount point")?;
    }

    let show = |source: &Path, at: &str| -> Result<(), Failure> {
        let name = |failure: Failure| Failure {
            during: format!("{} of {}", failure.during, source.display()),
            ..failure
        };
        // In a user namespace mounts below must come along: leaving them out would uncover what they hide.
        let copy = mount::clone_path(source, plain)
            .during("copy the mount")
            .map_err(name)?;
        mount::set_attributes(&copy, RDONLY | NOSUID | NODEV, None)
            .during("protect the mount")
            .map_err(name)?;
        mount::attach(copy, target(at))
            .during("attach the mount")
            .map_err(name)
    };
    show(&image.base, root::BASE)?;
    for (index, spec) in image.trees.iter().enumerate() {
        show(&spec.source, &root::tree(index))?;
        if let Some(mask) = &spec.mask {
            show(mask, &root::mask(index))?;
        }
    }
    make_devices(&target(root::DEV), plain)?;
    if plain {
        // While the host's own is still in sight: the kernel shows a new one only to who sees one already.
        let processes =
            mount::new_filesystem("proc", &[], NOSUID | NODEV | NOEXEC).during("make /proc")?;
        mount::attach(processes, target(root::PROC)).during("attach /proc")?;
        if let Some(scratch) = scratch {
            let copy = mount::clone_path(scratch, true).during("copy the scratch's mount")?;
            mount::attach(copy, target(root::SCRATCH)).during("attach the scratch")?;
        }
    }

    rustix::process::chdir(&image.mount_point).during("go to the image")?;
    let old = mount::pivot_here().during("change the root")?;
    old.detach().during("leave the old root")?;
    mount::set_attributes(root, RDONLY, None).during("protect the image's root")
}

/// A `/dev` that all zones share, read-only; writing to a device does not write to its directory.
fn make_devices(directory: &Path, bind: bool) -> Result<(), Failure> {
    let options = [("size", Some("1m")), ("mode", Some("0755"))];
    let devices = mount::new_filesystem("tmpfs", &options, NOSUID | NOEXEC).during("make /dev")?;
    mount::attach(&devices, directory).during("attach /dev")?;
    let bound = |name: &str| -> Result<(), Failure> {
        std::fs::File::create(directory.join(name)).during("make a device's mount point")?;
        let device =
            mount::clone_path(Path::new("/dev").join(name), false).during("copy a device")?;
        mount::attach(device, directory.join(name)).during("attach a device")
    };
    for (name, major, minor) in DEVICES {
        if bind {
            bound(name)?;
            continue;
        }
        let path = directory.join(name);
        let mode = Mode::from_raw_mode(0o666);
        let device = rustix::fs::makedev(*major, *minor);
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, device)
            .during("make a device")?;
        // The mask of this process took bits away.
        rustix::fs::chmod(&path, mode).during("open a device to all")?;
    }
    for (name, to) in LINKS {
        std::os::unix::fs::symlink(to, directory.join(name)).during("make a link in /dev")?;
    }
    for name in ["shm", "pts"] {
        std::fs::create_dir(directory.join(name)).during("make a mount point in /dev")?;
    }
    mount::set_attributes(devices, RDONLY, None).during("protect /dev")
}

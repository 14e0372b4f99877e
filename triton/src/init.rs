//! Zone init: pid 1 of a zone. Real root (full flavour), one thread, and none of the user's code: it builds
//! the zone, keeps one confined task armed, shows inputs, and reports how commands ended.
//!
//! A task can neither signal nor see it. When the host's end of the control socket closes it exits, and the
//! kernel kills what is left of the zone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use seccompiler::BpfProgram;

use crate::meminfo::Meminfo;
use crate::root::{self, Parts};
use crate::sys::mount::{self, OldRoot};
use crate::sys::process::{self, SingleThreaded};
use crate::task::{self, Armed, Confinement};
use crate::wire::{
    self, During as _, Ended, Failure, Flavour, FromInit, Image, Input, Provision, ToInit,
};

/// What zone init was given by the zygote.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) control: OwnedFd,
    pub(crate) scratch: Option<OwnedFd>,
    pub(crate) user_namespace: Option<OwnedFd>,
    /// Files of this zone's cgroups to write "0" to.
    pub(crate) join: Vec<OwnedFd>,
    pub(crate) request: Provision,
}

/// Runs in the child of the zygote, for the life of the zone.
pub(crate) fn main(
    single: &SingleThreaded,
    image: &Image,
    seccomp: &BpfProgram,
    birth: Birth,
) -> ! {
    // Descriptors are at 3 and above; 0 to 2 are /dev/null.
    let code = match live(single, image, seccomp, birth) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    process::exit_now(code)
}

fn live(
    single: &SingleThreaded,
    image: &Image,
    seccomp: &BpfProgram,
    birth: Birth,
) -> Result<(), ()> {
    let Birth {
        control,
        scratch,
        user_namespace,
        join,
        request,
    } = birth;
    let report = |failure: Failure| {
        // Whoever would read it may be gone; then so are we.
        let _ = wire::send(&control, &FromInit::Failed(failure), &[]);
    };
    let made = make(
        image,
        scratch.as_ref(),
        user_namespace.as_ref(),
        join,
        &request,
    )
    .map_err(report)?;
    drop(scratch);
    let Made {
        root,
        mounts,
        listeners,
        mut inputs,
        mut meminfo,
        mut old_root,
    } = made;
    let mut descriptors = vec![root.as_fd()];
    descriptors.extend(mounts.iter().map(AsFd::as_fd));
    descriptors.extend(listeners.iter().map(AsFd::as_fd));
    wire::send(&control, &FromInit::Ready, &descriptors).map_err(drop)?;
    drop((root, mounts, listeners));

    let confinement = Confinement {
        flavour: image.flavour,
        user_namespace,
        seccomp: seccomp.clone(),
        data_bytes: request.data_bytes,
        processes: request.processes,
        core_bytes: request.core_bytes,
    };
    let mut armed: Option<Armed> = None;
    loop {
        let ready = match armed.take() {
            Some(ready) => ready,
            None => {
                // The first task confines itself meanwhile; nobody is told of it before both are done.
                let detach = || match old_root.take() {
                    Some(old) => old.detach().during("leave the old root"),
                    None => Ok(()),
                };
                let ready = task::arm(single, &confinement, detach).map_err(report)?;
                wire::send(&control, &FromInit::Armed, &[]).map_err(drop)?;
                ready
            }
        };
        match wire::receive(&control) {
            Ok(Some((ToInit::Show { path, what }, descriptors))) => {
                let answer = match inputs.show(&path, what, descriptors) {
                    Ok(()) => FromInit::Shown,
                    Err(failure) => FromInit::Failed(failure),
                };
                wire::send(&control, &answer, &[]).map_err(drop)?;
                armed = Some(ready);
            }
            Ok(Some((ToInit::Memory { bytes }, _))) => {
                let answer = match meminfo.as_mut().map(|file| file.tell(bytes)) {
                    None | Some(Ok(())) => FromInit::Shown,
                    Some(Err(failure)) => FromInit::Failed(failure),
                };
                wire::send(&control, &answer, &[]).map_err(drop)?;
                armed = Some(ready);
            }
            Ok(Some((ToInit::Run, descriptors))) => {
                let answer =
                    run(image.flavour, ready, descriptors).unwrap_or_else(FromInit::Failed);
                wire::send(&control, &answer, &[]).map_err(drop)?;
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                return Err(error).during("read a request").map_err(report);
            }
        }
    }
}

/// A zone that is complete.
#[derive(Debug)]
struct Made {
    root: OwnedFd,
    /// The mount namespace. `None` in the bare flavour.
    mounts: Option<OwnedFd>,
    listeners: Vec<OwnedFd>,
    inputs: Inputs,
    /// `None` in the bare flavour, where `/proc` is the machine's.
    meminfo: Option<Meminfo>,
    /// `None` in the bare flavour.
    old_root: Option<OldRoot>,
}

/// Builds the zone around this process.
fn make(
    image: &Image,
    scratch: Option<&OwnedFd>,
    user_namespace: Option<&OwnedFd>,
    join: Vec<OwnedFd>,
    request: &Provision,
) -> Result<Made, Failure> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for file in join {
        // "0" is the writer. By zone init itself, before it forks: inherited by all, and no other
        // process's move is waited for.
        rustix::io::write(&file, b"0").during("join a cgroup")?;
    }
    if image.flavour != Flavour::Bare {
        // After joining, or the path below the root would show in /proc/self/cgroup.
        process::unshare(libc::CLONE_NEWCGROUP).during("make a cgroup namespace")?;
        rustix::system::sethostname(request.hostname.as_bytes()).during("set the host name")?;
    }
    let listeners = match image.flavour {
        Flavour::Full => Vec::new(),
        Flavour::Plain => crate::network::listen_here().during("listen on port 80")?,
        Flavour::Bare => return make_bare(request),
    };
    let parts = Parts {
        image,
        scratch: scratch.map(AsFd::as_fd),
        user_namespace: user_namespace.map(AsFd::as_fd),
        uid_base: request.uid_base,
        shm_bytes: request.shm_bytes,
        memory_bytes: request.memory_bytes,
        core_directory: request.core_directory.as_deref(),
    };
    let built = root::build(&parts)?;
    // Refused without CAP_SYS_RESOURCE, which containers lack. Tasks at +500 are still chosen first.
    match std::fs::write("/proc/self/oom_score_adj", "-1000") {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        result => result.during("hide from the OOM killer")?,
    }
    if image.flavour == Flavour::Plain {
        // Tasks have this process's uid: without this they could read its memory through /proc.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .during("become undumpable")?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).during("open the root")?;
    let mounts = File::open("/proc/self/ns/mnt").during("open the mount namespace")?;
    Ok(Made {
        root,
        mounts: Some(mounts.into()),
        listeners,
        inputs: Inputs {
            directory: built.inputs,
            open_to_all: None,
            shown: None,
        },
        meminfo: Some(built.meminfo),
        old_root: Some(built.old_root),
    })
}

/// Bare flavour: a directory stands for the root, any free port for port 80.
fn make_bare(request: &Provision) -> Result<Made, Failure> {
    let missing = || Failure {
        during: "find the zone's directory".to_owned(),
        errno: libc::EBADMSG,
    };
    let directory = request.scratch.as_ref().ok_or_else(missing)?;
    let inputs = directory.join("manta");
    std::fs::create_dir(&inputs).during("make the inputs' directory")?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(directory, flags, Mode::empty()).during("open the root")?;
    let local = std::net::Ipv4Addr::LOCALHOST;
    let listener = std::net::TcpListener::bind((local, 0)).during("listen on loopback")?;
    Ok(Made {
        root,
        mounts: None,
        listeners: vec![listener.into()],
        inputs: Inputs {
            directory: open_directory(&inputs)?,
            open_to_all: Some(inputs),
            shown: None,
        },
        meminfo: None,
        old_root: None,
    })
}

/// Kills everything this zone runs.
fn kill_all(flavour: Flavour) -> io::Result<()> {
    match flavour {
        Flavour::Full | Flavour::Plain => process::kill_namespace(),
        Flavour::Bare => crate::descendants::kill(std::process::id().cast_signed()),
    }
}

/// Runs the armed task to its end and kills what it left behind.
fn run(flavour: Flavour, task: Armed, descriptors: Vec<OwnedFd>) -> Result<FromInit, Failure> {
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    wire::send(&task.socket, &ToInit::Run, &borrowed).during("hand over a command")?;
    drop(borrowed);
    // Ours must not keep a pipe open that the task has closed.
    drop(descriptors);

    let mut ended = Ended {
        status: 0,
        core: false,
        user_us: 0,
        system_us: 0,
        read_bytes: 0,
        written_bytes: 0,
        max_rss_kib: 0,
    };
    let mut alive = true;
    while let Some(reaped) = process::wait_any().during("wait for the zone's processes")? {
        ended.user_us += reaped.user_us;
        ended.system_us += reaped.system_us;
        ended.read_bytes += reaped.read_bytes;
        ended.written_bytes += reaped.written_bytes;
        ended.max_rss_kib = ended.max_rss_kib.max(reaped.max_rss_kib);
        // After the first process has ended the rest die by our own SIGKILL, which is no core signal.
        ended.core |= reaped.is_core();
        if alive && reaped.pid == task.pid {
            alive = false;
            ended.status = reaped.status;
            kill_all(flavour).during("kill what the command left behind")?;
        }
    }
    if alive {
        return Err(Failure {
            during: "wait for the command".to_owned(),
            errno: libc::ECHILD,
        });
    }
    Ok(match task::refusal(&task.socket) {
        Some(errno) => FromInit::NotStarted { errno },
        None => FromInit::Exited(ended),
    })
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).during("open the inputs' directory")
}

/// What is shown below `/manta`: one file at most.
#[derive(Debug)]
struct Inputs {
    /// Where zone init makes it. Tasks cannot change what is there, but for the bare flavour.
    directory: OwnedFd,
    /// Bare flavour: the path of `directory`, in which commands may have done anything.
    open_to_all: Option<PathBuf>,
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    path: String,
    mounted: bool,
}

impl Inputs {
    fn show(&mut self, path: &str, what: Input, descriptors: Vec<OwnedFd>) -> Result<(), Failure> {
        self.hide()?;
        // The host has checked this; but a path that leaves /manta would be written to as real root.
        let plain = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.is_empty() {
            return Err(Failure {
                during: "check an input's path".to_owned(),
                errno: libc::EINVAL,
            });
        }
        let result = self
            .make_parents(path)
            .and_then(|()| self.fill(path, what, descriptors));
        if result.is_err() && self.shown.is_none() {
            self.remove_parents(path);
        }
        result
    }

    fn make_parents(&self, path: &str) -> Result<(), Failure> {
        for parent in ancestors(path) {
            match rustix::fs::mkdirat(&self.directory, parent, Mode::from_raw_mode(0o755)) {
                Err(rustix::io::Errno::EXIST) => {}
                result => result.during("make an input's directory")?,
            }
        }
        Ok(())
    }

    /// Those that are empty. What stays is in the way of nothing but a file of the same name.
    fn remove_parents(&self, path: &str) {
        for parent in ancestors(path).into_iter().rev() {
            let _ = rustix::fs::unlinkat(&self.directory, parent, AtFlags::REMOVEDIR);
        }
    }

    fn fill(&mut self, path: &str, what: Input, descriptors: Vec<OwnedFd>) -> Result<(), Failure> {
        let source = descriptors.into_iter().next();
        if let (Input::Link, Some(file)) = (what, &source) {
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            let target = std::fs::read_link(name).during("find an input's name")?;
            rustix::fs::symlinkat(target, &self.directory, path).during("link to an input")?;
            self.shown = Some(Shown {
                path: path.to_owned(),
                mounted: false,
            });
            return Ok(());
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, path, flags, Mode::from_raw_mode(0o444))
            .during("make an input's file")?;
        self.shown = Some(Shown {
            path: path.to_owned(),
            mounted: false,
        });
        match (what, source) {
            (Input::Empty, None) => Ok(()),
            (Input::Copy, Some(source)) => io::copy(&mut File::from(source), &mut File::from(file))
                .map(drop)
                .during("copy an input"),
            (Input::Mount, Some(source)) => {
                mount::attach_at(source, &self.directory, path).during("attach an input")?;
                self.shown = Some(Shown {
                    path: path.to_owned(),
                    mounted: true,
                });
                Ok(())
            }
            _ => Err(Failure {
                during: "show an input".to_owned(),
                errno: libc::EBADMSG,
            }),
        }
    }

    /// Takes away what is shown, and the directories made for it.
    fn hide(&mut self) -> Result<(), Failure> {
        let Some(shown) = self.shown.take() else {
            return Ok(());
        };
        if let Some(path) = &self.open_to_all {
            // What a command made of it must not be charged to the next one.
            clear(path).during("remove the inputs' directory")?;
            std::fs::create_dir(path).during("make the inputs' directory")?;
            self.directory = open_directory(path)?;
            return Ok(());
        }
        if shown.mounted {
            let flags = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(format!("/manta/{}", shown.path), flags)
                .during("unmount an input")?;
        }
        rustix::fs::unlinkat(&self.directory, shown.path.as_str(), AtFlags::empty())
            .during("remove an input's file")?;
        self.remove_parents(&shown.path);
        Ok(())
    }
}

/// Removes what is at `path`, of whatever kind. Links are not followed.
fn clear(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => crate::remove_tree::remove_tree(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The directories above `path`, outermost first.
fn ancestors(path: &str) -> Vec<&str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_are_outermost_first() {
        assert_eq!(ancestors("a/b/c"), ["a", "a/b"]);
        assert!(ancestors("a").is_empty());
    }
}

//! The armed task: a child of zone init that has given up everything it may not have and waits to be told
//! what to execute. The user waits for an `execve`, not for a zone.
//!
//! What is parsed here ([`Start`]) comes from a tenant, and is parsed after confinement.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Resource, Rlimit};
use seccompiler::BpfProgram;

use crate::sys::process::{self, Forked, SingleThreaded};
use crate::wire::{self, During as _, Failure, Flavour, Start};

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: what makes uid 0 the owner of the zone's
/// files. Source: zones.md section 5.2.
const CAPABILITIES: u64 = 0xfb;

/// How tasks of one zone are confined.
#[derive(Debug)]
pub(crate) struct Confinement {
    pub(crate) flavour: Flavour,
    /// Full flavour: the user namespace to enter.
    pub(crate) user_namespace: Option<OwnedFd>,
    pub(crate) seccomp: BpfProgram,
    pub(crate) data_bytes: Option<u64>,
    pub(crate) processes: Option<u64>,
    pub(crate) core_bytes: u64,
}

/// A task that waits.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(crate) pid: i32,
    /// Sends the command; afterwards says why it could not be executed, or closes without a word.
    pub(crate) socket: OwnedFd,
}

/// Forks and confines a task. Returns when it is ready and `meanwhile` is done.
pub(crate) fn arm(
    single: &SingleThreaded,
    confinement: &Confinement,
    meanwhile: impl FnOnce() -> Result<(), Failure>,
) -> Result<Armed, Failure> {
    let (ours, theirs) = wire::pair().during("make a socket pair for a task")?;
    match process::clone3(single, 0).during("fork a task")? {
        Forked::Parent { pid, .. } => {
            drop(theirs);
            meanwhile()?;
            match wire::receive::<Result<(), Failure>>(&ours).during("wait for a task")? {
                Some((Ok(()), _)) => Ok(Armed { pid, socket: ours }),
                Some((Err(failure), _)) => Err(failure),
                None => Err(Failure {
                    during: "arm a task".to_owned(),
                    errno: libc::EPIPE,
                }),
            }
        }
        Forked::Child => {
            drop(ours);
            let confined = confine(confinement);
            let failed = confined.is_err();
            // A failure of sending means that nobody waits any more.
            if wire::send(&theirs, &confined, &[]).is_ok()
                && !failed
                && let Err(errno) = become_command(&theirs)
            {
                let _ = wire::send(&theirs, &errno, &[]);
            }
            process::exit_now(127)
        }
    }
}

/// Why the command could not be executed, if so. To be asked after the task has ended.
pub(crate) fn refusal(socket: &OwnedFd) -> Option<i32> {
    wire::receive::<i32>(socket)
        .ok()
        .flatten()
        .map(|(errno, _)| errno)
}

fn confine(confinement: &Confinement) -> Result<(), Failure> {
    rustix::process::setsid().during("start a session")?;
    process::default_signals();
    // Before the user namespace: afterwards the value could only be raised, and zone init's -1000 is
    // inherited.
    match std::fs::write("/proc/self/oom_score_adj", "500") {
        Err(_) if confinement.flavour != Flavour::Full => {}
        result => result.during("offer the task to the OOM killer")?,
    }
    set_limits(confinement)?;
    if confinement.flavour == Flavour::Bare {
        // No namespace ends with zone init; at least the first process does.
        let signal = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(signal)
            .during("ask for a signal when zone init dies")?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        return rustix::process::chdir("/").during("go to /");
    }
    if let Some(namespace) = &confinement.user_namespace {
        process::setns(namespace.as_fd(), libc::CLONE_NEWUSER)
            .during("enter the user namespace")?;
    }
    let capabilities = match confinement.flavour {
        Flavour::Full => CAPABILITIES,
        Flavour::Plain | Flavour::Bare => 0,
    };
    process::limit_bounding_set(capabilities).during("limit the bounding set")?;
    match confinement.flavour {
        Flavour::Full => {
            let (user, group) = (rustix::thread::Uid::ROOT, rustix::thread::Gid::ROOT);
            rustix::thread::set_thread_groups(&[]).during("leave all groups")?;
            rustix::thread::set_thread_res_gid(group, group, group).during("set the group")?;
            rustix::thread::set_thread_res_uid(user, user, user).during("set the user")?;
        }
        // One id is mapped and is 0 already; it must not get the namespace's powers back by execve.
        Flavour::Plain | Flavour::Bare => {
            process::root_without_powers().during("set securebits")?
        }
    }
    process::set_capabilities(capabilities).during("drop capabilities")?;
    rustix::thread::set_no_new_privs(true).during("set no_new_privs")?;
    crate::seccomp::install(&confinement.seccomp).during("install the seccomp filter")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::chdir("/").during("go to /")
}

/// Source of the values: zones.md section 9.
fn set_limits(confinement: &Confinement) -> Result<(), Failure> {
    let set = |resource, soft: u64, hard: u64| {
        // A limit of the host's own process below ours is kept: it cannot be raised without privilege.
        let hard = rustix::process::getrlimit(resource)
            .maximum
            .map_or(hard, |most| most.min(hard));
        let limit = Rlimit {
            current: Some(soft.min(hard)),
            maximum: Some(hard),
        };
        rustix::process::setrlimit(resource, limit)
    };
    let core = confinement.core_bytes;
    set(Resource::Core, core, core).during("limit core files")?;
    set(Resource::Nofile, 4096, 65_536).during("limit descriptors")?;
    set(Resource::Memlock, 64 * 1024, 64 * 1024).during("limit locked memory")?;
    set(Resource::Msgqueue, 819_200, 819_200).during("limit message queues")?;
    if let Some(bytes) = confinement.data_bytes {
        set(Resource::Data, bytes, bytes).during("limit data")?;
    }
    if let Some(processes) = confinement.processes {
        set(Resource::Nproc, processes, processes).during("limit processes")?;
    }
    Ok(())
}

/// Waits for the command and executes it. Returns only with the `errno` of what went wrong.
fn become_command(socket: &OwnedFd) -> Result<(), i32> {
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EINVAL);
    let Some((crate::wire::ToInit::Run, descriptors)) = wire::receive(socket).map_err(errno)?
    else {
        // Zone init is gone, and so will we be.
        return Ok(());
    };
    let [start, stdin, stdout, stderr] =
        <[OwnedFd; 4]>::try_from(descriptors).map_err(|_| libc::EBADMSG)?;
    let Start { argv, env } = serde_json::from_reader(io::BufReader::new(File::from(start)))
        .map_err(|_| libc::EBADMSG)?;
    let path = env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.clone());
    let c_string = |text: String| CString::new(text).map_err(|_| libc::EINVAL);
    let program = argv.first().cloned().ok_or(libc::EINVAL)?;
    let argv = argv
        .into_iter()
        .map(c_string)
        .collect::<Result<Vec<_>, _>>()?;
    let env = env
        .into_iter()
        .map(|(name, value)| c_string(format!("{name}={value}")))
        .collect::<Result<Vec<_>, _>>()?;

    for (from, to) in [(&stdin, 0), (&stdout, 1), (&stderr, 2)] {
        process::dup_onto(from.as_fd(), to).map_err(errno)?;
    }
    // Everything else, the socket included, ends with execve.
    process::cloexec_from(3).map_err(errno)?;

    let mut last = libc::ENOENT;
    for candidate in candidates(&program, path.as_deref()) {
        let candidate = c_string(candidate)?;
        match errno(process::exec(&candidate, &argv, &env)) {
            libc::ENOENT | libc::ENOTDIR => {}
            // Somewhere later on PATH there may be one we may execute.
            libc::EACCES => last = libc::EACCES,
            other => return Err(other),
        }
    }
    Err(last)
}

/// Where to look for `program`: a name without a slash is looked up along `path`.
fn candidates(program: &str, path: Option<&str>) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.unwrap_or("/usr/bin:/bin")
        .split(':')
        .map(|directory| {
            format!(
                "{}/{program}",
                if directory.is_empty() { "." } else { directory }
            )
        })
        .collect()
}

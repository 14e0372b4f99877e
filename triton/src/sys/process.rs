//! Making, confining and reaping processes.

use std::ffi::{CStr, CString};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::check;

/// Proof that this process has exactly one thread. Not `Send`, and made only by [`check`](Self::check).
#[derive(Debug)]
pub(crate) struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Errors: `Other` when there is more than one thread, or `/proc` cannot be read.
    pub(crate) fn check() -> io::Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(PhantomData)),
            threads => Err(io::Error::other(format!(
                "{threads} threads where one was expected"
            ))),
        }
    }
}

/// What a fork returned, and to whom.
#[derive(Debug)]
pub(crate) enum Forked {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// `clone3` with `flags` and a pidfd, sharing nothing (like `fork`).
pub(crate) fn clone3(single: &SingleThreaded, flags: libc::c_int) -> io::Result<Forked> {
    clone3_into(single, flags, None)
}

/// The one flag that an `int` does not hold, and so wrong in the C library's binding.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// The same, the child being born in the v2 directory `cgroup`.
pub(crate) fn clone3_into(
    _: &SingleThreaded,
    flags: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: an all-zero `clone_args` is valid; every field the kernel reads is set below.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (flags | libc::CLONE_PIDFD) as u64;
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child runs on a copy of this stack; `_` proves that no other thread can
    // hold a lock (the allocator's for one) that the child would wait for in vain. `args` and `pidfd` live
    // across the call.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: the kernel stored a fresh descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent {
        pid: pid as i32,
        pidfd,
    })
}

/// Joins the namespace `fd` of kind `kind` (`CLONE_NEW*`).
pub(crate) fn setns(fd: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: takes two integers, touches no memory of ours.
    check(unsafe { libc::setns(fd.as_raw_fd(), kind) }.into()).map(drop)
}

/// Leaves the namespaces of `flags` for new ones. Only for this thread, so callers on a thread of a larger
/// process must own that thread.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no flag used in this crate (NEWNS, NEWNET, NEWCGROUP) changes how memory is shared.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Marks every descriptor from `first` on to be closed by `execve`.
pub(crate) fn cloexec_from(first: u32) -> io::Result<()> {
    // SAFETY: only changes flags of descriptors.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// How long this thread, and whatever it starts from now on, is run at a time while others wait. Its share of
/// the processors stays what it is; the shorter the slice, the sooner it runs after it was woken. The kernel
/// keeps to what it can (0.1 to 100 ms); zero leaves it to the kernel. Kernels before 6.12 take no notice.
pub(crate) fn set_slice(slice: Duration) -> io::Result<()> {
    let mut attributes = scheduling()?;
    // Only ordinary threads have slices; with a deadline the same field would mean something else.
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: `attributes` is complete, as the kernel gave it, and only read.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check(result).map(drop)
}

/// How this thread is scheduled.
pub(crate) fn scheduling() -> io::Result<libc::sched_attr> {
    // SAFETY: all-zero is a valid value of this plain struct.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most `size` bytes, the size of `attributes`.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    check(result).map(|_| attributes)
}

/// Makes `target` refer to what `fd` refers to. `target` is one of the standard three.
pub(crate) fn dup_onto(fd: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    // SAFETY: descriptors 0 to 2 are never held in an `OwnedFd` by this crate.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }.into()).map(drop)
}

/// Borrows a descriptor this process was started with.
pub(crate) fn inherited(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor, owned by nobody else, at 3 or above.
    unsafe {
        let copy = check(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3).into())?;
        Ok(OwnedFd::from_raw_fd(copy as i32))
    }
}

/// Bytes of a block in `rusage`, whatever the file system has.
const RUSAGE_BLOCK: u64 = 512;

/// One reaped process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    /// Of itself and of those whose end it has waited for, here and below.
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) max_rss_kib: u64,
}

impl Reaped {
    /// The process died of a signal whose default action is to dump core, limit or not.
    pub(crate) fn is_core(&self) -> bool {
        libc::WIFSIGNALED(self.status) && is_core_signal(libc::WTERMSIG(self.status))
    }
}

pub(crate) fn is_core_signal(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGQUIT
            | libc::SIGILL
            | libc::SIGTRAP
            | libc::SIGABRT
            | libc::SIGBUS
            | libc::SIGFPE
            | libc::SIGSEGV
            | libc::SIGSYS
            | libc::SIGXCPU
            | libc::SIGXFSZ
    )
}

/// Waits for any child. `None` when there is none left.
pub(crate) fn wait_any() -> io::Result<Option<Reaped>> {
    loop {
        let mut status = 0;
        // SAFETY: an all-zero `rusage` is valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live locals of the right type.
        let pid = unsafe { libc::wait4(-1, &raw mut status, 0, &raw mut usage) };
        if pid >= 0 {
            let micros = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
            return Ok(Some(Reaped {
                pid,
                status,
                user_us: micros(usage.ru_utime),
                system_us: micros(usage.ru_stime),
                read_bytes: usage.ru_inblock as u64 * RUSAGE_BLOCK,
                written_bytes: usage.ru_oublock as u64 * RUSAGE_BLOCK,
                max_rss_kib: usage.ru_maxrss as u64,
            }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Kills every process this one may signal, itself excepted. In pid 1 of a pid namespace: all the others
/// of the namespace, at once, so that none can fork its way out.
///
/// Errors: `Other` in a process that is not pid 1, where it would reach the whole machine.
pub(crate) fn kill_namespace() -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::other("not pid 1 of a namespace"));
    }
    // SAFETY: sends signals only.
    match check(unsafe { libc::kill(-1, libc::SIGKILL) }.into()) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Ignores SIGCHLD, so that children are reaped by the kernel.
pub(crate) fn ignore_children() {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives every signal its default action and unblocks all: ignored signals survive `execve`, and the Rust
/// runtime ignores SIGPIPE.
pub(crate) fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL runs no code of ours; numbers that cannot be changed are refused harmlessly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is a live local, initialised by sigemptyset before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Removes every capability outside `keep` from the bounding set.
pub(crate) fn limit_bounding_set(keep: u64) -> io::Result<()> {
    for capability in 0..64_u64 {
        if keep & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: takes integers only.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()) {
            Ok(_) => {}
            // Past the last capability this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes `mask` the effective and permitted sets and empties the inheritable one.
pub(crate) fn set_capabilities(mask: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // _LINUX_CAPABILITY_VERSION_3: two 32-bit words of each set.
    let header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let word = |bits: u64| Sets {
        effective: bits as u32,
        permitted: bits as u32,
        inheritable: 0,
    };
    let sets = [word(mask & 0xffff_ffff), word(mask >> 32)];
    // SAFETY: header and the two data words have the layout version 3 asks for and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}

/// Uid 0 gets no capability from `execve` any more, and that cannot be undone (`SECBIT_NOROOT` and its lock).
pub(crate) fn root_without_powers() -> io::Result<()> {
    const NOROOT_LOCKED: libc::c_ulong = 0b11;
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, NOROOT_LOCKED, 0, 0, 0) }.into()).map(drop)
}

/// Replaces this process. Returns only when that failed.
pub(crate) fn exec(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process without running destructors or exit handlers copied from the parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Brings the loopback device of the current network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: an all-zero `ifreq` is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: `request` is an initialised `ifreq` and outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
        .map(drop)
}

/// Locks one byte of `file` for as long as this opening of it lives. `false` when somebody else has it.
pub(crate) fn lock_byte(file: &std::fs::File, at: u64) -> io::Result<bool> {
    // SAFETY: an all-zero `flock` is valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = at as i64;
    lock.l_len = 1;
    // SAFETY: `lock` is a live, initialised `flock`.
    let result =
        check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }.into());
    match result {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

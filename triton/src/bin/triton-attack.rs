//! What a hostile command would try, for this crate's tests: one thing, and on standard output what the
//! kernel answered ("ok", or the name of the error).
//!
//! `call NAME ARGUMENT...` makes any system call. An argument is a number, `@text` (a pointer to that
//! string), or `@` (a pointer to a page of zeros).

use std::ffi::CString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["call", name, arguments @ ..] => println!("{}", call(name, arguments)),
        ["i386"] => println!("{}", i386_getpid()),
        ["x32"] => println!("{}", call("x32", &[])),
        ["eat", megabytes] => eat(megabytes.parse().expect("a number")),
        ["unix", name] => println!("{}", connect_abstract(name)),
        other => panic!("unknown attack {other:?}"),
    }
}

/// Makes the call and names the outcome.
fn call(name: &str, arguments: &[&str]) -> String {
    let page = vec![0_u8; 4096];
    let strings: Vec<CString> = arguments
        .iter()
        .filter_map(|argument| argument.strip_prefix('@'))
        .map(|text| CString::new(text).expect("no NUL"))
        .collect();
    let mut next = strings.iter();
    let mut words = [0_i64; 6];
    for (word, argument) in words.iter_mut().zip(arguments) {
        *word = match argument.strip_prefix('@') {
            Some("") => {
                next.next();
                page.as_ptr() as i64
            }
            Some(_) => next.next().map_or(0, |text| text.as_ptr() as i64),
            None => number(argument),
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: pointers passed are to strings and a page that outlive the call; the calls tried write at most
    // a page, and this process has nothing to lose.
    let result = unsafe { libc::syscall(number_of(name), a, b, c, d, e, f) };
    if result >= 0 {
        "ok".to_owned()
    } else {
        error_name(&io::Error::last_os_error())
    }
}

fn number(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).expect("a hexadecimal number"),
        None => text.parse().expect("a number"),
    }
}

fn error_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        Some(libc::EACCES) => "EACCES".to_owned(),
        Some(libc::ECONNREFUSED) => "ECONNREFUSED".to_owned(),
        Some(libc::ENOSPC) => "ENOSPC".to_owned(),
        _ => format!("{error}"),
    }
}

fn connect_abstract(name: &str) -> String {
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    match UnixStream::connect_addr(&address) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error_name(&error),
    }
}

/// Touches every page.
fn eat(megabytes: usize) {
    let mut held = Vec::new();
    for _ in 0..megabytes {
        held.push(vec![1_u8; 1 << 20]);
    }
    println!("ate {}", held.len());
}

#[cfg(target_arch = "x86_64")]
fn i386_getpid() -> i64 {
    let result: i64;
    // SAFETY: getpid by the 32-bit gate; clobbers nothing but rax (and r8 to r11 on some kernels).
    unsafe {
        std::arch::asm!(
            "int 0x80", inlateout("rax") 20_i64 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result
}

#[cfg(not(target_arch = "x86_64"))]
fn i386_getpid() -> i64 {
    panic!("only on x86-64")
}

fn number_of(name: &str) -> libc::c_long {
    match name {
        "x32" => 0x4000_0000 + 39,
        "unshare" => libc::SYS_unshare,
        "setns" => libc::SYS_setns,
        "clone" => libc::SYS_clone,
        "clone3" => libc::SYS_clone3,
        "mount" => libc::SYS_mount,
        "umount2" => libc::SYS_umount2,
        "pivot_root" => libc::SYS_pivot_root,
        "chroot" => libc::SYS_chroot,
        "fsopen" => libc::SYS_fsopen,
        "fspick" => libc::SYS_fspick,
        "open_tree" => libc::SYS_open_tree,
        "move_mount" => libc::SYS_move_mount,
        "mount_setattr" => libc::SYS_mount_setattr,
        "mknodat" => libc::SYS_mknodat,
        "add_key" => libc::SYS_add_key,
        "request_key" => libc::SYS_request_key,
        "keyctl" => libc::SYS_keyctl,
        "ptrace" => libc::SYS_ptrace,
        "process_vm_readv" => libc::SYS_process_vm_readv,
        "process_vm_writev" => libc::SYS_process_vm_writev,
        "pidfd_getfd" => libc::SYS_pidfd_getfd,
        "kcmp" => libc::SYS_kcmp,
        "kill" => libc::SYS_kill,
        "prlimit64" => libc::SYS_prlimit64,
        "socket" => libc::SYS_socket,
        "bpf" => libc::SYS_bpf,
        "io_uring_setup" => libc::SYS_io_uring_setup,
        "perf_event_open" => libc::SYS_perf_event_open,
        "userfaultfd" => libc::SYS_userfaultfd,
        "fanotify_init" => libc::SYS_fanotify_init,
        "vmsplice" => libc::SYS_vmsplice,
        "name_to_handle_at" => libc::SYS_name_to_handle_at,
        "open_by_handle_at" => libc::SYS_open_by_handle_at,
        "init_module" => libc::SYS_init_module,
        "finit_module" => libc::SYS_finit_module,
        "delete_module" => libc::SYS_delete_module,
        "kexec_load" => libc::SYS_kexec_load,
        "swapon" => libc::SYS_swapon,
        "swapoff" => libc::SYS_swapoff,
        "quotactl" => libc::SYS_quotactl,
        "acct" => libc::SYS_acct,
        "syslog" => libc::SYS_syslog,
        "ioctl" => libc::SYS_ioctl,
        "sched_setscheduler" => libc::SYS_sched_setscheduler,
        "sethostname" => libc::SYS_sethostname,
        "setdomainname" => libc::SYS_setdomainname,
        "clock_settime" => libc::SYS_clock_settime,
        "settimeofday" => libc::SYS_settimeofday,
        "adjtimex" => libc::SYS_adjtimex,
        "reboot" => libc::SYS_reboot,
        "personality" => libc::SYS_personality,
        "shmget" => libc::SYS_shmget,
        "mq_open" => libc::SYS_mq_open,
        "mbind" => libc::SYS_mbind,
        "getpid" => libc::SYS_getpid,
        #[cfg(target_arch = "x86_64")]
        "iopl" => libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        "ioperm" => libc::SYS_ioperm,
        #[cfg(target_arch = "x86_64")]
        "modify_ldt" => libc::SYS_modify_ldt,
        other => panic!("unknown call {other}"),
    }
}

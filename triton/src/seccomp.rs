//! The system calls a task is refused. Default allow: users bring arbitrary programs, and with no
//! capability most of the kernel is closed to them anyway; the list removes what is left of the calls
//! through which unprivileged processes reach rarely audited code. Source: zones.md section 9.
//!
//! Three answers. EPERM for the list. ENOSYS for `clone3`, so that C libraries fall back to `clone`, whose
//! flags a filter can read. Death by SIGSYS for calls of another architecture (i386, by `seccompiler`) and
//! for x32, which has the architecture of x86-64 and bit 30 in the number, and so needs a prologue of ours.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

/// Refused whatever the arguments.
const REFUSED: &[libc::c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    // Namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    // Keys outlive processes in kept user namespaces.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Large, rarely audited interfaces.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    libc::SYS_vmsplice,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_settimeofday,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // NUMA placement.
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_get_mempolicy,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // statmount, listmount and open_tree_attr: newer than the constants of `libc` on some targets, the
    // same number on every architecture.
    457,
    458,
    467,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[libc::SYS_kexec_file_load];

const NAMESPACE_FLAGS: &[libc::c_int] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The numbers of x32 calls start here.
const X32_BIT: u32 = 0x4000_0000;

/// The program for this architecture. Built once, by the zygote.
pub(crate) fn program() -> io::Result<BpfProgram> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|error| io::Error::other(format!("{error}")))?;
    let filter = SeccompFilter::new(
        rules().map_err(io::Error::other)?,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        architecture,
    )
    .map_err(io::Error::other)?;
    let checked: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    let mut program = prologue();
    program.extend(checked);
    Ok(program)
}

/// Confines this process, and everything it starts, for ever. Sets no_new_privs.
pub(crate) fn install(program: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(program).map_err(|error| match error {
        seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
        other => io::Error::other(other),
    })
}

/// What must be decided on the bare number. It may run before the architecture is checked: it only refuses.
fn prologue() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        // offsetof(struct seccomp_data, nr) is 0.
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_IF_AT_LEAST, 0, 1, X32_BIT),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        instruction(JUMP_IF_EQUAL, 0, 1, libc::SYS_clone3 as u32),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules() -> Result<Rules, seccompiler::BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let when = |argument, length, operator, value: i64| {
        SeccompCondition::new(argument, length, operator, value as u64)
    };
    let mut rules = Rules::new();
    for call in REFUSED.iter().chain(REFUSED_HERE) {
        rules.insert(*call, Vec::new());
    }

    let namespaces = NAMESPACE_FLAGS
        .iter()
        .map(|flag| {
            let flag = i64::from(*flag);
            SeccompRule::new(vec![when(0, Qword, MaskedEq(flag as u64), flag)?])
        })
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_clone, namespaces);

    // UNIX, INET and INET6, and the routing netlink that getaddrinfo and language run-times like to read.
    let families = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ];
    let other_family = families
        .iter()
        .map(|family| when(0, Dword, Ne, i64::from(*family)))
        .collect::<Result<_, _>>()?;
    let other_netlink = vec![
        when(0, Dword, Eq, i64::from(libc::AF_NETLINK))?,
        when(2, Dword, Ne, i64::from(libc::NETLINK_ROUTE))?,
    ];
    rules.insert(
        libc::SYS_socket,
        vec![
            SeccompRule::new(other_family)?,
            SeccompRule::new(other_netlink)?,
        ],
    );

    // Device nodes, not FIFOs: mkfifo is mknod.
    let devices = |argument| {
        [libc::S_IFCHR, libc::S_IFBLK]
            .into_iter()
            .map(|kind| {
                let mask = MaskedEq(u64::from(libc::S_IFMT));
                SeccompRule::new(vec![when(argument, Dword, mask, i64::from(kind))?])
            })
            .collect::<Result<Vec<_>, seccompiler::BackendError>>()
    };
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_mknod, devices(1)?);
    rules.insert(libc::SYS_mknodat, devices(2)?);

    // Typing into a terminal that is also somebody else's.
    let ioctls = [libc::TIOCSTI as i64, libc::TIOCLINUX as i64]
        .into_iter()
        .map(|request| SeccompRule::new(vec![when(1, Dword, Eq, request)?]))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_ioctl, ioctls);

    // Limits of other processes. Zone init of the plain flavour has the task's own uid, and with few
    // descriptors or no processor time left it could not serve the next command. C libraries ask with 0.
    let other_process = vec![when(0, Dword, Ne, 0)?];
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(other_process)?]);

    // Asking for the personality (all ones) and setting the plain one are harmless.
    let personality = vec![when(0, Dword, Ne, 0)?, when(0, Dword, Ne, 0xffff_ffff)?];
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(personality)?]);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_compiles_and_fits_the_kernels_limit() {
        let program = program().unwrap();
        assert!(program.len() < 4096, "{} instructions", program.len());
    }
}

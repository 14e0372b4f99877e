//! What a hostile task tries, row by row of zones.md section 10, each in a fresh zone. After each row the
//! machine is unchanged and the slot becomes ready again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use common::hostile::*;
use common::*;
use libmanta::triton::{ExitStatus, ZoneError, ZoneSpec, Zones as _};
use rustix::fs::Mode;

#[tokio::test]
async fn rows_1_and_2_namespaces_and_mounts() {
    let site = Site::new(1).await;
    row!(site, zone, {
        let all = [
            "unshare 0x10000000",
            "unshare 0x20000",
            "unshare 0x40000000",
            "setns 0 0",
        ];
        refused(&mut *zone, "EPERM", &all).await;
        let clones = [
            "clone 0x10000011",
            "clone 0x20011",
            "clone 0x40000011",
            "clone 0x2000011",
        ];
        refused(&mut *zone, "EPERM", &clones).await;
        refused(&mut *zone, "ENOSYS", &["clone3 @ 88"]).await;
        says(&mut *zone, "cat /proc/sys/user/max_user_namespaces", "0").await;
        fails(&mut *zone, "unshare -Ur true", "Operation not permitted").await;
    });
    row!(site, zone, {
        let calls = [
            "mount @none @/tmp @tmpfs 0 0",
            "mount @none @/usr @none 0x1020 0",
            "umount2 @/usr 2",
            "umount2 @/proc 2",
            "pivot_root @/tmp @/tmp",
            "chroot @/tmp",
            "fsopen @tmpfs 0",
            "fspick -100 @/ 0",
            "open_tree -100 @/ 1",
            "move_mount -100 @/tmp -100 @/mnt 0",
            "mount_setattr -100 @/usr 0 @ 32",
        ];
        refused(&mut *zone, "EPERM", &calls).await;
        fails(&mut *zone, "mount -t tmpfs none /tmp", "denied").await;
    });
    site.end().await;
}

#[tokio::test]
async fn rows_3_to_6_proc_shows_only_the_zone() {
    let site = Site::new(1).await;
    row!(site, zone, {
        for file in ["root", "environ", "fd", "maps"] {
            fails(&mut *zone, &format!("ls /proc/1/{file}"), "No such file").await;
        }
        // The shell and what it started to look.
        let listed = sh(&mut *zone, "echo /proc/[0-9]*; :").await.stdout;
        assert_eq!(listed.split_whitespace().count(), 1, "{listed}");
    });
    row!(site, zone, {
        for setting in [
            "kernel/core_pattern",
            "net/ipv4/ip_forward",
            "kernel/hostname",
            "vm/drop_caches",
        ] {
            fails(
                &mut *zone,
                &format!("echo 1 > /proc/sys/{setting}"),
                "denied",
            )
            .await;
        }
    });
    row!(site, zone, {
        let all = "cmdline config.gz kcore kmsg sysrq-trigger timer_list keys kallsyms modules \
                   iomem locks key-users interrupts softirqs zoneinfo buddyinfo vmstat slabinfo \
                   diskstats pressure/cpu pressure/memory pressure/io";
        for file in all.split(' ') {
            // The size of a file in /proc is always 0: read it.
            let line = format!("head -c 4096 /proc/{file} 2>/dev/null | tr -d '\\0' | wc -c");
            says(&mut *zone, &line, "0").await;
        }
        fails(
            &mut *zone,
            "echo b > /proc/sysrq-trigger && exit 1; echo denied >&2; exit 1",
            "denied",
        )
        .await;
        says(
            &mut *zone,
            "ls /proc/scsi /proc/acpi /proc/pressure 2>/dev/null | grep -v : | tr -d '\\n'",
            "",
        )
        .await;
    });
    row!(site, zone, {
        let mounts = sh(&mut *zone, "cat /proc/self/mountinfo").await.stdout;
        let state = site.directory.path().to_string_lossy().into_owned();
        let tools = env!("CARGO_MANIFEST_DIR");
        for path in [&*state, tools, "/state", "image", "loop", "/tmp/."] {
            assert!(!mounts.contains(path), "{path} shows:\n{mounts}");
        }
        for line in mounts.lines() {
            let options = line.split(' ').nth(5).unwrap();
            assert!(options.contains("nosuid"), "{line}");
            // The devices themselves are the exception.
            let device = line.split(' ').nth(4).unwrap();
            let shown = ["/dev", "/dev/pts"].contains(&device) || device.starts_with("/proc/");
            assert!(shown || options.contains("nodev"), "{line}");
        }
    });
    site.end().await;
}

#[tokio::test]
async fn rows_7_to_10_files_of_the_machine() {
    let site = Site::with(1, |config| {
        let program = config.tools.as_ref().unwrap().join("whoever");
        std::fs::copy("/usr/bin/id", &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    })
    .await;
    row!(site, zone, {
        fails(&mut *zone, "ls /sys", "No such file").await;
        let line = "find / -path /proc -prune -o \\( -name cgroup.procs -o -name release_agent -o -type s \
                    -o -path /usr/bin/env \\) -print";
        says(&mut *zone, line, "/usr/bin/env").await;
        let line = "sed 's/.* - //' /proc/self/mountinfo | cut -d' ' -f1 | sort -u | tr '\\n' ' '";
        let kinds = sh(&mut *zone, line).await.stdout;
        let shown = |kind: &str| kinds.split_whitespace().any(|other| other == kind);
        assert!(shown("proc") && shown("overlay"), "{kinds}");
        let hidden = "cgroup cgroup2 sysfs debugfs tracefs securityfs bpf configfs pstore";
        assert!(!hidden.split(' ').any(shown), "{kinds}");
    });
    row!(site, zone, {
        let hidden = "/etc/shadow /etc/gshadow /etc/ssh /etc/sudoers /boot /var/run/docker.sock \
                      /usr/local /var/lib/docker /.dockerenv /work /old_root";
        for path in hidden.split_whitespace() {
            fails(&mut *zone, &format!("stat {path}"), "No such file").await;
        }
        says(
            &mut *zone,
            "ls -A /root /home /run /srv /mnt | grep -v : | tr -d '\\n'",
            "",
        )
        .await;
        let top = sh(&mut *zone, "ls -A /").await.stdout;
        let allowed = "assets bin dev etc home lib lib32 lib64 libx32 manta mnt opt proc root run \
                       sbin srv tmp usr var";
        let allowed: Vec<_> = allowed.split_whitespace().collect();
        for name in top.lines() {
            assert!(allowed.contains(&name), "{name} is in the zone");
        }
        // What the image is made with, name by name; below the last, whatever the machine has.
        let names = "/ /assets /etc /etc/group /etc/hosts /etc/motd /etc/mtab /etc/passwd /etc/resolv.conf /etc/ssl \
                     /home /manta /mnt /opt /opt/local /opt/marlin /opt/marlin/bin /opt/marlin/bin/attack \
                     /opt/marlin/bin/whoever /root /run /srv /tmp /var /var/cache /var/lib /var/log /var/tmp";
        let trees = "alternatives ca-certificates ca-certificates.conf debian_version ld.so.cache ld.so.conf \
                     ld.so.conf.d localtime mime.types nsswitch.conf os-release protocols services ssl/certs \
                     ssl/openssl.cnf timezone";
        let names: Vec<_> = names.split_whitespace().collect();
        let made = |path: &str| {
            names.contains(&path)
                || trees.split_whitespace().any(|tree| {
                    let below = path
                        .strip_prefix("/etc/")
                        .and_then(|path| path.strip_prefix(tree));
                    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                })
        };
        let elsewhere = "proc dev usr var/lib/dpkg bin sbin lib lib32 lib64 libx32";
        let elsewhere: Vec<_> = elsewhere
            .split(' ')
            .map(|path| format!("-path /{path}"))
            .collect();
        let line = format!("find / \\( {} \\) -prune -o -print", elsewhere.join(" -o "));
        let found = sh(&mut *zone, &line).await.stdout;
        let strange: Vec<_> = found.lines().filter(|path| !made(path)).collect();
        assert_eq!(strange, Vec::<&str>::new());
        assert!(found.contains("/opt/marlin/bin/whoever\n") && found.contains("/etc/mtab\n"));
        // File by file: whatever is in /usr of the zone may be read by all on the host.
        let secret = sh(&mut *zone, "cd /usr; find . ! -type l ! -perm -004 -print")
            .await
            .stdout;
        assert_eq!(secret, "", "files of /usr that are not for all");
        let etc = sh(&mut *zone, "find /etc ! -type l ! -type d").await.stdout;
        for path in etc.lines() {
            let ours = matches!(
                path,
                "/etc/passwd" | "/etc/group" | "/etc/hosts" | "/etc/resolv.conf" | "/etc/motd"
            );
            let readable =
                std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 4 != 0);
            assert!(ours || readable, "{path}");
        }
        says(&mut *zone, "grep -c . /etc/passwd", "4").await;
    });
    row!(site, zone, {
        // A set-uid program of the zone's root, run by somebody else of the zone.
        let line = "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && \
                    perl -e '$( = 1000; $) = \"1000 1000\"; $< = 1000; $> = 1000; exec @ARGV' /tmp/id -u";
        says(&mut *zone, line, "1000").await;
        // And one of the machine's root, in a lower layer.
        let line = "stat -c '%u %a' /opt/marlin/bin/whoever; grep NoNewPrivs /proc/self/status | cut -f2; \
                    perl -e '$( = 1000; $) = \"1000 1000\"; $< = 1000; $> = 1000; exec @ARGV' \
                    /opt/marlin/bin/whoever -u";
        says(&mut *zone, line, "0 4755\n1\n1000").await;
    });
    row!(site, zone, {
        let devices = [
            "mknodat -100 @/tmp/c 0x21b6 0x103",
            "mknodat -100 @/tmp/b 0x61b6 0x700",
        ];
        refused(&mut *zone, "EPERM", &devices).await;
        // One that is there all the same cannot be opened, though anybody may read and write it.
        let (init, _) = inits_and_tasks(&site);
        let device = format!("/proc/{}/root/tmp/device", init[0]);
        let null = std::fs::metadata("/dev/null").unwrap();
        let (kind, mode) = (
            rustix::fs::FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
        );
        rustix::fs::mknodat(rustix::fs::CWD, &device, kind, mode, null.rdev()).unwrap();
        std::fs::set_permissions(&device, null.permissions()).unwrap();
        let line = "stat -c '%F %t %T %a' /tmp/device /dev/null | uniq -c | tr -s ' '; : < /dev/null > /dev/null";
        says(&mut *zone, line, "2 character special file 1 3 666").await;
        fails(&mut *zone, "cat /tmp/device", "Permission denied").await;
        fails(&mut *zone, "echo x > /tmp/device", "Permission denied").await;
        says(
            &mut *zone,
            "mkfifo /tmp/fifo && test -p /tmp/fifo && echo fine",
            "fine",
        )
        .await;
        says(
            &mut *zone,
            "ls /dev | tr '\\n' ' '",
            "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero",
        )
        .await;
        fails(&mut *zone, "touch /dev/mine", "Read-only").await;
        fails(&mut *zone, "rm /dev/null", "Read-only").await;
    });
    site.end().await;
}

#[tokio::test]
async fn rows_11_12_15_16_28_to_30_system_calls() {
    let site = Site::new(1).await;
    row!(site, zone, {
        let calls = [
            // 11
            "add_key @user @mine @ 8 -4",
            "request_key @user @mine 0 -4",
            "keyctl 0 -4 1",
            // 12
            "ptrace 0 0 0 0",
            "ptrace 16 1 0 0",
            "process_vm_readv 1 @ 1 @ 1 0",
            "process_vm_writev 1 @ 1 @ 1 0",
            "pidfd_getfd 0 0 0",
            "kcmp 1 1 0 0 0",
            "kill 1 9",
            "kill 1 0",
            "prlimit64 1 7 @ 0",
            "prlimit64 1 0 0 @",
            // 15: packet, vsock, alg, raw, a netlink that is not routing
            "socket 17 3 0",
            "socket 40 1 0",
            "socket 38 5 0",
            "socket 2 3 1",
            "socket 16 3 9",
            // 16
            "bpf 0 @ 48",
            "io_uring_setup 8 @",
            "perf_event_open @ 0 -1 -1 0",
            "userfaultfd 1",
            "fanotify_init 0 0",
            "vmsplice 1 @ 1 0",
            "name_to_handle_at -100 @/ @ @ 0",
            "open_by_handle_at -100 @ 0",
            "init_module @ 0 @",
            "finit_module 0 @ 0",
            "delete_module @loop 0",
            "kexec_load 0 0 0 0",
            "swapon @/tmp/swap 0",
            "swapoff @/tmp/swap",
            "quotactl 0 0 0 0",
            "acct @/tmp/acct",
            "syslog 3 @ 10",
            "mbind 0 0 0 0 0 0",
            "personality 0x0040000",
            // 28
            "ioctl 0 0x5412 @x",
            "ioctl 0 0x541c @x",
            // The kernel looks at the lower half.
            "ioctl 0 0x100005412 @x",
            "ioctl 0 0x10000541c @x",
            // 29
            // 30
            "sethostname @x 1",
            "setdomainname @x 1",
            "clock_settime 0 @",
            "settimeofday @ 0",
            "adjtimex @",
            "reboot 0xfee1dead 672274793 0 0",
        ];
        refused(&mut *zone, "EPERM", &calls).await;
        if cfg!(target_arch = "x86_64") {
            refused(
                &mut *zone,
                "EPERM",
                &["iopl 3", "ioperm 0x80 1 1", "modify_ldt 1 @ 16"],
            )
            .await;
        }
        let harmless = [
            "socket 1 1 0",
            "socket 2 1 0",
            "socket 10 2 0",
            "socket 16 3 0",
            "personality 0xffffffff",
            "prlimit64 0 7 0 @",
        ];
        refused(&mut *zone, "ok", &harmless).await;
    });
    if cfg!(target_arch = "x86_64") {
        row!(site, zone, {
            for gate in ["i386", "x32"] {
                let outcome = sh(&mut *zone, &format!("exec attack {gate}")).await;
                assert_eq!(
                    outcome.exit.status,
                    ExitStatus::Signal(libc::SIGSYS),
                    "{gate}: {outcome:?}"
                );
                assert!(outcome.exit.core_dumped, "{gate}");
            }
        });
    }
    row!(site, zone, {
        // 29
        fails(&mut *zone, "chrt -f 1 true", "Operation not permitted").await;
        fails(&mut *zone, "ulimit -Hn 1000000", "Operation not permitted").await;
        fails(&mut *zone, "ulimit -c unlimited", "Operation not permitted").await;
        fails(&mut *zone, "echo -1 > /proc/self/oom_score_adj", "denied").await;
        says(&mut *zone, "cat /proc/self/oom_score_adj", "500").await;
        let line = "test $(nice -n -5 nice 2>/dev/null) = $(nice) && echo as before";
        says(&mut *zone, line, "as before").await;
    });
    site.end().await;
}

#[tokio::test]
async fn rows_13_and_14_network() {
    let site = Site::new(2).await;
    // On the host: an abstract socket, and a port on loopback.
    let name = format!("triton-attack-{}", std::process::id());
    let address =
        <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
            &name,
        );
    let listening = std::os::unix::net::UnixListener::bind_addr(&address.unwrap()).unwrap();
    let host_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    row!(site, zone, {
        says(&mut *zone, &format!("attack unix {name}"), "ECONNREFUSED").await;
        says(&mut *zone, "grep -c @ /proc/net/unix || true", "0").await;
        for address in ["1.1.1.1/80", "169.254.169.254/80", "10.0.0.1/22"] {
            fails(
                &mut *zone,
                &format!("exec 3<>/dev/tcp/{address}"),
                "Network is unreachable",
            )
            .await;
        }
        let port = host_port.local_addr().unwrap().port();
        fails(
            &mut *zone,
            &format!("exec 3<>/dev/tcp/127.0.0.1/{port}"),
            "refused",
        )
        .await;
        // Another zone's Manta is not ours: each has its own loopback.
        let mut other = site.zone().await;
        let theirs = other.listeners().unwrap();
        let ours = zone.listeners().unwrap();
        assert_eq!(ours.len(), 2, "IPv4 and IPv6");
        assert_eq!(zone.manta_url(), "http://localhost:80/");
        let serving = std::thread::spawn(move || {
            for listener in ours {
                listener.set_nonblocking(false).unwrap();
                let (mut stream, from) = listener.accept().unwrap();
                assert!(from.ip().is_loopback());
                let mut greeting = [0; 6];
                stream.read_exact(&mut greeting).unwrap();
                assert_eq!(&greeting, b"hello\n");
                stream.write_all(b"manta\n").unwrap();
            }
        });
        let line =
            "for a in 127.0.0.1 ::1; do exec 3<>/dev/tcp/$a/80; echo hello >&3; cat <&3; done";
        says(&mut *zone, line, "manta\nmanta").await;
        serving.join().unwrap();
        for listener in &theirs {
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "a connection of another zone");
        }
        // Low ports are the task's to use, ours is taken.
        let bind = |port| {
            format!(
                "perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,0); \
            bind(S,sockaddr_in({port},INADDR_LOOPBACK)) or die $!'"
            )
        };
        assert_eq!(sh(&mut *other, &bind(443)).await.code(), Some(0));
        fails(&mut *other, &bind(80), "in use").await;
    });
    drop((listening, host_port));
    site.end().await;
}

#[tokio::test]
async fn row_17_fork_bomb() {
    let site = Site::new(2).await;
    let mut neighbour = site.zone().await;
    row!(site, zone, {
        // The first process stays, so the bomb keeps going until the zone is killed from outside.
        let bomb = sh_until(&mut *zone, ":(){ :|:& };:; while :; do :; done", async {
            let deadline = Instant::now() + Duration::from_secs(20);
            while pids_events(&site) == 0 {
                assert!(Instant::now() < deadline, "the limit was never reached");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            says(&mut *neighbour, "echo fine", "fine").await;
            assert!(
                std::process::Command::new("/bin/true")
                    .status()
                    .unwrap()
                    .success()
            );
        });
        bomb.await;
        // It was given up, which killed it: pid 1 and the waiting process of the neighbour are the most there are.
        let ended = Instant::now();
        until("the bomb is gone", || population(&site) <= 2).await;
        let lasted = ended.elapsed();
        assert!(lasted < Duration::from_secs(1), "{lasted:?}");
    });
    // One that ends by itself takes its children with it.
    row!(site, zone, {
        let started = Instant::now();
        let outcome = sh(
            &mut *zone,
            "(while :; do sleep 1000 & done) & sleep 0.3; exit 3",
        )
        .await;
        assert_eq!(outcome.code(), Some(3), "{outcome:?}");
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
        says(&mut *zone, "echo again", "again").await;
    });
    drop(neighbour);
    site.end().await;
}

/// Forks the kernel has refused to the zones of `site`.
fn pids_events(site: &Site) -> u64 {
    let all = cgroups(site.directory.path());
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("pids.events")).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("max ")?.parse::<u64>().ok())
    };
    all.iter().filter_map(read).max().unwrap_or(0)
}

#[tokio::test]
async fn row_18_memory() {
    let site = Site::new(2).await;
    let mut neighbour = site.zone().await;
    row!(site, zone, {
        let outcome = sh(&mut *zone, "exec attack eat 1024").await;
        assert_eq!(
            outcome.exit.status,
            ExitStatus::Signal(libc::SIGKILL),
            "{outcome:?}"
        );
        assert!(
            outcome.exit.out_of_memory && !outcome.exit.core_dumped,
            "{outcome:?}"
        );
        assert!(outcome.exit.peak_memory_bytes > 200 * MIB, "{outcome:?}");
        // Only the process that was chosen dies, and the next command starts with a clean meter.
        let outcome = sh(&mut *zone, "attack eat 1024; echo after $?").await;
        assert_eq!(outcome.stdout, "after 137\n", "{outcome:?}");
        assert!(outcome.exit.out_of_memory, "{outcome:?}");
        let outcome = sh(&mut *zone, "attack eat 20").await;
        assert_eq!(
            (outcome.code(), outcome.exit.out_of_memory),
            (Some(0), false),
            "{outcome:?}"
        );
        assert!(outcome.exit.peak_memory_bytes < 150 * MIB, "{outcome:?}");
    });
    row!(site, zone, {
        // Shared memory counts as the zone's.
        let outcome = sh(
            &mut *zone,
            "head -c 300m /dev/zero > /dev/shm/x; stat -c %s /dev/shm/x",
        )
        .await;
        let size: u64 = outcome.stdout.trim().parse().unwrap();
        assert!(size < 260 * MIB, "{outcome:?}");
        // So do pages of files, but those can be written back: no reason to die.
        let outcome = sh(
            &mut *zone,
            "rm -f /dev/shm/x; head -c 40m /dev/zero > /tmp/x; cat /tmp/x /tmp/x > /dev/null",
        )
        .await;
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    });
    says(&mut *neighbour, "echo unharmed", "unharmed").await;
    drop(neighbour);
    // More than the default is given when it is asked for, and only then.
    let spec = ZoneSpec {
        memory_bytes: 768 * MIB,
        ..SPEC
    };
    let mut large = site.host.acquire(spec).await.unwrap();
    assert_eq!(sh(&mut *large, "attack eat 512").await.code(), Some(0));
    drop(large);
    site.all_ready().await;
    for _ in 0..2 {
        let mut zone = site.zone().await;
        assert!(sh(&mut *zone, "attack eat 512").await.exit.out_of_memory);
    }
    let absurd = ZoneSpec {
        memory_bytes: 1 << 50,
        ..SPEC
    };
    assert!(matches!(
        site.host.acquire(absurd).await,
        Err(ZoneError::NotEnoughMemory)
    ));
    site.end().await;
}

#[tokio::test]
async fn row_19_processor_time_is_shared() {
    let site = Site::new(2).await;
    let mut first = site.zone().await;
    let mut second = site.zone().await;
    // Twice the loops: zones share, not processes. On one CPU, where nothing but their weights decides.
    let hog = |loops: usize| {
        format!(
            "taskset -pc 0 $$ >&2; for i in $(seq {loops}); do (while :; do :; done) & done; sleep 5"
        )
    };
    let (few, many) = (hog(2), hog(4));
    let (one, other) = tokio::join!(sh(&mut *first, &few), sh(&mut *second, &many));
    let (one, other) = (one.exit.cpu.as_secs_f64(), other.exit.cpu.as_secs_f64());
    assert!(
        (one / other - 1.0).abs() < 0.2,
        "{one:.2} s against {other:.2} s"
    );
    drop((first, second));
    site.all_ready().await;
    site.end().await;
}

#[tokio::test]
async fn row_20_disk() {
    let site = Site::new(1).await;
    row!(site, zone, {
        // Standard error is on the full disk as well: keep the message until there is room for it.
        let fill = "said=$(head -c 200m /dev/zero 2>&1 >/tmp/fill) || { truncate -s -2m /tmp/fill; \
                    echo $said >&2; exit 1; }";
        fails(&mut *zone, fill, "No space left").await;
        // The zone's own files are on the same disk, wherever they are.
        let other = "said=$(head -c 8m /dev/zero 2>&1 >/usr/lib/fill); rm /usr/lib/fill; echo $said >&2; exit 1";
        fails(&mut *zone, other, "No space left").await;
        assert!(zone.disk_available_bytes() < 8 * MIB);
        says(&mut *zone, "rm /tmp/fill; echo freed", "freed").await;
    });
    row!(site, zone, {
        let line = "mkdir /tmp/many; cd /tmp/many; perl -e 'for (1..1e6) { open F, \">\", $_ or die \"$!\\n\" }'";
        fails(&mut *zone, line, "No space left").await;
    });
    // Another size is made when it is asked for.
    let small = ZoneSpec {
        disk_bytes: 16 * MIB,
        ..SPEC
    };
    let mut zone = site.host.acquire(small).await.unwrap();
    let fill =
        "said=$(head -c 20m /dev/zero 2>&1 >/tmp/fill); rm /tmp/fill; echo $said >&2; exit 1";
    fails(&mut *zone, fill, "No space left").await;
    drop(zone);
    let large = ZoneSpec {
        disk_bytes: 512 * MIB,
        ..SPEC
    };
    let mut zone = site.host.acquire(large).await.unwrap();
    assert!(zone.disk_available_bytes() > 400 * MIB);
    assert_eq!(
        sh(&mut *zone, "head -c 300m /dev/zero > /tmp/fill")
            .await
            .code(),
        Some(0)
    );
    drop(zone);
    let absurd = ZoneSpec {
        disk_bytes: 1 << 60,
        ..SPEC
    };
    assert!(matches!(
        site.host.acquire(absurd).await,
        Err(ZoneError::NotEnoughDisk)
    ));
    let mut zone = site.zone().await;
    assert!(zone.disk_available_bytes() < 64 * MIB);
    says(&mut *zone, "echo normal", "normal").await;
    drop(zone);
    site.all_ready().await;
    site.end().await;
}

/// The defaults on a file system of 12 GiB: zones that cannot together fill it, and no larger ones.
#[tokio::test]
async fn row_20_a_machine_with_little_disk() {
    const GIB: u64 = 1 << 30;
    let site = Site::with(8, |config| {
        small_disk(config, "12g");
        config.disk_bytes = triton::Config::new("").disk_bytes;
        // Jobs may ask for more than there is.
        config.disk_slop_bytes = Some(100 * GIB);
    })
    .await;
    let room = |bytes: u64| bytes - bytes / 10;
    let of = |disk_bytes| ZoneSpec { disk_bytes, ..SPEC };
    // Who asks for the usual size gets what is usual here: 8 zones and 2 disks kept ready share the room.
    let mut zone = site.host.acquire(of(8 * GIB)).await.unwrap();
    let available = zone.disk_available_bytes();
    assert!(
        (9 * GIB / 10..=room(12 * GIB) / 10).contains(&available),
        "{available}"
    );
    says(&mut *zone, "echo fine", "fine").await;
    site.all_ready().await;
    let refused = within(60, "ask for too much", site.host.acquire(of(4 * GIB))).await;
    assert!(
        matches!(refused, Err(ZoneError::NotEnoughDisk)),
        "{refused:?}"
    );
    drop(refused);
    // Smaller ones can be had, and the refusal has cost nothing.
    drop(site.host.acquire(of(16 * MIB)).await.unwrap());
    site.all_ready().await;
    drop(zone);
    site.all_ready().await;
    site.end_with_disk().await;
}

#[tokio::test]
async fn row_21_nothing_survives_its_command() {
    let site = Site::new(1).await;
    row!(site, zone, {
        let line = "trap '' TERM HUP; (setsid bash -c 'trap \"\" TERM HUP INT; (sleep 1000 &) ; sleep 1000' &) ; \
                    sleep 1000 & disown; echo started";
        says(&mut *zone, line, "started").await;
        let listed = sh(&mut *zone, "echo /proc/[0-9]*; :").await.stdout;
        assert_eq!(listed.split_whitespace().count(), 1, "{listed}");
        // Nor does one of another user, in a session of its own, whose parent is gone: seen from outside.
        let daemon = "perl -MPOSIX -e 'fork and exit; setsid; fork and exit; $SIG{$_} = \"IGNORE\" for qw(TERM HUP INT); \
                      $( = 1000; $) = \"1000 1000\"; $< = 1000; $> = 1000; print \"running as $>\\n\"; \
                      close STDOUT; sleep 1000' | cat";
        says(&mut *zone, daemon, "running as 1000").await;
        until(
            "pid 1 and the next command's process alone are left",
            || {
                let (inits, tasks) = inits_and_tasks(&site);
                (inits.len(), tasks.len()) == (1, 1) && pids_of(site.directory.path()).len() == 2
            },
        )
        .await;
    });
    row!(site, zone, {
        // Given up while it runs: dropping the future kills it.
        let mut ran = Vec::new();
        // Init, the shell, and what the shell runs.
        let running = until("the command runs", || {
            ran = pids_of(site.directory.path());
            ran.len() >= 3
        });
        sh_until(
            &mut *zone,
            "trap '' TERM; while :; do sleep 1000; done",
            running,
        )
        .await;
        let after = try_sh(&mut *zone, "true", null()).await;
        assert!(matches!(after, Err(ZoneError::Gone(_))), "{after:?}");
        until("all of it is gone", || {
            let lives = |pid: &i32| std::path::Path::new(&format!("/proc/{pid}")).exists();
            !ran.iter().any(lives)
        })
        .await;
    });
    site.end().await;
}

#[tokio::test]
async fn rows_22_and_23_the_input() {
    let site = Site::new(1).await;
    let path = site.directory.path().join("object");
    std::fs::write(&path, "content\n").unwrap();
    // Worse than the store's: writable by all.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let shown = "/manta/user/stor/some dir/object";
    row!(site, zone, {
        let stdin = zone
            .show_input(shown, Some(File::open(&path).unwrap()))
            .await
            .unwrap();
        let quoted = format!("'{shown}'");
        let outcome = try_sh(&mut *zone, &format!("cat; cat {quoted}"), stdin.into())
            .await
            .unwrap();
        assert_eq!(outcome.stdout, "content\ncontent\n", "{outcome:?}");
        let metadata = || {
            let found = std::fs::metadata(&path).unwrap();
            let changed = (
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            );
            (
                found.mode(),
                found.uid(),
                found.nlink(),
                found.len(),
                changed,
            )
        };
        let before = metadata();
        let set_attribute = format!(
            "perl -e 'syscall({}, $ARGV[0], $name = \"user.x\", $value = \"y\", 1, 0) and die \"$!\\n\"' F",
            libc::SYS_setxattr
        );
        let reasons = [
            "Read-only file system",
            "Permission denied",
            "cross-device",
            "busy",
        ];
        for attack in [
            "echo x >> F",
            "truncate -s 0 F",
            "dd if=/dev/zero of=F bs=1 count=1 conv=notrunc",
            "chmod 777 F",
            "chown 1000 F",
            "rm -f F",
            "mv F /tmp/moved",
            "ln F /tmp/linked",
            "touch F",
            "rm -rf /manta/user; test ! -e /manta/user",
            "mkdir /manta/mine",
            "mv /manta /gone",
            &set_attribute,
        ] {
            let outcome = sh(&mut *zone, &attack.replace('F', &quoted)).await;
            assert!(
                !matches!(outcome.code(), Some(0 | 127)),
                "{attack}: {outcome:?}"
            );
            let known = reasons.iter().any(|reason| outcome.stderr.contains(reason));
            assert!(known, "{attack}: {outcome:?}");
        }
        assert_eq!(metadata(), before);
        let stdin = zone
            .show_input(shown, Some(File::open(&path).unwrap()))
            .await
            .unwrap();
        let line = "echo evil 1<>/proc/self/fd/0";
        let outcome = try_sh(&mut *zone, line, stdin.into()).await.unwrap();
        assert!(
            outcome.stderr.contains("Read-only file system"),
            "{outcome:?}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "content\n");
    });
    row!(site, zone, {
        // One input at a time; the object may be unlinked while it is shown.
        let gone = site.directory.path().join("unlinked");
        std::fs::write(&gone, "still here").unwrap();
        let stdin = zone
            .show_input("/manta/a/b", Some(File::open(&gone).unwrap()))
            .await
            .unwrap();
        std::fs::remove_file(&gone).unwrap();
        let outcome = try_sh(&mut *zone, "cat; find /manta -type f", stdin.into())
            .await
            .unwrap();
        assert_eq!(outcome.stdout, "still here/manta/a/b\n", "{outcome:?}");
        let stdin = zone.show_input("/manta/c", None).await.unwrap();
        let outcome = try_sh(
            &mut *zone,
            "wc -c; find /manta -type f -printf '%p %s'",
            stdin.into(),
        )
        .await
        .unwrap();
        assert_eq!(outcome.stdout, "0\n/manta/c 0", "{outcome:?}");
        // A file without a name can be shown as well.
        let memory = rustix::fs::memfd_create("packed", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut memory = File::from(memory);
        memory.write_all(b"packed").unwrap();
        std::io::Seek::rewind(&mut memory).unwrap();
        let stdin = zone.show_input("/manta/d", Some(memory)).await.unwrap();
        let outcome = try_sh(&mut *zone, "cat; cat /manta/d", stdin.into())
            .await
            .unwrap();
        assert_eq!(outcome.stdout, "packedpacked", "{outcome:?}");
        for bad in [
            "/etc/passwd",
            "/manta/../etc/x",
            "/manta/a//b",
            "/manta/",
            "manta/x",
            "/manta/./a",
        ] {
            assert!(zone.show_input(bad, None).await.is_err(), "{bad}");
        }
        let long = format!("/manta/{}", "x".repeat(300));
        assert!(zone.show_input(&long, None).await.is_err());
        assert!(
            zone.show_input("/manta/dir", Some(File::open("/tmp").unwrap()))
                .await
                .is_err()
        );
        // A refusal does not spoil the zone.
        let stdin = zone.show_input("/manta/e/f", None).await.unwrap();
        let outcome = try_sh(&mut *zone, "find /manta -type f", stdin.into())
            .await
            .unwrap();
        assert_eq!(outcome.stdout, "/manta/e/f\n", "{outcome:?}");
    });
    site.end().await;
}

#[tokio::test]
async fn row_25_files_are_written_where_they_belong() {
    let site = Site::new(1).await;
    let asset = || {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"#!/bin/bash\necho asset \"$@\"\n").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    };
    let outside = site.directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    row!(site, zone, {
        zone.write_file("/assets/user/stor/run.sh", 0o777, asset())
            .await
            .unwrap();
        says(&mut *zone, "/assets/user/stor/run.sh one", "asset one").await;
        says(
            &mut *zone,
            "stat -c '%u %a' /assets/user/stor/run.sh",
            "0 777",
        )
        .await;
        zone.write_file("/assets/user/stor/run.sh", 0o755, asset())
            .await
            .unwrap();
        for link in [outside.to_str().unwrap(), "/etc", "/proc/self/root", ".."] {
            sh(
                &mut *zone,
                &format!("rm -rf /assets/link; ln -s {link} /assets/link"),
            )
            .await;
            assert!(
                zone.write_file("/assets/link/x", 0o644, asset())
                    .await
                    .is_err(),
                "{link}"
            );
            // The link itself is replaced, not followed.
            zone.write_file("/assets/link", 0o644, asset())
                .await
                .unwrap();
            says(
                &mut *zone,
                "test -f /assets/link -a ! -L /assets/link && echo file",
                "file",
            )
            .await;
        }
        sh(&mut *zone, "rm -rf /assets/pipe; mkfifo /assets/pipe").await;
        within(
            5,
            "a FIFO does not block",
            zone.write_file("/assets/pipe", 0o644, asset()),
        )
        .await
        .unwrap();
        for bad in [
            "/",
            "relative",
            "/assets/../x",
            "/proc/self/oom_score_adj",
            "/dev/mine",
        ] {
            assert!(zone.write_file(bad, 0o644, asset()).await.is_err(), "{bad}");
        }
    });
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    site.end().await;
}

#[tokio::test]
async fn rows_26_27_36_the_next_tenant_finds_nothing() {
    let site = Site::new(1).await;
    row!(site, zone, {
        // A connection closed by who accepted it, which has to wait before it is forgotten; a port; and a request
        // to the local Manta that nobody has answered.
        let ports = "perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0); \
                     bind(S, sockaddr_in(4443, INADDR_LOOPBACK)) or die; listen(S, 5); \
                     socket(C, PF_INET, SOCK_STREAM, 0); \
                     connect(C, sockaddr_in(4443, INADDR_LOOPBACK)) or die; accept(A, S); close A; close C; \
                     socket(U, PF_INET, SOCK_DGRAM, 0); bind(U, sockaddr_in(5353, INADDR_LOOPBACK)) or die; \
                     socket(D, PF_INET, SOCK_STREAM, 0); \
                     connect(D, sockaddr_in(80, INADDR_LOOPBACK)) or die; \
                     syswrite(D, \"GET / HTTP/1.0\\r\\n\\r\\n\"); print `grep -c :14E9 /proc/net/udp`'";
        says(&mut *zone, ports, "1").await;
        let line = "echo secret | tee /tmp/a /var/tmp/b /root/c /home/d /dev/shm/e /usr/bin/f /etc/g /assets/h \
                    && rm /usr/bin/perl && mkdir /mine && hostname";
        assert_eq!(sh(&mut *zone, line).await.code(), Some(0));
        refused(
            &mut *zone,
            "ok",
            &["shmget 4711 4096 0x3b6", "mq_open @mine 0x42 0x1b6 0"],
        )
        .await;
    });
    row!(site, zone, {
        let found = sh(
            &mut *zone,
            "ls -A /tmp /var/tmp /root /home /dev/shm /assets | grep -v :",
        )
        .await;
        assert_eq!(found.stdout.trim(), "", "{found:?}");
        says(
            &mut *zone,
            "ls /usr/bin/f /etc/g /mine 2>/dev/null | wc -l; ls /usr/bin/perl",
            "0\n/usr/bin/perl",
        )
        .await;
        let outcome = sh(
            &mut *zone,
            "attack call shmget 4711 4096 0; attack call mq_open @mine 0",
        )
        .await;
        assert!(!outcome.stdout.contains("ok"), "{outcome:?}");
        // The local Manta's listeners, and nothing else.
        let sockets = "for kind in tcp tcp6 udp udp6; do tail -n +2 /proc/net/$kind | wc -l; done";
        says(&mut *zone, sockets, "1\n1\n0\n0").await;
        let bind = "perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0); \
                    bind(S, sockaddr_in(4443, INADDR_LOOPBACK)) or die \"$!\\n\"'";
        let outcome = sh(&mut *zone, bind).await;
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        for listener in zone.listeners().unwrap() {
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "a request of another tenant");
        }
    });
    row!(site, zone, {
        // 27: the three, and the one `ls` opens.
        says(&mut *zone, "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3").await;
        // 36
        says(&mut *zone, "cut -d: -f3 /proc/self/cgroup | sort -u", "/").await;
    });
    site.end().await;
}

#[tokio::test]
async fn bad_luck_of_honest_commands() {
    let site = Site::new(1).await;
    row!(site, zone, {
        let outcome = sh(&mut *zone, "kill -SEGV $$").await;
        assert_eq!(
            outcome.exit.status,
            ExitStatus::Signal(libc::SIGSEGV),
            "{outcome:?}"
        );
        assert!(outcome.exit.core_dumped, "{outcome:?}");
        // A descendant, whose parent hides its death.
        let outcome = sh(&mut *zone, "bash -c 'kill -ABRT $$'; true").await;
        assert_eq!(
            (outcome.code(), outcome.exit.core_dumped),
            (Some(0), true),
            "{outcome:?}"
        );
        let outcome = sh(&mut *zone, "bash -c 'kill -TERM $$'; true").await;
        assert_eq!(
            (outcome.code(), outcome.exit.core_dumped),
            (Some(0), false),
            "{outcome:?}"
        );
        let outcome = sh(&mut *zone, "exec >&- 2>&-; echo x").await;
        assert_eq!(outcome.code(), Some(1), "{outcome:?}");
        says(&mut *zone, "echo via | tee /dev/stderr", "via").await;
        says(
            &mut *zone,
            "echo a >/dev/stderr; echo b >/dev/stdout; echo c",
            "b\nc",
        )
        .await;
    });
    row!(site, zone, {
        // What cannot be executed is an error, not a strange exit status, and spoils nothing.
        let mut run = async |argv: Vec<String>| {
            let command = libmanta::triton::Command {
                argv,
                env: environment(),
                stdin: null(),
                stdout: null(),
                stderr: null(),
            };
            zone.run(command).await
        };
        for (argv, errno) in [
            (vec!["/no/such".to_owned()], libc::ENOENT),
            (vec!["no-such-program".to_owned()], libc::ENOENT),
            (vec!["/etc/passwd".to_owned()], libc::EACCES),
            (vec![], libc::EINVAL),
            (
                vec!["/bin/echo".to_owned(), "a\0b".to_owned()],
                libc::EINVAL,
            ),
            (
                vec!["/bin/echo".to_owned(), "x".repeat(200_000)],
                libc::E2BIG,
            ),
        ] {
            match run(argv).await {
                Err(ZoneError::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(errno)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            run(vec!["true".to_owned()]).await.unwrap().status,
            ExitStatus::Code(0)
        );
        let long = vec!["/bin/echo".to_owned(), "x".repeat(100_000)];
        assert_eq!(run(long).await.unwrap().status, ExitStatus::Code(0));
    });
    row!(site, zone, {
        let outcome = sh(&mut *zone, "(while :; do :; done) & sleep 0.5").await;
        assert!(outcome.exit.cpu > Duration::from_millis(20), "{outcome:?}");
        assert!(
            outcome.exit.wall >= Duration::from_millis(500),
            "{outcome:?}"
        );
        // A pipe for input, as reducers have it.
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let feeding = std::thread::spawn(move || {
            let mut writer = File::from(writer);
            for _ in 0..1000 {
                writer.write_all(&[b'x'; 1000]).unwrap();
            }
        });
        let outcome = try_sh(&mut *zone, "wc -c", reader).await.unwrap();
        assert_eq!(outcome.stdout.trim(), "1000000", "{outcome:?}");
        feeding.join().unwrap();
    });
    site.end().await;
}
